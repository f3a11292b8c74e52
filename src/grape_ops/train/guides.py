"""Guides as perturbations: do guides of one gene find each other? No known complexes are needed to ask.

The run folder then holds ``guides.tsv``, in which each gene is the group of its guides: a truth for `evaluate`.
"""

import pandas as pd

from grape_ops.cells.store import CropStore
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import COMPLEX, GENE, GUIDE, IS_CONTROL

GUIDES_FILE = "guides.tsv"


def guide_groups(store: CropStore) -> pd.DataFrame:
    """Each targeting guide and its gene, as a truth: columns gene_symbol (the guide) and complex (its gene).

    Raises
    ------
    GrapeOpsError : a guide stands for more than one gene.
    """
    pairs = store.cells.loc[~store.cells[IS_CONTROL], [GUIDE, GENE]].drop_duplicates().sort_values([GENE, GUIDE])
    twice = pairs[GUIDE][pairs[GUIDE].duplicated()].unique()
    if len(twice):
        raise GrapeOpsError(
            f"{len(twice)} guides stand for more than one gene, among them {', '.join(map(str, twice[:3]))}: training "
            "by guide needs a name of its own for each. Look at the sgRNA column of the cell table."
        )
    return pairs.rename(columns={GUIDE: GENE, GENE: COMPLEX})


def check_truth_not_genes(store: CropStore, truth: str | None) -> None:
    """Complexes of genes say nothing of a map of guides."""
    if store.unit == "guide" and truth:
        raise GrapeOpsError(
            f"--truth {truth} names genes, but with train.unit=guide the map is of guides. Leave it out; the run "
            f"folder will hold {GUIDES_FILE}, in which each gene is the group of its guides, for `grape-ops evaluate`."
        )
