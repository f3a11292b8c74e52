"""The scores of an evaluation as printed tables of 80 columns."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from grape_ops.evaluate.chromosome_arms import CORRECTED
from grape_ops.evaluate.confounding import in_words
from grape_ops.evaluate.records import ArmScore, LeftOut, MethodScores, NuisanceScore, Spread
from grape_ops.evaluate.scores import recall_table

if TYPE_CHECKING:
    from rich.table import Table

LINE = 80  # width of the tables where there is no terminal, and what they fit into on one
CLUSTERINGS = {"purity": "purity", "nmi": "NMI", "ari": "ARI"}


def print_scores(scores: Sequence[MethodScores]) -> None:
    """Print the scores, the recall of known pairs, the differences in mAP, and what was left out."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=LINE)
    console.print(_printed_scores(scores))
    console.print(_printed_recall(scores))
    console.print()
    for line in [*differences_in_words(scores), *notes(scores)]:
        console.print(line, highlight=False, markup=False)


def _printed_scores(scores: Sequence[MethodScores]) -> "Table":
    """Two lines per method (score, spread or null), and the chance level."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    first, kmeans = scores[0], scores[0].kmeans
    table = Table(
        title=f"{escape(first.truth)} · {first.n_genes} genes in {first.n_complexes} complexes · "
        f"k-means of {kmeans.n_genes} genes, k = {kmeans.k}, {kmeans.runs} runs",
        caption="second line: interval over complexes; ± sd over runs of k-means; mean R² of\nshuffled genes. "
        "–: not scored, not reported by any map, or the same for all genes",
        box=box.HORIZONTALS,
        show_lines=True,
        padding=(0, 1, 0, 0),
    )
    table.add_column("method", overflow="fold")
    for name in ("mAP", "p", *CLUSTERINGS.values(), "batch\nR²", "cells\nR²"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in scores:
        table.add_row(*(escape(cell) for cell in _cells(entry)))
    table.add_row(
        "chance\n(random maps)",
        f"{first.map.chance:.3f}",
        "",
        *(_spread(getattr(kmeans.random, name)) for name in CLUSTERINGS),
        style="dim",
    )
    return table


def _printed_recall(scores: Sequence[MethodScores]) -> "Table":
    """One row per method and list of known pairs, and what chance finds."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="\nshare of known pairs in the tails of all cosines", box=None, padding=(0, 2, 0, 0))
    recall = recall_table(scores)
    tests = recall.drop_duplicates(["side", "tail"])
    sides = zip(tests["side"], tests["tail"], strict=True)
    for name in ("method", "pairs"):
        table.add_column(name, overflow="fold")
    for name in ("number", *(f"{side}\n{tail:.3g}" for side, tail in sides)):
        table.add_column(name, justify="right", no_wrap=True)
    for (method, pairs), part in recall.groupby(["method", "pairs"], sort=False):
        found = [f"{value:.3f}" for value in part["value"]]
        table.add_row(escape(str(method)), escape(str(pairs)), str(part["n_pairs"].iloc[0]), *found)
    table.add_row("chance", "", "", *(f"{chance:.3f}" for chance in tests["chance"]), style="dim")
    return table


def differences_in_words(scores: Sequence[MethodScores]) -> list[str]:
    """Compare the first method with every other; all pairs and scores are in the table of differences."""
    return [
        f"mAP, {scores[0].method} minus {gap.other}: {gap.value:.3f} "
        f"({gap.low:.3f} to {gap.high:.3f}), p {p_in_words(gap.p_value)}"
        for gap in scores[0].differences
        if gap.score == "map"
    ]


def p_text(value: float | None) -> str:
    """A p-value as a reader takes it in: no powers of ten, and no more digits than it has meaning."""
    if value is None or not math.isfinite(value):
        return "–"
    if value < 1e-4:
        return "<0.0001"
    return f"{value:.4f}" if value < 1e-3 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def p_in_words(value: float | None) -> str:
    """A p-value with its sign: "= 0.02" or "< 0.0001"."""
    text = p_text(value)
    return f"< {text[1:]}" if text.startswith("<") else f"= {text}"


def _cells(entry: MethodScores) -> list[str]:
    runs = f"\n({entry.n_runs} runs)" if entry.n_runs > 1 else ""
    more = entry.n_genes_own > entry.n_genes
    own = f"\n({entry.n_genes} of its {entry.n_genes_own} genes)" if more else ""
    score = entry.map
    seeds = f"\nruns ±{score.seed_sd:.3f}" if entry.n_runs > 1 else ""
    return [
        entry.method + runs + own,
        f"{score.value:.3f}\n{score.low:.2f}–{score.high:.2f}{seeds}",
        p_text(score.p_value),
        *(_spread(getattr(entry.kmeans, name)) for name in CLUSTERINGS),
        _nuisance(entry.nuisance.batch),
        _nuisance(entry.nuisance.cells),
    ]


def _spread(part: Spread) -> str:
    return "–" if math.isnan(part.mean) else f"{part.mean:.3f}\n±{part.sd:.3f}"


def _nuisance(part: NuisanceScore | None) -> str:
    return "–" if part is None else f"{part.value:.2f}\n({part.chance:.2f})"


def notes(scores: Sequence[MethodScores]) -> list[str]:
    """Say what a reader of the table has to know: genes that no map could match, and what was left out."""
    lists: dict[tuple[str, ...], list[str]] = {}
    for entry in scores:
        if entry.unmatched_genes:
            lists.setdefault(entry.unmatched_genes, []).append(entry.method)
    lines = []
    for missing, methods in lists.items():
        shown = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
        of, who = scores[0].n_genes_truth, ", ".join(methods)
        lines.append(f"{who}: {len(missing)} of {of} genes of the truth are not in the map: {shown}")
    reasons = [entry.leiden.left_out for entry in scores if isinstance(entry.leiden, LeftOut)]
    lines += [_arms_in_words(entry.method, entry.nuisance.arm) for entry in scores if entry.nuisance.arm is not None]
    before = {CORRECTED.format(entry.method): entry for entry in scores}
    lines += [
        f"{before[entry.method].method}: mAP {before[entry.method].map.value:.3f} before, {entry.map.value:.3f} after "
        "the correction for chromosome arms"
        for entry in scores
        if entry.method in before
    ]
    return [*lines, *(f"Leiden was left out. {reason}" for reason in reasons[:1])]


def _arms_in_words(method: str, arm: ArmScore) -> str:
    """Say whether a map knows chromosome arms, and how much of it they explain."""
    share = "–" if math.isnan(arm.variance) else f"{max(arm.variance, 0):.1%}"
    chance = f"{arm.chance:.2f}".replace("-", "−")
    return (
        f"{method}: {in_words('arm', arm.value, arm.p_value)[1]} Chance: R² {chance}; {arm.n_arms} arms of "
        f"{arm.n_genes} genes explain {share} of the variance that complexes leave."
    )
