"""Tables 1 and 2 as text of 80 columns."""

import textwrap
from collections.abc import Mapping, Sequence

from grape_ops.evaluate.print_scores import CLUSTERINGS
from grape_ops.evaluate.records import Difference, MethodScores
from grape_ops.words import short_duration

WIDTH = 80
_NAME = 19


def benchmark_table(scores: Sequence[MethodScores], notes: Mapping[str, Sequence[str]]) -> str:
    """Table 1: one line per method, chance below, and the first method's differences to the others."""
    lines = [_title(scores), ""]
    lines += [_row("", "runs", "mAP", "interval", "purity", "NMI", "ARI", "CPU", "GPU", "MiB"), "-" * WIDTH]
    for entry in scores:
        score, cost = entry.map, entry.cost
        lines += _named(
            entry.method,
            str(entry.n_runs),
            f"{score.value:.3f}",
            f"{score.low:.2f}–{score.high:.2f}",
            *(_number(getattr(entry.kmeans, name).mean) for name in CLUSTERINGS),
            *(_cost(cost) if cost else ("–", "–", "–")),
        )
        if entry.n_runs > 1:
            spread = (_spread(getattr(entry.kmeans, name).seed_sd) for name in CLUSTERINGS)
            lines.append(_row("", "", _spread(score.seed_sd), "", *spread, "", "", ""))
    mean_ap, *clusterings = _chance(scores[0])
    lines += ["-" * WIDTH, _row("chance", "", mean_ap, "", *clusterings, "", "", ""), ""]
    lines += wrapped(
        "± is the sd over runs (seeds); the interval is that of the mean over runs, by drawing complexes. CPU: time of "
        "one run, over all cores; GPU: time for which it held one; – : none, or made elsewhere. GRAPE's read-outs "
        "share one training and its cost."
    )
    lines += [line for method in notes for note in notes[method] for line in wrapped(f"{method}: {note}.")]
    return "\n".join([*lines, "", *_differences(scores[0]), ""])


def ablation_table(scores: Sequence[MethodScores], meanings: Mapping[str, str]) -> str:
    """Table 2: one line per ablation, with its difference to the reference, the first of the scores."""
    reference = scores[0].method
    lines = [_title(scores), ""]
    lines += [_wide("", "runs", "mAP", "purity", "NMI", "ARI", "mAP minus reference", "p"), "-" * WIDTH]
    for entry in scores:
        gap = next((gap for gap in _of_map(entry) if gap.other == reference), None)
        lines += _wide_named(
            entry.method,
            str(entry.n_runs),
            f"{entry.map.value:.3f}",
            *(_number(getattr(entry.kmeans, name).mean) for name in CLUSTERINGS),
            "" if gap is None else f"{gap.value:+.3f} ({gap.low:+.2f} to {gap.high:+.2f})",
            "" if gap is None else f"{gap.p_value:.2g}",
        )
        if entry.n_runs > 1:
            spread = (_spread(getattr(entry.kmeans, name).seed_sd) for name in CLUSTERINGS)
            lines.append(_wide("", "", _spread(entry.map.seed_sd), *spread, "", ""))
    lines += ["-" * WIDTH, _wide("chance", "", *_chance(scores[0]), "", ""), ""]
    lines += wrapped(
        "± is the sd over runs (seeds); differences with intervals and p-values by paired bootstrap over complexes."
    )
    lines += [line for name, meaning in meanings.items() for line in wrapped(f"{name}: {meaning}")]
    return "\n".join([*lines, ""])


def _title(scores: Sequence[MethodScores]) -> str:
    first = scores[0]
    return f"{first.truth}: {first.n_genes} genes in {first.n_complexes} complexes, k = {first.kmeans.k}"


def _row(name: str, *cells: str) -> str:
    widths = (4, 7, 10, 7, 7, 7, 6, 6, 6)
    return (name.ljust(_NAME) + "".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))).rstrip()


def _named(name: str, *cells: str) -> list[str]:
    # A long name has a line of its own.
    return [_row(name, *cells)] if len(name) < _NAME else [name[:WIDTH], _row("", *cells)]


def _wide(name: str, *cells: str) -> str:
    widths = (4, 7, 7, 7, 7, 24, 6)
    return (name.ljust(18) + "".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))).rstrip()


def _wide_named(name: str, *cells: str) -> list[str]:
    return [_wide(name, *cells)] if len(name) < 18 else [name[:WIDTH], _wide("", *cells)]


def _chance(entry: MethodScores) -> list[str]:
    """What random maps reach: mAP, purity, NMI and ARI."""
    return [f"{entry.map.chance:.3f}", *(_number(getattr(entry.kmeans.random, name).mean) for name in CLUSTERINGS)]


def _cost(cost: Mapping[str, float]) -> tuple[str, str, str]:
    gpu = short_duration(cost["gpu_s"]) if cost["gpu_s"] else "–"
    return short_duration(cost["cpu_s"] + cost.get("reused_cpu_s", 0)), gpu, f"{cost['peak_mib']:.0f}"


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.3f}"


def _spread(value: float | None) -> str:
    return "" if value is None or value != value else f"±{value:.3f}"


def wrapped(text: str) -> list[str]:
    """Break a paragraph into lines of the tables' width."""
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")


def _of_map(entry: MethodScores) -> list[Difference]:
    return [gap for gap in entry.differences if gap.score == "map"]


def _differences(entry: MethodScores) -> list[str]:
    gaps = _of_map(entry)
    width = max((len(gap.other) for gap in gaps), default=0)
    lines = [
        f"  {gap.other:{width}}  {gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}), p = {gap.p_value:.2g}"
        for gap in gaps
    ]
    return [f"mAP, {entry.method} minus", *lines] if lines else []
