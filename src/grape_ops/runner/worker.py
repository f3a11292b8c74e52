"""One method with one seed, in a process of its own: ``python -m grape_ops.runner.worker FOLDER``.

The folder says what to do (``job.json``, ``config.yaml``) and gets the gene vectors (``maps/``), what they cost, and
``done.json`` at the end. A process of its own has its own peak of memory, and a crash takes nothing else along.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from grape_ops.cells.genes import write_gene_vectors
from grape_ops.config import load_config
from grape_ops.errors import GrapeOpsError
from grape_ops.runner.cost import measured

if TYPE_CHECKING:
    from anndata import AnnData

    from grape_ops.methods import Task


def make_maps(method: str, task: "Task") -> "dict[str, AnnData]":
    """Gene vectors of a method, by the name they have in the tables; GRAPE has several read-outs."""
    from grape_ops.methods import BASELINES
    from grape_ops.methods.grape import grape_maps

    several: dict[str, Callable[[Task], dict[str, AnnData]]] = {"grape": grape_maps}
    return several[method](task) if method in several else {method: BASELINES[method](task)}


def work(folder: Path) -> None:
    """Do the job a folder describes."""
    import grape_ops.methods.grape  # noqa: F401  # loading libraries is no part of a method's cost
    from grape_ops.cells.store import CropStore
    from grape_ops.methods import NOTES, Task

    job = json.loads((folder / "job.json").read_text())
    with measured(folder / "costs.jsonl"):
        config = load_config(folder / "config.yaml")
        maps = make_maps(job["method"], Task(CropStore.open(job["store"]), config, job["seed"], folder))
    files, notes, measuring = {}, [], 0.0
    for number, (name, adata) in enumerate(maps.items()):
        files[name] = f"maps/{number}.h5ad"
        adata.uns["method"] = name
        write_gene_vectors(adata, folder / files[name])
        notes += [str(note) for note in adata.uns.get(NOTES, [])]
        measuring += float(adata.uns.get("features", {}).get("cpu_seconds", 0))
    done = {"identity": job["identity"], "maps": files, "notes": notes, "measuring_cpu_s": measuring}
    draft = folder / ".done.json"
    draft.write_text(json.dumps(done, indent=1))
    draft.replace(folder / "done.json")


def _die_with_parent() -> None:
    # Nothing is ever sent: the read ends when the parent closes its end, or dies.
    sys.stdin.read()
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
