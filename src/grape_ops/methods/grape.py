"""GRAPE itself, at each position and with and without the filter over weights, from one training (section 5)."""

from typing import TYPE_CHECKING, Any

from grape_ops.artifacts.identity import identity_of
from grape_ops.config import Config, EmbedSettings
from grape_ops.embed import INITIALISATION, POSITIONS, embed, map_name
from grape_ops.methods.method import Method, Task, no_files
from grape_ops.schema import INIT_FILE
from grape_ops.train.loop import train
from grape_ops.train.run_folder import decisive_settings

if TYPE_CHECKING:
    from anndata import AnnData


def grape_maps(task: Task) -> "dict[str, AnnData]":
    """Train, or go on with the training in the task's folder, and read out all vectors by their name (``map_name``).

    Where M was not initialised with noise, its initialisation is a map too.
    """
    from anndata import read_h5ad

    config = task.config.model_copy(update={"seed": task.seed})
    run = train(task.store.path, task.folder / "run", config, resume=True)
    maps = {}
    for ema in (True, False) if config.train.ema.enabled else (False,):
        for position in POSITIONS:
            settings = EmbedSettings.model_validate(config.embed.model_dump() | {"position": position, "ema": ema})
            maps[map_name(config, position, ema)] = embed(
                run.path, settings, store_path=task.store.path, seed=task.seed
            )
    initial = run.path / INIT_FILE
    return maps | ({INITIALISATION: read_h5ad(initial)} if initial.is_file() else {})


def training_identity(config: Config) -> str:
    """What tells two trainings with other settings apart, whatever their seeds."""
    return identity_of(training_settings(config))


def training_settings(config: Config) -> dict[str, Any]:
    """What decides a training from its beginning to its last step, whatever its seed."""
    settings = {**decisive_settings(config), "steps": config.train.steps}
    return {key: value for key, value in settings.items() if key != "seed"}


def _read_outs(config: Config) -> tuple[str, ...]:
    """Maps of the weights that ``embed.ema`` asks for, the position of ``embed.position`` first, then the initial M."""
    main = config.embed.position
    positions = [main, *(position for position in POSITIONS if position != main)]
    return (*(map_name(config, position, config.embed.ema) for position in positions), INITIALISATION)


GRAPE = Method(
    "grape",
    grape_maps,
    settings=lambda config: [training_settings(config), config.embed.cells_per_gene],
    inputs=no_files,
    trains=True,
    order=-1,
    read_outs=_read_outs,
)
