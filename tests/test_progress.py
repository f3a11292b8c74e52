"""Progress in plain lines, where the output is no terminal."""

import re

import pytest

from grape_ops import progress as module
from grape_ops.progress import progress


def test_plain_lines_show_count_rate_and_time(capsys: pytest.CaptureFixture[str], monkeypatch):
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    with progress("cut", 4, "crop") as advance:
        for _ in range(4):
            advance(note="fine")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["cut: 2/4 · 0.167 crop/s · 00:12 left · fine", "cut: 4/4 · 0.167 crop/s · took 00:24 · fine"]


def test_work_of_an_earlier_call_does_not_count_for_the_rate(capsys: pytest.CaptureFixture[str], monkeypatch):
    clock = iter((0.0, 10.0))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with progress("train", 100, "step", done=90) as advance:
        advance(10)
    assert re.search(r"100/100 · 1 step/s · took 00:10", capsys.readouterr().err)
