"""What ``screen.yaml`` says of a folder, or what its files alone tell where there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grape_ops.config import read_yaml
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import SCREEN_FILE
from grape_ops.screen.layout import visible
from grape_ops.screen.named_crops import pattern_of_names

_KNOWN = ("cells", "tiles", "channels", "columns", "crops", "crops_array", "crops_row", "z_stack", "simulated")
_TEXTS = ("cells", "tiles", "crops", "crops_array", "crops_row")
ARRAY_FILES, LMDB_FILES = (".npz", ".npy", ".zarr", ".h5sc"), (".lmdb", ".mdb")
_TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".h5ad")


@dataclass(frozen=True)
class Description:
    """The content of ``screen.yaml``, or what the folder's files alone tell."""

    root: Path
    keys: Mapping[str, Any] = field(default_factory=dict)
    by_names: bool = False  # whether the crops' names say whose they are

    def get(self, key: str) -> Any:
        """Return the value of a key, or None."""
        return self.keys.get(key)


def describe(root: Path) -> Description | None:
    """Take the description from ``screen.yaml``, or infer it from the folder's files; None if neither is possible."""
    if root.name == SCREEN_FILE and root.is_file():
        return Description(root.parent, _checked(root))
    if (root / SCREEN_FILE).is_file():
        return Description(root, _checked(root / SCREEN_FILE))
    if root.suffix in (*ARRAY_FILES, *LMDB_FILES) or (root / "data.mdb").is_file():
        return Description(root.parent, {"crops": root.name})
    if not root.is_dir():
        return None
    if pattern := pattern_of_names(root):
        return Description(root, {"crops": pattern}, by_names=True)
    arrays = [path for path in visible(root.iterdir()) if path.suffix in (*ARRAY_FILES, *LMDB_FILES)]
    arrays += [path.parent for path in visible(root.glob("*/data.mdb")) if path.parent not in arrays]
    tables = [path for path in visible(root.iterdir()) if path.name.lower().endswith(_TABLES)]
    if len(arrays) != 1 or len(tables) > 1:
        return None
    return Description(root, {"crops": arrays[0].name} | ({"cells": tables[0].name} if tables else {}))


def is_simulated(root: Path) -> bool:
    """Whether a screen's description says that `grape-ops simulate` made it."""
    described = describe(root)
    return described is not None and bool(described.get("simulated"))


def _checked(file: Path) -> Mapping[str, Any]:
    description = read_yaml(file)
    needed = ("crops",) if "crops" in description else ("cells", "tiles", "channels")
    missing = [key for key in needed if key not in description]
    unknown = [str(key) for key in description if key not in _KNOWN]
    if missing or unknown:
        problem = f"lacks {', '.join(missing)}" if missing else f"has the unknown keys {', '.join(unknown)}"
        raise GrapeOpsError(f"{file} {problem}; its keys are cells, tiles (or crops), channels and columns (optional).")
    for key in _TEXTS:
        if not isinstance(description.get(key, ""), str):
            raise GrapeOpsError(f"{file}: {key} must be a text, not {description[key]!r}.")
    channels = description.get("channels", ["any"])
    if not isinstance(channels, list) or not channels or not all(isinstance(name, str) for name in channels):
        raise GrapeOpsError(f"{file}: channels must be a list of names, not {channels!r}.")
    if len(set(channels)) < len(channels):
        raise GrapeOpsError(f"{file}: a channel is named twice in {', '.join(channels)}.")
    columns = description.get("columns", {})
    if not isinstance(columns, dict):
        raise GrapeOpsError(
            f"{file}: columns must map our names to columns of the table, for example "
            f"columns: {{sgRNA: my_guide_column}}, not {columns!r}."
        )
    return description
