"""Progress in plain lines, where the output is no terminal."""

import os
import pty
import re
import subprocess
import sys

import pytest

from grape_ops import progress as module
from grape_ops.progress import note, progress, waiting


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


def test_waiting_says_at_once_what_is_done(capsys: pytest.CaptureFixture[str]):
    with waiting("loading"):
        assert capsys.readouterr().err == "loading …\n"


def test_notes_are_no_results(capsys: pytest.CaptureFixture[str]):
    note("look out.")
    assert capsys.readouterr() == ("", "Note: look out.\n")


def test_the_bar_keeps_its_place_whatever_stands_beside_it():
    """Runs a bar on a pseudo-terminal of 80 columns; its ends must stay where they are."""
    master, slave = pty.openpty()
    code = (
        "from grape_ops.progress import progress\n"
        "with progress('train', 500, 'step') as advance:\n"
        "    for i in range(500): advance(note='x' * (i % 90))\n"
    )
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=slave, env=environment)
    os.close(slave)
    chunks = []
    try:
        while chunk := os.read(master, 65536):
            chunks.append(chunk)
    except OSError:  # what Linux says when the other end is closed
        pass
    assert process.wait() == 0
    drawn = re.findall(r"train [^\r\n]*", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(chunks).decode()))
    counts = {line.index("/500") for line in drawn}
    assert len(drawn) > 1 and len(counts) == 1
    assert max(map(len, drawn)) <= 80
