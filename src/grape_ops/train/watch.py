"""What is monitored during training besides the losses: mAP if a truth is given, and how well D knows unseen cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grape_ops.cells.batches import StandardizedCrops
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.retrieval import average_precision, chance_average_precision
from grape_ops.groundtruth import load_truth, membership
from grape_ops.nn.grape import Grape
from grape_ops.train.checkpoint import TrainingState


@dataclass(frozen=True)
class MapMonitor:
    """Scores the embedding during training, on the genes of the truth.

    Attributes
    ----------
    rows : rows of M that belong to a complex.
    members : (len(rows), K) bool, which complexes each belongs to.
    """

    rows: np.ndarray
    members: np.ndarray

    @classmethod
    def of(cls, genes: Sequence[str], truth: str) -> "MapMonitor":
        """Make a monitor of these genes, the rows of M.

        Raises
        ------
        GrapeOpsError : no two of the genes belong to a common complex.
        """
        known = load_truth(truth)
        members = membership(known, list(genes))
        members &= members.sum(axis=0) > 1
        rows = np.flatnonzero(members.any(axis=1))
        if not len(rows):
            theirs = sorted({gene for complex_ in known.complexes.values() for gene in complex_})
            raise GrapeOpsError(
                f"No two genes of the store share a complex of the truth {truth}. The store has "
                f"{', '.join(genes[:3])}, …; the truth has {', '.join(theirs[:3])}, …. Give another --truth, or none."
            )
        return cls(rows, members[rows])

    def score(self, state: TrainingState) -> dict[str, float]:
        """MAP of positions 1 and 2, trained and filtered, beside its chance level."""
        line = {"map_chance": float(chance_average_precision(self.members).mean())}
        for suffix, nets in (
            ("", state.nets),
            ("_ema", state.average.nets if state.average is not None else None),
        ):
            if nets is None:
                continue
            with torch.no_grad():
                for name, vectors in (("map", nets.embedding()), ("map_style", nets.styles())):
                    chosen = vectors.float().cpu().numpy()[self.rows]
                    line[name + suffix] = float(average_precision(chosen, self.members).mean())
        return line


@dataclass(frozen=True)
class MemorizationMonitor:
    """How much more real D finds cells it has trained on than cells of the same genes it has never seen.

    A gap that widens says that D memorises; it needs no labels but the guides, and no truth.

    Attributes
    ----------
    crops : as they are trained on, without augmentation.
    seen, unseen : (n,) cells of either kind, the same perturbations in both.
    """

    crops: StandardizedCrops
    seen: np.ndarray
    unseen: np.ndarray

    @classmethod
    def of(
        cls, crops: StandardizedCrops, held_out: np.ndarray, seed: int, most: int = 512
    ) -> "MemorizationMonitor | None":
        """Draw the cells to evaluate; None where nothing is held out."""
        if not held_out.any():
            return None
        rng, labels = np.random.default_rng(seed), crops.store.labels
        unseen = rng.permutation(np.flatnonzero(held_out))[:most]
        trained = np.flatnonzero(~held_out)
        seen = [rng.choice(trained[labels[trained] == label]) for label in labels[unseen]]
        return cls(crops, np.array(seen), unseen)

    @torch.no_grad()
    def score(self, nets: Grape) -> dict[str, float]:
        """D's mean logit, at the cells' own heads, for seen and for unseen cells."""
        return {
            "d_seen_logit": self._mean_logit(nets, self.seen),
            "d_unseen_logit": self._mean_logit(nets, self.unseen),
        }

    def _mean_logit(self, nets: Grape, cells: np.ndarray) -> float:
        logits: list[Tensor] = []
        for chunk in np.split(cells, range(128, len(cells), 128)):
            images = self.crops(chunk)
            labels = torch.from_numpy(self.crops.store.labels[chunk]).to(images.device)
            logits.append(nets.logits(images, labels))
        return float(torch.cat(logits).mean())


@dataclass(frozen=True)
class Watch:
    """Everything that is monitored during training besides the losses.

    Attributes
    ----------
    monitor : scores M, if a truth was given.
    memorization : compares seen and unseen cells, if some are held out.
    """

    monitor: MapMonitor | None
    memorization: MemorizationMonitor | None

    def evaluate(self, state: TrainingState) -> dict[str, float]:
        """All scores there are."""
        scores = self.monitor.score(state) if self.monitor else {}
        return scores | (self.memorization.score(state.nets) if self.memorization else {})
