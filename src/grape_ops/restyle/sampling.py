"""Which cells are shown and measured: drawn by a seed, never picked.

Letters: N cells of a store, n cells drawn.
"""

from collections.abc import Sequence

import numpy as np

from grape_ops.cells.batches import hold_out
from grape_ops.cells.store import CropStore
from grape_ops.errors import GrapeOpsError
from grape_ops.randomness import RestylingStream, generator
from grape_ops.schema import CONTROL_LABEL
from grape_ops.train.run_folder import Run

CONTROL = "control"  # what users call the non-targeting cells


def gene_row(names: list[str], gene: str) -> int:
    """Row of a gene, in upper or lower case, or of the control, among the perturbations.

    Raises
    ------
    GrapeOpsError : there is no such gene.
    """
    wanted = CONTROL_LABEL if gene.lower() == CONTROL else gene
    if wanted in names:
        return names.index(wanted)
    in_other_case = [row for row, name in enumerate(names) if name.lower() == gene.lower()]
    if len(in_other_case) == 1:
        return in_other_case[0]
    alike = [name for name in names if name.lower().startswith(gene.lower()[:3])]
    hint = f" Do you mean {', '.join(alike[:5])}?" if alike else f" There are {', '.join(names[:5])}, …"
    raise GrapeOpsError(f"The run knows no gene {gene}.{hint}")


def rows_of_genes(store: CropStore, names: list[str], genes: Sequence[str], source: int | None = None) -> list[int]:
    """Rows of the genes named, or of all genes that have cells here but the source, whose cells are restyled.

    Raises
    ------
    GrapeOpsError : there is no such gene, or ``--where`` left none of its cells.
    """
    present = set(np.unique(store.labels).tolist())
    named = list(dict.fromkeys(gene_row(names, gene) for gene in genes))
    bare = [names[row] for row in [*named, *([] if source is None else [source])] if row not in present]
    if bare:
        raise GrapeOpsError(f"--where {store.narrowed} leaves no cells of {', '.join(bare)}.")
    return named or sorted(present - {store.control_label, source})


def draw_cells(store: CropStore, row: int, n: int, seed: int) -> np.ndarray:
    """Cells of a perturbation, in turns from as many batches as it has cells in: at most (n,)."""
    rng = generator(seed, RestylingStream.SOURCE, row)
    cells = rng.permutation(np.flatnonzero(store.labels == row))
    return cells[np.argsort(turn_within(store.batch_codes[cells]), kind="stable")][:n]


def draw_matching(store: CropStore, row: int, cells: np.ndarray, seed: int) -> np.ndarray:
    """Cells of a perturbation, each from the batch of the cell in its place where there is one left: at most (n,).

    None is drawn twice. What differs between the two sets is then the gene, and not the batch.
    """
    rng = generator(seed, RestylingStream.KNOCKOUT, row)
    free = rng.permutation(np.flatnonzero((store.labels == row) & ~np.isin(np.arange(len(store)), cells)))
    return match_batches(store, free, cells)


def unseen_cells(run: Run, store: CropStore, row: int) -> np.ndarray:
    """Cells of a perturbation that training has not seen, in random order: (m,).

    Where a run held out none, they are all its cells; but none if a loss taught it their mean.
    """
    train = run.config.train
    own = store.labels == row
    if train.holdout:
        labels, here = store.run_cells
        own &= hold_out(labels, train.holdout, run.config.seed)[here]
    elif train.loss.matches_means:
        own[:] = False
    return generator(run.config.seed, RestylingStream.UNSEEN, row).permutation(np.flatnonzero(own))


def match_batches(store: CropStore, free: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Of the free cells (m,), in their order, one from the batch of each cell (n,) where one is left: at most (n,)."""
    of_batch = {
        batch: list(free[store.batch_codes[free] == batch][::-1]) for batch in np.unique(store.batch_codes[free])
    }
    drawn = np.full(min(len(cells), len(free)), -1, dtype=np.int64)
    for place in range(len(drawn)):
        left = of_batch.get(store.batch_codes[cells[place]])
        if left:
            drawn[place] = left.pop()
    others = free[~np.isin(free, drawn)]
    empty = np.flatnonzero(drawn < 0)
    drawn[empty] = others[: len(empty)]
    return drawn


def turn_within(codes: np.ndarray) -> np.ndarray:
    """How often each value came before: (N,) -> (N,)."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(codes) else np.empty(0, np.int64)
    lengths = np.diff(np.r_[starts, len(codes)])
    turns = np.empty(len(codes), dtype=np.int64)
    turns[order] = np.arange(len(codes)) - np.repeat(starts, lengths)
    return turns
