"""What a training will cost, before anyone commits days: sizes, multiply-adds, memory, and time from a few steps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from grape_ops.cells.batches import Batch, BatchLoader, Sampler, StandardizedCrops
from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.nn.grape import Grape, build_grape, judged_maps
from grape_ops.progress import waiting
from grape_ops.train.fit_classifier import time_classifier
from grape_ops.train.initialize import classifiers_to_train
from grape_ops.train.loop import fresh_state, iterate, start_engine
from grape_ops.train.preflight import Need, crops_at_a_time, free_on, in_gib, memory_needed, networks_of
from grape_ops.train.step import Objectives
from grape_ops.words import duration

if TYPE_CHECKING:
    from lightning_fabric import Fabric

TIMED_STEPS = 3
# A batch of the paper's takes minutes and tens of GiB on a CPU. Time is proportional to the batch, so that fewer
# crops do: as many as make this many billions of multiply-adds in the generator.
MOST_GMAC_ON_CPU = 64


@dataclass(frozen=True)
class Estimate:
    """What a training will cost.

    Attributes
    ----------
    parameters : of each network.
    gmac : billions of multiply-adds of one forward pass of one crop through each network.
    memory : what it takes on one device, in bytes.
    memory_free : what is free there, in bytes.
    crops_timed, seconds_per_step : the timed batch, and its share scaled up to the whole batch.
    hours : all steps at that rate.
    classifiers, initialization_hours : what is trained before the first step, and how long that takes at most.
    """

    parameters: dict[str, int]
    gmac: dict[str, float]
    memory: Need
    memory_free: int
    crops_timed: int
    seconds_per_step: float
    hours: float
    classifiers: int
    initialization_hours: float


def estimate(store_path: Path, config: Config) -> Estimate:
    """Build the networks of a training on a store and time a few steps; nothing is written."""
    store, settings = CropStore.open(store_path, config.train.unit, config.where), config.train
    fabric = start_engine(settings)
    n, size, channels = len(store.perturbations), store.crop_size, len(store.channels)
    nets = networks_of(store, config)
    parameters = {name: _count(part) for name, part in nets.named_children()}
    part = crops_at_a_time(config)
    gmac = multiply_adds(config, n, channels, size)
    crops = min(part, max(1, int(MOST_GMAC_ON_CPU / gmac["generator"]))) if fabric.device.type == "cpu" else part
    sampler = Sampler(store.labels, n, crops, config.seed, settings.sampling)
    loader = BatchLoader(StandardizedCrops(store, fabric.device), sampler, augment=settings.augment)
    with waiting(f"Timing {TIMED_STEPS} steps of {crops} crops, after one to warm up"):
        seconds = _time_steps(nets, config, fabric, [loader.fetch(step) for step in range(TIMED_STEPS + 1)])
        classifiers = classifiers_to_train(config, store.labels)
        initialization = _time_initialization(store, config, fabric.device, classifiers)
    per_step = seconds * settings.batch_size / crops
    return Estimate(
        parameters,
        gmac,
        memory_needed(store, config),
        free_on(fabric.device),
        crops,
        per_step,
        per_step * settings.steps / 3600,
        classifiers,
        initialization / 3600,
    )


def multiply_adds(config: Config, n_perturbations: int, channels: int, image_size: int) -> dict[str, float]:
    """Billions of multiply-adds of one forward pass of one crop, network by network.

    A discriminator that looks through the classifier counts its own part alone; the classifier is counted once.
    """
    settings = config.model
    nets = build_grape(
        settings,
        n_perturbations=n_perturbations,
        channels=channels,
        image_size=image_size,
        rng=torch.Generator(),
        classifier=config.seen_through,
        shapes=config.train.loss.match_shape > 0,
    ).to("meta")
    crop = torch.zeros(1, channels, image_size, image_size, device="meta")
    style = torch.zeros(1, settings.style_dim, device="meta")
    vector = torch.zeros(1, settings.embedding_dim, device="meta")
    inputs: dict[str, tuple[object, ...]] = {
        "mapping": (vector,),
        "generator": (crop, style),
        "discriminator": (crop,),
        "style_encoder": (crop,),
    }
    if nets.classifier is not None:
        inputs["classifier"] = (crop,)
        if settings.discriminator.judges == "features":
            inputs["discriminator"] = (judged_maps(nets.classifier.maps(crop)),)
    counts = {}
    for name, arguments in inputs.items():
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            getattr(nets, name)(*arguments)
        counts[name] = counter.get_total_flops() / 2e9
    return counts


def _time_steps(nets: Grape, config: Config, fabric: Fabric, batches: list[Batch]) -> float:
    """Median seconds of a step, the first left out."""
    state = fresh_state(nets, config, fabric)
    objectives = Objectives(config.train.loss, config.train.compile, fabric.autocast)
    seconds = []
    for batch in batches:
        start = time.perf_counter()
        iterate(fabric, state, batch, objectives)
        if fabric.device.type == "cuda":
            torch.cuda.synchronize(fabric.device)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


def _time_initialization(store: CropStore, config: Config, device: torch.device, classifiers: int) -> float:
    """Seconds that its classifiers take, and reading their layers in all cells; 0 where there is none."""
    if not classifiers:
        return 0.0
    settings = config.train.init.classifier
    a_step, a_cell = time_classifier(store, settings, device, config.train.precision, TIMED_STEPS)
    return classifiers * (a_step * settings.steps + a_cell * len(store))


def _count(part: nn.Module | None) -> int:
    return sum(p.numel() for p in part.parameters()) if part is not None else 0


def print_estimate(store_path: Path, config: Config) -> None:
    """Print an estimate as the tables of ``grape-ops train --dry-run``."""
    from rich.console import Console
    from rich.table import Table

    cost = estimate(store_path, config)
    settings = config.train
    table = Table("network", "parameters", "GMAC per crop")
    for name, count in cost.parameters.items():
        gmac = cost.gmac.get(name)
        table.add_row(name, f"{count:,}", f"{gmac:.4f}" if gmac is not None else "")
    console = Console()
    console.print(table)
    rate = settings.batch_size / cost.seconds_per_step
    lines = (
        f"memory: {in_gib(cost.memory.state)} of weights, gradients, moments and filter; about "
        f"{in_gib(cost.memory.activations)} of activations ({crops_at_a_time(config):,} crops at a time); "
        f"{in_gib(cost.memory_free)} are free"
        + ("" if cost.memory.total <= cost.memory_free else ", which is TOO LITTLE: `train` will say what helps"),
        f"time: {cost.seconds_per_step:.3g} s per step ({rate:.0f} images/s), from {TIMED_STEPS} steps of "
        f"{cost.crops_timed} crops; {settings.steps:,} steps take about {duration(3600 * cost.hours)}",
        *_on_initialization(cost, config),
        "Nothing was written.",
    )
    console.print("\n".join(lines), markup=False, highlight=False)


def _on_initialization(cost: Estimate, config: Config) -> list[str]:
    if not (count := cost.classifiers):
        return []
    which = "a classifier" if count == 1 else f"{count} classifiers, one after the other,"
    return [
        f"initialisation: {which} of {config.train.init.classifier.steps:,} steps, fewer where more would overfit, "
        f"before the first step: about {duration(3600 * cost.initialization_hours)} at most"
    ]
