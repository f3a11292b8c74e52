"""Gene vectors to hold GRAPE against, made from the same cells.

A baseline is one function in one file and one line in ``BASELINES``.
"""

import hashlib
import json
from pathlib import Path

from grape_ops.cells.genes import check_vectors_place, write_gene_vectors
from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.errors import GrapeOpsError
from grape_ops.methods.classifier import classifier_vectors
from grape_ops.methods.engineered import engineered_vectors
from grape_ops.methods.gene2vec import gene2vec_vectors
from grape_ops.methods.gene_effects import gene_effect_vectors
from grape_ops.methods.impa import impa_vectors
from grape_ops.methods.profiles import profile_vectors
from grape_ops.methods.random import random_vectors
from grape_ops.methods.statistics import image_statistics
from grape_ops.methods.task import NOTES, Baseline, Task
from grape_ops.train.run import decisive_settings, store_fingerprint

BASELINES: dict[str, Baseline] = {
    "random": random_vectors,
    "gene2vec": gene2vec_vectors,
    "statistics": image_statistics,
    "engineered": engineered_vectors,
    "profiles": profile_vectors,
    "impa": impa_vectors,
    "classifier": classifier_vectors,
    "contrasts": gene_effect_vectors,
}

__all__ = ["BASELINES", "NOTES", "Baseline", "Task", "write_baseline"]


def write_baseline(
    method: str, store: str | Path, out: str | Path, seed: int = 0, config: Config | None = None
) -> list[str]:
    """Make the gene vectors of a baseline on a store's cells and write them as ``.h5ad``.

    Parameters
    ----------
    method : a name in ``BASELINES``.
    store : folder of a crop store.
    out : file to write; what an interrupted call can go on from is kept in a folder ``NAME.work-…`` beside it, one
        for each set of cells, settings and seed.
    seed : of whatever the baseline draws.
    config : all settings; the defaults if None.

    Returns
    -------
    Sentences on what was left out.
    """
    if method not in BASELINES:
        raise GrapeOpsError(f"There is no baseline {method!r}; there are: {', '.join(BASELINES)}.")
    if seed < 0:
        raise GrapeOpsError(f"The seed must be 0 or more; got {seed}.")
    out = Path(out)
    check_vectors_place(out)
    cells, config = CropStore.open(store), config or Config()
    facts = [store_fingerprint(cells), seed, decisive_settings(config), config.baselines.model_dump(mode="json")]
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]
    adata = BASELINES[method](Task(cells, config, seed, out.with_name(f"{out.stem}.work-{key}")))
    write_gene_vectors(adata, out)
    return [str(note) for note in adata.uns.get(NOTES, [])]
