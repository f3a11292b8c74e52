from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grape_ops.cells.store import CropStore
from grape_ops.config import CalibrateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth import load_truth
from grape_ops.power.design import draw_design, draw_shifts
from grape_ops.power.planted_store import Source, write_planted_store

SMALL = CalibrateSettings(complexes=3, genes_per_complex=2, cells_per_gene=20, control_cells=40)


def test_a_planted_store_is_an_ordinary_store_with_its_truth(
    controls: CropStore, source: Source, tmp_path: Path
) -> None:
    design = write_planted_store(source, SMALL, 0, tmp_path / "planted")
    store = CropStore.open(tmp_path / "planted")
    store.verify()
    assert len(store) == 6 * 20 + 40
    assert store.cells["source"].is_unique
    assert set(store.cells.loc[~store.cells["is_control"], "gene_symbol"]) == set(design.genes)
    assert store.cells.groupby("gene_symbol")["shows_effect"].sum()[design.genes[0]] == 16
    assert len(load_truth(str(tmp_path / "planted" / "truth.tsv")).complexes) == 3
    was = controls.read(store.cells["source"].to_numpy())
    changed = (store.read(np.arange(len(store))) != was).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(changed, store.cells["shows_effect"])


def test_the_same_seed_gives_the_same_pixels(source: Source, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_planted_store(source, SMALL, seed, tmp_path / name)
    pixels = [CropStore.open(tmp_path / name).read(np.arange(100)) for name in "abc"]
    np.testing.assert_array_equal(pixels[0], pixels[1])
    assert (pixels[0] != pixels[2]).any()


def test_cells_and_confounding_leave_the_phenotypes_alone() -> None:
    codes = np.repeat(np.arange(4), 400)
    designs = [
        draw_design(codes, 17, CalibrateSettings(**sizes), 5)
        for sizes in ({"cells_per_gene": 20}, {"cells_per_gene": 40}, {"cells_per_gene": 40, "confounding": 0.1})
    ]
    for other in designs[1:]:
        np.testing.assert_array_equal(other.shifts, designs[0].shifts)


def test_members_of_a_complex_share_what_the_settings_say() -> None:
    settings = CalibrateSettings(private_share=0.3)
    shifts = draw_shifts(17, settings, np.random.default_rng(0))
    unit = shifts / np.linalg.norm(shifts, axis=1, keepdims=True)
    cosines = (unit @ unit.T).reshape(6, 4, 6, 4)
    within = np.array([cosines[k, :, k][~np.eye(4, dtype=bool)] for k in range(6)])
    assert abs(within.mean() - 0.7) < 0.05
    between = cosines.transpose(0, 2, 1, 3)[~np.eye(6, dtype=bool)]
    assert np.abs(between).mean() < 0.25


def test_small_concentrations_put_a_gene_on_one_batch_and_every_batch_keeps_controls() -> None:
    codes = np.repeat(np.arange(5), 800)
    largest = {}
    for concentration in (0.05, 50.0):
        settings = CalibrateSettings(cells_per_gene=100, confounding=concentration)
        design = draw_design(codes, 17, settings, 0)
        table = pd.crosstab(design.labels, codes[design.source])
        assert (table.loc[-1] > 0).all()
        assert table.loc[-1].sum() == 500
        assert (table.drop(index=-1).sum(axis=1) == 100).all()
        largest[concentration] = (table.drop(index=-1).max(axis=1) / 100).mean()
    assert largest[50.0] < 0.4 < 0.8 < largest[0.05]


def test_too_few_cells_name_the_settings() -> None:
    with pytest.raises(GrapeOpsError, match=r"take 4100 cells; 100 control cells.*cells_per_gene"):
        draw_design(np.zeros(100, np.int64), 17, CalibrateSettings(), 0)
    with pytest.raises(GrapeOpsError, match="5 traits|traits_per_complex"):
        draw_design(np.zeros(5000, np.int64), 4, CalibrateSettings(), 0)


def test_a_folder_in_use_is_refused(source: Source, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(GrapeOpsError, match="not an empty folder"):
        write_planted_store(source, SMALL, 0, tmp_path)
