"""Rows of ``scores.csv``: one per method and score, from the records of the metrics."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from grape_ops.evaluate.records import (
    ChanceAgreement,
    EnrichmentScores,
    KMeansScores,
    LeftOut,
    LeidenScores,
    MapScore,
    NuisanceScores,
    RecallScore,
    RunSpread,
)

CLUSTERINGS = {"purity": "purity", "nmi": "NMI", "ami": "AMI", "ari": "ARI"}


@dataclass(frozen=True)
class ScoreRow:
    """One score of a method; None where a number does not belong to the score.

    Attributes
    ----------
    score : its name, such as "k-means NMI".
    value : the score.
    term : its key in ``MethodScores.definitions``.
    low, high : interval over complexes.
    sd : of clusterings, over their starts.
    chance, chance_high : what no information gives, and the upper end of that where it was drawn.
    p_value : of reaching the value by chance.
    n : genes scored; for pairs and clusters, how many of these.
    """

    score: str
    value: float
    term: str
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    chance: float | None = None
    chance_high: float | None = None
    p_value: float | None = None
    n: int | None = None


def plain_rows(metric: str, record: Mapping[str, Any]) -> list[ScoreRow]:
    """Rows of a metric that gives plain numbers by name."""
    return [ScoreRow(f"{metric} {name}", value, metric) for name, value in record.items()]


def in_own_table(metric: str, record: Any) -> list[ScoreRow]:
    """No rows: the metric has a table of its own."""
    return []


def map_rows(metric: str, record: MapScore) -> list[ScoreRow]:
    """Mean average precision, and what is left of it above chance."""
    score = {"low": record.low, "high": record.high, "chance": record.chance, "p_value": record.p_value}
    corrected = ScoreRow("mAP, chance-corrected", record.chance_corrected, metric, chance=0.0, n=record.n_queries)
    return [ScoreRow("mAP", record.value, metric, n=record.n_queries, **score), corrected]


def kmeans_rows(metric: str, record: KMeansScores) -> list[ScoreRow]:
    """Agreement of k-means with the complexes."""
    return _agreement("k-means", metric, record, record.random, record.n_genes)


def leiden_rows(metric: str, records: tuple[LeidenScores, ...] | LeftOut) -> list[ScoreRow]:
    """Agreement of Leiden clusters, how many there are, and how alike over seeds, at each resolution."""
    rows: list[ScoreRow] = []
    for part in () if isinstance(records, LeftOut) else records:
        name = f"Leiden {part.resolution:g}"
        rows += _agreement(name, metric, part, part.random)
        rows += [ScoreRow(f"{name} clusters", part.n_clusters, metric)]
        rows += [ScoreRow(f"{name} stability", part.stability, metric)]
    return rows


def _agreement(
    name: str, metric: str, record: KMeansScores | LeidenScores, random: ChanceAgreement, n: int | None = None
) -> list[ScoreRow]:
    rows = []
    for kind, title in CLUSTERINGS.items():
        part: RunSpread = getattr(record, kind)
        interval = {"low": part.low, "high": part.high, "sd": part.sd, "chance": getattr(random, kind).mean}
        rows.append(ScoreRow(f"{name} {title}", part.mean, metric, n=n, **interval))
    return rows


def recall_rows(metric: str, records: Iterable[RecallScore]) -> list[ScoreRow]:
    """Known pairs found in the tails of all cosines."""
    return [
        ScoreRow(f"recall of {p.pairs}, {p.side} {p.tail:g}", p.value, metric, chance=p.chance, n=p.n_pairs)
        for p in records
    ]


def enrichment_rows(metric: str, records: Iterable[EnrichmentScores]) -> list[ScoreRow]:
    """Clusters that are enriched for a complex, of how many."""
    return [
        ScoreRow(
            f"enriched clusters, {part.clusters}",
            part.enriched_clusters,
            metric,
            chance=part.shuffled_mean,
            p_value=part.p_value,
            n=part.n_clusters,
        )
        for part in records
    ]


def nuisance_rows(metric: str, record: NuisanceScores) -> list[ScoreRow]:
    """What the vectors should not know."""
    return [
        ScoreRow(
            f"{name} R squared",
            part.value,
            "arm" if name == "arm" else metric,
            chance=part.chance,
            chance_high=part.chance_high,
            p_value=part.p_value,
            n=part.n_genes,
        )
        for name, part in (("batch", record.batch), ("cells", record.cells), ("arm", record.arm))
        if part is not None
    ]
