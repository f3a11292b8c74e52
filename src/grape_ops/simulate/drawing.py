"""Drawing one simulated cell: nucleus, damage foci, microtubules and actin, as light before the optics.

The cell is painted into a patch around its nucleus. Lengths are in pixels unless said otherwise; ``u`` is a
radius relative to an outline: below 1 inside, above 1 outside.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from grape_ops.simulate.simulated_phenotype import TRAIT_NAMES

CHANNELS = ("DNA", "gammaH2AX", "tubulin", "actin")

# Light of a typical cell in its brightest region, in photons.
DNA_LIGHT = 1100.0
DAMAGE_LIGHT = 290.0
FOCUS_LIGHT = 250.0
TUBULIN_LIGHT = 800.0
ACTIN_LIGHT = 650.0

# A body spreads the same protein over its area, so that small, rounded cells are brighter.
_THICKENING = 1.5

# An undisturbed body is drawn larger than the nominal diameter, as neighbours take some of it away.
_SPREADING = 1.12

_ANGLES = 720  # entries of a table over the full circle
_TEXTURE_SIZE = 256


@dataclass(frozen=True)
class Textures:
    """Random fields that cells cut their texture from, at random places: one side each, periodic."""

    chromatin: np.ndarray  # smooth lumps, unit variance
    grain: np.ndarray  # small grains, unit variance
    filaments: np.ndarray  # bright curved lines in [0, 1]


def draw_textures(cell_diameter: float, rng: np.random.Generator) -> Textures:
    """Draw the fields for cells of this diameter; lengths follow it, down to what a pixel can show."""
    size = max(_TEXTURE_SIZE, int(4 * cell_diameter))

    def lumps(length: float) -> np.ndarray:
        field = ndimage.gaussian_filter(rng.standard_normal((size, size)), max(length, 0.6), mode="wrap")
        return ((field - field.mean()) / field.std()).astype(np.float32)

    # The zero lines of a smooth field wander like filaments do; two lengths make a denser mesh.
    lines = [np.exp(-((lumps(length * cell_diameter) / 0.35) ** 2)) for length in (0.03, 0.05)]
    return Textures(
        chromatin=0.75 * lumps(0.05 * cell_diameter) + 0.65 * lumps(0.025 * cell_diameter),
        grain=0.9 * lumps(0.012 * cell_diameter) + 0.45 * lumps(0.03 * cell_diameter),
        filaments=np.maximum(*lines),
    )


@dataclass(frozen=True)
class Patch:
    """A drawn cell: ``light[c, i, j]`` belongs to tile pixel ``(top + i, left + j)``."""

    top: int
    left: int
    light: np.ndarray


@dataclass(frozen=True)
class _Frame:
    """Pixels of a patch as seen from the nucleus: offsets, angle as a table entry, distance."""

    dy: np.ndarray
    dx: np.ndarray
    entry: np.ndarray
    distance: np.ndarray


def draw_cell(
    traits: np.ndarray,
    centre: tuple[float, float],
    neighbours: np.ndarray,
    cell_diameter: float,
    textures: Textures,
    rng: np.random.Generator,
) -> Patch:
    """Paint one cell.

    Parameters
    ----------
    traits : (traits,) values in the order of TRAIT_NAMES.
    centre : y, x of the nucleus in tile pixels.
    neighbours : (n, 2) offsets y, x of neighbouring nuclei; the cell's body gives way to them.
    cell_diameter : typical diameter of a cell.
    textures : fields to cut texture from.
    rng : orientation, outline, texture and foci are drawn from it.
    """
    trait = dict(zip(TRAIT_NAMES, traits, strict=True))
    body_radius = _SPREADING * 0.5 * cell_diameter * trait["cell_size"]
    nucleus_radius = 0.5 * cell_diameter * trait["nucleus_size"]
    half = int(np.ceil(1.2 * body_radius * np.sqrt(trait["cell_aspect"]) + 2))
    top, left = int(np.floor(centre[0])) - half, int(np.floor(centre[1])) - half
    frame = _frame(centre[0] - top, centre[1] - left, 2 * half + 1)
    direction = rng.uniform(0, 2 * np.pi)

    nucleus_u = _outline_u(
        frame,
        nucleus_radius,
        trait["nucleus_aspect"],
        direction + 0.4 * rng.standard_normal(),
        trait["nucleus_bumps"],
        rng,
    )
    body_u = _outline_u(frame, body_radius, trait["cell_aspect"], direction, 0.10, rng)
    body_u = _give_way(body_u, frame, neighbours)
    nucleus = _inside(nucleus_u, nucleus_radius, 0.018 * cell_diameter)
    # The rim of a spread cell is thin, its middle thick; the nucleus never sticks out.
    body = np.maximum(_inside(body_u, body_radius, 0.05 * cell_diameter) * (0.5 + 0.5 * _dome(body_u)), nucleus)
    body *= np.float32(trait["cell_size"] ** -_THICKENING)

    light = np.stack(
        [
            _dna(trait, nucleus, nucleus_u, _cut(textures.chromatin, nucleus.shape, rng)),
            _damage(
                trait,
                nucleus * (0.4 + 0.6 * _dome(nucleus_u)),
                body,
                frame,
                nucleus_radius,
                cell_diameter,
                textures,
                rng,
            ),
            _tubulin(trait, body, nucleus, nucleus_u, frame, textures, rng),
            _actin(trait, body, body_u, frame, direction, cell_diameter, textures, rng),
        ]
    )
    return Patch(top, left, light.astype(np.float32))


def _frame(y: float, x: float, size: int) -> _Frame:
    dy, dx = np.meshgrid(
        np.arange(size, dtype=np.float32) - np.float32(y),
        np.arange(size, dtype=np.float32) - np.float32(x),
        indexing="ij",
    )
    entry = (np.arctan2(dy, dx) * (_ANGLES / (2 * np.pi))).astype(np.int32) % _ANGLES
    return _Frame(dy, dx, entry, np.hypot(dy, dx))


def _outline_u(
    frame: _Frame, radius: float, aspect: float, direction: float, bumps: float, rng: np.random.Generator
) -> np.ndarray:
    """Relative radius to an ellipse of the same area as the circle, with dents of relative depth ``bumps``."""
    angle = np.arange(_ANGLES) * (2 * np.pi / _ANGLES)
    table = radius / np.sqrt(np.cos(angle - direction) ** 2 / aspect + aspect * np.sin(angle - direction) ** 2)
    for order in (2, 3, 4, 5):
        table *= 1 + bumps * 2 / order * rng.standard_normal() * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    return frame.distance / table.astype(np.float32)[frame.entry]


def _give_way(body_u: np.ndarray, frame: _Frame, neighbours: np.ndarray) -> np.ndarray:
    """Flatten the outline against neighbours, a little beyond half way, so that cells touch and overlap."""
    total = _eighth_power(body_u)
    for dy, dx in neighbours:
        apart = float(np.hypot(dy, dx))
        towards = (frame.dy * np.float32(dy) + frame.dx * np.float32(dx)) / np.float32(0.62 * apart * apart)
        total += _eighth_power(np.clip(towards, 0, 10))
    return np.sqrt(np.sqrt(np.sqrt(total)))


def _eighth_power(values: np.ndarray) -> np.ndarray:
    """A soft maximum's power, by squaring: ten times faster than ``**``, and cells spend much time here."""
    squared = values * values
    fourth = squared * squared
    return fourth * fourth


def _around_the_circle(length: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise over the full circle, unit variance, with a correlation length in radians: -> (_ANGLES,)."""
    order = np.arange(1, int(4 / length) + 1)
    weight = np.exp(-((order * length) ** 2) / 2)
    waves = np.zeros(_ANGLES // 2 + 1, dtype=complex)
    waves[1 : len(order) + 1] = weight * (rng.standard_normal(len(order)) + 1j * rng.standard_normal(len(order)))
    return np.fft.irfft(waves, _ANGLES) * (_ANGLES / 2 / np.sqrt((weight**2).sum()))


def _inside(u: np.ndarray, radius: float, softness: float) -> np.ndarray:
    """1 inside an outline, 0 outside, with an edge of ``softness`` pixels."""
    return np.clip(0.5 + (1 - u) * np.float32(radius / (2 * max(softness, 0.4))), 0, 1)


def _cut(texture: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    top, left = rng.integers(0, texture.shape[0], size=2)
    rows = np.arange(top, top + shape[0]) % texture.shape[0]
    columns = np.arange(left, left + shape[1]) % texture.shape[1]
    return texture[rows[:, None], columns[None, :]]


def _dome(u: np.ndarray) -> np.ndarray:
    """Height of a rounded body over its relative radius."""
    return np.sqrt(np.clip(1 - u * u, 0, 1))


def _dna(trait: dict[str, float], nucleus: np.ndarray, u: np.ndarray, chromatin: np.ndarray) -> np.ndarray:
    contrast = np.clip(1 + trait["dna_texture"] * chromatin, 0.15, None)
    return DNA_LIGHT * trait["dna_intensity"] * nucleus * (0.55 + 0.45 * _dome(u)) * contrast


def _damage(
    trait: dict[str, float],
    nucleus: np.ndarray,
    body: np.ndarray,
    frame: _Frame,
    nucleus_radius: float,
    cell_diameter: float,
    textures: Textures,
    rng: np.random.Generator,
) -> np.ndarray:
    grain = np.clip(1 + 0.19 * _cut(textures.grain, nucleus.shape, rng), 0, None)
    light = DAMAGE_LIGHT * trait["damage_haze"] * nucleus * grain + 0.62 * DAMAGE_LIGHT * body
    foci = rng.poisson(trait["foci_number"])
    angle = rng.uniform(0, 2 * np.pi, foci)
    away = 0.8 * nucleus_radius * np.sqrt(rng.uniform(0, 1, foci))
    size = np.maximum(0.018 * cell_diameter * np.exp(0.3 * rng.standard_normal(foci)), 0.5)
    bright = FOCUS_LIGHT * trait["foci_brightness"] * np.exp(0.5 * rng.standard_normal(foci))
    # A spot is a product of two bells, which spares the exponential of a whole patch for each focus.
    rows = np.exp(-(((frame.dy[:, 0] - (away * np.sin(angle))[:, None]) / size[:, None]) ** 2) / 2)
    columns = np.exp(-(((frame.dx[0] - (away * np.cos(angle))[:, None]) / size[:, None]) ** 2) / 2)
    return light + (bright[:, None] * rows).T @ columns


def _tubulin(
    trait: dict[str, float],
    body: np.ndarray,
    nucleus: np.ndarray,
    nucleus_u: np.ndarray,
    frame: _Frame,
    textures: Textures,
    rng: np.random.Generator,
) -> np.ndarray:
    outwards = np.clip(nucleus_u - 1, 0, None)
    reach = np.exp(-outwards / np.float32(trait["tubulin_spread"]))
    angle = np.arange(_ANGLES) * (2 * np.pi / _ANGLES)
    side = rng.uniform(0, 2 * np.pi)
    # Wide lobes, one of them the side of the organising centre, and fine bundles that run outwards.
    lean = 1 + min(trait["tubulin_asymmetry"], 0.95) * np.cos(angle - side) + 0.2 * _around_the_circle(0.4, rng)
    lean = np.clip(lean, 0.05, None).astype(np.float32)[frame.entry]
    rays = (0.12 * _around_the_circle(0.06, rng)).astype(np.float32)[frame.entry] * np.clip(2 * outwards, 0, 1)
    mesh = 0.78 + 0.4 * _cut(textures.filaments, body.shape, rng) + rays
    cage = 1 + 0.35 * np.exp(-(((nucleus_u - 1.15) / 0.22) ** 2))
    over_nucleus = 1 - 0.3 * nucleus
    return TUBULIN_LIGHT * trait["tubulin_intensity"] * body * (0.45 + reach * lean * mesh * cage) * over_nucleus


def _actin(
    trait: dict[str, float],
    body: np.ndarray,
    body_u: np.ndarray,
    frame: _Frame,
    direction: float,
    cell_diameter: float,
    textures: Textures,
    rng: np.random.Generator,
) -> np.ndarray:
    patches = np.clip(0.8 + 0.6 * _around_the_circle(0.35, rng), 0.05, None).astype(np.float32)[frame.entry]
    cortex = np.exp(-(((body_u - 0.9) / 0.12) ** 2)) * patches
    lumps = _cut(textures.chromatin, body.shape, rng)
    across = frame.dx * np.float32(-np.sin(direction)) + frame.dy * np.float32(np.cos(direction))
    along = frame.dx * np.float32(np.cos(direction)) + frame.dy * np.float32(np.sin(direction))
    spacing = max(rng.uniform(0.08, 0.16) * cell_diameter, 3.0)
    bend = np.float32(rng.uniform(-0.6, 0.6) / cell_diameter)
    phase = (across + bend * along * along) * np.float32(2 * np.pi / spacing) + np.float32(rng.uniform(0, 6.28))
    # Fibres come and go along their length and wander a little.
    bundles = np.clip(np.cos(phase + 0.8 * lumps), 0, None) ** 2
    here = np.clip(0.5 + 0.6 * _cut(textures.chromatin, body.shape, rng), 0, 1.6) * np.clip(1.15 - body_u, 0, 1)
    spread_out = 0.75 + 0.06 * lumps
    return (
        ACTIN_LIGHT
        * body
        * (spread_out + 0.5 * trait["actin_cortex"] * cortex + 0.5 * trait["actin_fibres"] * bundles * here)
    )
