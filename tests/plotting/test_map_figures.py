"""Figures of maps and of training."""

import numpy as np
import pytest

from grape_ops.plotting.map_figures import training_figure


def test_training_with_and_without_the_filter():
    lines = [{"step": s, "map": 0.2 + s / 100, "map_ema": None if s < 2 else 0.4, "map_chance": 0.1} for s in range(4)]
    axis = training_figure([{"step": 0, "cycle": 1.0}, *lines]).axes[0]
    drawn = {line.get_label(): line.get_ydata() for line in axis.lines}
    assert set(drawn) == {"M, EMA", "M, no EMA", "chance"}
    assert drawn["M, no EMA"].tolist() == pytest.approx([0.2, 0.21, 0.22, 0.23])
    assert np.isnan(drawn["M, EMA"][:2]).all() and drawn["M, EMA"][2:].tolist() == [0.4, 0.4]
    assert training_figure(lines[:1]) is None and training_figure([{"step": 1, "cycle": 1.0}]) is None
