"""The guides of a store: which rows are tested together, and which are controls. Letters: N cells, U guides."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from grape_ops.cells.store import CropStore
from grape_ops.errors import NothingToTest
from grape_ops.schema import GUIDE


@dataclass(frozen=True)
class Guides:
    """Guides of a screen, in alphabetical order within genes, controls last.

    Attributes
    ----------
    names, genes : (U,) of each guide; the gene of a control guide is the controls' label.
    codes : (N,) guide of each cell.
    controls : (U,) bool.
    """

    names: tuple[str, ...]
    genes: tuple[str, ...]
    codes: np.ndarray
    controls: np.ndarray

    @classmethod
    def of(cls, store: CropStore) -> "Guides":
        """Read the guides of a store.

        Raises
        ------
        NothingToTest : the cells name no guides, or control cells have a single one.
        """
        names = store.cells[GUIDE].fillna("").astype(str).to_numpy()
        control = store.control_label
        if (names == "").mean() > 0.5:
            raise NothingToTest(
                "The cells name no guides, and the test compares guides of one gene with each other and with "
                "non-targeting guides: cells of one guide are no replicates. Name the column of guides "
                "(screen.columns) or give a guide library (screen.library). "
                "Without guides, `evaluate` and `phenotype` still apply."
            )
        table = pd.DataFrame({"label": store.labels, "guide": names})
        codes, unique = pd.factorize(pd.MultiIndex.from_frame(table), sort=True)
        labels = np.array([label for label, _ in unique])
        controls = labels == control
        if controls.sum() < 2:
            raise NothingToTest(
                f"The control cells have {controls.sum()} guide, and 2 at least are needed to see how far guides "
                "without a target differ. Name more non-targeting guides (screen.control_pattern)."
            )
        genes = tuple(store.perturbations[label] for label in labels)
        return cls(tuple(guide for _, guide in unique), genes, np.asarray(codes), controls)

    def of_genes(self, cells: np.ndarray) -> dict[str, list[int]]:
        """Rows of each gene's guides that have cells: (U,) cells of each guide -> gene -> rows."""
        found: dict[str, list[int]] = {}
        for row, (gene, control) in enumerate(zip(self.genes, self.controls, strict=True)):
            if not control and cells[row] > 1:
                found.setdefault(gene, []).append(row)
        return found
