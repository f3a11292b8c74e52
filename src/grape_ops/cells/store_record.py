"""What a crop store says of itself in ``store.json``, and how it is checked."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grape_ops.artifacts.damage import DAMAGE, why
from grape_ops.artifacts.identity import identity_of
from grape_ops.artifacts.ownership import what_lies_at
from grape_ops.cells.places import damaged
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import SHARDS_DIR, STORE_FILE, UNFINISHED_DIR

FORMAT = "grape-ops crop store"
VERSION = 1
PIXEL_TYPES = {"uint16": 65535, "uint8": 255}
_KEYS = (
    *("version", "channels", "crop_size", "pixel_type", "n_cells", "scaling", "provenance"),
    *("batches", "shards", "files", "checksum"),
)


def read_meta(folder: Path) -> dict[str, Any]:
    """Read and check ``store.json``."""
    file = folder / STORE_FILE
    if not folder.is_dir():
        raise GrapeOpsError(f"There is no crop store at {folder}: `grape-ops preprocess` makes one.")
    if not file.is_file():
        begun = any((folder / name).is_dir() for name in (SHARDS_DIR, UNFINISHED_DIR))
        kind = what_lies_at(folder)
        other = f" but {kind}" if kind.startswith(("a run", "an evaluation", "a screen")) else ""
        hint = "go on with --resume" if begun else "`grape-ops preprocess SCREEN --out store` makes one"
        state = "a half-written crop store" if begun else f"no crop store{other}"
        raise GrapeOpsError(f"The folder {folder} is {state} ({STORE_FILE}, written last, is not there): {hint}.")
    try:
        meta = json.loads(file.read_text())
    except DAMAGE as error:
        raise damaged(folder, f"{STORE_FILE} cannot be read ({why(error)})") from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise GrapeOpsError(f"{file} does not belong to a crop store of grape-ops.")
    if meta.get("version") != VERSION:
        raise GrapeOpsError(
            f"The crop store {folder} has format version {meta.get('version')}; "
            f"this grape-ops reads {VERSION}. Make the store again or install the matching version."
        )
    missing = [key for key in _KEYS if key not in meta]
    if missing or meta["pixel_type"] not in PIXEL_TYPES:
        raise damaged(folder, f"{STORE_FILE} lacks {', '.join(missing) or 'a known pixel_type'}")
    if meta["checksum"] != meta_checksum(meta):
        raise damaged(folder, f"{STORE_FILE} was changed since it was written")
    return meta


def meta_checksum(meta: Mapping[str, Any]) -> str:
    """Checksum of all that ``store.json`` says besides it."""
    return identity_of({key: value for key, value in meta.items() if key != "checksum"})
