"""What takes long and both report and explorer show: computed by whichever comes first, kept in the run's folder."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from grape_ops import __version__
from grape_ops.artifacts.atomic import write_json
from grape_ops.artifacts.damage import read_json
from grape_ops.artifacts.identity import identity_of
from grape_ops.errors import GrapeOpsError

PAGES_DIR = "pages"  # in the run folder


def kept(run: Path, name: str, facts: Any, compute: Callable[[], Any]) -> Any:
    """Read back a result of the same facts and version that the run keeps, or compute and keep it.

    Parameters
    ----------
    run : the run folder; where it cannot be written, the result is computed every time.
    name : of the result; a new one takes the place of an older one of other facts.
    facts : what decides the result; JSON-able.
    compute : makes the result; JSON-able.
    """
    file, identity = run / PAGES_DIR / f"{name}.json", identity_of(__version__, facts)
    with suppress(GrapeOpsError):
        found = read_json(file, "a kept result", {"identity": str, "result": (dict, list)})
        if found["identity"] == identity:
            return found["result"]
    result = compute()
    with suppress(GrapeOpsError):
        write_json(file, {"identity": identity, "result": result})
    return result
