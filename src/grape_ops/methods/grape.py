"""GRAPE itself, at each position and with and without the filter over weights, from one training (section 5)."""

from typing import TYPE_CHECKING

from grape_ops.config import EmbedSettings
from grape_ops.embed import POSITIONS, embed
from grape_ops.methods.task import Task
from grape_ops.train.loop import train

if TYPE_CHECKING:
    from anndata import AnnData

WITHOUT_EMA = ", no EMA"


def grape_maps(task: Task) -> "dict[str, AnnData]":
    """Train, or go on with the training in the task's folder, and read out all vectors: name -> AnnData.

    Names are ``grape 1`` to ``grape 3``, and the same with ``, no EMA`` where the settings keep filtered weights.
    """
    config = task.config.model_copy(update={"seed": task.seed})
    run = train(task.store.path, task.folder / "run", config, resume=True)
    maps = {}
    for ema in (True, False) if config.train.ema.enabled else (False,):
        for position in POSITIONS:
            settings = EmbedSettings.model_validate(config.embed.model_dump() | {"position": position, "ema": ema})
            adata = embed(run.path, settings, store_path=task.store.path, seed=task.seed)
            plain = ema or not config.train.ema.enabled
            maps[f"grape {position}" + ("" if plain else WITHOUT_EMA)] = adata
    return maps
