"""What a folder of results was begun with: a call with other cells or settings must not mix with it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_json
from grape_ops.config import Config, flatten
from grape_ops.errors import GrapeOpsError
from grape_ops.train.run import decisive_settings, store_fingerprint

_OF_METHODS = ("baselines", "features", "embed")
_HOW_ONLY = {"features.cache", "features.workers"}  # decide no number


def check_same_settings(file: Path, store: CropStore, config: Config, more: Mapping[str, Any]) -> None:
    """Note in ``file`` what the results beside it are begun with, or refuse to go on with something else.

    Parameters
    ----------
    file : the note, made if it is not there.
    store, config : the cells; the settings, of which those that decide a map are noted.
    more : further settings that decide the results, by dotted name.

    Raises
    ------
    GrapeOpsError : the folder's name is taken by a file, or its results were begun with something else.
    """
    folder = file.parent
    if folder.exists() and not folder.is_dir():
        raise GrapeOpsError(f"{folder} is a file; name a folder for the results.")
    tree = config.model_dump(mode="json")
    settings = flatten({name: tree[name] for name in _OF_METHODS}) | decisive_settings(config) | dict(more)
    now = json.loads(json.dumps({"store": store_fingerprint(store), "settings": settings}))
    if not file.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise GrapeOpsError(f"{folder} holds something else than these results; give another --out.")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(file, now)
        return
    before = json.loads(file.read_text())
    if before["store"] != now["store"]:
        raise GrapeOpsError(f"{folder} was begun on other cells than {store.path} holds. Give another --out.")
    keys = sorted({*before["settings"], *now["settings"]} - _HOW_ONLY)
    pairs = [(key, before["settings"].get(key), now["settings"].get(key)) for key in keys]
    if changed := [f"  {key}: was {was}, is {is_now}" for key, was, is_now in pairs if was != is_now]:
        lines = "\n".join(changed)
        raise GrapeOpsError(f"{folder} was begun with other settings:\n{lines}\nSet them back, or give another --out.")
