"""One iteration in double precision on as many processes as asked for; the first one saves the gradients.

python one_step.py STORE CONFIG PROCESSES OUT
"""

import sys
from pathlib import Path

import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file

from grape_ops.cells.batches import Batch, BatchLoader, Sampler, StandardizedCrops
from grape_ops.cells.store import CropStore
from grape_ops.config import load_config
from grape_ops.nn.grape import build_grape
from grape_ops.train.checkpoint import TrainingState
from grape_ops.train.loop import iterate
from grape_ops.train.optimizers import make_optimizers
from grape_ops.train.step import Objectives


def main(store_path: str, config_file: str, processes: int, out: str) -> None:
    torch.set_num_threads(1)
    strategy = "ddp" if processes > 1 else "auto"
    fabric = Fabric(accelerator="cpu", devices=processes, strategy=strategy, precision="64-true")
    fabric.launch()
    store, config = CropStore.open(store_path), load_config(config_file)
    n, rng = len(store.perturbations), torch.Generator().manual_seed(0)
    nets = build_grape(
        config.model, n_perturbations=n, channels=len(store.channels), image_size=store.crop_size, rng=rng
    ).double()
    crops, sampler = StandardizedCrops(store, fabric.device), Sampler(store.labels, n, 8, seed=0)
    loader = BatchLoader(crops, sampler, augment=True, rank=fabric.global_rank, world=fabric.world_size)
    single = loader.fetch(0)
    batch = Batch(single.images.double(), single.labels, single.targets)
    state = TrainingState(nets, None, make_optimizers(nets, config.train.optimizer))
    iterate(fabric, state, batch, Objectives(config.train.loss))
    if fabric.is_global_zero:
        save_file({k: p.grad.contiguous() for k, p in nets.named_parameters() if p.grad is not None}, Path(out))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
