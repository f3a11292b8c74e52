"""OPS Data Standard: whether cells lie in tiles or in the merged image is decided for each well, and never guessed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr
from layout_writers import CROP, Plain, cut_crops, draw_screen, write_image, write_ops_standard

from grape_ops.config import ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.screen.layouts import open_screen

PLAIN = ScreenSettings()


def write_mixed(root: Path, screen: Plain, drop: tuple[str, ...] = ()) -> None:
    """Merge well A1 to one image "0" while A2 keeps its tiles; every cell has centres in its tile and in its well."""
    write_ops_standard(root, screen)
    home = root / "screen_1"
    table = pd.read_parquet(home / "cell_data.parquet")
    merged, of_well = table.well_col == 1, screen.in_wells()
    table["global_y"], table["global_x"] = of_well.y, of_well.x
    y, x = of_well.y.where(merged, table.y), of_well.x.where(merged, table.x)
    table["bounding_box"] = [str(box) for box in zip(y - 5, x - 5, y + 5, x + 5, strict=True)]
    table.drop(columns=list(drop)).to_parquet(home / "cell_data.parquet", index=False)
    well = zarr.open_group(home / "screen_1.zarr/A/1", mode="w", zarr_format=3)
    write_image(well.create_group("0"), screen.stitched("P1", "A1"), "TCZYX", "0.5")


@pytest.mark.parametrize("drop", [(), ("bounding_box",)])
@pytest.mark.parametrize("in_files", [False, True])
def test_merged_wells_beside_wells_of_tiles_are_cut_at_their_own_centres(tmp_path, drop, in_files) -> None:
    drawn = draw_screen()
    write_mixed(tmp_path / "screen", drawn, drop)
    screen = open_screen(tmp_path / "screen", PLAIN, tmp_path / "tables" if in_files else None)
    expected = cut_crops(drawn)
    images = {tuple(tile[["well", "tile"]]): screen.read_tile(tile) for _, tile in screen.tiles.iterrows()}
    assert sorted(images) == [("A1", "0"), *(("A2", tile) for tile in "0123")]
    cells = screen.cells.to_pandas()
    for (_, cell), crop in zip(cells.iterrows(), expected, strict=True):
        top, left = (int(np.floor(centre + 0.5)) - CROP // 2 for centre in (cell.y, cell.x))
        np.testing.assert_array_equal(images[cell.well, cell.tile][:, top : top + CROP, left : left + CROP], crop)


def test_centres_within_tiles_of_a_merged_well_are_refused(tmp_path: Path) -> None:
    write_mixed(tmp_path, draw_screen(), ("global_y", "global_x", "bounding_box"))
    with pytest.raises(GrapeOpsError, match="cells of well A1 name 4 tiles, and the well has one image .*global_y"):
        open_screen(tmp_path, PLAIN)


def test_two_plates_are_not_cut_from_one_zarr(tmp_path: Path) -> None:
    write_ops_standard(tmp_path, draw_screen())
    file = tmp_path / "screen_1/cell_data.parquet"
    table = pd.read_parquet(file)
    pd.concat([table, table.assign(plate="P2")]).to_parquet(file)
    with pytest.raises(GrapeOpsError, match=r"plates P1, P2 of cell_data.parquet would share .* A1 in screen_1.zarr"):
        open_screen(tmp_path, PLAIN)
    table.assign(plate=np.where(table.well_col == 1, "P1", "P2")).to_parquet(file)
    screen = open_screen(tmp_path, PLAIN)
    told = [
        tally.count for tally in screen.cells.quality if tally.what.startswith("plates whose wells lie in one zarr")
    ]
    assert told == [2] and len(screen.tiles) == 8
