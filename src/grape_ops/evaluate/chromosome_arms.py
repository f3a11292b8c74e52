"""Chromosome arms as a nuisance: a Cas9 cut may cost the cell the rest of its chromosome arm, so that knock-outs of one
arm look alike whatever the genes do.

Letters: N genes, d dimensions, A arms, K complexes, P principal components.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from grape_ops.cells.genes import MADE_BY, UNS_MADE_BY, write_gene_vectors
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.maps import control_rows, gene_map
from grape_ops.groundtruth.aliases import Aliases
from grape_ops.progress import note
from grape_ops.schema import UNS_METHOD

if TYPE_CHECKING:
    from anndata import AnnData

CORRECTED = "{}, arms corrected"


def complex_blocks(membership: csr_array) -> np.ndarray:
    """Number the first complex of each gene: (N, K) -> (N,) int, -1 for genes of none."""
    members = csr_array(membership)
    own, starts = np.diff(members.indptr) > 0, members.indptr[:-1]
    blocks = np.full(members.shape[0], -1)
    blocks[own] = members.indices[starts[own]]
    return blocks


def in_blocks(blocks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw whose arm each gene gets when complexes are dealt out as wholes: (N,) -> (N,) int.

    The arms of a complex go, side by side, to the genes of other complexes in random order (where sizes differ, on to
    the next complex), those of genes without a complex to one another: arms stay as concentrated in complexes as they
    are.
    """
    drawn = np.empty(len(blocks), dtype=np.int64)
    single = np.flatnonzero(blocks < 0)
    drawn[single] = rng.permutation(single)
    labelled = np.flatnonzero(blocks >= 0)
    place_of = rng.permutation(blocks.max(initial=0) + 1)
    dealt = labelled[np.lexsort((rng.random(len(labelled)), place_of[blocks[labelled]]))]
    drawn[dealt] = labelled[np.argsort(blocks[labelled], kind="stable")]
    return drawn


def arm_variance(vectors: np.ndarray, arms: np.ndarray, blocks: np.ndarray) -> float:
    """Share of the variance of vectors that arms explain: (N, d), (N, A), (N,) -> adjusted R squared.

    Means over complexes, and over the genes of none, are taken from vectors and arms alike, so that what the genes of
    a complex share is not credited to their arm; NaN where too few genes are left for so many arms.
    """
    own = np.unique(blocks, return_inverse=True)[1]
    count = np.bincount(own)[:, None]
    residual, design = (
        table - (csr_array((np.ones(len(own)), (own, np.arange(len(own))))) @ table / count)[own]
        for table in (np.asarray(vectors, np.float64), arms)
    )
    total, free = float((residual**2).sum()), len(own) - len(count)
    basis, sizes, _ = np.linalg.svd(design, full_matrices=False)
    basis = basis[:, sizes > 1e-9 * max(sizes.max(initial=0), 1)]
    if total <= 0 or free <= basis.shape[1]:
        return float("nan")
    explained = float(((basis.T @ residual) ** 2).sum()) / total
    return 1 - (1 - explained) * free / (free - basis.shape[1])


def without_arms(vectors: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Subtract from each gene the shrunken mean of the other genes of its arm: (N, d), (N,) int -> (N, d) float64.

    A mean is taken over the arm's genes without the gene itself, as a distance from the mean of all other genes, in
    principal components. In each it is shrunken as an arm is a random effect: by (n - 1) b / ((n - 1) b + w), n genes
    on the arm, b and w the variance between and within arms (analysis of variance). Genes without arm (-1) stay.
    """
    result = np.array(vectors, dtype=np.float64)
    placed = np.flatnonzero(codes >= 0)
    own = np.unique(codes[placed], return_inverse=True)[1]
    n = np.bincount(own)
    if len(n) < 2 or len(n) == len(placed):
        return result
    _, _, components = np.linalg.svd(result[placed] - result[placed].mean(axis=0), full_matrices=False)
    scores = (result[placed] - result[placed].mean(axis=0)) @ components.T  # (N, P)
    sums = csr_array((np.ones(len(own)), (own, np.arange(len(own))))) @ scores  # (A, P)
    means = sums / n[:, None]
    within = ((scores - means[own]) ** 2).sum(axis=0) / (len(own) - len(n))
    typical = (len(own) - (n**2).sum() / len(own)) / (len(n) - 1)
    between = np.maximum(((n[:, None] * means**2).sum(axis=0) / (len(n) - 1) - within) / typical, 0)
    others = (n[own] - 1)[:, None]
    rest = -scores / (len(own) - 1)  # mean of all other genes: scores sum to 0
    effects = (sums[own] - scores) / np.maximum(others, 1) - rest
    weight = others * between / np.maximum(others * between + within, np.finfo(float).tiny)
    result[placed] -= (weight * effects) @ components
    return result


def corrected_maps(
    maps: "Mapping[str, AnnData | Sequence[AnnData]]", arms: Mapping[str, str], aliases: Aliases | None = None
) -> "dict[str, AnnData | list[AnnData]]":
    """Take the arms out of maps: "NAME, arms corrected" -> the map, or its runs; controls stay as they are.

    Raises
    ------
    GrapeOpsError : a map cannot be evaluated, or no arm holds two of its genes.
    """
    corrected: dict[str, AnnData | list[AnnData]] = {}
    for method, entry in maps.items():
        name = CORRECTED.format(method)
        runs = [_corrected(run, method, name, arms, aliases) for run in (entry if _several(entry) else [entry])]
        corrected[name] = runs if _several(entry) else runs[0]
    return corrected


def _several(entry: "AnnData | Sequence[AnnData]") -> bool:
    return isinstance(entry, list | tuple)


def _corrected(adata: "AnnData", method: str, name: str, arms: Mapping[str, str], aliases: Aliases | None) -> "AnnData":
    known = gene_map(adata, method, aliases)
    named = [arms.get(gene) for gene in known.genes]
    places = {arm: number for number, arm in enumerate(sorted({arm for arm in named if arm is not None}))}
    codes = np.array([places[arm] if arm is not None else -1 for arm in named])
    if np.bincount(codes[codes >= 0], minlength=1).max() < 2:
        raise GrapeOpsError(
            f"--correct-arms: no arm of the table holds two genes of {method}, so that there is no mean to subtract. "
            "Do table and map name genes by the same symbols (--aliases)?"
        )
    if missing := int((codes < 0).sum()):
        note(f"{method}: {missing} of {len(codes)} genes have no arm in the table and stay as they are.")
    changed = adata.copy()
    matrix = adata.X.toarray() if hasattr(adata.X, "toarray") else np.array(adata.X)
    matrix = matrix.astype(np.result_type(matrix.dtype, np.float32))
    matrix[~control_rows(adata, method)] = without_arms(known.vectors, codes)
    changed.X = matrix
    changed.uns |= {UNS_METHOD: name, UNS_MADE_BY: MADE_BY}
    return changed


def write_corrected(maps: "Mapping[str, AnnData | Sequence[AnnData]]", folder: Path) -> list[Path]:
    """Write corrected maps as ``NAME_arms_corrected.h5ad``, numbered where there are several runs; -> the files."""
    files = []
    for name, entry in maps.items():
        runs = entry if _several(entry) else [entry]
        stem = "".join(c if c.isalnum() or c in "-." else "_" for c in name.replace(", ", "_"))
        for number, run in enumerate(runs):
            files.append(folder / f"{stem}{f'_{number}' if len(runs) > 1 else ''}.h5ad")
            write_gene_vectors(run, files[-1])
    return files
