"""GRAPE's networks in IMPA's configuration (section 3.6): what is gained by learning M.

Gene vectors are given and stay as they are; noise stands beside them before a mapping of one layer; a diversity loss
makes the noise matter; there is no filter over weights. The vector of a gene is the mean style code E reads from real
cells. Written from the papers; no code of IMPA's was seen.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from grape_ops.cells.averages import standardized_means
from grape_ops.cells.batches import StandardizedCrops
from grape_ops.config import Config, LossSettings
from grape_ops.embed import trained_nets
from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth.aliases import Aliases, load_aliases
from grape_ops.methods.gene2vec import matched_vectors
from grape_ops.methods.grape import training_settings
from grape_ops.methods.impa_networks import ImpaRecipe
from grape_ops.methods.method import NOTES, Method, Task
from grape_ops.nn.grape import Grape
from grape_ops.progress import progress
from grape_ops.randomness import ImpaStream, generator
from grape_ops.train.loop import train

if TYPE_CHECKING:
    from anndata import AnnData

_CROPS_AT_ONCE = 256


def impa_vectors(task: Task) -> "AnnData":
    """Train, or go on with the training in the task's folder, and average style codes of real cells."""
    vectors, note = _given_vectors(task)
    config = impa_config(task.config, vectors.shape[1], task.seed)
    recipe = ImpaRecipe(vectors, config.baselines.impa)
    run = train(task.store.path, task.folder / "run", config, resume=True, recipe=recipe)
    adata = _mean_styles(trained_nets(run, averaged=False, nets=recipe.networks(run))[0], task)
    adata.uns[NOTES] = [note]
    return adata


def impa_config(config: Config, embedding_dim: int, seed: int) -> Config:
    """The settings of a GRAPE run without what this package adds to the paper, and with what IMPA does otherwise."""
    own, model, settings = config.baselines.impa, config.model.of_the_paper(), config.train.of_the_paper()
    papers = LossSettings()
    loss = {"adversarial": papers.adversarial, "r1": settings.loss.r1 or papers.r1}
    # A rate of 0 keeps the given vectors as they are.
    rates = {"embedding_learning_rate": 0.0, "learning_rate": own.learning_rate or settings.optimizer.learning_rate}
    train_settings = settings.model_copy(
        update={
            "loss": settings.loss.model_copy(update=loss),
            "optimizer": settings.optimizer.model_copy(update=rates),
            "ema": settings.ema.model_copy(update={"enabled": False}),
        }
    )
    model = model.model_copy(update={"embedding_dim": embedding_dim, "mapping_layers": 1})
    return config.model_copy(update={"model": model, "train": train_settings, "seed": seed})


def _given_vectors(task: Task) -> tuple[np.ndarray, str]:
    """Vectors that stand in for M, of unit spread: (P, V) float32. What the file lacks, and controls, is drawn."""
    own, genes = task.config.baselines.impa, task.store.perturbations
    rng = generator(task.seed, ImpaStream.GIVEN_VECTORS)
    if own.embedding is None:
        return rng.standard_normal((len(genes), own.embedding_dim), np.float32), "random vectors stand in for M"
    names = task.config.baselines.gene2vec.aliases
    rows, vectors = matched_vectors(own.embedding, genes, load_aliases(names) if names else Aliases())
    found = rows >= 0
    if not found.any():
        raise GrapeOpsError(f"{own.embedding} has no vector of any screened gene (baselines.impa.embedding).")
    given = rng.standard_normal((len(genes), vectors.shape[1]), np.float32)
    chosen = vectors[rows[found]]
    given[found] = (chosen - chosen.mean(axis=0)) / max(float(chosen.std()), 1e-12)
    return given, f"{own.embedding.name} gives the vectors of {int(found.sum())} of {len(genes)} perturbations"


def _mean_styles(nets: Grape, task: Task) -> "AnnData":
    store, own = task.store, task.config.baselines.impa
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder, crops = nets.style_encoder.to(device), StandardizedCrops(store, device)
    cells = some_cells_of_each(store.labels, own.cells_per_gene, task.seed)
    n_controls = int((store.labels == store.control_label).sum())
    with progress("Style codes of real cells", len(cells) + n_controls, "crop") as advance:

        def read(rows: np.ndarray) -> np.ndarray:
            advance(len(rows))
            parts = np.split(rows, range(_CROPS_AT_ONCE, len(rows), _CROPS_AT_ONCE))
            with torch.inference_mode():
                return np.concatenate([encoder(crops(part)).cpu().numpy() for part in parts])

        return standardized_means(read, store, "impa", cells)


def some_cells_of_each(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Draw at most so many cells of each perturbation: (N,) -> (n,), in order."""
    order = generator(seed, ImpaStream.ENCODED_CELLS).permutation(len(labels))
    by_label = order[np.argsort(labels[order], kind="stable")]
    starts = np.r_[0, np.cumsum(np.bincount(labels))[:-1]]
    rank = np.arange(len(labels)) - starts[labels[by_label]]
    return np.sort(by_label[rank < most])


def _files(config: Config) -> dict[str, Path | None]:
    names = {
        "baselines.impa.embedding": config.baselines.impa.embedding,
        "baselines.gene2vec.aliases": config.baselines.gene2vec.aliases,
    }
    return {setting: file for setting, file in names.items() if file is not None}


IMPA = Method(
    "impa",
    impa_vectors,
    settings=lambda config: [config.baselines.impa.decisive(), training_settings(config)],
    inputs=_files,
    trains=True,
)
