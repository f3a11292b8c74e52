"""Steps are done once; a stamp that cannot be read says nothing, and blocks nothing."""

import json

import pytest

from grape_ops.artifacts.steps import Step, run_step
from grape_ops.errors import GrapeOpsError

DAMAGED = [
    b"",
    b'{"identity": "a',
    b"null",
    b"[]",
    b"\xff\xfe",
    b'{"identity": 3, "finished": null}',
    b'{"identity": "a"}',
    b'{"identity": "a", "finished": []}',
]


def step(folder, inputs="one"):
    file = folder / "result.txt"
    return Step("count", inputs, (file,), lambda _: file.write_text(f"{inputs}, made"))


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_stamp_means_not_known(tmp_path, content, capsys):
    run_step(step(tmp_path), tmp_path)
    (tmp_path / "result.txt").write_text("hours of work")
    (tmp_path / ".grape-ops" / "count.json").write_bytes(content)
    run_step(step(tmp_path), tmp_path)
    assert "its stamp is damaged" in capsys.readouterr().out
    assert (tmp_path / "result.txt").read_text() == "one, made"
    assert (tmp_path / "outdated" / "count-unknown" / "result.txt").read_text() == "hours of work"
    run_step(step(tmp_path), tmp_path)
    assert "up to date" in capsys.readouterr().out


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_stamp_of_what_was_set_aside_blocks_nothing(tmp_path, content):
    run_step(step(tmp_path), tmp_path)
    run_step(step(tmp_path, "two"), tmp_path)
    (aside,) = (tmp_path / "outdated").iterdir()
    (aside / "stamp.json").write_bytes(content)
    run_step(step(tmp_path), tmp_path)
    assert (tmp_path / "result.txt").read_text() == "one, made" and (aside / "result.txt").is_file()


def test_what_no_step_made_is_left_alone(tmp_path):
    (tmp_path / "result.txt").write_text("somebody's")
    with pytest.raises(GrapeOpsError, match="no step of this pipeline made it"):
        run_step(step(tmp_path), tmp_path)
    assert (tmp_path / "result.txt").read_text() == "somebody's"


def test_a_stamp_is_written_as_a_whole(tmp_path):
    run_step(step(tmp_path), tmp_path)
    assert [file.name for file in (tmp_path / ".grape-ops").iterdir()] == ["count.json"]
    stamp = json.loads((tmp_path / ".grape-ops" / "count.json").read_text())
    assert stamp == {"identity": step(tmp_path).identity, "finished": step(tmp_path).fingerprint}
