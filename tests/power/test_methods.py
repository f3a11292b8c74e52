from pathlib import Path

import pytest
from anndata import read_h5ad

from grape_ops.cells.store import CropStore
from grape_ops.config import CalibrateSettings, load_config
from grape_ops.errors import GrapeOpsError
from grape_ops.power.methods import check_known, write_vectors
from grape_ops.power.planted_store import read_source, write_planted_store


@pytest.fixture(scope="module")
def planted(controls: CropStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = CalibrateSettings(complexes=2, genes_per_complex=2, cells_per_gene=20, control_cells=40)
    out = tmp_path_factory.mktemp("planted") / "store"
    write_planted_store(read_source(controls), settings, 0, out)
    return out


def test_a_baseline_is_made_once(planted: Path, tmp_path: Path) -> None:
    config = load_config("small.yaml", [])
    (file,) = write_vectors("random", planted, tmp_path, config).values()
    made = file.stat().st_mtime_ns
    assert read_h5ad(file).n_obs == 5
    write_vectors("random", planted, tmp_path, config)
    assert file.stat().st_mtime_ns == made


def test_grape_is_read_at_every_position_and_its_main_one_bears_its_name(
    planted: Path, tmp_path: Path, tiny: list[str]
) -> None:
    files = write_vectors("grape", planted, tmp_path, load_config("small.yaml", [*tiny, "embed.position=2"]))
    assert list(files) == ["grape", "grape position 1", "grape position 3"]
    assert read_h5ad(files["grape"]).uns["grape"]["position"] == 2


def test_where_grape_began_is_judged_beside_it(planted: Path, tmp_path: Path, tiny: list[str]) -> None:
    begun = "train.init={kind: classifier, classifier: {width: 4, max_width: 8, steps: 3, batch_size: 8}}"
    config = load_config("small.yaml", [*tiny, begun])
    files = write_vectors("grape", planted, tmp_path, config)
    assert read_h5ad(files["grape start"]).shape == read_h5ad(files["grape"]).shape
    assert write_vectors("grape", planted, tmp_path, config) == files


def test_unknown_methods_are_named() -> None:
    with pytest.raises(GrapeOpsError, match=r"no method nonsense; there are: random.*grape"):
        check_known(["random", "nonsense"])
