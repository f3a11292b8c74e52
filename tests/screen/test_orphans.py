"""Workers of a simulation end with their parent, even if that is killed outright."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

# Starts a simulation that would take minutes, and kills itself as soon as its workers have made a first tile.
SCRIPT = """
import os, signal, sys
from pathlib import Path
from grape_ops.config import SimulateSettings
from grape_ops.simulate import write_screen
import psutil

class Advance:
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def __call__(self):
        children = psutil.Process().children(recursive=True)
        pids = [str(child.pid) for child in children if "spawn_main" in str(child.cmdline())]
        Path(sys.argv[2]).write_text(" ".join(pids))
        os.kill(os.getpid(), signal.SIGKILL)

write_screen.progress = lambda *_: Advance()
if __name__ == "__main__":
    settings = SimulateSettings(plates=8, wells_per_plate=8, cells_per_gene=4000, tile_size=256)
    write_screen.simulate_screen(Path(sys.argv[1]), settings, workers=2)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is of Unix")
def test_workers_of_a_simulation_end_with_their_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "kill_me.py"
    script.write_text(SCRIPT)
    parent = subprocess.run([sys.executable, script, tmp_path / "screen", tmp_path / "pids"], env=os.environ)
    assert parent.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert pids
    children = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    gone, alive = psutil.wait_procs(children, timeout=30)
    for process in alive:
        process.kill()
    assert not alive, f"{len(alive)} of {len(gone) + len(alive)} workers outlived their parent"
