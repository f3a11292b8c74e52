"""Where the real data that some benchmarks want lies; it is not part of the project."""

import os
import sys
from pathlib import Path


def real_data(*parts: str) -> Path:
    """Find a file in ``$GRAPE_OPS_DATA``, or in ``../shared/data`` beside the project, or leave with a sentence."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("GRAPE_OPS_DATA", beside)).joinpath(*parts)
    if not path.exists():
        sys.exit(f"This benchmark needs {'/'.join(parts)} under $GRAPE_OPS_DATA; docs/evaluation.md says what it is.")
    return path
