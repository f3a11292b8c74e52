import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_screen import contents, make_screen, reads

from grape_ops.cells.store import CropStore
from grape_ops.config import PreprocessSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.flat_field import read_fields
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.screen.cell_table import collect_cells
from grape_ops.screen.quality import Tally
from grape_ops.screen.screen import Screen


def settings(**changes: object) -> PreprocessSettings:
    return PreprocessSettings.model_validate({"crop_size": 24, "workers": 1, "on_problem": "stop"} | changes)


@pytest.fixture
def screen(tmp_path) -> Screen:
    return make_screen(tmp_path / "screen")


def with_cells(screen: Screen, cells: pd.DataFrame) -> Screen:
    return replace(screen, cells=collect_cells([cells]))


def test_store_holds_every_cell_away_from_the_edge(screen, tmp_path):
    cells = screen.cells.to_pandas()
    report = preprocess(screen, tmp_path / "store", settings())
    store = CropStore.open(tmp_path / "store")
    store.verify()
    near = ~cells[["y", "x"]].add(0.5).apply(np.floor).isin(range(12, 85)).all(axis=1)
    assert len(store) == report.cells_kept == (~near).sum()
    assert report.cells_dropped == {"too close to the tile's edge": near.sum()}
    assert (report.genes, report.batches) == (3, 3) and store.batches == ("P1|A1", "P1|A2", "P2|A1")
    merged = store.cells.merge(cells, on=["plate", "well", "tile", "y", "x", "sgRNA"])
    assert len(merged) == len(store)
    assert sorted(entry.name for entry in (tmp_path / "store").iterdir()) == [
        "cells.parquet",
        "flat_fields.npz",
        "quality.json",
        "quality.tsv",
        "shards",
        "store.json",
    ]


def test_pixels_are_the_formula_of_section_3_2(screen, tmp_path):
    chosen = settings(flat_field={"min_agreement": 0}, intensity={"lower": 1, "upper": 99})
    preprocess(screen, tmp_path / "store", chosen)
    store = CropStore.open(tmp_path / "store")
    scale = store.meta["scaling"]["groups"]["P1|A1"]
    tiles = screen.tiles[(screen.tiles["plate"] == "P1") & (screen.tiles["well"] == "A1")]
    raw = np.stack([screen.read_tile(row) for _, row in tiles.iterrows()]).astype(float)
    field = read_fields(store.path)["P1|A1"].at(np.arange(96), np.arange(96))
    exact = np.percentile(raw / field, (1, 99), axis=(0, 2, 3))
    assert field.max() > 1.02 and np.allclose([scale["low"], scale["high"]], exact, atol=0.1)

    preprocess(screen, tmp_path / "plain", settings(flat_field={"enabled": False}))
    plain = CropStore.open(tmp_path / "plain")
    low, high = (np.array(plain.meta["scaling"]["groups"]["P1|A1"][key]) for key in ("low", "high"))
    assert np.allclose([low, high], np.percentile(raw, (0.1, 99.9), axis=(0, 2, 3)), rtol=1e-6)
    cell = plain.cells.query("plate == 'P1' and well == 'A1' and tile == '2'").iloc[-1]
    top, left = (int(np.floor(cell[axis] + 0.5)) - 12 for axis in ("y", "x"))
    window = raw[2, :, top : top + 24, left : left + 24]
    expected = np.clip((window - low[:, None, None]) / (high - low)[:, None, None], 0, 1)
    assert np.abs(plain.read([cell.name])[0] / 65535 - expected).max() < 1e-5


def test_two_workers_write_the_same_bytes_as_one(screen, tmp_path):
    for workers in (1, 2):
        preprocess(screen, tmp_path / f"{workers}", settings(workers=workers))
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_crops_do_not_depend_on_other_cells(screen, tmp_path):
    cells = screen.cells.to_pandas()
    preprocess(screen, tmp_path / "all", settings())
    some = cells[cells["is_control"] | (np.arange(len(cells)) % 2 == 0)]
    preprocess(with_cells(screen, some.sample(frac=1, random_state=0)), tmp_path / "some", settings())
    whole, part = CropStore.open(tmp_path / "all"), CropStore.open(tmp_path / "some")
    keys = ["plate", "well", "tile", "y", "x"]
    places = pd.MultiIndex.from_frame(whole.cells[keys]).get_indexer(pd.MultiIndex.from_frame(part.cells[keys]))
    assert (places >= 0).all() and (whole.read(places) == part.read(range(len(part)))).all()


@pytest.mark.parametrize(("edge", "kept"), [("reflect", 108), ("zero", 108)])
def test_padding_keeps_every_cell(screen, tmp_path, edge, kept):
    report = preprocess(screen, tmp_path / "store", settings(edge=edge, crop_size=33, pixel_type="uint8"))
    store = CropStore.open(tmp_path / "store")
    assert report.cells_kept == kept and store.read([0]).shape == (1, 2, 33, 33) and store.pixel_max == 255


def test_edge_margin_drops_more(screen, tmp_path):
    kept = [preprocess(screen, tmp_path / f"{margin}", settings(edge_margin=margin)).cells_kept for margin in (0, 30)]
    assert kept[0] > kept[1] > 0


def test_batches_and_groups_are_columns_of_the_table(screen, tmp_path):
    cells = screen.cells.to_pandas()
    cells = cells.assign(day=np.where(cells["plate"] == "P1", "mon", "tue"), lot=1)
    groups = {"batch_columns": ["day", "lot"], "flat_field": {"columns": []}, "intensity": {"columns": ["day"]}}
    preprocess(with_cells(screen, cells), tmp_path / "store", settings(**groups))
    store = CropStore.open(tmp_path / "store")
    assert store.batches == ("mon|1", "tue|1")
    assert sorted(store.meta["scaling"]["groups"]) == ["mon", "tue"]
    assert list(store.meta["scaling"]["flat_fields"]) == ["all"]
    assert store.cells.loc[store.cells["plate"] == "P2", "day"].eq("tue").all()


def test_a_group_that_varies_within_a_tile_is_an_error(screen, tmp_path):
    cells = screen.cells.to_pandas().assign(half=np.arange(len(screen.cells)) % 2)
    with pytest.raises(GrapeOpsError, match="'half', but it takes 2 values within tile P1 A1 0"):
        preprocess(with_cells(screen, cells), tmp_path / "s", settings(intensity={"columns": ["half"]}))
    report = preprocess(with_cells(screen, cells), tmp_path / "b", settings(batch_columns=["half"], on_problem="drop"))
    assert report.cells_kept  # a batch may vary within a tile


def test_unknown_columns_are_errors_that_name_the_setting(screen, tmp_path):
    cells = screen.cells.to_pandas()
    for changes, setting in (
        ({"batch_columns": ["day"]}, r"preprocess\.batch_columns"),
        ({"flat_field": {"columns": ["day"]}}, r"preprocess\.flat_field\.columns"),
    ):
        with pytest.raises(GrapeOpsError, match=setting + " names column 'day'; the tables have: gene_symbol"):
            preprocess(screen, tmp_path / "store", settings(**changes), resume=True, overwrite=True)
    with pytest.raises(GrapeOpsError, match="lacks the columns sgRNA"):
        preprocess(with_cells(screen, cells.drop(columns="sgRNA")), tmp_path / "store", settings())
    partly = with_cells(screen, cells.assign(day=["mon"] * (len(cells) - 3) + [None] * 3))
    with pytest.raises(GrapeOpsError, match="3 cells without a value in column 'day'"):
        preprocess(partly, tmp_path / "store", settings(batch_columns=["day"]), resume=True, overwrite=True)


def test_a_table_that_cannot_be_kept_is_refused_at_once(screen, tmp_path):
    mixed = with_cells(screen, screen.cells.to_pandas().assign(score=[1, "high"] * (len(screen.cells) // 2)))
    with pytest.raises(GrapeOpsError, match="several kinds: .*column score"):
        preprocess(mixed, tmp_path / "store", settings())
    assert not reads(screen.root)


def _missing_tile(screen: Screen) -> Screen:
    (screen.root / "tiles/P1_A1_1.tif").unlink()
    return screen


def _cut_tile(screen: Screen) -> Screen:
    file = screen.root / "tiles/P1_A1_1.tif"
    file.write_bytes(file.read_bytes()[:900])
    return screen


def _astray(screen: Screen) -> Screen:
    cells = screen.cells.to_pandas()
    here = (cells.index % 10 == 5) & (cells["well"] == "A2")
    y = cells["y"].where(~here, 4000.0)
    return with_cells(screen, cells.assign(y=y))


def _no_controls(screen: Screen) -> Screen:
    cells = screen.cells.to_pandas()
    here = (cells["well"] == "A2") & cells["is_control"]
    return with_cells(screen, cells.assign(is_control=cells["is_control"] & ~here))


def _controls_at_the_edge(screen: Screen) -> Screen:
    cells = screen.cells.to_pandas()
    here = (cells["well"] == "A2") & cells["is_control"]
    return with_cells(screen, cells.assign(y=cells["y"].where(~here, 2.0)))


def _unlisted(screen: Screen) -> Screen:
    return replace(screen, tiles=screen.tiles.drop(index=1).reset_index(drop=True))


def _no_gene(screen: Screen) -> Screen:
    cells = screen.cells.to_pandas()
    return with_cells(screen, cells.assign(gene_symbol=cells["gene_symbol"].where(cells.index > 1)))


PROBLEMS = {
    "missing tile": (_missing_tile, r"1 missing tile: tiles/P1_A1_1\.tif", "tile missing or unreadable", 12),
    "truncated tile": (_cut_tile, r"1 unreadable tile: P1_A1_1\.tif cannot be read", "tile missing or unreadable", 12),
    "tile that is not listed": (
        _unlisted,
        "1 tile that only the cell table names: P1 A1 1",
        "tile missing or unreadable",
        12,
    ),
    "cells outside": (_astray, r"3 cells outside their tile: \(4000, ", "outside its tile", 3),
    "no controls": (_no_controls, r"1 batch without control cells: P1\|A2", "batch without controls", 36),
    "controls at the edge": (
        _controls_at_the_edge,
        r"1 batch without control cells: P1\|A2",
        "batch without controls",
        27,
    ),
    "no gene": (_no_gene, "2 cells without a gene symbol: row 0 of P1 A1, row 1 of P1 A1", "no gene symbol", 2),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_stop_or_drop(screen, tmp_path, name):
    spoil, message, reason, lost = PROBLEMS[name]
    spoilt = spoil(screen)
    # Reflection keeps cells at the edge, so that the counts are those of the problem alone.
    edge = {} if name == "controls at the edge" else {"edge": "reflect"}
    with pytest.raises(GrapeOpsError, match=message) as stop:
        preprocess(spoilt, tmp_path / "store", settings(**edge))
    assert "preprocess.on_problem=drop" in str(stop.value)
    before = len(reads(screen.root))
    report = preprocess(spoilt, tmp_path / "store", settings(on_problem="drop", **edge), resume=True)
    if edge:
        assert report.cells_dropped == {reason: lost}
    else:
        assert sum(report.cells_dropped.values()) == len(spoilt.cells) - report.cells_kept
    assert report.quality["problems"][0]["count"] >= 1
    CropStore.open(tmp_path / "store").verify()
    # What the first call read is not read again: of the first pass at most the spoilt tile is left.
    if before > 1:
        assert len(reads(screen.root)) - before <= 9 + 2
    # Dropping from the start gives the same store.
    preprocess(spoilt, tmp_path / "fresh", settings(on_problem="drop", **edge))
    assert contents(tmp_path / "fresh") == contents(tmp_path / "store")


def test_wrong_coordinates_show_before_anything_is_computed(screen, tmp_path):
    cells = screen.cells.to_pandas()
    stitched = with_cells(screen, cells.assign(x=cells["x"] + 5000))
    with pytest.raises(GrapeOpsError, match=r"12 cells outside their tile, in the first tile of 96 x 96 pixels alone"):
        preprocess(stitched, tmp_path / "store", settings())
    assert len(reads(screen.root)) == 1


def test_a_mended_tile_is_taken_up_again(screen, tmp_path):
    good = (screen.root / "tiles/P2_A1_2.tif").read_bytes()
    preprocess(screen, tmp_path / "good", settings())
    (screen.root / "tiles/P2_A1_2.tif").write_bytes(good[:700])
    with pytest.raises(GrapeOpsError, match="1 unreadable tile:"):
        preprocess(screen, tmp_path / "store", settings())
    (screen.root / "tiles/P2_A1_2.tif").write_bytes(good)
    preprocess(screen, tmp_path / "store", settings(), resume=True)
    assert contents(tmp_path / "good") == contents(tmp_path / "store")


def test_everything_dropped_is_an_error(screen, tmp_path):
    with pytest.raises(GrapeOpsError, match="No cell is left to crop") as told:
        preprocess(screen, tmp_path / "store", settings(crop_size=300, on_problem="drop"))
    assert "cells too close to the edge of their tile (preprocess.edge)" in str(told.value)
    assert "A smaller preprocess.crop_size" in str(told.value)


def test_everything_dropped_says_what_is_behind_it_and_what_went_before(screen, tmp_path):
    cells = collect_cells([screen.cells.to_pandas().assign(y=-1000.0)])
    before = Tally("cells without a gene or a guide", 3, "dropped")
    astray = replace(screen, cells=replace(cells, quality=(before,)))
    with pytest.raises(GrapeOpsError, match="No cell is left to crop") as told:
        preprocess(astray, tmp_path / "store", settings(on_problem="drop", most_lost=1))
    lines = str(told.value).splitlines()
    assert f"  {len(cells):,} cells outside their tile (preprocess.on_problem)" in lines
    assert any("cells outside their tile, for example (-1000, " in line for line in lines)
    assert "  3 cells without a gene or a guide" in lines
    assert "crop_size" not in str(told.value)


def test_a_finished_store_is_left_alone_or_replaced_on_demand(screen, tmp_path):
    out = tmp_path / "store"
    first = preprocess(screen, out, settings())
    before, read = contents(out), len(reads(screen.root))
    for again in ({}, {"resume": True}):
        assert preprocess(screen, out, settings(workers=3, on_problem="drop"), **again) == first
    assert contents(out) == before and len(reads(screen.root)) == read
    changed = settings(crop_size=20, flat_field={"percentile": 5})
    for again in ({}, {"resume": True}):
        with pytest.raises(
            GrapeOpsError, match=r"other settings:\n  preprocess\.crop_size: 24 there, 20 now\n"
        ) as error:
            preprocess(screen, out, changed, **again)
        assert "preprocess.flat_field.percentile: 2.0 there, 5.0 now" in str(error.value)
        assert "--overwrite" in str(error.value)
    with pytest.raises(GrapeOpsError, match="of another screen, or its tables changed"):
        preprocess(with_cells(screen, screen.cells.to_pandas().iloc[1:]), out, settings())
    assert contents(out) == before
    preprocess(screen, out, changed, overwrite=True)
    assert CropStore.open(out).crop_size == 20


def test_half_written_stores_want_a_word(screen, tmp_path):
    out = tmp_path / "store"
    (screen.root / "tiles/P1_A2_0.tif").rename(tmp_path / "away.tif")
    screen.tiles.loc[3, "path"] = "tiles/P1_A2_0.{tif}"  # found missing only when it is read
    with pytest.raises(GrapeOpsError, match="unreadable tile"):
        preprocess(screen, out, settings())
    with pytest.raises(GrapeOpsError, match="half-written store: go on with --resume, or start again"):
        preprocess(screen, out, settings())
    with pytest.raises(
        GrapeOpsError, match=r"half-written store that was made with other settings:\n  preprocess\.edge"
    ):
        preprocess(screen, out, settings(edge="zero"), resume=True)
    with pytest.raises(GrapeOpsError, match="half-written crop store|no crop store"):
        CropStore.open(out)


def test_foreign_folders_are_never_touched(screen, tmp_path):
    out = tmp_path / "store"
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    for again in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(GrapeOpsError, match="not a crop store|not part of a crop store"):
            preprocess(screen, out, settings(), **again)
    assert (out / "thesis.txt").read_text() == "precious"


def test_quality_counts_add_up(screen, tmp_path):
    preprocess(screen, tmp_path / "store", settings())
    quality = json.loads((tmp_path / "store/quality.json").read_text())
    store = CropStore.open(tmp_path / "store")
    assert quality["cells_in_table"] == quality["cells_kept"] + sum(quality["cells_dropped"].values()) == 108
    for counts in ("cells_per_gene", "cells_per_batch"):
        assert sum(quality[counts].values()) == quality["cells_kept"]
    assert list(quality["cells_per_gene"]) == list(store.perturbations)
    assert sum(quality["controls_per_batch"].values()) == store.cells["is_control"].sum()
    assert (quality["tiles_in_screen"], quality["tiles_missing"], quality["tiles_unreadable"]) == (9, 0, 0)
    assert quality["flat_field"]["groups"] == 3 and quality["problems"] == []


def test_provenance_has_settings_but_no_paths(screen, tmp_path):
    preprocess(screen, tmp_path / "store", settings())
    meta = json.loads((tmp_path / "store/store.json").read_text())
    assert meta["provenance"]["screen"] == "screen"
    assert meta["provenance"]["settings"]["crop_size"] == 24 and "workers" not in meta["provenance"]["settings"]
    assert str(tmp_path) not in json.dumps(meta)


def test_tiles_of_different_size_cannot_share_a_field(tmp_path):
    screen, other = make_screen(tmp_path / "a"), make_screen(tmp_path / "b", size=64)
    (other.root / "tiles/P1_A2_0.tif").replace(screen.root / "tiles/P1_A2_0.tif")
    with pytest.raises(GrapeOpsError, match="have different sizes|its neighbours are"):
        preprocess(screen, tmp_path / "s", settings())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda image: image[:1], "expected 2 channels"),
        (lambda image: image.astype(np.float64), "expected one of uint8, uint16"),
        (lambda image: (image >> 8).astype(np.uint8), "of different pixel types"),
    ],
)
def test_tiles_of_another_kind_are_reported(screen, tmp_path, spoil, message):
    import tifffile

    file: Path = screen.root / "tiles/P1_A2_0.tif"
    tifffile.imwrite(file, spoil(tifffile.imread(file)), photometric="minisblack")
    with pytest.raises(GrapeOpsError, match=message):
        preprocess(screen, tmp_path / "s", settings())


def test_what_was_kept_and_dropped_is_told(screen, tmp_path):
    spoilt = _missing_tile(screen)
    with pytest.warns(UserWarning, match="Crops of 24 px cannot be trained on"):
        report = preprocess(spoilt, tmp_path / "store", settings(on_problem="drop"))
    told = str(report)
    assert told.startswith(f"Kept {report.cells_kept} of 108 cells: 3 genes and ")
    assert "Dropped 12 cells: tile missing or unreadable." in told
    assert "Left out: 1 missing tile." in told
    assert "Flat field applied, of 3 groups of tiles: channel0 in " in told
    assert "No flat field" in str(
        preprocess(screen, tmp_path / "off", settings(flat_field={"enabled": False}, on_problem="drop"))
    )
