"""Files are whole or not there, folders are written by one process, and output errors are said in words."""

import errno
import os
import shutil
import subprocess
import sys

import pytest

from grape_ops.artifacts.atomic import clear_leftovers, draft_of, write_json
from grape_ops.artifacts.disk_errors import output_errors
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


def test_a_folder_that_is_removed_once_the_file_has_its_place_is_told(tmp_path, monkeypatch):
    folder = tmp_path / "out"
    monkeypatch.setattr("grape_ops.artifacts.atomic._remove", lambda _: shutil.rmtree(folder))
    with pytest.raises(GrapeOpsError, match="was removed meanwhile"):
        write_json(folder / "a.json", 1)


def test_a_full_disk_is_said_though_a_library_fails_over_its_half_written_file(tmp_path):
    def write():
        with draft_of(tmp_path / "a.pdf"):
            try:
                raise OSError(errno.EFBIG, "File too large")
            finally:
                raise AttributeError("'Stream' object has no attribute 'pos'")

    with pytest.raises(GrapeOpsError, match=r"a.pdf could not be written"):
        write()


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
