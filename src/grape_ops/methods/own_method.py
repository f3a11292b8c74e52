"""Methods that are not part of this package: ``module:function``, or an installed package's entry point.

The function takes a ``Task`` and returns an AnnData, or is a ``Method`` that says more of itself. Its source is part of
what decides its vectors: the whole package it lies in, or the file if it lies in none.
"""

import importlib
import importlib.util
import inspect
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from grape_ops.errors import GrapeOpsError
from grape_ops.methods.method import Method

GROUP = "grape_ops.methods"


def installed_methods() -> dict[str, EntryPoint]:
    """Methods that installed packages offer under the entry point group ``grape_ops.methods``: name -> where."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def load_installed(entry: EntryPoint) -> Method:
    """Load the method of an entry point; its name is the entry point's.

    Raises
    ------
    GrapeOpsError : it cannot be imported, or is no method.
    """
    try:
        found = entry.load()
    except Exception as error:  # whatever somebody else's module raises
        raise GrapeOpsError(f"The method {entry.name} ({entry.value}) cannot be loaded: {error!r}.") from error
    return replace(_as_method(found, entry.value), name=entry.name)


def load_named(spec: str) -> Method:
    """Load ``module:function`` or ``file.py:function``; modules are looked for in the current folder too.

    Raises
    ------
    GrapeOpsError : there is no such module or function, or it is no method.
    """
    place, _, name = spec.rpartition(":")
    try:
        module = _module(place)
        found = getattr(module, name)
    except Exception as error:  # whatever somebody else's module raises
        raise GrapeOpsError(f"The method {spec} cannot be loaded: {error!r}.") from error
    return _as_method(found, spec)


def _module(place: str) -> ModuleType:
    if place.endswith(".py"):
        described = importlib.util.spec_from_file_location(Path(place).stem, place)
        assert described is not None and described.loader is not None
        module = importlib.util.module_from_spec(described)
        sys.modules.setdefault(module.__name__, module)
        described.loader.exec_module(module)
        return module
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last: a file here must not stand in for a library of the same name
    importlib.invalidate_caches()
    return importlib.import_module(place)


def _as_method(found: Any, spec: str) -> Method:
    method = found if isinstance(found, Method) else None
    if method is None:
        if not callable(found):
            raise GrapeOpsError(f"The method {spec} is neither a function that takes a Task nor a Method.")
        method = Method(getattr(found, "__name__", spec.rpartition(":")[2]), found)
    if not method.name.replace("_", "").replace("-", "").replace(".", "").isalnum():
        raise GrapeOpsError(f"The method {spec} is called {method.name!r}; a name has letters, digits, - and _ only.")
    return replace(method, code=(*method.code, *_sources(method.run, spec)))


def _sources(run: Any, spec: str) -> tuple[Path, ...]:
    """Source files of a function: its file, or all of the package it lies in."""
    try:
        file = Path(inspect.getfile(inspect.unwrap(run)))
    except TypeError:
        module = sys.modules.get(getattr(run, "__module__", None) or type(run).__module__)
        file = Path(getattr(module, "__file__", None) or "")
    if not file.is_file():
        raise GrapeOpsError(
            f"The source file of the method {spec} is not there, so changes of it could not be noticed. "
            "Write it as a function in a file."
        )
    top = file
    while (top.parent / "__init__.py").is_file():
        top = top.parent
    return tuple(sorted(top.rglob("*.py"))) if top.is_dir() else (file,)
