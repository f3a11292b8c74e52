"""A gene's real and restyled cells beside the control cells: separable or not, how far restyling goes, and where.

Letters: n control cells, m knock-out cells, K features as measured, F features kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.config import GenerateSettings
from grape_ops.randomness import RestylingStream, generator
from grape_ops.restyle import distances
from grape_ops.restyle.phenotype import FEWEST_CELLS, FeatureSpace, Separation, direction_agreement, separate
from grape_ops.restyle.phenotype_results import SETS
from grape_ops.restyle.recognition import Recognition, Unseen
from grape_ops.restyle.restyler import Restyler


@dataclass(frozen=True)
class Principal:
    """Principal components of the features, in which many-dimensional distances are taken.

    Attributes
    ----------
    mean, axes : (F,), (F, d).
    """

    mean: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, components: int) -> "Principal":
        """Fit to real cells (n, F)."""
        mean = values.mean(axis=0)
        _, _, axes = np.linalg.svd(values - mean, full_matrices=False)
        return cls(mean, axes[:components].T)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(n, F) -> (n, d)."""
        return (values - self.mean) @ self.axes


class GeneCheck:
    """Compares a gene's real and restyled cells with the same control cells.

    Parameters
    ----------
    restyler, settings, space, principal : the run, settings, and the features and components cells are compared in.
    cells, controls : (n,) control cells of the store that are restyled, and their features as measured (n, K).
    knockouts : of each gene to check, by its row of M: its knock-out cells (m,), and their features (m, K).
    unseen : the same of cells that training has not seen, of the genes and of control.
    seed : draws halves and forests.

    Attributes
    ----------
    recognition : the real cells of all these genes, by which restyled ones are classified.
    """

    def __init__(
        self,
        restyler: Restyler,
        settings: GenerateSettings,
        space: FeatureSpace,
        principal: Principal,
        cells: np.ndarray,
        controls: np.ndarray,
        knockouts: Mapping[int, tuple[np.ndarray, np.ndarray]],
        unseen: Mapping[int, tuple[np.ndarray, np.ndarray]],
        seed: int,
    ):
        self.restyler, self.settings, self.space, self.principal = restyler, settings, space, principal
        self.cells, self.controls, self.seed = cells, controls, seed
        self.knockouts = knockouts
        self.unseen = {row: self._whole_cells(*part) for row, part in unseen.items()}
        self.batches = restyler.store.batch_codes[cells]
        real = {row: self._real(row) for row in knockouts}
        fresh = Unseen(self.unseen, self.unseen[restyler.store.control_label])
        self.recognition = Recognition(real, self._gapped(controls), principal, seed, fresh)

    def gene(
        self,
        row: int,
        restyled: np.ndarray,
        unchanged: np.ndarray,
    ) -> tuple[dict[str, Any], list[dict[str, Any]], list[pd.DataFrame]]:
        """A gene's row of the table, its top features, and their values in all cells.

        Parameters
        ----------
        row : of the gene in M.
        restyled, unchanged : features (n, K) of the control cells restyled to the gene, and to control.
        """
        gene, settings = self.restyler.names[row], self.settings
        record: dict[str, Any] = {"gene_symbol": gene, "n_cells": len(self.knockouts[row][0]), "note": ""}
        record["n_unseen"] = len(self.unseen[row])
        rng = generator(self.seed, RestylingStream.DISTANCES, row)
        target = self._real(row)
        same, other = _whole(self.controls), _whole(self.controls) & _whole(restyled)
        control = self.space(self.controls, self.batches)
        paired = control[other], self.space(restyled, self.batches)[other]
        if len(target) < FEWEST_CELLS or same.sum() < FEWEST_CELLS:
            return record | {"note": f"fewer than {FEWEST_CELLS} cells", "p_value": np.nan, "auc": np.nan}, [], []
        parted = separate(control[same], target, settings, self.seed)
        record |= {"auc": parted.auc, "p_value": parted.p_value}
        tops, values = self._top_features(gene, parted, (control[same], paired[1], target))
        if other.sum() < FEWEST_CELLS:
            record["note"] = "restyled cells have no nuclei"
        else:
            record |= self._distances(*paired, target, rng)
            whole = _whole(unchanged) & other
            back = self.space(unchanged, self.batches)
            record["direction"] = direction_agreement(
                control[whole], back[whole], self.space(restyled, self.batches)[whole], target
            )
            record |= self.recognition.gene(row, self._gapped(unchanged), self._gapped(restyled))
        return record, tops, values

    def _real(self, row: int) -> np.ndarray:
        """Features of a gene's knock-out cells in which a nucleus was found: (m, F)."""
        return self._whole_cells(*self.knockouts[row])

    def _whole_cells(self, cells: np.ndarray, measured: np.ndarray) -> np.ndarray:
        """Features of those of the store's cells (m,), as measured (m, K), in which a nucleus was found: (., F)."""
        return self.space(measured, self.restyler.store.batch_codes[cells])[_whole(measured)]

    def _gapped(self, measured: np.ndarray) -> np.ndarray:
        """Features of the restyled cells (n, K) -> (n, F), not a number where no nucleus was found."""
        return np.where(_whole(measured)[:, None], self.space(measured, self.batches), np.nan)

    def _top_features(
        self, gene: str, parted: Separation, sets: tuple[np.ndarray, np.ndarray, np.ndarray]
    ) -> tuple[list[dict[str, Any]], list[pd.DataFrame]]:
        """The features that separate best: rows of features.tsv, and their values in control, restyled, real cells."""
        tops, values = [], []
        for k in range(min(self.settings.top_features, len(parted.features))):
            if parted.importance[k] <= 0:
                break  # the most important come first
            feature = parted.features[k]
            columns = {name: part[:, feature] for name, part in zip(SETS, sets, strict=True)}
            name = self.space.names[feature]
            importance = {"importance": parted.importance[k], "importance_sd": parted.importance_sd[k]}
            medians = {kind: float(np.median(part)) if len(part) else np.nan for kind, part in columns.items()}
            tops.append({"gene_symbol": gene, "rank": k + 1, "feature": name} | importance | medians)
            values += [
                pd.DataFrame({"gene_symbol": gene, "set": kind, "feature": name, "value": part.astype(np.float32)})
                for kind, part in columns.items()
            ]
        return tops, values

    def _distances(
        self,
        control: np.ndarray,
        restyled: np.ndarray,
        target: np.ndarray,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        settings = self.settings
        options = {"draws": settings.bootstrap, "confidence": settings.confidence}
        phenotype = distances.differing_features(control, target, settings.q_value)
        found: dict[str, float] = {"n_differing": int(phenotype.sum())}
        way = distances.coverage(control, restyled, target, phenotype, rng, splits=settings.splits, **options)  # type: ignore[arg-type]
        found |= {"share": way.share.value, "share_low": way.share.low, "share_high": way.share.high}
        if not phenotype.all():
            found["side_effect"] = float((way.restyled - way.floor)[~phenotype].mean())
        # Fréchet distances grow as sets shrink: all of them are taken between sets of one size.
        near, far, goal = (self.principal(part) for part in (control, restyled, target))
        size = min(len(near), len(goal) // 2)
        order = rng.permutation(len(goal))
        half, rest = goal[order[:size]], goal[order[size : 2 * size]]
        width = distances.median_width(half)
        for name, part in (("control", near), ("restyled", far), ("floor", rest)):
            chosen = part[rng.permutation(len(part))[:size]]
            frechet = distances.bootstrap(distances.frechet_distance, chosen, half, rng, **options)  # type: ignore[arg-type]
            kernel = distances.kernel_interval(part, half, width, rng, **options)  # type: ignore[arg-type]
            for kind, interval in (("frechet", frechet), ("kernel", kernel)):
                found |= {
                    f"{kind}_{name}": interval.value,
                    f"{kind}_{name}_low": interval.low,
                    f"{kind}_{name}_high": interval.high,
                }
        return found


def _whole(measured: np.ndarray) -> np.ndarray:
    """Cells in which a nucleus and a body were found: (n, K) -> (n,) bool."""
    return np.isfinite(measured).any(axis=1)
