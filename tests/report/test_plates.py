"""Well and plate maps: where wells stand, what they show, and what too few cells leave open."""

import numpy as np
import pandas as pd
import pytest

from grape_ops.report import plates
from grape_ops.report.plates import plate_maps, smallest, well_table
from grape_ops.schema import IS_CONTROL, PLATE, WELL


def test_wells_are_counted_and_their_controls(tiny_store):
    table = well_table(tiny_store, 0).set_index([PLATE, WELL])
    cells = tiny_store.cells
    for (plate, well), part in cells.groupby([PLATE, WELL]):
        assert table.loc[(plate, well), "cells"] == len(part)
        assert table.loc[(plate, well), "control"] == pytest.approx(part[IS_CONTROL].mean())
    pd.testing.assert_frame_equal(well_table(tiny_store, 0).set_index([PLATE, WELL]), table)


def test_a_well_whose_cells_change_has_an_effect(tiny_store, monkeypatch):
    monkeypatch.setattr(plates, "LEAST_OF_A_WELL", 3)
    before = well_table(tiny_store, 0)["effect"]
    is_control = tiny_store.cells[IS_CONTROL].to_numpy(bool)
    (plate, well), _ = next(iter(tiny_store.cells.groupby([PLATE, WELL], sort=False)))
    changed = ((tiny_store.cells[PLATE] == plate) & (tiny_store.cells[WELL] == well)).to_numpy() & ~is_control
    read = tiny_store.standardized
    noise = np.random.default_rng(0).normal(0, 20, (1, 1, tiny_store.crop_size, tiny_store.crop_size))

    def standardized(rows):
        return read(rows) + (noise * changed[rows][:, None, None, None]).astype(np.float32)

    monkeypatch.setattr(tiny_store, "standardized", standardized)
    after = well_table(tiny_store, 0)["effect"]
    assert np.isfinite(before).all() and after[0] > 1.2 * before[0]
    np.testing.assert_array_equal(after[1:], before[1:])


def test_too_few_control_cells_leave_the_effect_open(tiny_store, monkeypatch):
    monkeypatch.setattr(plates, "LEAST_OF_A_WELL", 10_000)
    assert well_table(tiny_store, 0)["effect"].isna().all()


def test_plates_are_grids_in_the_order_people_number_them():
    table = pd.DataFrame(
        {PLATE: ["P10", "P2", "P2", "P2"], WELL: ["A1", "B2", "A10", "stitched"], "cells": [10, 20, 40, 0]}
    ).assign(control=[0.1, 0.2, 0.4, 0.0], effect=[1.0, 1.5, 2.0, np.nan])
    cells, control, effect = plate_maps(table)
    assert [plate["name"] for plate in cells["plates"]] == ["P2", "P10"]
    first = cells["plates"][0]
    assert first["columns"] == ["2", "10", "stitched"]
    assert [row for row, _ in first["rows"]] == ["", "A", "B"]
    assert first["rows"][1][1] == [None, {"well": "A10", "text": "40", "share": 1.0}, None]
    assert (cells["low"], cells["high"], control["high"], effect["low"]) == ("0", "40", "40%", "1.00")
    assert effect["plates"][0]["rows"][0][1][2] == {"well": "stitched", "text": "too few cells", "share": None}


def test_genes_with_the_fewest_cells_are_named():
    assert smallest(pd.Series({"AAA": 1200, "BBB": 3, "CCC": 40}), 2) == "Fewest: BBB (3), CCC (40)."
