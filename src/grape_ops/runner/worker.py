"""One method with one seed, in a process of its own: ``python -m grape_ops.runner.worker FOLDER``.

The folder says what to do (``job.json``, ``config.yaml``) and gets the gene vectors (``maps/``), what they cost, and
``done.json`` at the end. A process of its own has its own peak of memory, and a crash takes nothing else along.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

from grape_ops.artifacts.atomic import write_json
from grape_ops.artifacts.locks import locked
from grape_ops.cells.genes import write_gene_vectors
from grape_ops.config import load_config
from grape_ops.errors import GrapeOpsError
from grape_ops.runner.jobs import measured
from grape_ops.schema import UNS_METHOD


def work(folder: Path) -> None:
    """Do the job a folder describes.

    Raises
    ------
    GrapeOpsError : another process is doing it, or the method says why it cannot.
    """
    from grape_ops.cells.store import CropStore
    from grape_ops.methods import NOTES, Task, find_method  # loading libraries is no part of a method's cost

    job = json.loads((folder / "job.json").read_text())
    with locked(folder, "this call"):
        config, method = load_config(folder / "config.yaml"), find_method(job["method"])
        with measured(folder / "costs.jsonl"):
            maps = method.maps(Task(CropStore.open(job["store"], where=config.where), config, job["seed"], folder))
        files, notes, measuring = {}, [], 0.0
        for number, (name, adata) in enumerate(maps.items()):
            files[name] = f"maps/{number}.h5ad"
            adata.uns[UNS_METHOD] = name
            write_gene_vectors(adata, folder / files[name])
            notes += [str(note) for note in adata.uns.get(NOTES, [])]
            measuring += float(adata.uns.get("features", {}).get("cpu_seconds", 0))
        done = {"identity": job["identity"], "maps": files, "notes": notes, "measuring_cpu_s": measuring}
        write_json(folder / "done.json", done)


def _die_with_parent() -> None:
    # Nothing is ever sent: the read ends when the parent closes its end, or dies.
    sys.stdin.read()
    if os.getpgrp() == os.getpid():  # with whatever processes the method has started
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        work(Path(sys.argv[1]))
    except GrapeOpsError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.stderr.flush()
        os._exit(error.exit_code)
    sys.stderr.flush()
    os._exit(0)  # not waiting for the thread that waits for the parent
