"""CellProfiler's features of the cell in the middle of each crop, by cp-measure.

cp-measure takes an image with any number of labelled objects, and calling it costs far more than a small object does.
Crops are therefore laid side by side into one dark-framed picture with one object each; nothing that is measured
reaches over the frame, so that a cell's features depend on its own crop only.
Letters: N crops, C channels, H and W height and width, K features.
"""

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from grape_ops.config import FeatureSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.features.regions import find_all_regions

REGIONS = ("nucleus", "cell")
# Where a cell lies in the picture, and how it happens to be turned, is no phenotype.
_NO_PHENOTYPE = ("Location_", "Center_", "BoundingBoxM", "SpatialMoment_", "Orientation", "RadialDistribution_ZernikeP")
# Not defined, or 0, whatever the shape.
_NEVER = {f"NormalizedMoment_{i}" for i in ("0_0", "0_1", "1_0")} | {"CentralMoment_0_1", "CentralMoment_1_0"}
_CROPS_AT_ONCE = 64

Measured = dict[str, np.ndarray]


def crop_features(
    crops: np.ndarray,
    channels: Sequence[str],
    nucleus: int,
    masks: np.ndarray | None = None,
    settings: FeatureSettings | None = None,
) -> tuple[list[str], np.ndarray]:
    """Measure nucleus and cell in every channel of crops, from a store or made by a generator.

    Parameters
    ----------
    crops : (N, C, H, W), uint8 or uint16 pixels, or floats in [0, 1].
    channels : names of the C channels.
    nucleus : position of the channel that shows nuclei (``nucleus_channel`` finds it).
    masks : (N, 2, H, W), nucleus and cell of each crop, non-zero inside; found in the crops if None.
    settings : what is measured; the defaults if None.

    Returns
    -------
    names and values (N, K) float32, named as ``cell_Intensity_MeanIntensity_DNA``. A cell without a nucleus or body
    has NaN throughout; a single feature that is not defined for a cell is NaN.

    Raises
    ------
    GrapeOpsError : cp-measure is not installed, or shapes or pixel types do not fit.
    """
    settings = settings or FeatureSettings()
    pixels = _as_uint16(crops, channels)
    masks = find_all_regions(pixels, nucleus) if masks is None else _checked(masks, pixels)
    found: np.ndarray = masks.astype(bool).any(axis=(2, 3)).min(axis=1, initial=True)
    names: list[str] = []
    values = np.empty((0, 0), np.float32)
    # Of no cells at all the names are still wanted: a dot stands in for one.
    chunks = np.split(np.flatnonzero(found), range(_CROPS_AT_ONCE, int(found.sum()), _CROPS_AT_ONCE))
    for rows in chunks if found.any() else [None]:
        chosen = (pixels[rows], masks[rows]) if rows is not None else _stand_in(pixels.shape)
        names, part = _measure(*chosen, list(channels), settings)
        if not values.size:
            values = np.full((len(pixels), len(names)), np.nan, np.float32)
        if rows is not None:
            values[rows] = part
    return names, values


def _measure(
    pixels: np.ndarray, masks: np.ndarray, channels: list[str], settings: FeatureSettings
) -> tuple[list[str], np.ndarray]:
    """Measure cells that all have a nucleus and a body: (N, C, H, W), (N, 2, H, W) -> (N, K)."""
    pictures = [_mosaic(pixels[:, c]) for c in range(len(channels))]
    order = np.arange(1, len(pixels) + 1, dtype=np.int32)
    columns: Measured = {}
    for place, region in enumerate(REGIONS):
        labels = _mosaic((masks[:, place] != 0) * order[:, None, None])
        for name, value in _of_region(labels, pictures, channels, settings):
            columns[f"{region}_{name}"] = value
    table = np.stack(list(columns.values()), axis=1)
    table[~np.isfinite(table)] = np.nan
    return list(columns), table.astype(np.float32)


def _of_region(
    labels: np.ndarray, pictures: list[np.ndarray], channels: list[str], settings: FeatureSettings
) -> Iterator[tuple[str, np.ndarray]]:
    shape, intensity, pairs = _groups(settings)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # empty rings and flat cells are NaN, and counted as such
        for measure in shape:
            for name, value in _kept(measure(labels, None)):
                yield f"AreaShape_{name}", value
        for channel, picture in zip(channels, pictures, strict=True):
            for measure in intensity:
                for name, value in _kept(_without_direction(measure(labels, picture))):
                    yield f"{name}_{channel}", value
        for a, b in itertools.combinations(range(len(channels)), 2):
            for measure in pairs:
                for name, value in _kept(measure(pictures[a], pictures[b], labels)):
                    yield f"{name}_{channels[a]}_{channels[b]}", value


def _groups(settings: FeatureSettings) -> tuple[list[Callable[..., Any]], ...]:
    """The measurements of shape, of one channel, and of a pair of channels."""
    core, pairs = _library()
    texture = partial(core["texture"], scale=settings.texture_scale, gray_levels=settings.texture_levels)
    # Crops are small already, so that nothing is subsampled.
    granularity = partial(
        core["granularity"],
        subsample_size=1,
        image_sample_size=1,
        element_size=settings.granularity_radius,
        granular_spectrum_length=settings.granularity_steps,
    )
    slow_shape: list[Callable[..., Any]] = [core["zernike"], core["feret"]] if settings.full else []
    slow_intensity: list[Callable[..., Any]] = [granularity, core["radial_zernikes"]] if settings.full else []
    slow_pairs = [pairs["rwc"], pairs["costes"]] if settings.full else []
    return (
        [core["sizeshape"], *slow_shape],
        [core["intensity"], core["radial_distribution"], texture, *slow_intensity],
        [pairs["pearson"], pairs["manders_fold"], *slow_pairs],
    )


def _library() -> tuple[dict[str, Callable[..., Any]], dict[str, Callable[..., Any]]]:
    try:
        from cp_measure.bulk import get_core_measurements, get_correlation_measurements
    except ImportError:
        raise GrapeOpsError(
            "Measuring cells needs cp-measure, which is not installed: pip install 'grape-ops[features]'."
        ) from None
    return get_core_measurements(sanitize=False), get_correlation_measurements(sanitize=False)


def _kept(measured: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    for name, value in measured.items():
        if not name.startswith(_NO_PHENOTYPE) and name not in _NEVER:
            yield name, np.asarray(value, np.float64)


def _without_direction(measured: dict[str, Any]) -> dict[str, Any]:
    """Average texture over its four directions, which say how the cell is turned: Contrast_3_00_32 -> Texture_…"""
    directed: dict[str, list[np.ndarray]] = {}
    rest: dict[str, Any] = {}
    for name, value in measured.items():
        word, *numbers = name.split("_")
        if len(numbers) == 3 and all(number.isdigit() for number in numbers):
            directed.setdefault(f"Texture_{word}_{numbers[0]}", []).append(np.asarray(value))
        else:
            rest[name] = value
    return rest | {name: np.mean(values, axis=0) for name, values in directed.items()}


def _mosaic(tiles: np.ndarray) -> np.ndarray:
    """Lay tiles side by side in a frame of zeros: (N, H, W) -> one picture."""
    n, height, width = tiles.shape
    side = int(np.ceil(np.sqrt(n)))
    framed = np.zeros((side * side, height + 2, width + 2), tiles.dtype)
    framed[:n, 1:-1, 1:-1] = tiles
    rows = framed.reshape(side, side, height + 2, width + 2).swapaxes(1, 2)
    return rows.reshape(side * (height + 2), side * (width + 2))


def _as_uint16(crops: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Pixels of one type, whatever came: (N, C, H, W)."""
    if crops.ndim != 4 or crops.shape[1] != len(channels):
        raise GrapeOpsError(f"Crops must be (cells, {len(channels)} channels, height, width); got {crops.shape}.")
    if crops.dtype == np.uint16:
        return crops
    if crops.dtype == np.uint8:
        return crops.astype(np.uint16) * 257
    if np.issubdtype(crops.dtype, np.floating) and (not crops.size or (crops.min() >= 0 and crops.max() <= 1)):
        return np.rint(crops * 65535).astype(np.uint16)
    reach = f" from {crops.min():.4g} to {crops.max():.4g}" if crops.size else ""
    raise GrapeOpsError(
        f"Crops to measure must be uint8, uint16, or floats between 0 and 1; these are {crops.dtype}{reach}."
    )


def _checked(masks: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    wanted = (len(pixels), len(REGIONS), *pixels.shape[2:])
    if masks.shape != wanted:
        raise GrapeOpsError(f"Masks must be {wanted}, nucleus and cell of each crop; got {masks.shape}.")
    return masks


def _stand_in(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    masks = np.zeros((1, len(REGIONS), *shape[2:]), dtype=bool)
    masks[:, :, shape[2] // 4 : -shape[2] // 4, shape[3] // 4 : -shape[3] // 4] = True
    return np.ones((1, *shape[1:]), np.uint16), masks
