"""Ready crops through the command line, as a user has them: ``inspect``, ``run``, a report with a montage."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from grape_ops.cells.store import CropStore
from record import write_record

STEPS = {"full": 200, "quick": 20}


def benchmark_crops(
    name: str,
    about: str | None,
    description: dict[str, Any],
    settings: list[str],
    originals: Callable[[CropStore], np.ndarray],
    crops: Path | None = None,
) -> None:
    """Run ready crops through everything, and write the record.

    Parameters
    ----------
    description : of the crops, as a ``screen.yaml`` holds it.
    originals : the crops as they were given, (N, C, S, S) in [0, 1], in the order of the store.
    crops : folder that the description calls ``cells``.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps: shows that it runs")
    parser.add_argument("--keep", type=Path, help="folder to keep store, run and report in")
    parser.add_argument("--out", required=True, help="JSON file to write")
    arguments = parser.parse_args()
    steps = STEPS["quick" if arguments.quick else "full"]
    with nullcontext(arguments.keep) if arguments.keep else tempfile.TemporaryDirectory() as folder:
        if crops is not None:
            linked = Path(folder) / "screen" / "cells"
            linked.parent.mkdir(parents=True, exist_ok=True)
            linked.unlink(missing_ok=True)  # of an earlier run with the same --keep
            linked.symlink_to(crops)
        out = run_crops(Path(folder), description, [*settings, f"train.steps={steps}"])
        figures = figures_of(out, originals(CropStore.open(out / "store")))
    write_record(arguments.out, name, figures)


def run_crops(folder: Path, description: dict[str, Any], settings: list[str]) -> Path:
    """Describe crops by a ``screen.yaml`` in ``folder``, inspect them and run the pipeline file that comes of it."""
    screen = folder / "screen"
    screen.mkdir(parents=True, exist_ok=True)
    (screen / "screen.yaml").write_text(yaml.safe_dump(description))
    pipeline = folder / "pipeline.yaml"
    chosen = [word for setting in settings for word in ("--set", setting)]
    for words in (["inspect", screen, "--out", pipeline, *chosen], ["run", pipeline]):
        subprocess.run([sys.executable, "-m", "grape_ops", *map(str, words)], check=True)
    return folder / "screen_map"


def figures_of(out: Path, originals: np.ndarray) -> dict[str, Any]:
    """Sum up a run: what came in, whether the pixels are the originals', and whether training got anywhere.

    Parameters
    ----------
    originals : (N, C, S, S) in [0, 1], the crops as they were given, in the order of the store.
    """
    store = CropStore.open(out / "store")
    deviation = np.abs(store.read(slice(None)) / store.pixel_max - originals).max()
    lines = [json.loads(line) for line in (out / "run" / "metrics.jsonl").read_text().splitlines()]
    cycle = [line["cycle"] for line in lines if "cycle" in line]
    report = out / "report.html"
    return {
        "crops": len(store),
        "channels": list(store.channels),
        "perturbations": len(store.perturbations),
        "largest_pixel_deviation": float(deviation),
        "training_steps": lines[-1]["step"],
        "cycle_loss_first": cycle[0],
        "cycle_loss_last": cycle[-1],
        "report_bytes": report.stat().st_size,
    }


def trimmed(crops: np.ndarray, size: int) -> np.ndarray:
    """Cut the middle out of crops: (..., H, W) -> (..., S, S)."""
    top, left = ((length - size) // 2 for length in crops.shape[-2:])
    return crops[..., top : top + size, left : left + size]
