"""The pipeline file that ``grape-ops inspect`` writes for a screen, for ``grape-ops run``."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from grape_ops.artifacts.atomic import write_text
from grape_ops.artifacts.disk_errors import output_errors
from grape_ops.artifacts.ownership import check_file
from grape_ops.config import ScreenSettings, lay_over
from grape_ops.progress import note
from grape_ops.screen.inspection import Inspection
from grape_ops.words import counted

_WRITTEN = "# Written by `grape-ops inspect`"


def _is_ours(file: Path) -> bool:
    return file.read_bytes().startswith(_WRITTEN.encode())


def write_pipeline(
    found: Inspection, root: Path, settings: ScreenSettings, out: Path, overrides: Iterable[str] = ()
) -> None:
    """Write a pipeline file that ``grape-ops run`` takes as it is.

    Parameters
    ----------
    overrides : further settings ``a.b=c`` to be written down.

    Raises
    ------
    GrapeOpsError : a file of this name is there already, and not by us.
    """
    check_file(out, "a pipeline file", example="pipeline.yaml", is_ours=_is_ours)
    small = found.small
    chosen: dict[str, Any] = settings.model_dump(mode="json", exclude_defaults=True) | {"layout": found.layout}
    for name in ("library", "aliases"):
        if chosen.get(name):
            chosen[name] = str(Path(chosen[name]).resolve())
    tree: dict[str, Any] = {}
    for override in overrides:
        lay_over(tree, override)
    tree["screen"] = chosen
    crops, why = _crop_settings(found, tree.get("preprocess", {}))
    if crops:
        tree["preprocess"] = crops
    else:
        tree.pop("preprocess", None)
    folder = out.resolve().parent
    # Never within the screen: what is written there would count as a change of it.
    inside = folder.is_relative_to(root.resolve())
    above = "../" * (1 + len(folder.relative_to(root.resolve()).parts)) if inside else ""
    plan = {
        "screen": Path(os.path.relpath(root.resolve(), folder)).as_posix(),
        "out": f"{above}{root.resolve().stem}_map",
        "config": "recommended.yaml" if small else "large.yaml",
        "settings": tree,
    }
    lines = [
        f"{_WRITTEN}: {counted(found.cells, 'cells')}, {counted(len(found.genes), 'genes')}, layout {found.layout}.",
        f"# Channels: {', '.join(found.screen.channels)}.",
        "# Known complexes to score by, such as truth: complexes-14x106, may be added.",
        f"# {'recommended.yaml is for two CPU cores' if small else 'large.yaml has networks for a GPU'}.",
    ]
    if why:
        lines.append(f"# {why}")
    if out.exists():  # it may hold the user's own changes
        earlier = out.with_name(f"{out.name}.old")
        with output_errors(out), suppress(FileNotFoundError):  # another process was as far as here
            out.replace(earlier)
            note(f"the earlier {out} is kept as {earlier}.")
    write_text(out, "\n".join(lines) + "\n" + yaml.safe_dump(plan, sort_keys=False))


def _crop_settings(found: Inspection, own: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Settings of preprocessing, the user's own over those that fit the cells; and a sentence on the size of crops."""
    if found.crops is None:
        return own, ""
    usual = 32 if found.small else 96
    chosen = {"crop_size": found.crops.crop_size} if found.crops.crop_size != usual else {}
    chosen |= {"shrink": found.crops.shrink} if found.crops.shrink > 1 else {}
    return chosen | own, f"Crop size: {found.crops}."
