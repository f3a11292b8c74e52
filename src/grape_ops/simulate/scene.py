"""One tile: where its cells lie, their light added up, and what microscope and camera make of it.

Letters: C channels, H and W pixels.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from grape_ops.errors import GrapeOpsError
from grape_ops.simulate.drawing import CHANNELS, draw_cell, draw_textures
from grape_ops.simulate.simulated_phenotype import natural_deviations, round_up, trait_values

# Blur of the objective and of light from out of focus, in cell diameters, and the share of the latter in each
# channel (DNA, gammaH2AX, tubulin, actin): thick structures send more of it.
BLUR = 0.012
HAZE = 0.17
HAZE_SHARE = (0.36, 0.4, 0.4, 0.5)

# Light of the medium in each channel, in photons; counts of an empty camera pixel, and for each photon.
MEDIUM = np.array([20.0, 100.0, 130.0, 190.0])
CAMERA_OFFSET = 100.0
COUNTS_PER_PHOTON = 2.0


@dataclass(frozen=True)
class Camera:
    """What the light of one (plate, well) goes through; arrays have one entry per channel."""

    vignetting: float
    light_centre: np.ndarray  # (C, 2), in half tiles from the middle
    gain: np.ndarray
    medium: np.ndarray
    offset: np.ndarray
    read_noise: float


def draw_light_centres(n_channels: int, rng: np.random.Generator) -> np.ndarray:
    """Draw where each channel's lamp points: -> (C, 2), in half tiles from the middle."""
    return rng.uniform(-0.3, 0.3, size=(n_channels, 2))


def draw_camera(
    light_centre: np.ndarray, vignetting: float, gain_sd: float, read_noise: float, rng: np.random.Generator
) -> Camera:
    """Draw gain and offset of one (plate, well); the lamp belongs to the microscope and stays."""
    n_channels = len(light_centre)
    return Camera(
        vignetting=vignetting,
        light_centre=light_centre,
        gain=np.exp(gain_sd * rng.standard_normal(n_channels)),
        medium=MEDIUM * np.exp(gain_sd * rng.standard_normal(n_channels)),
        offset=CAMERA_OFFSET * np.exp(gain_sd / 2 * rng.standard_normal(n_channels)),
        read_noise=read_noise,
    )


def blur(image: np.ndarray, cell_diameter: float) -> np.ndarray:
    """Blur by the objective and add the haze of light out of focus: (C, H, W) -> (C, H, W)."""
    out = np.empty_like(image)
    for channel, plane in enumerate(image):
        sharp = ndimage.gaussian_filter(plane, BLUR * cell_diameter, mode="nearest")
        haze = ndimage.gaussian_filter(plane, HAZE * cell_diameter, mode="nearest", truncate=3.0)
        out[channel] = (1 - HAZE_SHARE[channel]) * sharp + HAZE_SHARE[channel] * haze
    return out


def light_field(camera: Camera, size: int) -> np.ndarray:
    """Relative light over a tile: -> (C, size, size), 1 where the lamp points and 1 - vignetting a corner away."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    y = axis[None, :, None] - camera.light_centre[:, 0, None, None]
    x = axis[None, None, :] - camera.light_centre[:, 1, None, None]
    return np.clip(1 - camera.vignetting * (y**2 + x**2) / 2, 0, None).astype(np.float32)


def photograph(light: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Turn light into camera counts: (C, H, W) expected photons -> (C, H, W) uint16 with shot and read noise."""
    field = light_field(camera, light.shape[-1])
    expected = (light + camera.medium[:, None, None]) * field * camera.gain[:, None, None]
    counts = COUNTS_PER_PHOTON * rng.poisson(expected).astype(np.float32)
    counts += camera.offset[:, None, None] + camera.read_noise * rng.standard_normal(light.shape, dtype=np.float32)
    return np.clip(np.rint(counts), 0, np.iinfo(np.uint16).max).astype(np.uint16)


# Nuclei of neighbours are at least this many cell diameters apart; bodies may touch and overlap.
LEAST_DISTANCE = 0.62

# Share of cells that divide or die at the moment of the photograph.
ROUNDED_SHARE = 0.03

_NEIGHBOUR_REACH = 1.6
_MOST_TRIES = 400


def most_cells(size: int, cell_diameter: float) -> int:
    """Number of cells that can be placed on a tile one by one (random packing jams at 0.547 of the area)."""
    radius = LEAST_DISTANCE * cell_diameter / 2
    return int(0.5 * size**2 / (np.pi * radius**2))


def draw_scene(
    shifts: np.ndarray, size: int, cell_diameter: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the light of one tile before the camera: -> (C, size, size) float32, and (cells, 2) y, x of nuclei.

    Parameters
    ----------
    shifts : (cells, traits) what the knock-out adds to each cell.
    size : height and width of the tile in pixels.
    cell_diameter : typical diameter of a cell in pixels.
    rng : positions, natural variation and drawing.
    """
    positions = throw_positions(len(shifts), size, cell_diameter, rng)
    traits = trait_values(natural_deviations(len(shifts), rng) + shifts)
    traits = round_up(traits, ROUNDED_SHARE, rng)
    textures = draw_textures(cell_diameter, rng)
    light = np.zeros((len(CHANNELS), size, size), dtype=np.float32)
    for trait, position in zip(traits, positions, strict=True):
        offsets = positions - position
        apart = np.hypot(*offsets.T)
        neighbours = offsets[(apart > 0) & (apart < _NEIGHBOUR_REACH * cell_diameter)]
        patch = draw_cell(trait, (position[0], position[1]), neighbours, cell_diameter, textures, rng)
        _add(light, patch.light, patch.top, patch.left)
    return blur(light, cell_diameter), positions


def throw_positions(n: int, size: int, cell_diameter: float, rng: np.random.Generator) -> np.ndarray:
    """Place nuclei on a tile, none too close to another: -> (n, 2) y, x.

    Raises
    ------
    GrapeOpsError : the tile has no room for so many.
    """
    least = (LEAST_DISTANCE * cell_diameter) ** 2
    positions = np.full((n, 2), np.inf)
    for index in range(n):
        throws = rng.uniform(0, size - 1, size=(_MOST_TRIES, 2))
        for throw in throws:
            if ((positions[:index] - throw) ** 2).sum(1).min(initial=np.inf) >= least:
                positions[index] = throw
                break
        else:
            raise GrapeOpsError(f"{n} cells do not fit on a tile of {size} pixels: lower confluence.")
    return positions


def _add(light: np.ndarray, patch: np.ndarray, top: int, left: int) -> None:
    """Add a patch in place; what lies outside the tile is lost."""
    size, side = light.shape[-1], patch.shape[-1]
    y0, y1, x0, x1 = max(top, 0), min(top + side, size), max(left, 0), min(left + side, size)
    light[:, y0:y1, x0:x1] += patch[:, y0 - top : y1 - top, x0 - left : x1 - left]
