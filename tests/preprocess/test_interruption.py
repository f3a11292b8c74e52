"""kill -9 and Ctrl-C at chosen reads of a tile, in either pass, then resume: the same bytes as without."""

import os
import pickle
import select
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from tiny_screen import contents, make_screen, reads, signalling

from grape_ops.artifacts import atomic
from grape_ops.cells.store import CropStore
from grape_ops.config import PreprocessSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.preprocess.store_folder import PLAN_FILE
from grape_ops.schema import UNFINISHED_DIR
from grape_ops.screen.screen import Screen
from grape_ops.stopping import interrupt_held_back

RUN = """
import os, pickle, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tiny_screen import signalling
from grape_ops.config import PreprocessSettings
from grape_ops.preprocess.pipeline import preprocess

if __name__ == "__main__":
    folder, workers, sent, at_read = Path(sys.argv[2]), *map(int, sys.argv[3:6])
    screen = signalling(pickle.loads((folder / "screen.pkl").read_bytes()), os.getpid(), sent, at_read)
    settings = PreprocessSettings(crop_size=24, workers=workers)
    preprocess(screen, folder / "store", settings, resume="resume" in sys.argv)
"""
TILES = 9
FIRST_PASS = 1 + TILES  # one tile is looked at beforehand


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Screen, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    screen = make_screen(folder / "screen")
    preprocess(screen, folder / "store", settings())
    return screen, contents(folder / "store")


def settings(workers: int = 1) -> PreprocessSettings:
    return PreprocessSettings(crop_size=24, workers=workers)


def interrupted(folder: Path, workers: int, sent: signal.Signals, at_read: int, *words: str) -> Screen:
    """Run preprocessing in a process of its own that a signal hits while it reads a certain tile."""
    if not (folder / "screen").exists():
        (folder / "screen.pkl").write_bytes(pickle.dumps(make_screen(folder / "screen")))
    (folder / "run.py").write_text(RUN)
    command = [sys.executable, folder / "run.py", Path(__file__).parent, folder, workers, int(sent), at_read, *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == -sent, done.stderr
    return pickle.loads((folder / "screen.pkl").read_bytes())


def wait_until_gone(screen: Screen) -> None:
    """Wait until no process is left that ever read a tile; orphans end when they see their parent's end."""
    for process in {int(line.split()[0]) for line in reads(screen.root)} - {os.getpid()}:
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(process)
            ended, _, _ = select.select([handle], [], [], 30)
            os.close(handle)
            assert ended, "a process lives on"


@pytest.mark.parametrize("at_read", [2, 6, FIRST_PASS + 1, FIRST_PASS + 5])
def test_kill_9_then_resume_is_byte_identical(finished, tmp_path, at_read):
    screen = interrupted(tmp_path, 1, signal.SIGKILL, at_read)
    assert not (tmp_path / "store/store.json").exists()
    with pytest.raises(GrapeOpsError, match="half-written|no crop store"):
        CropStore.open(tmp_path / "store")
    preprocess(screen, tmp_path / "store", settings(), resume=True)
    assert contents(tmp_path / "store") == finished[1]
    # Finished tiles of the first pass were not read again, nor were finished shards of the second, but for the last
    # one, which may not have been on the disk yet.
    spent = len(reads(screen.root)) - FIRST_PASS - TILES
    assert 0 < spent <= (2 if at_read <= FIRST_PASS else 5)


def test_killed_twice_with_two_workers(finished, tmp_path):
    interrupted(tmp_path, 2, signal.SIGKILL, 4)
    screen = interrupted(tmp_path, 2, signal.SIGKILL, 16, "resume")
    wait_until_gone(screen)
    preprocess(screen, tmp_path / "store", settings(), resume=True)
    assert contents(tmp_path / "store") == finished[1]


def test_ctrl_c_ends_the_workers_and_leaves_a_resumable_state(finished, tmp_path):
    screen = interrupted(tmp_path, 2, signal.SIGINT, 13)
    wait_until_gone(screen)
    preprocess(screen, tmp_path / "store", settings(), resume=True)
    assert contents(tmp_path / "store") == finished[1]


def test_a_worker_that_is_ended_from_outside_is_an_error_and_loses_nothing(finished, tmp_path):
    screen = make_screen(tmp_path / "screen")
    with pytest.raises(GrapeOpsError, match="worker process was ended from outside.*--resume and fewer workers"):
        preprocess(signalling(screen, 0, signal.SIGKILL, 14), tmp_path / "store", settings(workers=2))
    preprocess(screen, tmp_path / "store", settings(), resume=True)
    assert contents(tmp_path / "store") == finished[1]


@pytest.mark.parametrize("victim", ["store.json", "cells.parquet"])
def test_killed_between_the_last_files(finished, tmp_path, victim, monkeypatch):
    screen = make_screen(tmp_path / "screen")
    settle = atomic.settle

    def dies(part: Path, file: Path) -> None:
        if file.name == victim:
            raise KeyboardInterrupt
        settle(part, file)

    monkeypatch.setattr(atomic, "settle", dies)
    with pytest.raises(KeyboardInterrupt):
        preprocess(screen, tmp_path / "store", settings())
    monkeypatch.setattr(atomic, "settle", settle)
    before = len(reads(screen.root))
    preprocess(screen, tmp_path / "store", settings(), resume=True)
    assert contents(tmp_path / "store") == finished[1]
    assert len(reads(screen.root)) == before
    assert not list((tmp_path / "store").rglob("*.partial"))
    assert not list((tmp_path / "store").rglob(".*"))


def test_sums_that_lost_their_plan_are_made_afresh(finished, tmp_path):
    screen = interrupted(tmp_path, 1, signal.SIGKILL, FIRST_PASS + 2)
    (tmp_path / "store" / UNFINISHED_DIR / PLAN_FILE).unlink()
    for part in [*(tmp_path / "store").iterdir()]:
        if part.name != UNFINISHED_DIR:
            shutil.rmtree(part) if part.is_dir() else part.unlink()
    before = len(reads(screen.root))
    preprocess(screen, tmp_path / "store", settings(), resume=True)
    assert contents(tmp_path / "store") == finished[1]
    assert len(reads(screen.root)) - before == FIRST_PASS + TILES


def test_an_interrupted_shard_is_made_afresh(finished, tmp_path):
    interrupted(tmp_path, 1, signal.SIGKILL, FIRST_PASS + 2)
    partial = next((tmp_path / "store/shards").glob("*.partial"))
    partial.write_bytes(b"rubbish")
    screen = pickle.loads((tmp_path / "screen.pkl").read_bytes())
    preprocess(screen, tmp_path / "store", settings(), resume=True)
    assert contents(tmp_path / "store") == finished[1]


def test_ctrl_c_waits_until_a_process_is_started():
    reached = []

    def start() -> None:
        with interrupt_held_back():
            signal.raise_signal(signal.SIGINT)
            reached.append(True)

    with pytest.raises(KeyboardInterrupt):
        start()
    assert reached == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
