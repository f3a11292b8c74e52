"""From a screen's folder to a crop store: what the command does."""

import tempfile
from pathlib import Path

import pyarrow as pa

from grape_ops.config import Config
from grape_ops.preprocess.pipeline import PreprocessReport, preprocess
from grape_ops.screen.layouts import open_screen


def preprocess_folder(
    root: Path,
    out: Path,
    config: Config,
    resume: bool = False,
    overwrite: bool = False,
    scheduler: str | None = None,
) -> PreprocessReport:
    """Read a screen and cut it into a store, see ``preprocess``; a well of the cell table is in memory at a time."""
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps for itself what was freed, stretch after stretch
    with tempfile.TemporaryDirectory(prefix="grape-ops-") as folder:
        # Workers elsewhere have other working folders.
        screen = open_screen(root.resolve() if scheduler else root, config.screen, Path(folder) / "cells")
        return preprocess(screen, out.resolve() if scheduler else out, config.preprocess, resume, overwrite, scheduler)
