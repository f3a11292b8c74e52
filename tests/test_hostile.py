"""A short run of benchmarks/hostile.py: no reader gives wrong values without a word, and none breaks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAILURES = ("wrong", "unnamed", "traceback", "signal", "hang", "memory")


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked and limited as Linux does")
def test_damaged_inputs_are_read_as_before_or_refused_in_words_and_a_disturbed_command_goes_on(tmp_path: Path) -> None:
    # In a process of its own, which is forked before any library has started threads.
    record = tmp_path / "hostile.json"
    words = [sys.executable, ROOT / "benchmarks" / "hostile.py", "--quick", "--out", record]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(record.read_text())["figures"]
    assert found["failures"] == []
    assert found["inputs"] >= 300 and sum(found["total"][kind] for kind in FAILURES) == 0
    assert found["total"]["refused"] > found["inputs"] / 2  # the damage is damage
    assert found["total"]["none"] < found["inputs"] / 10
    assert len(found["by_reader"]) > 30
    assert found["commands"]["failures"] == [] and found["commands"]["tried"] > 0
