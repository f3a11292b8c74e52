"""How pixels that are floats become whole numbers, chosen from samples of a channel.

Camera counts stay what they are: whole numbers up to 65,535, or fractions that are large enough to be rounded.
Others are spread over 16 bits: those within 0 and 1 over all of them; those that go somewhat further so that the
brightest sample lies in the middle, since brighter pixels may lie where nobody looked. Channels with negative
values are spread around their samples, with as much room on either side as half of their range. A few pixels far
beyond all others decide nothing: they are cut off, and told.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

COUNTS = 65535  # floats become whole numbers up to this
ROUNDABLE = 1024  # of images that are as bright as this, rounding leaves less than their noise
FAR, SHARE = 100, 0.999  # so many times what this share of the pixels reach is beyond all others
_ENOUGH = 1000  # pixels that are not 0, to tell what lies beyond them
NO_CAMERA = float(1 << 24)  # counts beyond this are none

MEND_STRANGE = (
    "If these mark pixels without a value, write NaN in their place; if not, set screen.float_max to the largest value "
    "that counts."
)


class FloatScale(NamedTuple):
    """Pixels become (pixel - offset) x gain, rounded, within 0 and 65,535.

    Attributes
    ----------
    beyond : a sampled value far beyond all others, which decided nothing; None if there is none.
    """

    gain: float = 1.0
    offset: float = 0.0
    beyond: float | None = None

    @property
    def top(self) -> float:
        """Largest value that is not cut off."""
        return self.offset + COUNTS / self.gain

    @property
    def strange(self) -> float | None:
        """A value that cannot be brightness: beyond all others, or more than cameras count."""
        return self.beyond if self.beyond is not None else self.top if self.top > NO_CAMERA else None


def choose_scale(pixels: np.ndarray, largest: float | None) -> FloatScale:
    """Choose the scale of a channel from a sample: (n,) floats; of numbers alone.

    Parameters
    ----------
    largest : what is known to be the largest value; sampled if None.
    """
    kept, beyond = without_far(pixels) if largest is None else (pixels, None)
    lowest, highest = float(kept.min(initial=0)), float(kept.max(initial=0))
    if lowest < 0:
        if largest:
            return FloatScale(COUNTS / (2 * largest), -largest)
        reach = highest - lowest
        return FloatScale(COUNTS / (2 * reach), lowest - reach / 2, beyond)
    if not highest:
        return FloatScale(beyond=beyond)  # no floats, or nothing but background
    return FloatScale(_gain(kept, largest, largest or highest), beyond=beyond)


def _gain(pixels: np.ndarray, largest: float | None, known: float) -> float:
    if known > COUNTS:
        return COUNTS / known
    if (bool((pixels == np.rint(pixels)).all()) and known > 1) or known >= ROUNDABLE:
        return 1.0
    if largest or known <= 1:
        return COUNTS / max(known, 1.0)
    return COUNTS / (2 * known)


def without_far(pixels: np.ndarray) -> tuple[np.ndarray, float | None]:
    """Leave out a few pixels far beyond all others: -> the others, and the farthest."""
    size = np.abs(pixels)
    if np.count_nonzero(size) < _ENOUGH:
        return pixels, None
    far = size > FAR * float(np.quantile(size[size > 0], SHARE, method="lower"))
    return (pixels[~far], float(pixels[size.argmax()])) if far.any() else (pixels, None)


def to_counts(image: np.ndarray, scale: FloatScale) -> np.ndarray:
    """Make whole numbers of floats; those that are no numbers become 0."""
    image = np.nan_to_num(image, nan=0, posinf=0, neginf=0)
    with np.errstate(over="ignore"):
        if scale.offset:
            image = image - np.float32(scale.offset)
        return np.clip(np.rint(image * np.float32(scale.gain)), 0, COUNTS).astype(np.uint16)


def doubts_of_scales(names: Sequence[str], scales: Sequence[FloatScale]) -> list[str]:
    """Say how floats are taken that are neither counts nor within 0 and 1, and which values are strange."""
    spread = [
        f"{name} (x - {scale.offset:.4g}) x {scale.gain:.5g}, cut off below {scale.offset:.4g} and above "
        f"{scale.top:.4g}"
        for name, scale in zip(names, scales, strict=False)
        if scale.offset or scale.gain not in (1.0, float(COUNTS))
    ]
    doubts = []
    if spread:
        doubts.append(
            "Pixels are floats that are neither counts nor within 0 and 1; they become whole numbers by "
            f"{'; '.join(spread)}. If they go further, set screen.float_max to their largest value."
        )
    if strange := strange_values(names, scales):
        doubts.append(f"Pixels that can hardly be brightness: {'; '.join(strange)}. {MEND_STRANGE}")
    return doubts


def strange_values(names: Sequence[str], scales: Sequence[FloatScale]) -> list[str]:
    """Name the channels with values that can hardly be brightness, and what becomes of these."""
    return [
        f"{name} goes to {scale.strange:.4g} (cut off above {scale.top:.4g})"
        for name, scale in zip(names, scales, strict=False)
        if scale.strange is not None
    ]
