"""Files are whole or not there, folders are written by one process, and output errors are said in words."""

import errno
import os
import shutil
import subprocess
import sys

import pytest

from grape_ops.artifacts.atomic import LOCK_FILE, clear_leftovers, draft_of, locked, output_errors, write_json
from grape_ops.errors import GrapeOpsError


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    file = tmp_path / "a" / "scores.json"
    write_json(file, {"first": 1})

    def fail_half_way():
        with draft_of(file) as draft:
            draft.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert file.read_text() == '{\n "first": 1\n}\n' and os.listdir(file.parent) == ["scores.json"]


def test_two_drafts_of_one_file_have_names_of_their_own(tmp_path):
    with draft_of(tmp_path / "x") as first, draft_of(tmp_path / "x") as second:
        assert first != second
        first.write_text("1")
        second.write_text("2")
    assert (tmp_path / "x").read_text() == "1"


def test_leftovers_of_killed_processes_go_and_drafts_of_running_ones_stay(tmp_path):
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    with draft_of(tmp_path / "x") as own:
        own.write_text("1")
        left = own.with_name(own.name.replace(str(os.getpid()), dead.stdout.strip()))
        left.write_text("half")
        clear_leftovers(tmp_path)
        assert own.exists() and not left.exists()
        left.write_text("half")
        write_json(tmp_path / "y", 1)
        assert left.exists()  # of another file
        write_json(tmp_path / "x", 1)
        assert own.exists() and not left.exists()


def test_a_folder_is_written_by_one_process_at_a_time(tmp_path):
    code = (
        "import sys; from pathlib import Path; from grape_ops.artifacts.atomic import locked\n"
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


def test_a_full_disk_is_said_though_a_library_fails_over_its_half_written_file(tmp_path):
    def write():
        with draft_of(tmp_path / "a.pdf"):
            try:
                raise OSError(errno.EFBIG, "File too large")
            finally:
                raise AttributeError("'Stream' object has no attribute 'pos'")

    with pytest.raises(GrapeOpsError, match=r"a.pdf could not be written"):
        write()


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


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "may not write|not yours"),
        (errno.ENOENT, "removed"),
    ],
)
def test_output_errors_are_said_in_words(tmp_path, number, words):
    with pytest.raises(GrapeOpsError, match=words), output_errors(tmp_path / "file"):
        raise OSError(number, "in the system's words")
