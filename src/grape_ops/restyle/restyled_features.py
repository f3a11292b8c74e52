"""Restyled cells of many genes, measured; what is measured already outlives an interruption.

Letters: n cells, K features.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from grape_ops import __version__
from grape_ops.artifacts.atomic import draft_of
from grape_ops.artifacts.identity import identity_of
from grape_ops.restyle.content import compare_content
from grape_ops.restyle.measure import Measurer
from grape_ops.restyle.restyler import Restyler

CONTENT_CELLS = 200  # in which content is compared: enough for a mean


def restyled_features(
    restyler: Restyler, measurer: Measurer, cells: np.ndarray, rows: list[int], kept: Path
) -> Iterator[tuple[np.ndarray, dict[str, float]]]:
    """Features as measured (n, K) of the cells restyled to each perturbation, and what they kept of the content.

    Measuring takes most of the time: what is measured lies in the folder ``kept`` until all is done, and a call
    that comes after an interrupted one goes on from there.
    """
    contents: list[dict[str, float]] = []
    before = restyler.store.read(cells[:CONTENT_CELLS])
    files = {row: kept / f"{_key(restyler, measurer, cells)}-{row}.npz" for row in rows}
    todo = [row for row in rows if not files[row].is_file()]

    def pixels() -> Iterator[np.ndarray]:
        for row in todo:
            parts = restyler.restyle(cells, restyler.styles([row]))
            crops = np.concatenate([restyler.stored(p.images, cells[p.rows])[0] for p in parts])
            contents.append(compare_content(before, crops[:CONTENT_CELLS], measurer.find).named())
            yield crops

    measured = measurer.crops(pixels())
    for row in rows:
        if row in todo:
            values, content = next(measured), contents.pop(0)
            with draft_of(files[row], forced=False) as draft:
                np.savez(draft, values=values, names=list(content), content=list(content.values()))
        else:
            with np.load(files[row]) as found:
                values = found["values"]
                content = dict(zip(found["names"].tolist(), found["content"].tolist(), strict=True))
        yield values, content


def _key(restyler: Restyler, measurer: Measurer, cells: np.ndarray) -> str:
    """Hash of what decides the features of restyled cells."""
    run = restyler.run
    latest = run.latest_checkpoint()
    facts = [
        __version__,
        run.record["store_fingerprint"],
        latest.name if latest else "",
        run.record["started"],
        restyler.averaged,
        restyler.batch_size,
        cells.tolist(),
        measurer.settings.decisive(),
    ]
    return identity_of(*facts)[:16]
