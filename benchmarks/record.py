"""Write one benchmark's figures to JSON, with what is needed to read them a year later."""

import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grape_ops


def write_record(out: str | Path, name: str, figures: dict[str, Any]) -> None:
    """Write ``{"name", "command", "commit", "machine", "figures"}`` to ``out`` and print it."""
    record = {
        "name": name,
        "command": _command(),
        "commit": _commit(),
        "machine": _machine(),
        "figures": figures,
    }
    text = json.dumps(record, indent=2)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(text + "\n")
    print(text)


def package_commit() -> str:
    """The last commit that touched the package, and what has been changed in it since."""
    git = ["git", "-C", str(Path(grape_ops.__file__).resolve().parent)]
    last = _answer([*git, "log", "-1", "--format=%h", "--abbrev=12", "--", "."])
    changes = _answer([*git, "diff", "HEAD", "--", "."])
    mark = f"-{hashlib.sha256(changes.encode()).hexdigest()[:8]}" if changes else ""
    return f"{last}{mark}" if last else version("grape-ops")


def _command() -> str:
    # Absolute paths belong to one machine, so only their last part is kept.
    words = [Path(word).name if os.path.isabs(word) else word for word in sys.argv[1:]]
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def _commit() -> str:
    here = Path(__file__).parent
    git = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    return _answer(git) or "unknown"


def _answer(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"
