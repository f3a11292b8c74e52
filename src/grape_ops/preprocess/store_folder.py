"""The folder of a store in the making: whether one may start or go on there, and with which settings."""

import json
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grape_ops.artifacts.atomic import write_json
from grape_ops.artifacts.damage import DAMAGE
from grape_ops.artifacts.disk_errors import output_errors
from grape_ops.cells.store_record import read_meta
from grape_ops.cells.writer import PARTIAL
from grape_ops.config import PreprocessSettings, flatten
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.flat_field import FIELDS_FILE
from grape_ops.schema import CELLS_FILE, QUALITY_FILE, QUALITY_TABLE, SHARDS_DIR, STORE_FILE, UNFINISHED_DIR
from grape_ops.screen.screen import Screen

PLAN_FILE = "plan.json"


@dataclass(frozen=True)
class Plan:
    """What a store is made from: the settings that decide it and a fingerprint of the screen's tables."""

    settings: dict[str, Any]
    screen: str

    @classmethod
    def of(cls, screen: str, settings: PreprocessSettings) -> "Plan":
        """Record everything that the result depends on, besides the pixels themselves."""
        return cls(settings.decisive(), screen)

    def differences(self, other: "Plan") -> list[str]:
        """Name the settings that differ, with both values."""
        mine, theirs = flatten(self.settings), flatten(other.settings)
        return [
            f"preprocess.{key}: {theirs.get(key)} there, {mine.get(key)} now"
            for key in sorted({*mine, *theirs})
            if mine.get(key) != theirs.get(key)
        ]


def pixel_size_of_crops(screen: Screen, shrink: int) -> float | None:
    """Micrometres of a pixel of the crops, which is so many of the screen's; None where nobody knows."""
    return screen.pixel_size * shrink if screen.pixel_size else None


def provenance(screen: Screen, plan: Plan, shrink: int) -> dict[str, Any]:
    """Return what a store keeps of where it came from; the size of a pixel is that of its crops."""
    pixel_size = pixel_size_of_crops(screen, shrink)
    known: dict[str, Any] = {"pixel_size": pixel_size} if pixel_size else {}
    known |= {"simulated": True} if screen.simulated else {}
    return {"screen": screen.root.name, "screen_fingerprint": plan.screen, "settings": plan.settings} | known


def claim(out: Path, plan: Plan, pixel_size: float | None, resume: bool, overwrite: bool) -> bool:
    """Make ``out`` ready for this plan.

    Parameters
    ----------
    pixel_size : of the crops, in micrometres; a finished store keeps its own, and a warning says so.

    Returns
    -------
    True if a finished store of the same plan is there already, and nothing is left to do.

    Raises
    ------
    GrapeOpsError : something else lies there, or a store that was made otherwise.
    """
    complete, begun = (out / STORE_FILE).is_file(), _begun(out)
    if overwrite:
        clear(out)
    elif complete or begun:
        _check_same(out, plan, _read_plan(out, complete), complete)
        if complete:
            shutil.rmtree(out / UNFINISHED_DIR, ignore_errors=True)  # killed between the last file and tidying up
            _tell_pixel_size(out, pixel_size)
            return True
        if not resume:
            raise GrapeOpsError(
                f"{out} holds a half-written store: go on with --resume, or start again with --overwrite."
            )
    elif set(_names(out)) - {UNFINISHED_DIR}:
        raise GrapeOpsError(f"{out} holds something that is not a crop store; give another --out.")
    else:  # nobody knows by which plan this was computed, or how much of it is left
        shutil.rmtree(out / UNFINISHED_DIR, ignore_errors=True)
    write_json(out / UNFINISHED_DIR / PLAN_FILE, vars(plan))
    return False


def clear(out: Path) -> None:
    """Remove a store, finished or not, and nothing else."""
    own = {STORE_FILE, CELLS_FILE, QUALITY_FILE, QUALITY_TABLE, FIELDS_FILE, SHARDS_DIR, UNFINISHED_DIR}
    foreign = [name for name in _names(out) if name.removesuffix(PARTIAL) not in own]
    if foreign:
        raise GrapeOpsError(f"{out} holds what is not part of a crop store ({foreign[0]}); give another --out.")
    with output_errors(out):
        (out / STORE_FILE).unlink(missing_ok=True)  # first, so that no half-removed store looks whole
        for name in _names(out):
            if (out / name).is_dir():
                shutil.rmtree(out / name)
            else:
                (out / name).unlink()


def tidy(out: Path) -> None:
    """Remove what only a store in the making needs."""
    shutil.rmtree(out / UNFINISHED_DIR, ignore_errors=True)


def _begun(out: Path) -> bool:
    """Whether there is a half-written store: a plan by which nothing was computed yet does not count."""
    unfinished = out / UNFINISHED_DIR
    if not (unfinished / PLAN_FILE).is_file():
        return False
    files = (file for file in out.rglob("*") if file.is_file() and not file.name.startswith("."))
    return any(file != unfinished / PLAN_FILE for file in files)


def _check_same(out: Path, plan: Plan, other: Plan, complete: bool) -> None:
    what = "a store" if complete else "a half-written store"
    mend = "Give another --out, or replace it with --overwrite."
    if changed := plan.differences(other):
        raise GrapeOpsError(
            f"{out} holds {what} that was made with other settings:\n  " + "\n  ".join(changed) + f"\n{mend}"
        )
    if plan.screen != other.screen:
        raise GrapeOpsError(f"{out} holds {what} of another screen, or its tables changed since. {mend}")


def _tell_pixel_size(out: Path, pixel_size: float | None) -> None:
    own = json.loads((out / STORE_FILE).read_text())["provenance"].get("pixel_size")
    if pixel_size and pixel_size != own:
        kept = f"keeps its pixel size of {own:g} µm" if own else "keeps no pixel size"
        warnings.warn(
            f"{out} is finished and {kept}, though that of its crops is now {pixel_size:g} µm (screen.pixel_size). "
            "explore.pixel_size sets that of scale bars, --overwrite makes the store again.",
            stacklevel=4,
        )


def _read_plan(out: Path, complete: bool) -> Plan:
    file = out / STORE_FILE if complete else out / UNFINISHED_DIR / PLAN_FILE
    try:
        if complete:
            origin = read_meta(out)["provenance"]
            return Plan(origin["settings"], origin["screen_fingerprint"])
        return Plan(**json.loads(file.read_text()))
    except DAMAGE:
        raise GrapeOpsError(f"{file} is damaged; make the store again with --overwrite.") from None


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
