"""Gene vectors from a trained run, at the three positions of section 5.2.

Letters: P perturbations, B batch, V length of a row of M, S length of a style code.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from grape_ops.cells.batches import StandardizedCrops
from grape_ops.cells.genes import check_vectors_place, gene_anndata, write_gene_vectors
from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.config import Config, EmbedSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.hits_results import join_phenotypes, read_phenotypes
from grape_ops.nn.grape import Grape
from grape_ops.progress import progress
from grape_ops.schema import UNS_METHOD, UNS_SIMULATED, UNS_WHERE
from grape_ops.train.checkpoint import restore_nets, weights_sha256
from grape_ops.train.initialize import INITIALISATION
from grape_ops.train.run_folder import Run, open_run

if TYPE_CHECKING:
    from anndata import AnnData

POSITIONS = {1: "M", 2: "F(M)", 3: "E"}  # 3: codes that E reads from restyled cells


def map_name(config: Config, position: int, ema: bool) -> str:
    """Name of a map in tables: ``GRAPE M``, ``GRAPE F(M)`` or ``GRAPE E``.

    With ``, no EMA`` behind it where the run keeps filtered weights and the map is not read from them.
    """
    return f"GRAPE {POSITIONS[position]}" + ("" if ema or not config.train.ema.enabled else ", no EMA")


def map_names() -> tuple[str, ...]:
    """All names that maps of GRAPE can have."""
    names = [f"GRAPE {part}{weights}" for weights in ("", ", no EMA") for part in POSITIONS.values()]
    return (*names, INITIALISATION)


def embed(
    run_path: Path,
    settings: EmbedSettings,
    *,
    store_path: Path | None = None,
    checkpoint: Path | None = None,
    seed: int = 0,
) -> "AnnData":
    """Read the gene vectors out of a run.

    Parameters
    ----------
    run_path : the run folder.
    settings : position, filtered or trained weights, and for position 3 how many cells.
    store_path : for position 3, the crop store if it has moved since training.
    checkpoint : another checkpoint than the run's last one.
    seed : for position 3, draws the cells.

    Returns
    -------
    AnnData with one row per perturbation, the non-targeting row included, X of (P, V) or (P, S).

    Raises
    ------
    GrapeOpsError : no checkpoint, no filtered weights, or a store other than the run's.
    """
    run = open_run(run_path)
    nets, filtered = trained_nets(run, averaged=settings.ema, checkpoint=checkpoint)
    with torch.inference_mode():
        if settings.position == 1:
            vectors = nets.embedding().numpy()
        elif settings.position == 2:
            vectors = nets.styles().numpy()
        else:
            store = run_store(run, store_path)
            vectors = read_back_styles(nets, store, settings.cells_per_gene, settings.batch_size, seed)
    adata = gene_anndata(vectors, run.genes, method=map_name(run.config, settings.position, settings.ema))
    path = checkpoint or run.latest_checkpoint() or Path()
    adata.uns["grape"] = {
        "position": settings.position,
        "ema": filtered,
        "checkpoint": path.name,
        "weights": weights_sha256(path, filtered),
        "seed": run.config.seed,
    }
    if run.simulated:
        adata.uns[UNS_SIMULATED] = True
    if "where" in run.record:
        adata.uns[UNS_WHERE] = run.record["where"]
    return adata


def trained_nets(
    run: Run, *, averaged: bool, checkpoint: Path | None = None, nets: Grape | None = None
) -> tuple[Grape, bool]:
    """The networks of a run's last checkpoint, ready to be used, and whether their weights are filtered.

    Trained weights stand in for filtered ones that the run does not keep, or has not begun to filter. They are put
    into ``nets`` where a method trains others than the run's settings describe.
    """
    path = checkpoint or run.latest_checkpoint()
    if path is None:
        raise GrapeOpsError(f"{run.path} has no checkpoint yet. `grape-ops train … --resume` goes on with it.")
    nets = nets or run.build()
    filtered = restore_nets(path, nets, averaged)
    return nets.eval().requires_grad_(False), filtered


def run_store(run: Run, store_path: Path | None = None, where: str = "") -> CropStore:
    """The cells a run was trained on, or those of them that ``where`` chooses; refuses another store."""
    path = store_path or run.store_path
    if not path.exists():
        raise GrapeOpsError(f"The run's crop store is no longer at {path}. Say where it is with --store.")
    store = CropStore.open(path, run.config.train.unit, run.config.where)
    if store_fingerprint(store) != run.record["store_fingerprint"]:
        raise GrapeOpsError(f"{path} is not the crop store that {run.path} was trained on: their contents differ.")
    return store.within(where) if where else store


def read_back_styles(nets: Grape, store: CropStore, cells_per_gene: int, batch_size: int, seed: int) -> np.ndarray:
    """Position 3: random cells restyled to each perturbation, their style codes read back and averaged: (P, S)."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    n, crops = len(store.perturbations), StandardizedCrops(store, device)
    nets = nets.to(device)
    styles = nets.styles()
    means = np.zeros((n, styles.shape[1]), np.float32)
    with progress("restyle", n, "gene") as advance:
        for gene in range(n):
            rng = np.random.default_rng([seed, gene])
            cells = rng.choice(len(store), min(cells_per_gene, len(store)), replace=False)
            codes = [
                nets.style_encoder(nets.generator(crops(chunk), styles[gene].expand(len(chunk), -1)))
                for chunk in np.split(cells, range(batch_size, len(cells), batch_size))
            ]
            means[gene] = torch.cat(codes).mean(dim=0).cpu().numpy()
            advance()
    return means


def embed_run(
    run_path: Path,
    *,
    position: int | None = None,
    ema: bool | None = None,
    store_path: Path | None = None,
    checkpoint: Path | None = None,
    hits: Path | None = None,
) -> "AnnData":
    """Read a run's gene vectors; what is not given is as its configuration says. See ``embed``.

    ``hits`` is a folder of ``grape-ops hits`` on the run's store, whose findings are joined to ``obs``.
    """
    run = open_run(run_path)
    config = run.config
    found = read_phenotypes(hits, run.record["store_fingerprint"]) if hits is not None else None
    asked = {key: value for key, value in {"position": position, "ema": ema}.items() if value is not None}
    settings = EmbedSettings.model_validate(config.embed.model_dump() | asked)
    adata = embed(run_path, settings, store_path=store_path, checkpoint=checkpoint, seed=config.seed)
    if found is not None:
        join_phenotypes(adata, found)
    return adata


def write_embedding(
    run_path: Path,
    out: Path,
    *,
    position: int | None = None,
    ema: bool | None = None,
    store_path: Path | None = None,
    checkpoint: Path | None = None,
    hits: Path | None = None,
) -> "AnnData":
    """Write a run's gene vectors as an ``.h5ad``, and give them; see ``embed_run``."""
    check_vectors_place(out)
    adata = embed_run(run_path, position=position, ema=ema, store_path=store_path, checkpoint=checkpoint, hits=hits)
    write_gene_vectors(adata, out)
    return adata


def read_embedding(run: Run, file: Path) -> "AnnData | None":
    """Gene vectors as ``write_embedding`` wrote them, if they are those of a run's last checkpoint; else None."""
    import anndata

    latest = run.latest_checkpoint()
    if latest is None or not file.is_file():
        return None
    try:
        adata = anndata.read_h5ad(file)
        made, known = adata.uns["grape"], UNS_METHOD in adata.uns
        same = made["seed"] == run.config.seed and made["checkpoint"] == latest.name
        same = same and made["weights"] == weights_sha256(latest, bool(made["ema"]))
    except (OSError, KeyError, IndexError, TypeError, ValueError):
        return None
    return adata if known and same and list(adata.obs_names) == list(run.genes.index) else None
