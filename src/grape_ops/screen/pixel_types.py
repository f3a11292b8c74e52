"""One pixel type for all images that are measured by one scale: 255 of 8 bits is not 255 of 16."""

from collections.abc import Mapping

import numpy as np

from grape_ops.errors import GrapeOpsError


class MixedPixelTypes(GrapeOpsError):
    """Images differ in type; which of them are right, no single one tells, so none is left out for it."""


def kind_of(dtype: np.dtype) -> str:
    """Name what decides how bright pixels are: all floats are one kind, and so are both orders of bytes."""
    return "float" if dtype.kind == "f" else dtype.name


def mixed_types(what: str, examples: Mapping[str, str]) -> MixedPixelTypes:
    """Make the error, from what the images are ("The tiles of P1|A1"), and an image of each type."""
    listed = ", ".join(f"{image} is {kind}" for kind, image in examples.items())
    return MixedPixelTypes(
        f"{what} are of different pixel types ({listed}), whose values do not mean the same brightness; convert them "
        "to one."
    )


class NonFinitePixels(GrapeOpsError):
    """A crop has pixels that are NaN or infinite."""
