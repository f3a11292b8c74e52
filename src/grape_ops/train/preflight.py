"""What is checked before a training: settings made for other cells than the store's, and guides as perturbations.

With guides as perturbations no known complexes are needed to ask whether guides of one gene find each other: the
run folder then holds ``guides.tsv``, in which each gene is the group of its guides, a truth for `evaluate`.
"""

from collections import Counter
from collections.abc import Sequence

import pandas as pd
import torch

from grape_ops.cells.store import CropStore
from grape_ops.config import Config, ModelSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.progress import note
from grape_ops.schema import COMPLEX, GENE, GUIDE, IS_CONTROL


def announce_trainings(trainings: Sequence[Config], store: CropStore) -> None:
    """Say which trainings a command is about to begin, so that nobody waits for days by mistake."""
    if not trainings:
        return
    sizes = Counter((config.train.steps, config.train.batch_size) for config in trainings)
    each = [f"{count} of {steps:,} steps, each step on {crops:,} crops" for (steps, crops), count in sizes.items()]
    note(f"Trainings: {'; '.join(each)}.")
    papers = ModelSettings().generator.width
    if any(config.model.generator.width >= papers for config in trainings) and not torch.cuda.is_available():
        note(
            "The networks are of the paper's size (as in paper.yaml and large.yaml), which wants "
            "a GPU. For two CPU cores and thousands of cells: --config recommended.yaml, or small.yaml."
        )
    for sentence in dict.fromkeys(sentence for config in trainings for sentence in mismatches(store, config)):
        note(sentence)


def warn_mismatches(store: CropStore, config: Config) -> None:
    """Say what will train but hardly was meant."""
    for sentence in mismatches(store, config):
        note(sentence)


def mismatches(store: CropStore, config: Config) -> list[str]:
    """Sentences on settings that were made for other cells than these."""
    found = []
    made_for, have = config.preprocess.crop_size, store.crop_size
    if made_for != have:
        found.append(
            f"The store's crops are {have} px, but these settings are for crops of {made_for} px "
            f"(preprocess.crop_size), and so are the networks' depth and width. Training goes on with {have} px. "
            "Give the settings the store was made with; presets are large.yaml and paper.yaml for 96 px, "
            "recommended.yaml and small.yaml for 32 px."
        )
    batch, n_cells = config.train.batch_size, len(store)
    if batch > n_cells:
        found.append(
            f"train.batch_size={batch:,} is more than the {n_cells:,} cells of the store: every batch holds cells "
            f"more than once, which costs time and teaches nothing. Set it to {_below(n_cells)} or less."
        )
    return found


def _below(n: int) -> int:
    """The largest power of two that is not above n."""
    return 1 << (n.bit_length() - 1)


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
