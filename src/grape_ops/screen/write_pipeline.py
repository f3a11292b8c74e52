"""The pipeline file that ``grape-ops inspect`` writes for a screen, for ``grape-ops run``."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from grape_ops.artifacts.atomic import write_text
from grape_ops.artifacts.ownership import check_file
from grape_ops.config import ScreenSettings, lay_over
from grape_ops.progress import counted, note
from grape_ops.screen.inspect import Inspection

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
    why = ""
    if found.crops is not None:
        why = f"Crop size: {found.crops}."
        usual = 32 if small else 96
        chosen_size = {"crop_size": found.crops.crop_size} if found.crops.crop_size != usual else {}
        chosen_size |= {"shrink": found.crops.shrink} if found.crops.shrink > 1 else {}
        tree["preprocess"] = chosen_size | tree.get("preprocess", {})
    if not tree.get("preprocess", True):
        del tree["preprocess"]
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
        out.replace(earlier)
        note(f"the earlier {out} is kept as {earlier}.")
    write_text(out, "\n".join(lines) + "\n" + yaml.safe_dump(plan, sort_keys=False))
