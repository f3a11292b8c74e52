"""grape-ops: from the images of an optical pooled CRISPR screen to a map of gene function.

``import grape_ops as go`` gives the names below. Each is loaded when it is first used, so the import takes no time.

* read: ``open_screen``, ``CropStore``, ``Config``, ``load_config``
* prepare: ``simulate_screen``, ``inspect_screen``, ``preprocess_screen``
* train: ``train_model``, ``embed_genes``, ``run_method``
* judge: ``find_hits``, ``evaluate_maps``, ``nearest_genes``, ``cluster_genes``, ``compare_methods``, ``compare_halves``
* restyle: ``restyle_cells``, ``check_phenotypes``
* plot: ``plot_map``, ``plot_hits``, ``plot_scores``, ``plot_cells``
* share: ``write_report``, ``export_run``
* errors that say what mends them: ``GrapeOpsError``
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grape_ops.api.comparing import compare_halves, compare_methods
    from grape_ops.api.judge import cluster_genes, evaluate_maps, find_hits, nearest_genes
    from grape_ops.api.learn import embed_genes, run_method, train_model
    from grape_ops.api.plot import plot_cells, plot_hits, plot_map, plot_scores
    from grape_ops.api.prepare import inspect_screen, open_screen, preprocess_screen, simulate_screen
    from grape_ops.api.restyling import check_phenotypes, restyle_cells
    from grape_ops.api.share import export_run, write_report
    from grape_ops.cells.store import CropStore
    from grape_ops.config import Config, load_config
    from grape_ops.errors import GrapeOpsError

__version__ = "0.1.0"

__all__ = [
    "Config",
    "CropStore",
    "GrapeOpsError",
    "check_phenotypes",
    "cluster_genes",
    "compare_halves",
    "compare_methods",
    "embed_genes",
    "evaluate_maps",
    "export_run",
    "find_hits",
    "inspect_screen",
    "load_config",
    "nearest_genes",
    "open_screen",
    "plot_cells",
    "plot_hits",
    "plot_map",
    "plot_scores",
    "preprocess_screen",
    "restyle_cells",
    "run_method",
    "simulate_screen",
    "train_model",
    "write_report",
]

# The module of each name. Functions are not called like the packages beside them (`train`, `hits`): importing such a
# package would put it in the function's place.
_MODULES = {
    "grape_ops.api.comparing": ("compare_halves", "compare_methods"),
    "grape_ops.api.judge": ("cluster_genes", "evaluate_maps", "find_hits", "nearest_genes"),
    "grape_ops.api.learn": ("embed_genes", "run_method", "train_model"),
    "grape_ops.api.plot": ("plot_cells", "plot_hits", "plot_map", "plot_scores"),
    "grape_ops.api.prepare": ("inspect_screen", "open_screen", "preprocess_screen", "simulate_screen"),
    "grape_ops.api.restyling": ("check_phenotypes", "restyle_cells"),
    "grape_ops.api.share": ("export_run", "write_report"),
    "grape_ops.cells.store": ("CropStore",),
    "grape_ops.config": ("Config", "load_config"),
    "grape_ops.errors": ("GrapeOpsError",),
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    for module, names in _MODULES.items():
        if name in names:
            value = getattr(import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, for completion in notebooks."""
    return sorted([*__all__, "__version__"])
