"""Pixels to pictures."""

from grape_ops.plotting.pictures import composite_colours


def test_dna_is_blue_wherever_it_stands():
    for stain in ("Hoechst 33342", "DAPI", "H2B", "nuclear"):
        assert composite_colours(["actin", stain, "tubulin"])[1] == "#4d6bff"
    assert len(set(composite_colours(["a", "b", "c", "d"]))) == 4
