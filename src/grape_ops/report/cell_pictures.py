"""Real control cells, the same cells restyled to control and to a gene, and real knock-outs, at equal contrast.

Cells are drawn by the run's seed, not picked by eye. The control cells are the same for every gene; in each column the
knock-out cell comes from the control's batch where the gene has cells there. Pixels are what the networks see, in
standard deviations of the batch's controls, and one pair of limits per channel holds for all rows and genes.

Letters: P perturbations, S length of a style code, C channels, H crop size, n cells in a row.
"""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from grape_ops.cells.store import CropStore
from grape_ops.embed import trained_nets
from grape_ops.nn.grape import Grape
from grape_ops.plotting.pictures import ChannelView, channel_views, grey
from grape_ops.progress import progress
from grape_ops.report.generation import trust_of
from grape_ops.report.inputs import ReportInputs
from grape_ops.restyle.restyler import Restyler
from grape_ops.restyle.sampling import draw_cells, draw_matching

CELLS = 6
MOST_GENES = 24
# Base64 characters of all pictures; keeps the page below 15 MB beside the 5 MB of the plotting library and what every
# gene takes in the map and in the tables.
MOST_CHARACTERS, CHARACTERS_A_GENE = 7_000_000, 1_000
# Grey levels written: more than an eye tells apart, and noise in the last bits would double the files.
GREYS = 128


def cell_pictures(inputs: ReportInputs, store: CropStore) -> dict[str, Any]:
    """Everything the page needs to show cells, ready for JSON.

    Returns
    -------
    ``size``, ``pixel_size`` (micrometres, None where nobody knows), ``n``,
    ``channels``, ``control`` and ``unchanged`` (the same cells restyled to control; one picture a
    channel) and ``genes``: name, complexes, n_cells, ``trust`` (status and words), ``restyled`` and ``knockout`` (one
    picture a channel), in alphabetical order. A picture is a row of n crops as a PNG data URI.
    """
    nets, averaged = trained_nets(inputs.run, averaged=inputs.averaged)
    restyler = Restyler(inputs.run, store, nets, averaged)
    chosen, seed = choose_genes(inputs, restyler.nets), inputs.run.config.seed
    control_row = store.control_label
    controls = draw_cells(store, control_row, CELLS, seed)
    control = store.standardized(controls)
    knockouts = [store.standardized(draw_matching(store, row, controls, seed)) for row in chosen]
    channels = channel_views(store.channels, np.concatenate([control, *knockouts]))
    unchanged = restyler.images(controls, restyler.styles([control_row]))[0]
    trusts = trust_of(inputs.check, inputs.genes)
    genes: list[dict[str, Any]] = []
    spent = 0
    with progress("restyle cells", len(chosen), "gene") as advance:
        for row, knockout in zip(chosen, knockouts, strict=True):
            restyled = restyler.images(controls, restyler.styles([row]))[0]
            pictures = {"restyled": strips(restyled, channels), "knockout": strips(knockout, channels)}
            spent += sum(len(uri) for uris in pictures.values() for uri in uris)
            if genes and spent > MOST_CHARACTERS - CHARACTERS_A_GENE * len(inputs.genes):
                break
            name = inputs.run.genes.index[row]
            n_cells = int((store.labels == row).sum())
            facts = {"name": name, "complexes": inputs.complexes_of(name), "n_cells": n_cells}
            genes.append(facts | {"trust": vars(trusts[name])} | pictures)
            advance()
    return {
        "size": store.crop_size,
        "pixel_size": store.meta["provenance"].get("pixel_size"),
        "n": len(controls),
        "averaged": inputs.averaged,
        "n_all_genes": len(inputs.genes),
        "channels": [vars(channel) for channel in channels],
        "control": strips(control, channels),
        "unchanged": strips(unchanged, channels),
        "genes": sorted(genes, key=lambda gene: str(gene["name"]).casefold()),
    }


def choose_genes(inputs: ReportInputs, nets: Grape) -> list[int]:
    """Rows of the genes to show: those furthest from the control, by turns over the complexes.

    How far a gene is from the control is the distance of their style codes, which is all the generator is given.
    """
    with torch.no_grad():
        styles = nets.styles().float().cpu().numpy()
    names = inputs.run.genes.index.tolist()
    control = [row for row, name in enumerate(names) if name not in set(inputs.genes)]
    distance = np.linalg.norm(styles - styles[control].mean(axis=0), axis=1)
    rows = sorted((r for r in range(len(names)) if r not in control), key=lambda row: -distance[row])
    turns: dict[int, int] = {}
    taken: Counter[str] = Counter()
    for row in rows:
        group = next(iter(inputs.complexes_of(names[row])), "")
        turns[row] = taken[group] + (not group)  # genes of no known complex come after the first of every complex
        taken[group] += 1
    return sorted(rows, key=lambda row: (turns[row], -distance[row]))[:MOST_GENES]


def strips(crops: np.ndarray, channels: Sequence[ChannelView]) -> list[str]:
    """One PNG a channel, the crops in a row: (n, C, H, H) -> C data URIs."""
    return [_png(_grey(crops[:, index], channel)) for index, channel in enumerate(channels)]


def _grey(crops: np.ndarray, channel: ChannelView) -> np.ndarray:
    """Crops of a channel in a row, between its limits: (n, H, H) -> (H, n * H) uint8."""
    levels = np.rint(grey(crops, channel) * (GREYS - 1)) * (255 / (GREYS - 1))
    return np.concatenate(list(np.rint(levels).astype(np.uint8)), axis=1)


def _png(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
