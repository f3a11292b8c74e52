"""What `grape-ops hits` found, as the page shows it: columns to colour genes by, and the lines of a gene's card."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from grape_ops.evaluate.hits_results import Phenotypes

LEVELS = ["phenotype", "no evidence of a phenotype"]


class Findings:
    """The phenotypes of a screen's genes, by the symbols that the page shows.

    Attributes
    ----------
    found : what was found, by the symbols of the screen.
    symbol : of the page -> of the screen.
    """

    def __init__(self, found: Phenotypes, renamed: Mapping[str, str]):
        self.found = found
        self.symbol = {renamed.get(gene, gene): gene for gene in map(str, found.genes.index)}
        self.is_hit = dict(zip(self.symbol, found.genes["is_hit"].astype(bool).tolist(), strict=True))

    def overview(self) -> dict[str, Any]:
        """How many genes have a phenotype, how the test is calibrated, the strongest first, guides to distrust."""
        hits = [gene for gene, hit in self.is_hit.items() if hit]
        level, calibration = self.found.level, self.found.calibration
        return {
            "n_genes": len(self.is_hit),
            "hits": hits,
            "level": level,
            "calibration": calibration,
            "n_guides": sum(self.found.counts(name)[1] for name in self.symbol.values()),
            "discordant": self._guides(self.found.discordant),
            "inactive": self._guides(self.found.inactive),
        }

    def _guides(self, kind: Callable[[str], list[str]]) -> list[tuple[str, list[str]]]:
        """Genes with guides of a kind, and these guides."""
        return [(gene, guides) for gene, name in self.symbol.items() if (guides := kind(name))]

    def quiet(self, gene: str) -> bool:
        """Whether a gene was tested, and there is no evidence of a phenotype."""
        return self.is_hit.get(gene) is False

    def columns(self, genes: Sequence[str]) -> list[dict[str, Any]]:
        """Columns to colour by: phenotype or not, -log10 q, effect; nothing for genes that were not tested."""
        names = [self.symbol.get(gene, gene) for gene in genes]
        log_q, effect = self.found.log_q.reindex(names), self.found.genes["effect"].reindex(names)
        codes = [-1 if (hit := self.is_hit.get(gene)) is None else int(not hit) for gene in genes]
        return [
            {"key": "phenotype", "label": "phenotype", "kind": "category", "levels": LEVELS, "codes": codes},
            {"key": "log_q", "label": "-log10 q", "kind": "number", "values": _numbers(log_q)},
            {"key": "hit_effect", "label": "effect", "kind": "number", "values": _numbers(effect)},
        ]

    def card(self, gene: str) -> dict[str, Any] | None:
        """Everything known of one gene; None if it was not tested."""
        if gene not in self.symbol:
            return None
        name = self.symbol[gene]
        line = self.found.genes.loc[[name]].to_dict("records")[0]
        agree, guides = self.found.counts(name)
        return {
            "is_hit": self.is_hit[gene],
            "effect": round(float(line["effect"]), 3),
            "q_value": float(line["q_value"]),
            "agree": agree,
            "guides": guides,
            "discordant": self.found.discordant(name),
            "inactive": self.found.inactive(name),
            "by_guide": self.found.by_guide(name),
            "channel": str(line["top_channel"]) if "top_channel" in line else None,
        }


def _numbers(values: Any) -> list[float | None]:
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in np.asarray(values, float)]
