"""Sweep the ways of computing one training iteration on a GPU: arithmetic, compilation, batch size.

Prints seconds a step, images a second, TFLOP/s, peak memory and the hours that 100,000 steps would take. Without a
GPU, `--device cpu --quick` runs the same code on small networks, which shows that it works and says nothing on speed.
"""

import argparse
import statistics
import time

import torch
from lightning_fabric import Fabric

from flops import FlopCount
from grape_ops.cells.batches import Batch
from grape_ops.config import Config, load_config
from grape_ops.errors import GrapeOpsError
from grape_ops.nn.grape import build_grape
from grape_ops.train.loop import fresh_state, iterate
from grape_ops.train.step import Objectives
from record import write_record

GENES, CHANNELS, STEPS = 107, 4, 100_000


def random_batch(size: int, image_size: int, device: torch.device) -> Batch:
    """A batch as the loader would bring it: on the device, channels last."""
    images = torch.randn(size, CHANNELS, image_size, image_size, device=device)
    labels, targets = (torch.randint(GENES, (size,), device=device) for _ in range(2))
    return Batch(images.contiguous(memory_format=torch.channels_last), labels, targets)


def measure(config: Config, device: str, batch_size: int, tf32: bool, steps: int) -> dict[str, float]:
    """Time the steps of one way; the first ones, which compile and warm up, are left out."""
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    fabric = Fabric(accelerator=device, devices=1, precision=config.train.precision)
    size = config.preprocess.crop_size
    nets = build_grape(
        config.model,
        n_perturbations=GENES,
        channels=CHANNELS,
        image_size=size,
        rng=torch.Generator().manual_seed(0),
        checkpointing=config.train.activation_checkpointing,
    )
    state = fresh_state(nets, config, fabric)
    batch = random_batch(batch_size, size, fabric.device)
    with FlopCount() as counter:
        iterate(
            fabric, state, random_batch(2, size, fabric.device), Objectives(config.train.loss, autocast=fabric.autocast)
        )
    flop_per_image = counter.total / 2
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
        "tflop_per_s": flop_per_image * batch_size / median / 1e12,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else float("nan"),
        "hours_for_100k_steps": median * STEPS / 3600,
    }


def main() -> None:
    """Sweep and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", default="64,256")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="small networks, few steps, no code generation")
    parser.add_argument("--out", required=True, help="JSON file to write")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("There is no GPU here; --device cpu --quick shows that the code runs.")
    preset, backend = ("small.yaml", "aot_eager") if options.quick else ("paper.yaml", "inductor")
    batches = [8] if options.quick else [int(size) for size in options.batch.split(",")]
    steps = 2 if options.quick else options.steps
    ways = {
        "fp32": (False, []),
        "tf32": (True, []),
        "bf16": (True, ["train.precision=bf16-mixed"]),
        "tf32 compiled": (True, [f"train.compile={backend}"]),
        "bf16 compiled": (True, ["train.precision=bf16-mixed", f"train.compile={backend}"]),
        "bf16 checkpointed": (True, ["train.precision=bf16-mixed", "train.activation_checkpointing=true"]),
    }
    device = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    print(f"{device}\nbatch  way                  s/step   images/s   TFLOP/s   peak GiB   hours for 100k")
    rows = []
    for size in batches:
        for way, (tf32, settings) in ways.items():
            torch._dynamo.reset()
            try:
                row = measure(load_config(preset, settings), options.device, size, tf32, steps)
            except (GrapeOpsError, torch.OutOfMemoryError):
                print(f"{size:5}  {way:18} out of memory")
                torch.cuda.empty_cache()
                continue
            rows.append({"batch": size, "way": way, **row})
            print(f"{size:5}  {way:18} " + " ".join(f"{value:9.3f} " for value in row.values()))
    write_record(options.out, "gpu_step", {"device": device, "rows": rows})


if __name__ == "__main__":
    main()
