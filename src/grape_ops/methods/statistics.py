"""Plain statistics of the crops, averaged over each gene's cells: what needs no learning at all.

Per channel: mean, standard deviation, quantiles, mean in rings around the cell's centre, energy of the
gradient, and contrast left after averaging over blocks of growing size (granularity); per pair of channels
their correlation. With crops of a multiple of 8 pixels, which training asks for, none of them changes when a
crop is turned by quarter turns or mirrored. Each is z-scored by the controls of the cell's batch.
Legend: n crops, C channels, S crop size.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from grape_ops.cells.averages import Reader, average_by_gene, standardize_by_controls
from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.features.channels import check_channels
from grape_ops.methods.method import Method, Task, no_files
from grape_ops.progress import progress

if TYPE_CHECKING:
    from anndata import AnnData

QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
RINGS = 6
BLOCKS = (2, 4, 8)
_CROPS_AT_ONCE = 256


def image_statistics(task: Task) -> "AnnData":
    """Average the image statistics of each gene's cells; nothing is drawn, the seed is not used."""
    store = task.store
    names, read = read_statistics(store, task.config.features.channels)
    features = np.empty((len(store), len(names)), dtype=np.float32)
    with progress("Image statistics", len(store), "crop") as advance:
        for first in range(0, len(store), _CROPS_AT_ONCE):
            chosen = np.arange(first, min(first + _CROPS_AT_ONCE, len(store)))
            features[chosen] = read(chosen)
            advance(len(chosen))
    genes = average_by_gene(standardize_by_controls(features, store), store, "statistics")
    genes.var_names = list(names)
    return genes


def read_statistics(store: CropStore, chosen: Sequence[str] = ()) -> tuple[tuple[str, ...], Reader]:
    """Names of the statistics of a store's crops, in some channels or in all, and what reads them.

    Raises
    ------
    GrapeOpsError : a channel is none of the store's.
    """
    check_channels(store.channels, chosen)
    places = [place for place, name in enumerate(store.channels) if not chosen or name in chosen]

    def of_crops(rows: np.ndarray) -> np.ndarray:
        crops = store.standardized(rows)
        return crop_statistics(crops[:, places] if chosen else crops)

    def read(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([of_crops(part) for part in np.array_split(rows, max(len(rows) // _CROPS_AT_ONCE, 1))])

    return tuple(statistic_names(tuple(store.channels[place] for place in places))), read


def statistic_names(channels: tuple[str, ...]) -> list[str]:
    """Name the statistics in the order of ``crop_statistics``."""
    kinds = ["mean", "sd", *(f"quantile_{q:g}" for q in QUANTILES), *(f"ring_{r}" for r in range(RINGS))]
    kinds += ["gradient", *(f"granularity_{b}" for b in BLOCKS)]
    pairs = [(a, b) for i, a in enumerate(channels) for b in channels[i + 1 :]]
    return [f"{kind}_{name}" for kind in kinds for name in channels] + [f"correlation_{a}_{b}" for a, b in pairs]


def crop_statistics(crops: np.ndarray) -> np.ndarray:
    """Measure crops: (n, C, S, S) float32 -> (n, V) float32."""
    n, channels, size = crops.shape[:3]
    flat = crops.reshape(n, channels, -1)
    mean, sd = flat.mean(axis=2), flat.std(axis=2)
    quantiles = np.quantile(flat, QUANTILES, axis=2, method="nearest")
    rings = np.moveaxis(flat @ _rings(size), 2, 0)
    steps = [np.square(np.diff(crops, axis=axis)).mean(axis=(2, 3)) for axis in (2, 3)]
    contrasts = [_blocks(crops, block).std(axis=(2, 3)) for block in BLOCKS]
    columns = [mean, sd, *quantiles, *rings, steps[0] + steps[1], *contrasts]
    centred = (flat - mean[:, :, None]) / np.maximum(sd, 1e-6)[:, :, None]
    correlation = centred @ centred.transpose(0, 2, 1) / flat.shape[2]
    upper = np.triu_indices(channels, k=1)
    return np.concatenate([*columns, correlation[:, upper[0], upper[1]]], axis=1).astype(np.float32)


def _rings(size: int) -> np.ndarray:
    """Weights of a mean over each of ``RINGS`` rings of equal width: (S * S, RINGS)."""
    places = np.arange(size) - (size - 1) / 2
    distance = np.hypot(places[:, None], places).ravel()
    ring = (distance / (size / 2) * RINGS).astype(int)
    inside = ring[:, None] == np.arange(RINGS)  # corners of the crop lie in no ring
    return (inside / np.maximum(inside.sum(axis=0), 1)).astype(np.float32)


def _blocks(crops: np.ndarray, block: int) -> np.ndarray:
    n, channels, size = crops.shape[:3]
    block = min(block, size)
    whole = size // block
    inner = crops[:, :, : whole * block, : whole * block]
    return inner.reshape(n, channels, whole, block, whole, block).mean(axis=(3, 5))


def channels_chosen(config: Config) -> dict[str, list[str]]:
    """The channels that a method is restricted to, as what decides its vectors; nothing if it reads all."""
    return {"channels": list(config.features.channels)} if config.features.channels else {}


def _check_channels(store: CropStore, config: Config) -> None:
    check_channels(store.channels, config.features.channels)


STATISTICS = Method(
    "statistics",
    image_statistics,
    deterministic=True,
    settings=channels_chosen,
    inputs=no_files,
    check=_check_channels,
    by_channel=True,
)
