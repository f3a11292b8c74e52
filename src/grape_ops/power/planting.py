"""Change the pixels of a real cell so that it shows a known phenotype.

Each change moves its trait (``traits.py``) by a stated amount and leaves the cell's other traits nearly alone: shape by
a smooth warp of all channels, pattern and brightness by changing the light of the cell's own ground, with soft
edges. Legend: C channels, S crop size, T traits.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from grape_ops.power.traits import TINY, Anatomy, Trait, bright_spots, fine_structure, outwardness, region

LARGEST_STRETCH = 0.8  # of the logarithm of an area or of an axis ratio: beyond it the warp would fold
WARP_ENDS = 2.2  # radii from the centre where the warp has died out
SPOT_SIZE = 0.09  # standard deviation of a planted spot, in nuclear radii
SPOTS = 6.0  # mean number of planted spots
_ORDER = ("size", "elongation", "correlation", "radial", "texture", "foci", "intensity")


def plant(
    light: np.ndarray,
    anatomy: Anatomy,
    traits: Sequence[Trait],
    changes: np.ndarray,
    nuclear: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Plant a phenotype in one cell.

    Parameters
    ----------
    light : (C, S, S) float, above background.
    anatomy : of the untouched cell.
    traits : what the changes are of.
    changes : (T,) on the scale each trait is measured on; 0 leaves it alone.
    nuclear : channel of the nucleus.
    rng : draws where spots lie.

    Returns
    -------
    (C, S, S) float32.
    """
    planted = np.array(light, dtype=np.float32)
    shape = {trait.kind: float(change) for trait, change in zip(traits, changes, strict=True) if trait.channel < 0}
    if any(shape.values()):
        planted, anatomy = _warp(planted, anatomy, shape.get("size", 0.0), shape.get("elongation", 0.0))
    rest = [(trait, float(change)) for trait, change in zip(traits, changes, strict=True) if trait.channel >= 0]
    for trait, change in sorted(rest, key=lambda pair: _ORDER.index(pair[0].kind)):
        if change:
            where = anatomy.ground if trait.kind == "correlation" else region(anatomy, trait.channel, nuclear)
            new = _changed(planted, anatomy, where, trait, change, rng)
            soft = ndimage.gaussian_filter(where.astype(np.float32), anatomy.radius / 12)
            planted[trait.channel] += soft * (new - planted[trait.channel])
    return planted


def _changed(
    light: np.ndarray, anatomy: Anatomy, where: np.ndarray, trait: Trait, change: float, rng: np.random.Generator
) -> np.ndarray:
    """The trait's channel as it would be if the change held everywhere: -> (S, S)."""
    own = light[trait.channel]
    if trait.kind == "intensity":
        return own * np.exp(change)
    if trait.kind == "texture":
        return own + (np.exp(change) - 1) * fine_structure(own, anatomy.radius)
    if trait.kind == "foci":
        return _with_foci(own, anatomy, where, change, rng)
    if trait.kind == "radial":
        return _tilted(own, anatomy, where, change)
    return _correlated(own, light[trait.other], where, change)


def _with_foci(
    own: np.ndarray, anatomy: Anatomy, where: np.ndarray, change: float, rng: np.random.Generator
) -> np.ndarray:
    """Multiply the light in spots by exp(change): by new spots, or by dimming those that are there."""
    spots = bright_spots(own, anatomy.radius)
    if change < 0:
        return own + (np.exp(change) - 1) * spots
    width = max(SPOT_SIZE * anatomy.radius, 0.5)
    inner = where & (ndimage.distance_transform_edt(where) > width)
    places = np.argwhere(inner if inner.any() else where)
    centres = places[rng.integers(len(places), size=1 + rng.poisson(SPOTS - 1))] + rng.uniform(-0.5, 0.5, 2)
    y, x = np.ogrid[: own.shape[0], : own.shape[1]]
    share = rng.gamma(4.0, size=len(centres))  # spots differ in brightness
    drawn = np.zeros(own.shape)
    for light, (spot_y, spot_x) in zip(share, centres, strict=True):
        drawn += light * np.exp(-((y - spot_y) ** 2 + (x - spot_x) ** 2) / (2 * width**2))
    return own + drawn * (np.exp(change) - 1) * spots[where].sum() / max(float(drawn[where].sum()), TINY)


def _tilted(own: np.ndarray, anatomy: Anatomy, where: np.ndarray, change: float) -> np.ndarray:
    """Move light inwards (change > 0) or outwards and keep its sum."""
    out = outwardness(anatomy, where)
    inner = out <= np.median(out)
    gap = max(float(out[~inner].mean() - out[inner].mean()) if (~inner).any() else 1.0, 0.1)
    tilt = np.exp(-change / gap * (out - out.mean()))
    before = own[where]
    tilted = before * tilt
    new = own.copy()
    new[where] = tilted * before.sum() / max(float(tilted.sum()), TINY)
    return new


def _correlated(own: np.ndarray, other: np.ndarray, where: np.ndarray, change: float) -> np.ndarray:
    """Move the correlation with another channel by ``change`` in Fisher's z; mean and spread of the light stay."""
    a, b = other[where], own[where]
    mean, spread = b.mean(), b.std()
    a, b = (a - a.mean()) / max(float(a.std()), TINY), (b - mean) / max(float(spread), TINY)
    r = float(np.clip((a * b).mean(), -0.99, 0.99))
    aim = np.tanh(np.arctanh(r) + change)
    new = own.copy()
    new[where] = mean + spread * (aim * a + np.sqrt((1 - aim**2) / (1 - r**2)) * (b - r * a))
    return new


def _warp(light: np.ndarray, anatomy: Anatomy, size: float, elongation: float) -> tuple[np.ndarray, Anatomy]:
    """Change the nucleus' area and axis ratio by exp(size) and exp(elongation), all channels alike."""
    size, elongation = np.clip([size, elongation], -LARGEST_STRETCH, LARGEST_STRETCH)
    long, short = np.exp((size + elongation) / 2), np.exp((size - elongation) / 2)
    sine, cosine = np.sin(anatomy.angle), np.cos(anatomy.angle)
    y, x = np.indices(light.shape[1:], dtype=np.float32)
    y, x = y - anatomy.centre[0], x - anatomy.centre[1]
    along, across = cosine * x + sine * y, cosine * y - sine * x
    # In units of the new nucleus, so that all of it is stretched and its surroundings take up the difference.
    distance = np.hypot(along / long, across / short) / anatomy.radius
    ease = np.clip((WARP_ENDS - distance) / (WARP_ENDS - 1), 0, 1)
    ease = ease * ease * (3 - 2 * ease)
    from_along = along * (1 + ease * (1 / long - 1))
    from_across = across * (1 + ease * (1 / short - 1))
    source = np.stack(
        [
            anatomy.centre[0] + sine * from_along + cosine * from_across,
            anatomy.centre[1] + cosine * from_along - sine * from_across,
        ]
    )
    warped = np.stack([ndimage.map_coordinates(channel, source, order=3, mode="nearest") for channel in light])
    masks = [
        ndimage.map_coordinates(mask.astype(np.float32), source, order=1, mode="nearest") > 0.5
        for mask in (anatomy.nucleus, anatomy.ground)
    ]
    nucleus, ground = masks[0], masks[0] | masks[1]
    within = ndimage.distance_transform_edt(nucleus)
    depth = (within.max() - within + ndimage.distance_transform_edt(~nucleus)).astype(np.float32)
    moved = Anatomy(
        nucleus=nucleus,
        ground=ground,
        depth=depth,
        centre=anatomy.centre,
        radius=float(np.sqrt(max(nucleus.sum(), 1) / np.pi)),
        angle=anatomy.angle,
        elongation=float(anatomy.elongation * np.exp(elongation)),
    )
    return warped.astype(np.float32), moved
