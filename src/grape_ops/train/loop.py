"""Training (section 3.5), as labelled stages. The only file that knows the engine, lightning-fabric."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor

from grape_ops.artifacts.locks import locked
from grape_ops.cells.batches import Batch, BatchLoader, Sampler, StandardizedCrops, hold_out
from grape_ops.cells.store import CropStore
from grape_ops.config import Config, TrainSettings
from grape_ops.errors import GrapeOpsError, Interrupted
from grape_ops.machine import core_count
from grape_ops.nn.grape import Grape
from grape_ops.progress import progress
from grape_ops.stopping import StopSignal, stop_signals
from grape_ops.train.checkpoint import TrainingState, restore, save_checkpoint
from grape_ops.train.initialize import classifiers_to_train
from grape_ops.train.log import IntervalMean, MetricsLog, check_finite
from grape_ops.train.optimizers import WeightAverage, make_optimizers, set_rates
from grape_ops.train.preflight import check_not_too_large, check_truth_not_genes, warn_mismatches
from grape_ops.train.recipe import GRAPE, Recipe
from grape_ops.train.run_folder import Run, open_run, prepare_run
from grape_ops.train.step import Objectives, Terms, frozen
from grape_ops.train.watch import MapMonitor, MemorizationMonitor, Watch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Result = TypeVar("Result")


def train(
    store_path: Path,
    out: Path,
    config: Config,
    *,
    truth: str | None = None,
    resume: bool = False,
    recipe: Recipe = GRAPE,
) -> Run:
    """Train GRAPE on a crop store and leave a run folder.

    Parameters
    ----------
    store_path : the crop store.
    out : the run folder to make, or with ``resume`` to go on with.
    config : everything else. Equal seeds, settings and thread counts give equal weights, bit for bit.
    truth : name or file of known complexes; if given, mAP along training is logged. Training never sees it.
    resume : go on after the last checkpoint; without one, from the start.
    recipe : what the training is made of, for methods that change it.

    Raises
    ------
    GrapeOpsError : something about the input does not fit, memory runs out, or the losses are no longer finite.
    Interrupted : Ctrl-C or SIGTERM; a checkpoint of the last whole step is written before.
    """
    fabric = start_engine(config.train)
    with ExitStack() as lock:
        first_alone(fabric, lambda: lock.enter_context(locked(out, "a run")))
        return _train(fabric, store_path, out, config, truth, resume, recipe)


def _train(
    fabric: Fabric, store_path: Path, out: Path, config: Config, truth: str | None, resume: bool, recipe: Recipe
) -> Run:
    """Train in a folder that no other process writes into."""
    # The cells and the folder.
    settings = config.train
    store = CropStore.open(store_path, settings.unit, config.where)
    first_alone(fabric, lambda: prepare(store, out, config, truth, resume, fabric.device))
    run = open_run(out)

    # The networks and their optimisers, what is drawn, and what is written down.
    begun = time.monotonic()
    state = first_state(fabric, run, store, recipe, run.latest_checkpoint() if resume else None)
    loader, memory = make_loader(store, config, fabric, recipe)
    monitor = MapMonitor.of(store.perturbations, run.truth) if run.truth else None
    run.check_there()
    log = MetricsLog(out, state.step, settings.tensorboard) if fabric.is_global_zero else None
    records = Records(fabric, run, Watch(monitor, memory), log)
    if log is not None and state.step == 0 and classifiers_to_train(config, store.labels):
        log.write(0, {"init_s": time.monotonic() - begun})
    objectives = recipe.objectives(settings, fabric.autocast)
    means = IntervalMean(settings.batch_size)

    # Iterate.
    with stop_signals() as stop, progress("train", settings.steps, "step", done=state.step) as advance:
        for batch in loader.batches(state.step, settings.steps):
            set_rates(state.optimizers, settings.optimizer, state.step, settings.steps)
            means.add(iterate(fabric, state, batch, objectives, settings.accumulate))
            state.step += 1
            if state.average is not None:
                state.average.update(state.nets, state.step)
            last = state.step == settings.steps or stop_everywhere(fabric, stop, state.step, settings.log_every)
            records.after_step(state, means, last)
            advance(note=means.rate)
            if last and state.step < settings.steps:
                words = f"Training stopped after step {state.step} of {settings.steps}, and everything is saved."
                raise Interrupted(words, stop.number)
    return run


def prepare(store: CropStore, out: Path, config: Config, truth: str | None, resume: bool, device: torch.device) -> None:
    """Make or check the run folder, once it is known that the truth has the genes and memory the room."""
    check_truth_not_genes(store, truth)
    if truth:
        MapMonitor.of(store.perturbations, truth)
    check_not_too_large(store, config, device)
    prepare_run(out, store, config, truth, resume)
    warn_mismatches(store, config)


@dataclass(frozen=True)
class Records:
    """What is written during training: metrics, monitored scores and checkpoints.

    Attributes
    ----------
    fabric, run, watch : the engine, where to write, and what is looked at besides the losses.
    log : the file of metrics; None in all processes but the first.
    """

    fabric: Fabric
    run: Run
    watch: Watch
    log: MetricsLog | None

    def after_step(self, state: TrainingState, means: IntervalMean, last: bool) -> None:
        """Write what is due after a step."""
        step, settings = state.step, self.run.config.train
        save = last or step % settings.checkpoint_every == 0
        if save or step % settings.log_every == 0:
            line = mean_everywhere(self.fabric, means.take())
            check_finite(line, step, self.run.latest_checkpoint())
            if self.log is not None:
                self.log.write(step, line)
        if self.log is not None and settings.evaluate_every and (last or step % settings.evaluate_every == 0):
            self.log.write(step, self.watch.evaluate(state))
        if save and self.log is not None:
            self.run.check_there()
            save_checkpoint(self.run.path, state, settings.keep_checkpoints, settings.keep_every)


def iterate(fabric: Fabric, state: TrainingState, batch: Batch, objectives: Objectives, n_parts: int = 1) -> Terms:
    """One iteration: D learns from real crops and fakes, then M, F, G and E learn from the same fakes.

    With several parts, gradients add up over them, and fakes are computed once more for the second half, so that no
    more than one part's activations are held at a time.
    """
    nets, parts, terms = state.nets, batch.parts(n_parts), Terms()

    def descend(loss: Tensor, more: Terms) -> None:
        """Add a part's gradients, and its terms to the batch's means."""
        fabric.backward(loss / n_parts)
        for name, value in more.items():
            terms[name] = terms.get(name, torch.zeros_like(value)) + value / n_parts

    with out_of_memory_in_words():
        shared = objectives.restyle(nets, batch) if n_parts == 1 else None

        state.optimizers["discriminator"].zero_grad()
        for part in parts:
            with torch.no_grad():
                restyled = shared or objectives.restyle(nets, part)
            descend(*objectives.discriminator(nets, part, restyled, state.step))
        _step(fabric, state.optimizers["discriminator"])

        state.optimizers["generator"].zero_grad()
        with frozen(nets.discriminator):
            for part in parts:
                restyled = shared or objectives.restyle(nets, part)
                objectives.descend_generator(nets, part, restyled, descend)
        _step(fabric, state.optimizers["generator"])
    return terms


def _step(fabric: Fabric, optimizer: torch.optim.Optimizer) -> None:
    """Update with the mean gradient over processes: all losses are means over equal slices of the batch."""
    if fabric.world_size > 1:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        joined = fabric.all_reduce(torch.cat([g.flatten() for g in gradients]), reduce_op="mean")
        assert isinstance(joined, Tensor)
        for gradient, mean in zip(gradients, joined.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))
    optimizer.step()


def start_engine(settings: TrainSettings) -> Fabric:
    """Start the processes, one per device, and choose threads and arithmetic."""
    share = settings.devices * settings.nodes * settings.accumulate
    if settings.batch_size % share:
        raise GrapeOpsError(
            f"train.batch_size={settings.batch_size} must divide evenly into {share} parts "
            f"(train.devices x train.nodes x train.accumulate)."
        )
    if settings.accelerator == "cuda" and not torch.cuda.is_available():
        raise GrapeOpsError("train.accelerator=cuda, but torch sees no GPU here. Set it to auto or cpu.")
    torch.set_num_threads(settings.threads or max(core_count() // settings.devices, 1))
    from lightning_fabric import Fabric  # takes seconds, and only training needs it

    fabric = Fabric(
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.nodes,
        strategy="ddp" if settings.devices * settings.nodes > 1 else "auto",
        precision=settings.precision,
    )
    fabric.launch()
    return fabric


@contextmanager
def out_of_memory_in_words() -> Iterator[None]:
    """Say which settings help when the device's memory runs out."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise GrapeOpsError(
            "The device ran out of memory. train.accumulate=2 (or more) computes a batch in parts, "
            "train.activation_checkpointing=true and train.precision=bf16-mixed save more; "
            f"`grape-ops train --dry-run` estimates beforehand. ({error})"
        ) from None


def first_alone(fabric: Fabric, act: Callable[[], Result]) -> Result:
    """Let the first process act while the others wait; all of them return what it returns, or raise what it raises."""
    result, words = None, None
    if fabric.is_global_zero:
        try:
            result = act()
        except GrapeOpsError as error:
            words = str(error)
    result, words = fabric.broadcast((result, words))
    if words is not None:
        raise GrapeOpsError(words)
    return cast("Result", result)


def first_state(fabric: Fabric, run: Run, store: CropStore, recipe: Recipe, latest: Path | None) -> TrainingState:
    """Where training begins or goes on: a checkpoint, or initialised networks."""
    nets = recipe.networks(run)
    if latest is None:
        first_alone(fabric, lambda: recipe.initialization(run, store)).initialize(nets)
    state = fresh_state(nets, run.config, fabric)
    if latest is not None:
        restore(latest, state)
    return state


def fresh_state(nets: Grape, config: Config, fabric: Fabric) -> TrainingState:
    """Networks on the device, with their optimisers and filter."""
    # Convolutions on CPUs and tensor cores are about twice as fast with channels last.
    nets = nets.to(device=fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = config.train.ema
    average = WeightAverage(nets, ema.every, ema.decay) if ema.enabled else None
    return TrainingState(nets, average, make_optimizers(nets, config.train.optimizer))


def make_loader(
    store: CropStore, config: Config, fabric: Fabric, recipe: Recipe
) -> tuple[BatchLoader, MemorizationMonitor | None]:
    """The way from store to batches, and the cells that are held out of it."""
    settings, n = config.train, len(store.perturbations)
    held = hold_out(store.labels, settings.holdout, config.seed)
    sampler = Sampler(
        store.labels,
        n,
        settings.batch_size,
        config.seed,
        settings.sampling,
        cells=(~held).nonzero()[0],
        together=settings.together,
    )
    crops = StandardizedCrops(store, fabric.device, settings.resident)
    loader = recipe.loader(crops, sampler, settings, fabric.global_rank, fabric.world_size)
    return loader, MemorizationMonitor.of(crops, held, config.seed)


def mean_everywhere(fabric: Fabric, values: dict[str, float]) -> dict[str, float]:
    """Mean over processes, each of which has seen its own slice of the batches."""
    if fabric.world_size == 1:
        return values
    mean = fabric.all_reduce(torch.tensor(list(values.values()), device=fabric.device), reduce_op="mean")
    assert isinstance(mean, Tensor)
    return dict(zip(values, mean.tolist(), strict=True))


def stop_everywhere(fabric: Fabric, stop: StopSignal, step: int, every: int) -> bool:
    """Whether to stop after this step; several processes agree on it now and then, so that none runs ahead."""
    if fabric.world_size == 1:
        return stop.number != 0
    if step % every:
        return False
    highest = fabric.all_reduce(torch.tensor(stop.number, device=fabric.device), reduce_op="max")
    assert isinstance(highest, Tensor)
    stop.number = int(highest)
    return stop.number != 0
