"""What a method scored, as typed records: the shape of ``scores.json``.

A number that cannot be computed is NaN in a record and null in the file.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from pydantic import BeforeValidator

_nan_if_null = BeforeValidator(lambda value: math.nan if value is None else value)
Number = Annotated[float, _nan_if_null]
# Not every record has it: None where it is missing, NaN where it could not be computed.
OptionalNumber = Annotated[float | None, _nan_if_null]


@dataclass(frozen=True)
class MapScore:
    """Mean average precision: its chance level, p-value and null by label permutations, and its interval.

    ``value`` is the mean of ``per_run``; ``seed_sd`` is the standard deviation between runs, None for one run.
    """

    value: Number
    chance: Number
    p_value: Number
    chance_corrected: Number
    null_mean: Number
    null_sd: Number
    permutations: int
    n_queries: int
    seed_sd: float | None
    per_run: tuple[Number, ...]
    low: OptionalNumber = None
    high: OptionalNumber = None


@dataclass(frozen=True)
class ComplexScores:
    """Mean AP of each complex's genes, as columns of equal length."""

    complex: tuple[str, ...]
    n_genes: tuple[int, ...]
    map: tuple[Number, ...]
    chance: tuple[Number, ...]
    chance_corrected: tuple[Number, ...]
    p_value: tuple[Number, ...]
    q_value: tuple[Number, ...]

    def __post_init__(self) -> None:
        _equally_long(self)


@dataclass(frozen=True)
class GeneScores:
    """AP of each labelled gene, as columns of equal length."""

    gene_symbol: tuple[str, ...]
    ap: tuple[Number, ...]
    chance: tuple[Number, ...]
    chance_corrected: tuple[Number, ...]
    p_value: tuple[Number, ...]
    q_value: tuple[Number, ...]

    def __post_init__(self) -> None:
        _equally_long(self)


def _equally_long(columns: ComplexScores | GeneScores) -> None:
    if len({len(getattr(columns, column.name)) for column in fields(columns)}) > 1:
        raise ValueError("columns differ in length")


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a score over starts of a clustering."""

    mean: Number
    sd: Number


@dataclass(frozen=True)
class RunSpread(Spread):
    """Mean over runs and starts; ``sd`` within runs, ``seed_sd`` between runs; the mean's interval over complexes."""

    seed_sd: float | None
    low: OptionalNumber = None
    high: OptionalNumber = None


@dataclass(frozen=True)
class ChanceAgreement:
    """Agreement with the complexes that random maps or shuffled clusters reach."""

    purity: Spread
    nmi: Spread
    ami: Spread
    ari: Spread


@dataclass(frozen=True)
class ChanceAtK:
    """The same at one number of clusters."""

    k: int
    purity: Spread
    nmi: Spread
    ami: Spread
    ari: Spread


@dataclass(frozen=True)
class AgreementAtK:
    """Agreement of k-means with the complexes at one number of clusters."""

    k: int
    purity: RunSpread
    nmi: RunSpread
    ami: RunSpread
    ari: RunSpread


@dataclass(frozen=True)
class KMeansScores:
    """Agreement of k-means with the complexes at the main k, and that of random maps."""

    k: int
    runs: int
    n_genes: int
    purity: RunSpread
    nmi: RunSpread
    ami: RunSpread
    ari: RunSpread
    random: ChanceAgreement


@dataclass(frozen=True)
class LeidenScores:
    """Agreement of Leiden clusters with the complexes at one resolution, and that of shuffled clusters."""

    resolution: Number
    runs: int
    neighbours: int
    n_clusters: Number
    stability: Number
    purity: RunSpread
    nmi: RunSpread
    ami: RunSpread
    ari: RunSpread
    random: ChanceAgreement


@dataclass(frozen=True)
class LeftOut:
    """Why a metric was left out."""

    left_out: str


@dataclass(frozen=True)
class EnrichmentScores:
    """How many clusters are enriched for a complex, and how many after their labels are shuffled."""

    clusters: str
    n_clusters: int
    enriched_clusters: int
    enriched_complexes: int
    shuffled_mean: Number
    p_value: Number
    shuffles: int


@dataclass(frozen=True)
class RecallScore:
    """Share of known pairs in one tail, or both, of the cosines of all pairs of genes."""

    pairs: str
    n_genes: int
    n_pairs_listed: int
    side: str
    quantiles: tuple[float, ...]
    value: Number
    chance: Number
    n_pairs: int

    @property
    def tail(self) -> float:
        """Share of all cosines in one tail."""
        return 1 - self.quantiles[-1]


@dataclass(frozen=True)
class NuisanceScore:
    """R squared of predicting what the vectors should not know; ``source`` is the map that reports it."""

    value: Number
    chance: Number
    chance_high: Number
    p_value: Number
    n_genes: int
    neighbours: int
    source: str


@dataclass(frozen=True)
class ArmScore(NuisanceScore):
    """The same of chromosome arms, over pairs that share no complex; ``source`` is the table of arms.

    ``variance`` is the share of the variance within complexes that arms explain, adjusted for their number.
    """

    n_arms: int
    variance: Number


@dataclass(frozen=True)
class NuisanceScores:
    """Batches, cell numbers, arms; None where no map or table holds them, or they are the same for all genes."""

    batch: NuisanceScore | None
    cells: NuisanceScore | None
    arm: ArmScore | None = None


@dataclass(frozen=True)
class Difference:
    """This method minus the other in one score, by the paired bootstrap over complexes."""

    other: str
    score: str
    value: Number
    low: Number
    high: Number
    p_value: Number


@dataclass(frozen=True)
class MethodScores:
    """Everything that one method scored.

    Attributes
    ----------
    method, n_runs : its name, and how many runs it averages.
    truth, truth_sha256 : name and content hash of the complexes.
    n_genes, n_genes_own, n_genes_truth, n_complexes : labelled genes scored, those this method has, those of the
        truth; complexes with two genes or more.
    map_own_genes, unmatched_genes : mAP on the method's own genes; genes of the truth it lacks.
    map to nuisance : what each metric of ``metrics.METRICS`` gave.
    definitions : what each number means.
    differences : to every other method.
    cost : of one run, where it was measured.
    more : numbers of metrics that have no record of their own: metric -> name -> number.
    """

    method: str
    n_runs: int
    truth: str
    truth_sha256: str
    n_genes: int
    n_genes_own: int
    n_genes_truth: int
    n_complexes: int
    map_own_genes: Number
    unmatched_genes: tuple[str, ...]
    map: MapScore
    complexes: ComplexScores
    genes: GeneScores
    kmeans: KMeansScores
    sweep: tuple[AgreementAtK, ...]
    sweep_random: tuple[ChanceAtK, ...]
    leiden: tuple[LeidenScores, ...] | LeftOut
    enrichment: tuple[EnrichmentScores, ...]
    recall: tuple[RecallScore, ...]
    nuisance: NuisanceScores
    definitions: Mapping[str, str]
    differences: tuple[Difference, ...]
    cost: Mapping[str, float] | None = None
    more: Mapping[str, Mapping[str, OptionalNumber]] = field(default_factory=dict)

    def of(self, metric: str) -> Any:
        """What a metric gave, by its name."""
        return getattr(self, metric) if metric in PARTS else self.more.get(metric, {})


PARTS = frozenset(part.name for part in fields(MethodScores))
