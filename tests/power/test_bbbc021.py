"""The benchmark of real compounds, held against what is known of its cells."""

import sys
from pathlib import Path

import pytest

from grape_ops.cells.store import CropStore
from grape_ops.config import load_config
from grape_ops.methods import write_baseline

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def compounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from bbbc021_moa import write_compounds
    from real_data import DATA

    if not (DATA / "bbbc021").is_dir():
        pytest.skip("the cells of BBBC021 are not there")
    out = tmp_path_factory.mktemp("moa") / "store"
    write_compounds(0, out)
    return out


def test_noise_is_out_and_taxol_is_capped(compounds: Path) -> None:
    store = CropStore.open(compounds)
    counts = store.cells["gene_symbol"].value_counts()
    assert len(store) == 973 - 336 + 60
    assert counts["taxol"] == 60 and counts["nontargeting"] == 63
    assert len(counts) == 39 and len(store.batches) == 10


def test_its_map_scores_as_the_references_say(compounds: Path, tmp_path: Path) -> None:
    from anndata import read_h5ad

    from bbbc021_moa import score, week_alone

    write_baseline("statistics", compounds, tmp_path / "statistics.h5ad")
    scores = score(read_h5ad(tmp_path / "statistics.h5ad"), compounds, load_config(None, []), 0)
    assert scores["chance"] == pytest.approx(0.146, abs=0.001)
    assert scores["queries_other_week"] == 32
    assert 0.45 < scores["map"] < 0.56  # 0.487 for other hand-made features
    week = week_alone(compounds)
    assert week["map"] == pytest.approx(0.265, abs=0.03)
    assert week["map_other_week"] < 0.25
