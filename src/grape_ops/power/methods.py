"""Run the methods that a calibration compares, each as a user would on a screen of their own.

A method is the name of a baseline, or ``grape``: it is trained by the configuration and read at every position. What a
folder already holds is not made again.
"""

from collections.abc import Sequence
from pathlib import Path

from grape_ops.config import Config
from grape_ops.embed import POSITIONS, write_embedding
from grape_ops.errors import GrapeOpsError
from grape_ops.methods import BASELINES, write_baseline
from grape_ops.schema import INIT_FILE, RUN_FILE

GRAPE = "grape"


def method_names() -> list[str]:
    """All methods there are."""
    return [*BASELINES, GRAPE]


def check_known(methods: Sequence[str]) -> None:
    """Say which methods there are if one is unknown."""
    if unknown := [name for name in methods if name not in method_names()]:
        raise GrapeOpsError(f"There is no method {', '.join(unknown)}; there are: {', '.join(method_names())}.")
    if not methods:
        raise GrapeOpsError(f"Name at least one method of {', '.join(method_names())}.")


def write_vectors(method: str, store: Path, folder: Path, config: Config) -> dict[str, Path]:
    """Make a method's gene vectors on a store; what is there already stays.

    Parameters
    ----------
    method : a baseline's name, or ``grape``.
    store : crop store.
    folder : where the vectors go.
    config : settings, and the seed of what the method draws.

    Returns
    -------
    name for tables -> file: one for a baseline; for grape one a position, where ``grape`` is the position that the
    configuration embeds at, and ``grape start``, where M began if that was not noise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if method != GRAPE:
        file = folder / f"{method}.h5ad"
        if not file.exists():
            write_baseline(method, store, file, seed=config.seed, config=config)
        return {method: file}
    main = config.embed.position
    positions = [main, *(position for position in POSITIONS if position != main)]
    files = {GRAPE if p == main else f"{GRAPE} position {p}": folder / f"grape_{p}.h5ad" for p in positions}
    run = folder / "run"
    if not all(file.exists() for file in files.values()):
        from grape_ops.train.loop import train

        train(store, run, config, resume=(run / RUN_FILE).exists())
        for position, file in zip(positions, files.values(), strict=True):
            write_embedding(run, file, position=position, ema=config.embed.ema, store_path=store)
    start = run / INIT_FILE
    return files | ({f"{GRAPE} start": start} if start.exists() else {})
