"""Pixels to pictures."""

import numpy as np

from grape_ops.plotting.pictures import HEADROOM, channel_views, composite, composite_colours, grey


def test_dna_is_blue_wherever_it_stands():
    for stain in ("Hoechst 33342", "DAPI", "H2B", "nuclear"):
        assert composite_colours(["actin", stain, "tubulin"])[1] == "#4d6bff"
    assert len(set(composite_colours(["a", "b", "c", "d"]))) == 4


def test_bright_cells_keep_their_structure_in_every_picture():
    names = ["DNA", "gammaH2AX", "tubulin", "actin"]
    ramp = np.tile(np.linspace(0, 1, 32), (4, 32, 1))
    cells = np.stack([ramp] * 39 + [1.4 * ramp])  # the last is a dividing one
    views = channel_views(names, cells)
    assert (grey(cells[:, 0], views[0]) == 1).mean() < 0.01
    light = composite(cells, views)[-1].max(axis=-1)[0]
    assert (np.diff(light) > 0).all() and light[-1] < 1


def test_one_wild_cell_does_not_leave_the_others_dark():
    cells = np.stack([np.tile(np.linspace(0, 1, 32), (1, 32, 1))] * 39 + [np.full((1, 32, 32), 50.0)])
    (view,) = channel_views(["DNA"], cells)
    assert 1 < view.high < 1.01 * HEADROOM
