"""Single cells and scenes: each trait moves the pixels it is named after; shapes and chance are in order."""

import numpy as np
import pytest

from grape_ops.errors import GrapeOpsError
from grape_ops.simulate.drawing import CHANNELS, draw_cell, draw_textures
from grape_ops.simulate.scene import (
    LEAST_DISTANCE,
    draw_camera,
    draw_light_centres,
    draw_scene,
    light_field,
    photograph,
    throw_positions,
)
from grape_ops.simulate.simulated_phenotype import (
    TRAIT_NAMES,
    gene_shifts,
    natural_deviations,
    separated_directions,
    trait_values,
)

DIAMETER = 30.0
DNA, DAMAGE, TUBULIN, ACTIN = range(len(CHANNELS))


def mean_cell(**deviation: float) -> np.ndarray:
    """Mean light of thirty lonely cells with the given deviations: -> (C, 121, 121)."""
    shift = np.array([deviation.get(name, 0.0) for name in TRAIT_NAMES])
    total = np.zeros((len(CHANNELS), 121, 121))
    for seed in range(30):
        rng = np.random.default_rng(seed)
        patch = draw_cell(trait_values(shift[None])[0], (60, 60), np.zeros((0, 2)), DIAMETER, TEXTURES, rng)
        size = patch.light.shape[-1]
        total[:, patch.top : patch.top + size, patch.left : patch.left + size] += patch.light
    return total / 30


TEXTURES = draw_textures(DIAMETER, np.random.default_rng(0))
TYPICAL = mean_cell()


def area(plane: np.ndarray) -> float:
    return float((plane > 0.3 * np.quantile(plane, 0.99)).sum())


def outer_share(plane: np.ndarray) -> float:
    y, x = np.mgrid[:121, :121] - 60
    return float(plane[np.hypot(y, x) > 0.45 * DIAMETER].sum() / plane.sum())


@pytest.mark.parametrize(
    ("trait", "channel", "measure"),
    [
        ("nucleus_size", DNA, area),
        ("dna_intensity", DNA, np.sum),
        ("damage_haze", DAMAGE, np.sum),
        ("foci_number", DAMAGE, np.sum),
        ("foci_brightness", DAMAGE, np.sum),
        ("tubulin_intensity", TUBULIN, np.sum),
        ("tubulin_spread", TUBULIN, outer_share),
        ("actin_cortex", ACTIN, outer_share),
        ("actin_fibres", ACTIN, np.sum),
        ("cell_size", ACTIN, area),
    ],
)
def test_a_trait_moves_what_it_is_named_after(trait: str, channel: int, measure) -> None:
    more, less = (measure(mean_cell(**{trait: z})[channel]) for z in (2.0, -2.0))
    assert more > measure(TYPICAL[channel]) > less


@pytest.mark.parametrize(
    ("trait", "channel"), [("dna_texture", DNA), ("nucleus_aspect", DNA), ("tubulin_asymmetry", TUBULIN)]
)
def test_traits_of_shape_leave_the_amount_alone(trait: str, channel: int) -> None:
    changed = mean_cell(**{trait: 2.0})[channel]
    assert changed.sum() == pytest.approx(TYPICAL[channel].sum(), rel=0.15)
    assert np.abs(changed - TYPICAL[channel]).max() > 0.05 * TYPICAL[channel].max()


def test_natural_deviations_are_standard_normal() -> None:
    deviations = natural_deviations(20000, np.random.default_rng(0))
    assert deviations.mean(axis=0) == pytest.approx(0, abs=0.03)
    assert deviations.std(axis=0) == pytest.approx(1, abs=0.03)


def test_complex_directions_are_orthogonal_and_members_share_them() -> None:
    directions = separated_directions(len(TRAIT_NAMES), np.random.default_rng(0))
    np.testing.assert_allclose(directions @ directions.T, np.eye(len(TRAIT_NAMES)), atol=1e-12)
    assert separated_directions(40, np.random.default_rng(0)).shape == (40, len(TRAIT_NAMES))
    shifts = gene_shifts(6, 20, 3, private_share=0.3, rng=np.random.default_rng(0))
    assert shifts.shape == (123, len(TRAIT_NAMES))
    unit = shifts / np.linalg.norm(shifts, axis=1, keepdims=True)
    cosine = unit @ unit.T
    complex_of = np.arange(120) // 20
    same = (complex_of[:, None] == complex_of) & ~np.eye(120, dtype=bool)
    assert cosine[:120, :120][same].mean() == pytest.approx(0.7, abs=0.03)
    assert abs(cosine[:120, :120][complex_of[:, None] != complex_of].mean()) < 0.03
    alike = gene_shifts(2, 3, 0, private_share=0.0, rng=np.random.default_rng(0))
    assert np.corrcoef(alike)[0, 1] == pytest.approx(1)


def test_positions_keep_their_distance_and_a_full_tile_is_refused() -> None:
    rng = np.random.default_rng(0)
    positions = throw_positions(60, 200, 26, rng)
    apart = np.linalg.norm(positions[:, None] - positions, axis=-1)[~np.eye(60, dtype=bool)]
    assert apart.min() >= LEAST_DISTANCE * 26
    assert positions.min() >= 0 and positions.max() <= 199
    with pytest.raises(GrapeOpsError, match="lower confluence"):
        throw_positions(500, 100, 26, rng)


def test_neighbours_touch_and_overlap_but_bodies_give_way() -> None:
    rng = np.random.default_rng(0)
    typical = trait_values(np.zeros((1, len(TRAIT_NAMES))))[0]
    alone = draw_cell(typical, (60, 60), np.zeros((0, 2)), DIAMETER, TEXTURES, np.random.default_rng(1))
    pushed = draw_cell(
        typical, (60, 60), np.array([[0.0, 0.7 * DIAMETER]]), DIAMETER, TEXTURES, np.random.default_rng(1)
    )
    middle = alone.light.shape[-1] // 2
    right = slice(middle + int(0.3 * DIAMETER), None)
    assert pushed.light[ACTIN, :, right].sum() < 0.8 * alone.light[ACTIN, :, right].sum()
    light, positions = draw_scene(np.zeros((25, len(TRAIT_NAMES))), 160, 26, rng)
    assert light.shape == (4, 160, 160) and len(positions) == 25 and np.isfinite(light).all()


def test_light_field_falls_by_the_vignetting_a_corner_away() -> None:
    rng = np.random.default_rng(0)
    camera = draw_camera(np.zeros((4, 2)), 0.4, 0.0, 0.0, rng)
    field = light_field(camera, 201)
    assert field[:, 100, 100] == pytest.approx(1)
    assert field[:, 0, 0] == pytest.approx(0.6, abs=0.01)
    shifted = light_field(draw_camera(draw_light_centres(4, rng), 0.4, 0.0, 0.0, rng), 201)
    peaks = {np.unravel_index(plane.argmax(), plane.shape) for plane in shifted}
    assert len(peaks) == 4 and (100, 100) not in peaks


def test_noise_grows_with_light_and_saturation_is_clipped() -> None:
    rng = np.random.default_rng(0)
    camera = draw_camera(np.zeros((4, 2)), 0.0, 0.0, 5.0, rng)
    dim, bright = (photograph(np.full((4, 64, 64), light, np.float32), camera, rng) for light in (10.0, 2000.0))
    assert (bright.std(axis=(1, 2)) > 3 * dim.std(axis=(1, 2))).all()
    assert photograph(np.full((4, 8, 8), 1e6, np.float32), camera, rng).min() == 65535
