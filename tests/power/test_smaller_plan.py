"""A screen with few control cells gets a smaller planted screen, and is told what a full one takes."""

import pytest

from grape_ops.config import CalibrateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.power.smaller_plan import cells_taken, within_controls

FULL = CalibrateSettings()  # 24 genes of 150 cells and 500 controls


def test_enough_controls_leave_the_settings_as_they_are(capsys):
    assert cells_taken(FULL) == 4100
    assert within_controls(FULL, 4100, 4) is FULL and not capsys.readouterr().err


@pytest.mark.parametrize("usable", [80, 100, 300, 1000, 4099])
def test_a_smaller_screen_takes_what_there_is(usable, capsys):
    fewer = within_controls(FULL, usable, 4)
    assert cells_taken(fewer) <= usable
    assert fewer.cells_per_gene >= 10 and fewer.control_cells >= 40
    assert fewer.complexes >= 2 and fewer.genes_per_complex >= 2
    assert max(fewer.cells_tried) == fewer.cells_per_gene <= FULL.cells_per_gene
    assert f"{4100 - usable:,} more control cells are needed" in " ".join(capsys.readouterr().err.split())
    if usable >= 300:  # fewer cells come before fewer genes
        assert (fewer.complexes, fewer.genes_per_complex) == (6, 4) or usable == 300


def test_too_few_for_anything_says_how_many_it_takes():
    with pytest.raises(GrapeOpsError, match=r"36 control cells .* smallest planted screen takes 60: .* take 4,100"):
        within_controls(FULL, 36, 2)
