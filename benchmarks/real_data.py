"""Where the real data that some benchmarks want lies; it is not part of the project."""

import os
from pathlib import Path

DATA = Path(os.environ.get("GRAPE_OPS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def real_data(name: str) -> Path:
    """Find a file or folder in ``$GRAPE_OPS_DATA``, or in ``../shared/data`` beside the project, or leave."""
    if not (DATA / name).exists():
        raise SystemExit(f"This benchmark needs {name}; set GRAPE_OPS_DATA to the folder that holds it.")
    return (DATA / name).resolve()
