import numpy as np
import pytest

from grape_ops.cells.store import CropStore
from grape_ops.power.planted_store import Source
from grape_ops.power.planting import plant
from grape_ops.power.traits import find_anatomy, list_traits, measure

NAMES = [trait.name for trait in list_traits(("DNA", "actin"), 0)]


def moved_by(source: Source, name: str, units: float) -> np.ndarray:
    """Median change of every trait, in natural standard deviations, when one is planted in 12 cells."""
    changes = np.zeros(len(NAMES))
    changes[NAMES.index(name)] = units * source.spread[NAMES.index(name)]
    moved = []
    for cell in range(12):
        light = source.light(cell)
        planted = plant(light, source.anatomy(cell), source.traits, changes, 0, np.random.default_rng(cell))
        anatomy = find_anatomy(planted[0])
        assert anatomy is not None
        before = measure(light, source.anatomy(cell), source.traits, 0)
        moved.append((measure(planted, anatomy, source.traits, 0) - before) / source.spread)
    return np.median(moved, axis=0)


@pytest.mark.parametrize("units", [-2.0, 2.0])
@pytest.mark.parametrize("name", NAMES)
def test_a_planted_trait_moves_by_about_its_units(source: Source, name: str, units: float) -> None:
    # A nucleus cannot get rounder than round, and new spots overlap with what is there.
    least = 0.2 if (name, units) == ("nucleus_elongation", -2.0) else 0.4
    assert least <= moved_by(source, name, units)[NAMES.index(name)] / units <= 1.4


def test_effects_are_graded(source: Source) -> None:
    moved = [moved_by(source, "actin_texture", units)[NAMES.index("actin_texture")] for units in (-2, -1, 1, 2)]
    assert moved == sorted(moved)


def test_intensity_of_one_channel_leaves_the_other_alone(source: Source) -> None:
    moved = dict(zip(NAMES, moved_by(source, "actin_intensity", 2.0), strict=True))
    assert moved["DNA_intensity"] == 0
    assert moved["nucleus_size"] == 0
    assert abs(moved["actin_texture"]) < 0.5


def test_no_change_leaves_every_pixel(source: Source) -> None:
    light = source.light(0)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(plant(light, source.anatomy(0), source.traits, np.zeros(len(NAMES)), 0, rng), light)


def test_pixels_far_from_the_cell_stay(source: Source) -> None:
    changes = 2 * source.spread * np.array([0 if "nucleus" in name else 1 for name in NAMES])
    light, anatomy = source.light(0), source.anatomy(0)
    planted = plant(light, anatomy, source.traits, changes, 0, np.random.default_rng(0))
    y, x = np.indices(light.shape[1:]) - np.array(anatomy.centre)[:, None, None]
    far = np.hypot(y, x) > 2.6 * anatomy.radius * np.sqrt(anatomy.elongation)
    assert far.any()
    np.testing.assert_allclose(planted[:, far], light[:, far], rtol=1e-3, atol=1)


def test_an_empty_crop_or_a_cut_nucleus_has_no_anatomy(controls: CropStore) -> None:
    crop = controls.read([0])[0, 0]
    assert find_anatomy(crop) is not None
    assert find_anatomy(np.full_like(crop, 7)) is None
    assert find_anatomy(crop[:, 14:26][14:26]) is None
