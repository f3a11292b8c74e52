"""Real control cells, the same cells restyled to a gene, and real knock-out cells, side by side at equal contrast.

Cells are drawn by the run's seed, not picked by eye. The control cells are the same for every gene; in each column the
knock-out cell comes from the control's batch where the gene has cells there. Pixels are what the networks see, in
standard deviations of the batch's controls, and one pair of limits a channel holds for all rows and genes.

Letters: P perturbations, S length of a style code, C channels, H crop size, n cells in a row.
"""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from grape_ops.cells.store import CropStore
from grape_ops.embed import trained_nets
from grape_ops.nn.grape import Grape
from grape_ops.progress import progress
from grape_ops.report.material import Material

CELLS = 6
MOST_GENES = 24
# Base64 characters of all pictures; keeps the page well below 15 MB beside the 5 MB of the plotting library.
MOST_CHARACTERS = 7_000_000
# Black and white points: these percentiles of each cell, such that this share of the cells is not clipped. Over all
# pixels at once, a few bright dying cells would leave the others dark.
DARKEST, BRIGHTEST, UNCLIPPED = 0.5, 99.8, 0.8
# Grey levels written: more than an eye tells apart, and noise in the last bits would double the files.
GREYS = 128
_CONTROL, _KNOCKOUT = 1, 2  # streams of the run's seed


@dataclass(frozen=True)
class Channel:
    """How a channel is shown: its name, its colour in the composite, and its black and white points."""

    name: str
    colour: str
    low: float
    high: float


def cell_pictures(material: Material, store: CropStore) -> dict[str, Any]:
    """Everything the page needs to show cells, ready for JSON.

    Returns
    -------
    ``size``, ``n``, ``channels``, ``control`` (one picture a channel) and ``genes``: name, complexes, n_cells,
    ``restyled`` and ``knockout`` (one picture a channel). A picture is a row of n crops as a PNG data URI.
    """
    nets, _ = trained_nets(material.run, averaged=material.averaged)
    nets.to("cuda" if torch.cuda.is_available() else "cpu")
    chosen = choose_genes(material, nets)
    seed = material.run.config.seed
    controls = draw_controls(store, seed)
    control = store.standardized(controls)
    knockouts = [store.standardized(draw_matching(store, row, controls, seed)) for row in chosen]
    channels = _channels(store, np.concatenate([control, *knockouts]))
    genes: list[dict[str, Any]] = []
    spent = 0
    with progress("restyle cells", len(chosen), "gene") as advance:
        for row, knockout in zip(chosen, knockouts, strict=True):
            restyled = restyle(nets, control, row)
            pictures = {"restyled": strips(restyled, channels), "knockout": strips(knockout, channels)}
            spent += sum(len(uri) for uris in pictures.values() for uri in uris)
            if genes and spent > MOST_CHARACTERS:
                break
            name = material.run.genes.index[row]
            n_cells = int((store.labels == row).sum())
            genes.append({"name": name, "complexes": material.complexes_of(name), "n_cells": n_cells, **pictures})
            advance()
    return {
        "size": store.crop_size,
        "n": len(controls),
        "averaged": material.averaged,
        "n_all_genes": len(material.genes),
        "channels": [vars(channel) for channel in channels],
        "control": strips(control, channels),
        "genes": genes,
    }


def choose_genes(material: Material, nets: Grape) -> list[int]:
    """Rows of the genes to show: those told furthest from the control, by turns over the complexes.

    How far a gene is from the control is the distance of their style codes, which is all the generator is told.
    """
    with torch.no_grad():
        styles = nets.styles().float().cpu().numpy()
    names = material.run.genes.index.tolist()
    control = [row for row, name in enumerate(names) if name not in set(material.genes)]
    distance = np.linalg.norm(styles - styles[control].mean(axis=0), axis=1)
    rows = sorted((r for r in range(len(names)) if r not in control), key=lambda row: -distance[row])
    turns: dict[int, int] = {}
    taken: Counter[str] = Counter()
    for row in rows:
        group = next(iter(material.complexes_of(names[row])), "")
        turns[row] = taken[group] + (not group)  # genes of no known complex come after the first of every complex
        taken[group] += 1
    return sorted(rows, key=lambda row: (turns[row], -distance[row]))[:MOST_GENES]


def draw_controls(store: CropStore, seed: int) -> np.ndarray:
    """Control cells to show, in by turns from as many batches as there are: (n,)."""
    rng = np.random.default_rng([seed, _CONTROL])
    cells = np.flatnonzero(store.labels == len(store.perturbations) - 1)
    cells = rng.permutation(cells)
    return cells[np.argsort(_turn_within(store.batch_codes[cells]), kind="stable")][:CELLS]


def draw_matching(store: CropStore, row: int, controls: np.ndarray, seed: int) -> np.ndarray:
    """Cells of a perturbation, each from the batch of the control in its column where possible: at most (n,)."""
    rng = np.random.default_rng([seed, _KNOCKOUT, row])
    free = rng.permutation(np.flatnonzero(store.labels == row)).tolist()
    drawn = []
    for control in controls.tolist()[: len(free)]:
        same = [cell for cell in free if store.batch_codes[cell] == store.batch_codes[control]]
        drawn.append((same or free)[0])
        free.remove(drawn[-1])
    return np.array(drawn, dtype=np.int64)


def restyle(nets: Grape, crops: np.ndarray, row: int) -> np.ndarray:
    """Repaint network input with a perturbation's phenotype: (n, C, H, H) -> (n, C, H, H)."""
    device = next(nets.parameters()).device
    with torch.inference_mode():
        labels = torch.full((len(crops),), row, device=device)
        return nets.restyle(torch.from_numpy(crops).to(device), labels).float().cpu().numpy()


def strips(crops: np.ndarray, channels: Sequence[Channel]) -> list[str]:
    """One PNG a channel, the crops in a row: (n, C, H, H) -> C data URIs."""
    return [_png(_grey(crops[:, index], channel)) for index, channel in enumerate(channels)]


def _turn_within(codes: np.ndarray) -> np.ndarray:
    """How often each value came before: (N,) -> (N,)."""
    seen: dict[int, int] = {}
    turns = []
    for code in codes.tolist():
        turns.append(seen.get(code, 0))
        seen[code] = turns[-1] + 1
    return np.array(turns)


def _channels(store: CropStore, shown: np.ndarray) -> list[Channel]:
    """Limits from all real pixels shown (N, C, H, H), colours by the dye where the name tells it."""
    darkest, brightest = np.percentile(shown, (DARKEST, BRIGHTEST), axis=(2, 3))
    low, high = np.quantile(darkest, 1 - UNCLIPPED, axis=0), np.quantile(brightest, UNCLIPPED, axis=0)
    return [
        Channel(name, shade, float(a), float(max(b, a + 1e-6)))
        for name, shade, a, b in zip(store.channels, composite_colours(store.channels), low, high, strict=True)
    ]


def composite_colours(names: Sequence[str]) -> list[str]:
    """Colours of the channels in the composite: DNA is blue, as everybody expects, the others differ from it."""
    blue = "#4d6bff"
    others = ["#3ddc5b", "#ff3fd0", "#ffc21a", "#23d9e8", "#ff6b3d", "#b0b0b0", "#a77bff"]
    dna = next((i for i, name in enumerate(names) if _is_dna(name)), None)
    left = [i for i in range(len(names)) if i != dna]
    colours = {row: others[turn % len(others)] for turn, row in enumerate(left)}
    return [colours.get(i, blue) for i in range(len(names))]


def _is_dna(name: str) -> bool:
    return name.lower() in {"dna", "nucleus", "nuclei"} or any(dye in name.lower() for dye in ("dapi", "hoechst"))


def _grey(crops: np.ndarray, channel: Channel) -> np.ndarray:
    """Crops of a channel in a row, between its limits: (n, H, H) -> (H, n * H) uint8."""
    scaled = np.clip((crops - channel.low) / (channel.high - channel.low), 0, 1)
    levels = np.rint(scaled * (GREYS - 1)) * (255 / (GREYS - 1))
    return np.concatenate(list(np.rint(levels).astype(np.uint8)), axis=1)


def _png(grey: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
