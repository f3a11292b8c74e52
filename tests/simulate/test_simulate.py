"""The simulated screen: same bytes for a seed, planted truth visible, dirt where it is promised."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml

from grape_ops.config import ScreenSettings, SimulateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import CONTROL_LABEL
from grape_ops.screen.layouts import open_screen
from grape_ops.simulate.write_screen import simulate_screen

SMALL = {
    "complexes": 2,
    "genes_per_complex": 2,
    "lone_genes": 1,
    "guides_per_gene": 2,
    "control_guides": 3,
    "cells_per_gene": 20,
    "control_cells": 40,
    "tile_size": 128,
    "cell_diameter": 22.0,
}


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "screen"
    simulate_screen(out, SimulateSettings(**SMALL), workers=1)
    return out


@pytest.fixture(scope="module")
def strong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One batch, strong effects, half the guides duds."""
    out = tmp_path_factory.mktemp("strong") / "screen"
    settings = {"plates": 1, "wells_per_plate": 1, "effect_size": 2.0, "penetrance": 1.0, "dud_guides": 0.5}
    sizes = {"cells_per_gene": 120, "control_cells": 150, "tile_size": 384, "vignetting": 0.0}
    simulate_screen(out, SimulateSettings(**{**SMALL, **settings, **sizes}), workers=1)
    return out


def test_same_seed_same_bytes_whatever_the_workers(screen: Path, tmp_path: Path) -> None:
    simulate_screen(tmp_path / "again", SimulateSettings(**SMALL), workers=2)
    assert digests(tmp_path / "again") == digests(screen)


def test_another_seed_another_screen(screen: Path, tmp_path: Path) -> None:
    simulate_screen(tmp_path / "other", SimulateSettings(**SMALL, seed=1), workers=1)
    theirs, ours = digests(tmp_path / "other"), digests(screen)
    assert ours.pop("truth.tsv") == theirs.pop("truth.tsv")  # the names stay, the rest is drawn anew
    assert not set(ours.values()) & set(theirs.values())


def test_numbers_asked_for(screen: Path) -> None:
    cells, library = pd.read_parquet(screen / "cells.parquet"), pd.read_csv(screen / "library.csv")
    assert list(cells.columns) == ["gene_symbol", "sgRNA", "plate", "well", "tile", "y", "x"]
    assert (cells.gene_symbol == CONTROL_LABEL).sum() == 40
    assert len(cells) == 5 * 20 + 40
    assert library.groupby("gene_symbol").size().drop(CONTROL_LABEL).eq(2).all()
    assert library.sgRNA.is_unique and set(cells.sgRNA) <= set(library.sgRNA)
    assert (library[library.role == "control"].efficacy == 0).all()
    # Every well has controls, as each is scaled by its own.
    assert cells[cells.gene_symbol == CONTROL_LABEL].groupby(["plate", "well"]).size().tolist() == [10] * 4
    truth = pd.read_csv(screen / "truth.tsv", sep="\t")
    assert truth.groupby("complex").size().tolist() == [2, 2]
    assert set(library.gene_symbol) - set(truth.gene_symbol) == {"NONO", CONTROL_LABEL}


def test_tiles_are_raw_multichannel(screen: Path) -> None:
    files = sorted((screen / "tiles").rglob("*.tif"))
    tile = tifffile.imread(files[0])
    assert tile.shape == (4, 128, 128) and tile.dtype == np.uint16
    assert tile.max() < 65535 and tile.min() > 0
    opened = open_screen(screen, ScreenSettings())
    settings = yaml.safe_load((screen / "screen.yaml").read_text())["simulated"]
    assert opened.pixel_size == pytest.approx(20.0 / settings["cell_diameter"])


def test_positions_are_on_nuclei(strong: Path) -> None:
    opened = open_screen(strong, ScreenSettings())
    cells = opened.cells.to_pandas()
    on_nucleus, elsewhere = [], []
    rng = np.random.default_rng(0)
    for _, row in opened.tiles.iterrows():
        dna = opened.read_tile(row)[0].astype(float)
        here = cells[cells.tile == row.tile]
        on_nucleus.extend(dna[here.y.round().astype(int), here.x.round().astype(int)] / np.median(dna))
        elsewhere.extend(rng.choice(dna.ravel(), 200) / np.median(dna))
    assert np.quantile(on_nucleus, 0.05) > np.median(elsewhere) * 2


def test_unidentified_cells_are_in_the_tiles_only(tmp_path: Path) -> None:
    sizes = {**SMALL, "plates": 1, "wells_per_plate": 1, "confluence": 0.3, "tile_size": 256}
    light = {}
    for share in (0.0, 0.5):
        simulate_screen(tmp_path / f"{share}", SimulateSettings(**sizes, unidentified_share=share), workers=1)
        cells = pd.read_parquet(tmp_path / f"{share}" / "cells.parquet")
        assert len(cells) == 140 and not (cells.sgRNA == "").any()
        light[share] = len(list((tmp_path / f"{share}").rglob("*.tif")))
    assert light[0.5] > light[0.0]


def guide_shift(screen: Path) -> pd.Series:
    """How far the mean crop statistics of each guide lie from the controls', in standard errors (root mean square)."""
    opened = open_screen(screen, ScreenSettings())
    cells, rows = opened.cells.to_pandas(), []
    for _, tile in opened.tiles.iterrows():
        image = opened.read_tile(tile).astype(float)
        here = cells[cells.tile == tile.tile]
        for guide, control, y, x in zip(here.sgRNA, here.is_control, here.y.round(), here.x.round(), strict=True):
            crop = image[:, max(int(y) - 12, 0) : int(y) + 12, max(int(x) - 12, 0) : int(x) + 12]
            flat = crop.reshape(4, -1)
            rows.append([guide, control, *flat.mean(1), *flat.std(1), *np.quantile(flat, 0.98, axis=1)])
    table = pd.DataFrame(rows).rename(columns={0: "guide", 1: "control"})
    features = np.log(table.drop(columns=["guide", "control"]).astype(float))
    control = features[table.control]
    z = (features - control.mean()) / control.std()
    by_guide = z.groupby(table.guide)
    distance = by_guide.mean().mul(np.sqrt(by_guide.size()), axis=0)
    return np.sqrt((distance**2).mean(axis=1))


def test_working_guides_shift_cells_and_duds_do_not(strong: Path) -> None:
    shift = guide_shift(strong)
    library = pd.read_csv(strong / "library.csv").set_index("sgRNA")
    efficacy = library.loc[shift.index, "efficacy"]
    targeting = library.loc[shift.index, "role"] == "targeting"
    working, dud = shift[targeting & (efficacy > 0)], shift[targeting & (efficacy == 0)]
    assert len(working) >= 5 and len(dud) >= 2
    assert dud.max() < 2.5
    assert working.median() > 2 * dud.max()
    assert shift[~targeting].max() < 2.5


def test_every_gene_keeps_a_working_guide_unless_all_are_duds(tmp_path: Path) -> None:
    for share, working in ((0.95, True), (1.0, False)):
        simulate_screen(tmp_path / f"{share}", SimulateSettings(**SMALL, dud_guides=share), workers=1)
        library = pd.read_csv(tmp_path / f"{share}" / "library.csv")
        best = library[library.role == "targeting"].groupby("gene_symbol").efficacy.max()
        assert (best > 0).all() if working else (best == 0).all()


def test_confounding_makes_wells_uneven(tmp_path: Path) -> None:
    spread = {}
    for concentration in (0.3, 1000.0):
        settings = SimulateSettings(**{**SMALL, "cells_per_gene": 60}, confounding=concentration)
        simulate_screen(tmp_path / f"{concentration}", settings, workers=1)
        cells = pd.read_parquet(tmp_path / f"{concentration}" / "cells.parquet")
        counts = pd.crosstab(cells.gene_symbol, [cells.plate, cells.well]).drop(CONTROL_LABEL)
        shares = counts.div(counts.sum(axis=1), axis=0)
        spread[concentration] = shares.std(axis=1).mean()
    assert spread[0.3] > 3 * spread[1000.0]


def test_vignetting_darkens_corners_off_centre(tmp_path: Path) -> None:
    sizes = {**SMALL, "cells_per_gene": 60, "tile_size": 256, "plates": 1, "wells_per_plate": 1}
    ratio = {}
    for vignetting in (0.0, 0.6):
        simulate_screen(tmp_path / f"{vignetting}", SimulateSettings(**sizes, vignetting=vignetting), workers=1)
        tiles = np.stack([tifffile.imread(path) for path in (tmp_path / f"{vignetting}").rglob("*.tif")])
        # The lower quartile is medium, whatever the cells.
        low = np.quantile(tiles.astype(float), 0.1, axis=0) - 100
        corners = np.stack(
            [
                low[:, rows, columns]
                for rows in (slice(24), slice(-24, None))
                for columns in (slice(24), slice(-24, None))
            ]
        )
        ratio[vignetting] = corners.mean(axis=(0, 2, 3)) / low[:, 96:160, 96:160].mean(axis=(1, 2))
    assert (ratio[0.6] < ratio[0.0] - 0.15).all()


def test_wells_differ_in_gain(tmp_path: Path) -> None:
    medium = {}
    for gain in (0.0, 0.5):
        settings = SimulateSettings(**SMALL, batch_gain_sd=gain, effect_size=0, vignetting=0)
        simulate_screen(tmp_path / f"{gain}", settings, workers=1)
        opened = open_screen(tmp_path / f"{gain}", ScreenSettings())
        dark = [np.quantile(opened.read_tile(row), 0.02, axis=(1, 2)) for _, row in opened.tiles.iterrows()]
        medium[gain] = pd.DataFrame(dark).groupby(opened.tiles.plate + opened.tiles.well).mean().std().mean()
    assert medium[0.5] > 2 * medium[0.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tile_size": 60}, "tile_size must be at least four times"),
        ({"control_cells": 3}, "every well needs controls"),
        ({"control_cells": 5, "control_guides": 9}, "lower control_guides"),
        ({"cells_per_gene": 1}, "lower guides_per_gene"),
        ({"unidentified_share": 0.97}, "keep it below 0.95"),
    ],
)
def test_impossible_settings_are_refused(change: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(GrapeOpsError, match=message):
        simulate_screen(tmp_path / "screen", SimulateSettings(**{**SMALL, **change}), workers=1)
    assert not list(tmp_path.iterdir())


def test_a_foreign_folder_is_not_overwritten(screen: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(GrapeOpsError, match="not a simulated screen"):
        simulate_screen(tmp_path, SimulateSettings(**SMALL), workers=1)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    with pytest.raises(GrapeOpsError, match="is a file"):
        simulate_screen(tmp_path / "thesis.txt", SimulateSettings(**SMALL), workers=1)


def test_an_earlier_simulated_screen_is_replaced_whole(tmp_path: Path) -> None:
    simulate_screen(tmp_path / "screen", SimulateSettings(**SMALL, plates=2), workers=1)
    simulate_screen(tmp_path / "screen", SimulateSettings(**SMALL, plates=1), workers=1)
    assert {path.parent.name for path in (tmp_path / "screen").rglob("*.tif")} == {"P1"}
    assert [path.name for path in tmp_path.iterdir()] == ["screen"]
