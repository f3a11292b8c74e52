from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml

from grape_ops.cells.store import CropStore
from grape_ops.config import load_config
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess import several_screens
from grape_ops.preprocess.pipeline import preprocess_folder

CONFIG = load_config(overrides=["preprocess.crop_size=32", "preprocess.workers=1", "preprocess.flat_field.file=null"])


def write_screen(
    root: Path,
    seed: int,
    channels: tuple[str, ...] = ("DNA", "actin"),
    plates: tuple[str, ...] = ("1",),
    guides: str = "",
    pixel: float | None = None,
    **columns: object,
) -> Path:
    """A screen of two tiles per plate; pixels of a channel are of its name, whatever its place."""
    root.mkdir(parents=True)
    rng, rows = np.random.default_rng(seed), []
    for plate in plates:
        for tile in range(2):
            image = {name: rng.integers(100, 4000, (96, 128), dtype=np.uint16) for name in ("DNA", "actin", "ER")}
            told = {"resolution": (1e4 / pixel, 1e4 / pixel), "resolutionunit": "CENTIMETER"} if pixel else {}
            pixels = np.stack([image[name] for name in channels])
            tifffile.imwrite(root / f"{plate}_{tile}.tif", pixels, photometric="minisblack", **told)
            for cell in range(6):
                gene = ("nontargeting", "TP53", "ACTB")[cell % 3]
                place = {"plate": plate, "well": "A1", "tile": tile, "y": 40 + 3 * cell, "x": 30 + 10 * cell}
                rows.append({"gene_symbol": gene, "sgRNA": f"{guides}{gene}_{cell}", **place})
    pd.DataFrame(rows).assign(**columns).to_parquet(root / "cells.parquet")
    described = {"cells": "cells.parquet", "tiles": "{plate}_{tile}.tif", "channels": list(channels)}
    (root / "screen.yaml").write_text(yaml.safe_dump(described))
    return root


@pytest.fixture(scope="module")
def screens(tmp_path_factory) -> list[Path]:
    home = tmp_path_factory.mktemp("several")
    first = write_screen(home / "one", 0, plates=("1", "2"))
    second = write_screen(home / "two", 1, ("actin", "DNA"), ("1", "3"), cell_id=range(24), n_spots=2)
    return [first, second]


@pytest.fixture(scope="module")
def joined(screens) -> CropStore:
    out = screens[0].parent / "store"
    preprocess_folder(screens, out, CONFIG)
    return CropStore.open(out)


def test_each_screen_is_what_it_is_in_a_store_of_its_own(screens, joined, tmp_path):
    joined.verify()
    for root, order in zip(screens, ([0, 1], [1, 0]), strict=True):
        preprocess_folder(root, tmp_path / root.name, CONFIG)
        own, part = CropStore.open(tmp_path / root.name), joined.subset(f"screen == '{root.name}'")
        assert part.batches == tuple(f"{root.name}|{batch}" for batch in own.batches)
        for column in ("gene_symbol", "sgRNA", "well", "tile", "y", "x"):
            assert part.cells[column].tolist() == own.cells[column].tolist()
        assert (part.read(slice(None)) == own.read(slice(None))[:, order]).all()
        assert np.allclose(part.control_mean, own.control_mean[:, order], rtol=1e-6)
    assert joined.channels == ("DNA", "actin") and len(joined) == 48
    assert joined.perturbations == ("ACTB", "TP53", "nontargeting")


def test_plates_and_ids_that_screens_share_are_told_apart(joined):
    cells = joined.cells
    assert cells.groupby("screen")["plate"].unique().map(sorted).to_dict() == {
        "one": ["2", "one:1"],
        "two": ["3", "two:1"],
    }
    assert not cells.duplicated(["plate", "well", "tile", "y", "x"]).any()
    ids = cells.loc[cells["screen"] == "two", "cell_id"]
    assert ids.is_unique and ids.str.startswith("two:").all()
    assert cells.loc[cells["screen"] == "one", ["cell_id", "n_spots"]].isna().all(axis=None)


def test_what_each_screen_kept_is_added_up(screens, joined):
    report = preprocess_folder(screens, joined.path, CONFIG)  # finished: nothing is done again
    assert (report.cells_kept, report.genes, report.batches) == (48, 2, 4)
    assert report.quality["controls_per_batch"]["two|3|A1"] == 4
    with pytest.raises(GrapeOpsError, match="store of another screen"):
        preprocess_folder(screens[::-1], joined.path, CONFIG)


def test_an_interrupted_call_goes_on_and_makes_the_same_store(screens, joined, tmp_path, monkeypatch):
    place, calls = several_screens.shard_file, []

    def stop_halfway(folder: Path, shard: str) -> Path:
        calls.append(shard)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return place(folder, shard)

    with monkeypatch.context() as patched:
        patched.setattr(several_screens, "shard_file", stop_halfway)
        with pytest.raises(KeyboardInterrupt):
            preprocess_folder(screens, tmp_path / "store", CONFIG)
    assert len(list((tmp_path / "store" / "shards").glob("*.npy"))) == 2
    with pytest.raises(GrapeOpsError, match="--resume"):
        preprocess_folder(screens, tmp_path / "store", CONFIG)
    preprocess_folder(screens, tmp_path / "store", CONFIG, resume=True)
    again = CropStore.open(tmp_path / "store")
    again.verify()
    assert again.meta["shards"] == joined.meta["shards"] and again.meta["batches"] == joined.meta["batches"]
    assert again.cells.equals(joined.cells) and not (again.path / "unfinished").exists()


def test_genes_are_spelt_as_in_the_first_screen(screens, tmp_path):
    other = write_screen(tmp_path / "mouse", 2, guides="m_")
    cells = pd.read_parquet(other / "cells.parquet")
    cells["gene_symbol"] = cells["gene_symbol"].replace({"TP53": "Tp53"})
    cells.to_parquet(other / "cells.parquet")
    preprocess_folder([screens[0], other], tmp_path / "store", CONFIG)
    store = CropStore.open(tmp_path / "store")
    assert store.perturbations == ("ACTB", "TP53", "nontargeting")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"channels": ("DNA", "ER")}, "DNA, ER in other, DNA, actin in one"),
        ({"channels": ("DNA", "actin", "ER")}, "Name those that all of them have"),
        ({"gene_symbol": ["nontargeting", "MYC", "ACTB"] * 4}, r"TP53_1 \(TP53 in one, MYC in other\)"),
        (
            {"gene_symbol": ["OR1A1", "nontargeting", "ACTB"] * 4, "sgRNA": ["nontargeting_0", "n", "a"] * 4},
            r"nontargeting_0 \(a control in one, OR1A1 in other\)",
        ),
        ({"screen": "mine"}, "column screen already"),
    ],
)
def test_screens_that_do_not_fit_together_are_refused_before_any_image_is_read(screens, tmp_path, other, words):
    root = write_screen(tmp_path / "other", 3, **other)
    for tile in root.glob("*.tif"):
        tile.unlink()
    (root / "1_0.tif").write_bytes(b"no picture")
    with pytest.raises(GrapeOpsError, match=words):
        preprocess_folder([screens[0], root], tmp_path / "store", CONFIG)
    assert not (tmp_path / "store").exists()


def test_whole_numbers_become_the_same_text_whether_or_not_a_well_lacks_one(tmp_path):
    ids = [1.0, None, *range(3, 13)]
    roots = [write_screen(tmp_path / "one", 0, cell_id=ids, clone=ids)]
    roots.append(write_screen(tmp_path / "two", 1, guides="b_", clone="c7"))
    preprocess_folder(roots, tmp_path / "store", CONFIG)
    cells = CropStore.open(tmp_path / "store", where='clone in ["1", "3"] and screen == "one"', unit="gene").cells
    assert {"one:1"} <= set(cells["cell_id"]) <= {"one:1", "one:3"} and set(cells["clone"]) <= {"1", "3"}


def test_pixels_of_two_sizes_are_refused(tmp_path):
    roots = [write_screen(tmp_path / name, 3, pixel=size) for name, size in (("fine", 0.325), ("coarse", 0.65))]
    with pytest.raises(GrapeOpsError, match="0.325 µm in fine, 0.65 µm in coarse"):
        preprocess_folder(roots, tmp_path / "store", CONFIG)


def test_screens_of_one_name_are_called_by_the_folders_above(tmp_path):
    roots = [tmp_path / "a" / "screen", tmp_path / "b" / "screen"]
    assert list(several_screens.named(roots)) == ["a/screen", "b/screen"]
    with pytest.raises(GrapeOpsError, match="given twice"):
        several_screens.named([roots[0], tmp_path / "a" / ".." / "a" / "screen"])
