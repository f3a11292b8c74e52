"""Time one training iteration of the paper's networks: the plain way, and the product's ways, in one run.

The plain way computes what the equations say one after the other: fakes twice, D with gradients throughout, E twice,
convolutions at full resolution before pooling. Every variant runs in a process of its own, which reports its peak
memory. Variants take turns, so that a drift of the machine's speed hits them alike.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from functools import partial

import torch

from flops import FlopCount
from grape_ops.cells.batches import Batch
from grape_ops.config import Config, load_config
from grape_ops.nn.grape import Grape, build_grape
from grape_ops.train.optimizers import make_optimizers
from grape_ops.train.step import Objectives, discriminator_objective, frozen, restyle
from record import write_record

VARIANTS = ("plain", "fast", "channels_last", "bf16")
CHANNELS, SIZE = 4, 96


def plain_step(nets: Grape, batch: Batch, config: Config, optimizers: dict[str, torch.optim.Optimizer]) -> None:
    """One iteration as the equations read, nothing shared and nothing fused."""
    weights = config.train.loss
    with torch.no_grad():
        made = restyle(nets, batch)
    loss, _ = discriminator_objective(nets, batch, made, weights)
    optimizers["discriminator"].zero_grad()
    loss.backward()
    optimizers["discriminator"].step()

    style, fake, *_ = restyle(nets, batch)
    adversarial = torch.nn.functional.softplus(-nets.discriminator.addressed(fake, batch.targets)).mean()
    cycle = (batch.images - nets.generator(fake, nets.style_encoder(batch.images))).abs().mean()
    reconstruction = (style.detach() - nets.style_encoder(fake.detach())).abs().mean()
    optimizers["generator"].zero_grad()
    (adversarial + weights.cycle * cycle + weights.style * reconstruction).backward()
    optimizers["generator"].step()


def fast_step(nets: Grape, batch: Batch, config: Config, optimizers: dict[str, torch.optim.Optimizer]) -> None:
    """One iteration of the product, without its engine."""
    bf16 = config.train.precision == "bf16-mixed"
    arithmetic = partial(torch.autocast, "cpu", torch.bfloat16, enabled=bf16)
    objectives = Objectives(config.train.loss, autocast=arithmetic)
    made = objectives.restyle(nets, batch)
    loss, _ = objectives.discriminator(nets, batch, made)
    optimizers["discriminator"].zero_grad()
    loss.backward()
    optimizers["discriminator"].step()
    optimizers["generator"].zero_grad()
    with frozen(nets.discriminator):
        objectives.descend_generator(nets, batch, made, lambda loss, _: loss.backward())
    optimizers["generator"].step()


def time_variant(variant: str, batch_size: int, steps: int, threads: int, genes: int) -> None:
    """Print seconds of each step and the process's peak memory as JSON."""
    torch.set_num_threads(threads)
    overrides = [f"model.fused_resampling={variant != 'plain'}"]
    overrides += ["train.precision=bf16-mixed"] if variant == "bf16" else []
    config = load_config("paper.yaml", overrides)
    rng = torch.Generator().manual_seed(0)
    nets = build_grape(config.model, n_perturbations=genes, channels=CHANNELS, image_size=SIZE, rng=rng)
    images = torch.randn(batch_size, CHANNELS, SIZE, SIZE, generator=rng)
    if variant in ("channels_last", "bf16"):
        nets = nets.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    labels, targets = (torch.randint(genes, (batch_size,), generator=rng) for _ in range(2))
    batch = Batch(images, labels, targets)
    optimizers = make_optimizers(nets, config.train.optimizer)
    step = plain_step if variant == "plain" else fast_step
    seconds = []
    with FlopCount() as counter:
        step(nets, batch, config, optimizers)
    for _ in range(steps):
        start = time.perf_counter()
        step(nets, batch, config, optimizers)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "gmac": counter.total / 2e9 / batch_size}))


def timed(variant: str, batch_size: int, steps: int, threads: int, genes: int) -> dict:
    """Time a variant in a process of its own: {"seconds": [...], "peak_mib": ...}."""
    command = [sys.executable, __file__, "--variant", variant, "--batch", str(batch_size), "--steps", str(steps)]
    command += ["--threads", str(threads), "--genes", str(genes)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Take turns over the variants and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--rounds", type=int, default=3, help="turns of each variant")
    parser.add_argument("--steps", type=int, default=2, help="timed steps in a turn, after one that is not")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="batch 2, one turn")
    parser.add_argument("--genes", type=int, default=107, help="perturbations")
    parser.add_argument("--variant", choices=VARIANTS, help="time this one only, in this process")
    parser.add_argument("--out")
    options = parser.parse_args()
    if options.variant:
        time_variant(options.variant, options.batch[0], options.steps, options.threads, options.genes)
        return
    if options.quick:
        options.batch, options.rounds, options.steps = [2], 1, 1

    figures = {}
    for batch_size in options.batch:
        runs: dict[str, list[dict]] = {variant: [] for variant in VARIANTS}
        for _ in range(options.rounds):
            for variant in VARIANTS:
                runs[variant].append(timed(variant, batch_size, options.steps, options.threads, options.genes))
        rows = {v: [s for run in turns for s in run["seconds"]] for v, turns in runs.items()}
        peaks = {v: max(run["peak_mib"] for run in turns) for v, turns in runs.items()}
        figures[f"batch_{batch_size}"] = {
            **{f"{v}_s": statistics.median(rows[v]) for v in VARIANTS},
            **{f"{v}_peak_mib": peaks[v] for v in VARIANTS},
            **{f"{v}_gmac_per_crop": runs[v][0]["gmac"] for v in VARIANTS},
            **{f"{v}_over_plain": statistics.median(rows[v]) / statistics.median(rows["plain"]) for v in VARIANTS},
        }
        print(f"batch {batch_size}:  variant        s/step (min..max)        of plain   peak MiB")
        for v in VARIANTS:
            median = statistics.median(rows[v])
            share = median / statistics.median(rows["plain"])
            print(f"  {v:15} {median:6.2f} ({min(rows[v]):.2f}..{max(rows[v]):.2f}) {share:14.2f} {peaks[v]:10.0f}")
    if options.out:
        # The first batch size stands at the top as well, so that a call with one needs no second look.
        write_record(options.out, "train_step", figures[f"batch_{options.batch[0]}"] | figures)


if __name__ == "__main__":
    main()
