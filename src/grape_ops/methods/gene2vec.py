"""Gene2vec, or any other vectors that were learnt without these images (section 3.6).

Only the screened genes that the file has are in the map; ``evaluate`` scores methods on the genes they have in common.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from grape_ops.cells.genes import gene_anndata, gene_table
from grape_ops.config import Config
from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth.aliases import Aliases, load_aliases
from grape_ops.methods.method import NOTES, Method, Task
from grape_ops.methods.vector_files import read_vectors

if TYPE_CHECKING:
    from anndata import AnnData


def gene2vec_vectors(task: Task) -> "AnnData":
    """Look up the screened genes in a file of vectors; nothing is drawn, the seed is not used."""
    settings = task.config.baselines.gene2vec
    if settings.vectors is None:
        raise GrapeOpsError("Which file of gene vectors? Name it: --set baselines.gene2vec.vectors=FILE.")
    aliases = load_aliases(settings.aliases) if settings.aliases else Aliases()
    genes = task.store.perturbations[: task.store.control_label]  # a control has no function that a text could tell
    rows, vectors = matched_vectors(settings.vectors, genes, aliases)
    found = np.flatnonzero(rows >= 0)
    if len(found) < 2:
        raise GrapeOpsError(
            f"{settings.vectors} has vectors of {len(found)} of the {len(genes)} screened genes. If it names them "
            "otherwise, give a table of aliases: --set baselines.gene2vec.aliases=FILE."
        )
    adata = gene_anndata(vectors[rows[found]], gene_table(task.store).iloc[found], "gene2vec")
    missing = [genes[i] for i in np.flatnonzero(rows < 0)]
    shown = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
    adata.uns[NOTES] = [
        f"vectors of {len(found)} of {len(genes)} screened genes" + (f"; without: {shown}" if missing else "")
    ]
    return adata


def matched_vectors(file: Path, genes: tuple[str, ...], aliases: Aliases) -> tuple[np.ndarray, np.ndarray]:
    """Row of each gene in a file of vectors, -1 for none, and the vectors: (G,), (N, V).

    A symbol is looked for as it is, then by the aliases of both sides, then regardless of case.
    """
    names, vectors = read_vectors(file)
    renamed = aliases.rename(names)
    exact: dict[str, int] = {}
    loose: dict[str, int] = {}
    for row, name in enumerate(names):
        exact.setdefault(name, row)
    for row, name in enumerate(names):
        exact.setdefault(renamed[name], row)
        loose.setdefault(name.upper(), row)

    def row_of(gene: str) -> int:
        symbol = aliases.symbol.get(gene, gene)
        return exact.get(gene, exact.get(symbol, loose.get(gene.upper(), -1)))

    return np.array([row_of(gene) for gene in genes], dtype=np.int64), vectors


def _files(config: Config) -> dict[str, Path | None]:
    settings = config.baselines.gene2vec
    aliases = {} if settings.aliases is None else {"baselines.gene2vec.aliases": settings.aliases}
    return {"baselines.gene2vec.vectors": settings.vectors, **aliases}


GENE2VEC = Method(
    "gene2vec",
    gene2vec_vectors,
    deterministic=True,
    settings=lambda config: config.baselines.gene2vec.decisive(),
    inputs=_files,
    reads="prior knowledge",
)
