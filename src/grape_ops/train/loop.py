"""Training (section 3.5), as labelled stages. The only file that knows the engine, lightning-fabric."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from grape_ops.artifacts.atomic import locked
from grape_ops.cells.batches import Batch, BatchLoader, Sampler, StandardizedCrops, hold_out
from grape_ops.cells.store import CropStore
from grape_ops.config import Config, TrainSettings
from grape_ops.errors import GrapeOpsError, Interrupted
from grape_ops.machine import core_count
from grape_ops.nn.grape import Grape
from grape_ops.progress import progress
from grape_ops.train.checkpoint import TrainingState, restore, save_checkpoint
from grape_ops.train.ema import WeightAverage
from grape_ops.train.guides import check_truth_not_genes
from grape_ops.train.initialize import find_initialization
from grape_ops.train.log import IntervalMean, MetricsLog, check_finite
from grape_ops.train.memory import check_not_too_large
from grape_ops.train.optimizers import make_optimizers, set_rates
from grape_ops.train.preflight import warn_mismatches
from grape_ops.train.run import Run, open_run, prepare_run
from grape_ops.train.step import Objectives, Terms, frozen
from grape_ops.train.stop import StopSignal, stop_signals
from grape_ops.train.watch import MapMonitor, Memory, Watch

Result = TypeVar("Result")


def train(store_path: Path, out: Path, config: Config, *, truth: str | None = None, resume: bool = False) -> Run:
    """Train GRAPE on a crop store and leave a run folder.

    Parameters
    ----------
    store_path : the crop store.
    out : the run folder to make, or with ``resume`` to go on with.
    config : everything else. Equal seeds, settings and thread counts give equal weights, bit for bit.
    truth : name or file of known complexes; if given, mAP along training is logged. Training never sees it.
    resume : go on after the last checkpoint; without one, from the start.

    Raises
    ------
    GrapeOpsError : something about the input does not fit, memory runs out, or the losses are no longer finite.
    Interrupted : Ctrl-C or SIGTERM; a checkpoint of the last whole step is written before.
    """
    fabric = start_engine(config.train)
    with ExitStack() as lock:
        first_alone(fabric, lambda: lock.enter_context(locked(out, "a run")))
        return _train(fabric, store_path, out, config, truth, resume)


def _train(fabric: Fabric, store_path: Path, out: Path, config: Config, truth: str | None, resume: bool) -> Run:
    """Train in a folder that no other process writes into."""
    # The cells and the folder.
    settings = config.train
    store = CropStore.open(store_path, settings.unit)
    check_truth_not_genes(store, truth)
    judge = MapMonitor.of(store.perturbations, truth) if truth else None
    first_alone(fabric, lambda: check_not_too_large(store, config, fabric.device))
    first_alone(fabric, lambda: prepare_run(out, store, config, truth, resume))
    first_alone(fabric, lambda: warn_mismatches(store, config))
    run = open_run(out)

    # The networks and their optimisers, what is drawn, and what is written down.
    begun = time.monotonic()
    state = first_state(fabric, run, store, run.latest_checkpoint() if resume else None)
    loader, memory = make_loader(store, config, fabric)
    watch = Watch(judge or (MapMonitor.of(store.perturbations, run.truth) if run.truth else None), memory)
    log = MetricsLog(out, state.step, settings.tensorboard) if fabric.is_global_zero else None
    if log is not None and state.step == 0 and (settings.init.kind != "noise" or config.seen_through is not None):
        log.write(0, {"start_s": time.monotonic() - begun})
    objectives = Objectives(settings.loss, settings.compile, fabric.autocast)
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
            save = last or state.step % settings.checkpoint_every == 0
            if save or state.step % settings.log_every == 0:
                line = mean_everywhere(fabric, means.take())
                check_finite(line, state.step, run.latest_checkpoint())
                if log is not None:
                    log.write(state.step, line)
            if log is not None and settings.evaluate_every and (last or state.step % settings.evaluate_every == 0):
                log.write(state.step, watch.look(state))
            if save and fabric.is_global_zero:
                save_checkpoint(out, state, settings.keep_checkpoints, settings.keep_every)
            advance(note=means.rate)
            if last and state.step < settings.steps:
                done = f"Training stopped after step {state.step} of {settings.steps}, and everything is saved."
                raise Interrupted(done, stop.number)
    return run


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
        shared = objectives.restyled(nets, batch) if n_parts == 1 else None

        state.optimizers["discriminator"].zero_grad()
        for part in parts:
            with torch.no_grad():
                painted = shared or objectives.restyled(nets, part)
            descend(*objectives.discriminator(nets, part, painted, state.step))
        _step(fabric, state.optimizers["discriminator"])

        state.optimizers["generator"].zero_grad()
        with frozen(nets.discriminator):
            for part in parts:
                painted = shared or objectives.restyled(nets, part)
                objectives.descend_generator(nets, part, painted, descend)
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
    """Start the processes, one a device, and choose threads and arithmetic."""
    share = settings.devices * settings.nodes * settings.accumulate
    if settings.batch_size % share:
        raise GrapeOpsError(
            f"train.batch_size={settings.batch_size} must divide evenly into {share} parts "
            f"(train.devices x train.nodes x train.accumulate)."
        )
    if settings.accelerator == "cuda" and not torch.cuda.is_available():
        raise GrapeOpsError("train.accelerator=cuda, but torch sees no GPU here. Set it to auto or cpu.")
    torch.set_num_threads(settings.threads or max(core_count() // settings.devices, 1))
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


def first_state(fabric: Fabric, run: Run, store: CropStore, latest: Path | None) -> TrainingState:
    """Where training begins or goes on: a checkpoint, or fresh networks with M where ``train.init`` puts it."""
    nets = run.build(checkpointing=run.config.train.activation_checkpointing)
    if latest is None:
        first_alone(fabric, lambda: find_initialization(run, store)).begin(nets)
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


def make_loader(store: CropStore, config: Config, fabric: Fabric) -> tuple[BatchLoader, Memory | None]:
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
    loader = BatchLoader(
        crops,
        sampler,
        augment=settings.augment,
        noise_dim=config.model.noise_dim,
        shift=settings.views.shift,
        jitter=settings.views.jitter,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    return loader, Memory.of(crops, held, config.seed)


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
