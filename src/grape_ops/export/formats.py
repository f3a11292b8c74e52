"""What a run can be exported as, by name."""

from collections.abc import Callable
from pathlib import Path

from grape_ops.config import Config
from grape_ops.errors import GrapeOpsError
from grape_ops.export.gene_map import write_cluster_table, write_genes
from grape_ops.export.h5sc import write_h5sc
from grape_ops.export.standard import write_standard
from grape_ops.train.run_folder import open_run

FORMATS: dict[str, Callable[[Path, Path, Config], None]] = {
    "h5ad": write_genes,
    "ops-standard": write_standard,
    "clusters": write_cluster_table,
    "h5sc": write_h5sc,
}
_OF_MAP = ("h5ad", "clusters")
_FOLDERS = ("ops-standard",)


def export_run(run_path: Path, form: str, out: Path, settings: Config) -> None:
    """Write a run in one of the ``FORMATS``.

    Raises
    ------
    GrapeOpsError : there is no such format, or ``out`` is a folder where a file is wanted; see also each format.
    """
    if form not in FORMATS:
        raise GrapeOpsError(f"There is no format {form!r}; there are: {', '.join(FORMATS)}.")
    if form not in _FOLDERS and out.is_dir():
        raise GrapeOpsError(f"{out} is a folder; name a file with --out.")
    if form in _OF_MAP and settings.where not in ("", open_run(run_path).config.where):
        raise GrapeOpsError(
            f"--where chooses among cells, and {form} holds genes: those of the cells that {run_path} was trained on. "
            "Train on a subset: grape-ops train STORE --where ..."
        )
    FORMATS[form](run_path, out, settings)
