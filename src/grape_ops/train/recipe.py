"""What a training is made of: networks, their initialisation, batches and objectives.

GRAPE's recipe is the default; a method that trains other networks overrides what differs (methods/impa_networks.py).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from grape_ops.cells.batches import BatchLoader, Sampler, StandardizedCrops
from grape_ops.cells.store import CropStore
from grape_ops.config import TrainSettings
from grape_ops.nn.grape import Grape
from grape_ops.train.initialize import Initialization, find_initialization
from grape_ops.train.run_folder import Run
from grape_ops.train.step import Objectives


class Recipe:
    """GRAPE's."""

    def networks(self, run: Run) -> Grape:
        """The networks before anything initialises them but the seed."""
        return run.build(checkpointing=run.config.train.activation_checkpointing)

    def initialization(self, run: Run, store: CropStore) -> Initialization:
        """How they are initialised besides noise."""
        return find_initialization(run, store)

    def loader(
        self, crops: StandardizedCrops, sampler: Sampler, settings: TrainSettings, rank: int, world: int
    ) -> BatchLoader:
        """The batches of a process, one of so many."""
        return BatchLoader(
            crops,
            sampler,
            augment=settings.augment,
            shift=settings.views.shift,
            jitter=settings.views.jitter,
            rank=rank,
            world=world,
        )

    def objectives(self, settings: TrainSettings, autocast: Callable[[], AbstractContextManager[Any]]) -> Objectives:
        """What each half of a step minimises."""
        return Objectives(settings.loss, settings.compile, autocast)


GRAPE = Recipe()
