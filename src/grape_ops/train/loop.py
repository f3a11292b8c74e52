"""Training (section 3.5), as labelled stages. The only file that knows the engine, lightning-fabric."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from lightning_fabric import Fabric
from torch import Tensor

from grape_ops.cells.batches import Batch, BatchLoader, Sampler
from grape_ops.cells.store import CropStore
from grape_ops.config import Config, LossSettings, OptimizerSettings
from grape_ops.errors import GrapeOpsError, Interrupted
from grape_ops.evaluate.retrieval import average_precision, chance_average_precision
from grape_ops.groundtruth import load_truth, membership
from grape_ops.nn.grape import Grape
from grape_ops.progress import progress
from grape_ops.schema import METRICS_FILE
from grape_ops.train.checkpoint import TrainingState, restore, save_checkpoint
from grape_ops.train.ema import WeightAverage
from grape_ops.train.log import IntervalMean, MetricsLog, check_finite
from grape_ops.train.run import Run, prepare_run
from grape_ops.train.step import Terms, discriminator_objective, frozen, generator_objective, restyled
from grape_ops.train.stop import StopSignal, stop_signals


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
    GrapeOpsError : something about the input does not fit, or the losses are no longer finite.
    Interrupted : Ctrl-C or SIGTERM; a checkpoint of the last whole step is written before.
    """
    # The cells, and the folder.
    store = CropStore.open(store_path)
    run = prepare_run(out, store, config, truth, resume)
    judge = Judge.of(run, truth or run.record["truth"])

    # The engine, the networks, their optimisers.
    settings = config.train
    torch.set_num_threads(settings.threads or psutil.cpu_count(logical=False) or 1)
    fabric = _engine(config)
    state = _fresh_state(run, fabric)

    # Where to begin.
    latest = run.latest_checkpoint() if resume else None
    if latest is not None:
        restore(latest, state)
    log = MetricsLog(out / METRICS_FILE, state.step) if fabric.is_global_zero else None

    # Iterate.
    sampler = Sampler(store.labels, len(store.perturbations), settings.batch_size, config.seed, settings.sampling)
    loader = BatchLoader(
        store,
        sampler,
        fabric.device,
        augment=settings.augment,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    with stop_signals() as stop, progress("train", settings.steps, "step", done=state.step) as advance:
        means, since, rate = IntervalMean(), time.monotonic(), ""
        for batch in loader.batches(state.step, settings.steps):
            means.add(iterate(fabric, state, batch, settings.loss))
            state.step += 1
            if state.average is not None:
                state.average.update(state.nets, state.step)
            last = state.step == settings.steps or _stop_everywhere(fabric, stop, state.step, settings.log_every)
            save = last or state.step % settings.checkpoint_every == 0
            if save or state.step % settings.log_every == 0:
                images = means.steps * settings.batch_size
                line = means.take()
                check_finite(line, state.step, run.latest_checkpoint())
                line["images_per_s"] = images / (time.monotonic() - since)
                rate = f"{line['images_per_s']:.0f} images/s"
                if log is not None:
                    log.write(state.step, line)
                since = time.monotonic()
            if judge is not None and log is not None and _is_turn(state.step, settings.evaluate_every, last):
                log.write(state.step, judge.score(state))
            if save and fabric.is_global_zero:
                save_checkpoint(out, state, settings.keep_checkpoints)
            advance(note=rate)
            if last and state.step < settings.steps:
                raise Interrupted(
                    f"Training stopped after step {state.step} of {settings.steps}, and everything is saved. "
                    f"The same command with --resume goes on.",
                    stop.number,
                )
    return run


def iterate(fabric: Fabric, state: TrainingState, batch: Batch, weights: LossSettings) -> Terms:
    """One iteration: D learns from real crops and the fake, then M, F, G and E learn from the same fake."""
    nets = state.nets
    with fabric.autocast():
        style, fake = restyled(nets, batch)
        d_loss, d_terms = discriminator_objective(nets, batch, fake, weights)
    _learn(fabric, state.optimizers["discriminator"], d_loss)
    with frozen(nets.discriminator):
        with fabric.autocast():
            g_loss, g_terms = generator_objective(nets, batch, style, fake, weights)
        _learn(fabric, state.optimizers["generator"], g_loss)
    return d_terms | g_terms


def _learn(fabric: Fabric, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    fabric.backward(loss)
    if fabric.world_size > 1:
        _average_gradients(fabric, optimizer)
    optimizer.step()


def _average_gradients(fabric: Fabric, optimizer: torch.optim.Optimizer) -> None:
    """Mean over processes, in one message: all losses are means over equal slices of the batch."""
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    joined = fabric.all_reduce(torch.cat([g.flatten() for g in gradients]), reduce_op="mean")
    assert isinstance(joined, Tensor)
    for gradient, mean in zip(gradients, joined.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def _engine(config: Config) -> Fabric:
    settings = config.train
    if settings.batch_size % settings.devices:
        raise GrapeOpsError(
            f"train.batch_size={settings.batch_size} must divide evenly over train.devices={settings.devices}."
        )
    fabric = Fabric(
        accelerator=settings.accelerator,
        devices=settings.devices,
        strategy="ddp" if settings.devices > 1 else "auto",
        precision=settings.precision,
    )
    fabric.launch()
    return fabric


def _fresh_state(run: Run, fabric: Fabric) -> TrainingState:
    # Convolutions on CPUs and tensor cores are about twice as fast with channels last.
    nets = run.build().to(device=fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = run.config.train.ema
    average = WeightAverage(nets, ema.every, ema.decay) if ema.enabled else None
    return TrainingState(nets, average, make_optimizers(nets, run.config.train.optimizer))


def make_optimizers(nets: Grape, settings: OptimizerSettings) -> dict[str, torch.optim.Optimizer]:
    """Adam for D, and Adam for M, F, G and E, where M may have its own rate and weight decay."""
    rate, decay = settings.learning_rate, settings.weight_decay
    betas = (settings.beta1, settings.beta2)
    d = list(nets.discriminator.parameters())
    m = list(nets.embedding.parameters())
    apart = {id(p) for p in d + m}
    groups: list[dict[str, Any]] = [
        {
            "params": m,
            "lr": settings.embedding_learning_rate or rate,
            "weight_decay": decay if settings.embedding_weight_decay is None else settings.embedding_weight_decay,
        },
        {"params": [p for p in nets.parameters() if id(p) not in apart]},
    ]
    return {
        "discriminator": torch.optim.Adam(d, lr=rate, betas=betas, weight_decay=decay, fused=True),
        "generator": torch.optim.Adam(groups, lr=rate, betas=betas, weight_decay=decay, fused=True),
    }


def _is_turn(step: int, every: int, last: bool) -> bool:
    return every > 0 and (last or step % every == 0)


def _stop_everywhere(fabric: Fabric, stop: StopSignal, step: int, every: int) -> bool:
    """Whether to stop after this step; several processes agree on it now and then, so that none runs ahead."""
    if fabric.world_size == 1:
        return stop.number != 0
    if step % every:
        return False
    highest = fabric.all_reduce(torch.tensor(stop.number, device=fabric.device), reduce_op="max")
    assert isinstance(highest, Tensor)
    stop.number = int(highest)
    return stop.number != 0


@dataclass(frozen=True)
class Judge:
    """Scores the embedding along training, on the genes a truth knows.

    Attributes
    ----------
    rows : rows of M that belong to a complex.
    members : (len(rows), K) bool, which complexes each belongs to.
    """

    rows: np.ndarray
    members: np.ndarray

    @classmethod
    def of(cls, run: Run, truth: str | None) -> "Judge | None":
        """Make a judge, or None without a truth or with fewer than two related genes."""
        if truth is None:
            return None
        members = membership(load_truth(truth), list(run.genes.index))
        members &= members.sum(axis=0) > 1
        rows = np.flatnonzero(members.any(axis=1))
        return cls(rows, members[rows]) if len(rows) > 1 else None

    def score(self, state: TrainingState) -> dict[str, float]:
        """MAP of positions 1 and 2, trained and filtered, beside its chance level."""
        line = {"map_chance": float(chance_average_precision(self.members).mean())}
        for suffix, nets in (
            ("", state.nets),
            ("_ema", state.average.nets if state.average is not None else None),
        ):
            if nets is None:
                continue
            with torch.no_grad():
                for name, vectors in (("map", nets.embedding()), ("map_style", nets.styles())):
                    chosen = vectors.float().cpu().numpy()[self.rows]
                    line[name + suffix] = float(average_precision(chosen, self.members).mean())
        return line
