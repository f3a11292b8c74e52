"""One process writes into a folder at a time."""

import os
import shutil
import subprocess
import sys

import pytest

from grape_ops.artifacts.atomic import write_json
from grape_ops.artifacts.locks import LOCK_FILE, locked
from grape_ops.errors import GrapeOpsError


def test_a_folder_is_written_by_one_process_at_a_time(tmp_path):
    code = (
        "import sys; from pathlib import Path; from grape_ops.artifacts.locks import locked\n"
        f"with locked(Path({str(tmp_path)!r}), 'a run'): print('in')"
    )
    with locked(tmp_path, "a run"):
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert f"is being written by process {os.getpid()}" in second.stderr and not second.stdout
    assert not (tmp_path / LOCK_FILE).exists()
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout == "in\n"


def test_a_folder_that_is_removed_while_it_is_written_is_told(tmp_path):
    folder = tmp_path / "out"

    def write():
        with locked(folder, "hits"):
            write_json(folder / "a.json", 1)
            shutil.rmtree(folder)
            write_json(folder / "b.json", 1)

    with pytest.raises(GrapeOpsError, match="out was removed meanwhile"):
        write()


def test_a_folder_that_is_removed_at_the_very_end_is_told(tmp_path, monkeypatch):
    folder, unlink = tmp_path / "out", type(tmp_path).unlink

    def too_late(path):
        shutil.rmtree(folder)
        unlink(path)

    def write():
        with locked(folder, "hits"):
            write_json(folder / "a.json", 1)
            monkeypatch.setattr(type(tmp_path), "unlink", too_late)

    with pytest.raises(GrapeOpsError, match="out was removed meanwhile"):
        write()


def test_an_error_in_a_folder_that_was_removed_says_that_it_was(tmp_path):
    def read():
        with locked(tmp_path / "out", "a crop store"):
            shutil.rmtree(tmp_path / "out")
            (tmp_path / "out" / "group.npz").read_bytes()

    with pytest.raises(GrapeOpsError, match="out was removed meanwhile"):
        read()


def test_the_lock_of_another_process_in_a_folder_that_was_made_anew_is_left_alone(tmp_path):
    folder = tmp_path / "out"

    def write():
        with locked(folder, "hits"):
            shutil.rmtree(folder)
            folder.mkdir()
            (folder / LOCK_FILE).write_text("of another one")

    with pytest.raises(GrapeOpsError, match="out was removed meanwhile"):
        write()
    assert (folder / LOCK_FILE).read_text() == "of another one"


def test_a_folder_whose_lock_file_alone_was_removed_is_not_called_lost(tmp_path):
    with locked(tmp_path / "out", "hits"):
        write_json(tmp_path / "out" / "a.json", 1)
        (tmp_path / "out" / LOCK_FILE).unlink()
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a.json"]

    def fail():
        with locked(tmp_path / "out", "hits"):
            (tmp_path / "out" / LOCK_FILE).unlink()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
