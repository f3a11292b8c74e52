"""Sweep the ways of computing one training iteration on a GPU: preset, arithmetic, compilation, batch size.

Prints seconds a step, images a second, TFLOP/s, peak memory and the hours that all steps of the preset would take.
Without a GPU, `--device cpu --quick` runs the same code on small networks, which shows that it works and says nothing
on speed; `--count` counts the operations and the memory of each preset, and times nothing.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric

from flops import FlopCount
from grape_ops.cells.batches import Batch
from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_store
from grape_ops.config import Config, load_config
from grape_ops.errors import GrapeOpsError
from grape_ops.nn.grape import build_grape
from grape_ops.schema import BATCH, CONTROL_LABEL, GENE, GUIDE, IS_CONTROL, PLATE, ROW, SHARD, WELL
from grape_ops.train.checkpoint import TrainingState
from grape_ops.train.estimate import multiply_adds
from grape_ops.train.loop import fresh_state, iterate
from grape_ops.train.preflight import memory_needed
from grape_ops.train.step import Objectives
from record import write_record

GENES, CHANNELS = 107, 4
COUNTED = 2  # crops


def random_batch(size: int, image_size: int, together: int, device: torch.device) -> Batch:
    """A batch as the loader would bring it: on the device, channels last, ``together`` cells with one target."""
    images = torch.randn(size, CHANNELS, image_size, image_size, device=device)
    labels = torch.randint(GENES, (size,), device=device)
    targets = torch.randint(GENES, (-(-size // together),), device=device).repeat_interleave(together)[:size]
    return Batch(images.contiguous(memory_format=torch.channels_last), labels, targets)


def begin(config: Config, fabric: Fabric) -> TrainingState:
    """The networks of a training, as they are before the first step."""
    nets = build_grape(
        config.model,
        n_perturbations=GENES,
        channels=CHANNELS,
        image_size=config.preprocess.crop_size,
        rng=torch.Generator().manual_seed(0),
        classifier=config.seen_through,
        checkpointing=config.train.activation_checkpointing,
    )
    return fresh_state(nets, config, fabric)


def flop_per_crop(state: TrainingState, config: Config, fabric: Fabric) -> float:
    """Operations of one iteration, by crop."""
    batch = random_batch(COUNTED, config.preprocess.crop_size, COUNTED, fabric.device)
    with FlopCount() as counter:
        iterate(fabric, state, batch, Objectives(config.train.loss, autocast=fabric.autocast))
    return counter.total / COUNTED


def measure(config: Config, device: str, batch_size: int, tf32: bool, steps: int) -> dict[str, float]:
    """Time the steps of one way; the first ones, which compile and warm up, are left out."""
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    fabric = Fabric(accelerator=device, devices=1, precision=config.train.precision)
    state = begin(config, fabric)
    batch = random_batch(batch_size, config.preprocess.crop_size, config.train.together, fabric.device)
    flop = flop_per_crop(state, config, fabric)
    objectives, seconds = Objectives(config.train.loss, config.train.compile, fabric.autocast), []
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(steps + 3):
        start = time.perf_counter()
        iterate(fabric, state, batch, objectives, config.train.accumulate)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds[3:])
    return {
        "s_per_step": median,
        "images_per_s": batch_size / median,
        "tflop_per_s": flop * batch_size / median / 1e12,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else float("nan"),
        "hours_for_all_steps": median * config.train.steps / 3600,
    }


def bare_store(folder: Path, size: int) -> CropStore:
    """A store of dark crops, one of each perturbation: its shape is all that is asked for."""
    genes = [*(f"G{gene}" for gene in range(GENES - 1)), CONTROL_LABEL]
    table = pd.DataFrame({GENE: genes, GUIDE: genes, PLATE: "P", WELL: "A1", BATCH: "P|A1", SHARD: "s"})
    table[IS_CONTROL], table[ROW] = table[GENE] == CONTROL_LABEL, range(GENES)
    crops = np.zeros((GENES, CHANNELS, size, size), np.uint16)
    write_store(folder, {"s": crops}, table, [f"channel {number}" for number in range(CHANNELS)])
    return CropStore.open(folder)


def count(config: Config) -> dict[str, float]:
    """What a preset asks of a GPU, by counting alone."""
    with tempfile.TemporaryDirectory() as name:
        need = memory_needed(bare_store(Path(name) / "store", config.preprocess.crop_size), config)
    fabric = Fabric(accelerator="cpu", devices=1, precision=config.train.precision)
    state = begin(config, fabric)
    flop = flop_per_crop(state, config, fabric)
    settings = config.train
    return {
        "parameters": sum(p.numel() for p in state.nets.parameters()),
        "generator_gmac": multiply_adds(config, GENES, CHANNELS, config.preprocess.crop_size)["generator"],
        "gmac_per_crop": flop / 2e9,
        "tflop_per_step": flop * settings.batch_size / 1e12,
        "steps": settings.steps,
        "exaflop": flop * settings.batch_size * settings.steps / 1e18,
        "state_gib": need.state / 2**30,
        "activations_gib": need.activations / 2**30,
        "total_gib": need.total / 2**30,
    }


def print_counts(presets: list[str], overrides: list[str]) -> dict[str, dict[str, float]]:
    """Count and print, one column per preset."""
    counts = {preset: count(load_config(preset, overrides)) for preset in presets}
    print(f"{'':18}" + "".join(f"{preset:>18}" for preset in presets))
    for name in counts[presets[0]]:
        print(f"{name:18}" + "".join(f"{counts[preset][name]:18,.4g}" for preset in presets))
    return counts


def main() -> None:
    """Sweep and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", default="64,256")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--presets", default="paper.yaml,large.yaml", metavar="A,B")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="one setting; repeatable")
    parser.add_argument("--count", action="store_true", help="operations and memory only, which needs no GPU")
    parser.add_argument("--quick", action="store_true", help="small networks, few steps, no code generation")
    parser.add_argument("--out", required=True, help="JSON file to write")
    options = parser.parse_args()
    presets = ["small.yaml"] if options.quick else options.presets.split(",")
    if options.count:
        write_record(options.out, "gpu_step_count", print_counts(presets, options.set))
        return
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("There is no GPU here; --device cpu --quick shows that the code runs.")
    backend = "aot_eager" if options.quick else "inductor"
    batches = [8] if options.quick else [int(size) for size in options.batch.split(",")]
    steps = 2 if options.quick else options.steps
    ways = {
        "fp32": (False, ["train.precision=32-true"]),
        "tf32": (True, ["train.precision=32-true"]),
        "bf16": (True, ["train.precision=bf16-mixed"]),
        "tf32 compiled": (True, ["train.precision=32-true", f"train.compile={backend}"]),
        "bf16 compiled": (True, ["train.precision=bf16-mixed", f"train.compile={backend}"]),
        "bf16 checkpointed": (True, ["train.precision=bf16-mixed", "train.activation_checkpointing=true"]),
    }
    device = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    units = "s/step   images/s   TFLOP/s   peak GiB   hours for all steps"
    print(f"{device}\npreset            batch  way                  {units}")
    rows = []
    for preset, size, (way, (tf32, settings)) in itertools.product(presets, batches, ways.items()):
        torch._dynamo.reset()
        try:
            config = load_config(preset, [*settings, *options.set])
            row = measure(config, options.device, size, tf32, steps)
        except (GrapeOpsError, torch.OutOfMemoryError):
            print(f"{preset:17} {size:5}  {way:18} out of memory")
            torch.cuda.empty_cache()
            continue
        rows.append({"preset": preset, "batch": size, "way": way, **row})
        print(f"{preset:17} {size:5}  {way:18} " + " ".join(f"{value:9.3f} " for value in row.values()))
    write_record(options.out, "gpu_step", {"device": device, "rows": rows})


if __name__ == "__main__":
    main()
