"""One tile full of cells: where they lie, and their light added up."""

import numpy as np

from grape_ops.errors import GrapeOpsError
from grape_ops.simulate.drawing import CHANNELS, draw_cell, draw_textures
from grape_ops.simulate.optics import blur
from grape_ops.simulate.simulated_phenotype import natural_deviations, round_up, trait_values

# Nuclei of neighbours are at least this many cell diameters apart; bodies may touch and overlap.
LEAST_DISTANCE = 0.62

# Share of cells that divide or die at the moment of the photograph.
ROUNDED_SHARE = 0.03

_NEIGHBOUR_REACH = 1.6
_MOST_TRIES = 400


def most_cells(size: int, cell_diameter: float) -> int:
    """Cells that can be thrown on a tile one by one (random packing jams at 0.547 of the area)."""
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
    """Throw nuclei on a tile, none too close to another: -> (n, 2) y, x.

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
