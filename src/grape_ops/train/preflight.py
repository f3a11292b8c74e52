"""What is checked before a training: whether it fits the memory, and whether its settings fit the store's cells.

A process that the system kills for its memory says nothing, so the need is computed before it starts. With guides as
perturbations no known complexes are needed to ask whether guides of one gene find each other: the run folder then
holds ``guides.tsv``, in which each gene is the group of its guides, a truth for `evaluate`.
Letters: B crops that a device holds at a time.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from grape_ops.cells.batches import Batch
from grape_ops.cells.store import CropStore
from grape_ops.config import Config, ModelSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.machine import free_memory
from grape_ops.nn.grape import Grape, build_grape
from grape_ops.progress import note
from grape_ops.schema import COMPLEX, GENE, GUIDE, IS_CONTROL
from grape_ops.train.step import Objectives, Terms, frozen
from grape_ops.words import counted

# What a step holds at its peak, over what it keeps for the way back: gradients of activations come on top. Seen:
# 1.14 with the small preset at batch 2048, 1.19 with activation checkpointing or bf16; nothing is refused that fits.
PEAK = 1.15


@dataclass(frozen=True)
class Need:
    """Bytes a training takes on one device.

    Attributes
    ----------
    state : weights, gradients, Adam's moments and the filter.
    activations : what a step keeps for the way back, for the crops it computes at a time.
    crops : the store, if it is kept in memory.
    """

    state: int
    activations: int
    crops: int = 0

    @property
    def total(self) -> int:
        """All of it, at the peak of a step."""
        return self.state + int(PEAK * self.activations) + self.crops


def crops_at_a_time(config: Config) -> int:
    """Crops that one device computes at a time: its share of a batch, in parts."""
    settings = config.train
    return max(settings.batch_size // (settings.devices * settings.nodes * settings.accumulate), 1)


def networks_of(store: CropStore, config: Config) -> Grape:
    """The networks of a training on a store, before anything initialises them but the seed.

    Raises
    ------
    GrapeOpsError : crop size or channels of the store do not fit the settings.
    """
    return build_grape(
        config.model,
        n_perturbations=len(store.perturbations),
        channels=len(store.channels),
        image_size=store.crop_size,
        rng=torch.Generator().manual_seed(config.seed),
        classifier=config.seen_through,
        shapes=config.train.loss.match_shape > 0,
        checkpointing=config.train.activation_checkpointing,
    )


def memory_needed(store: CropStore, config: Config) -> Need:
    """Trace one step without computing it: sizes need no numbers, so that this takes a second at any size."""
    nets = networks_of(store, config).to("meta")  # no memory behind them
    learning = sum(p.numel() * p.element_size() for p in nets.parameters() if p.requires_grad)
    fixed = sum(t.numel() * t.element_size() for t in nets.state_dict().values()) - learning
    filtered = config.train.ema.enabled
    state = (4 + filtered) * learning + (1 + filtered) * fixed  # weights, gradients, two moments, filter
    pixels = len(store) * len(store.channels) * store.crop_size**2 * np.dtype(store.pixel_type).itemsize
    return Need(state, _bytes_kept(nets, store, config), pixels if config.train.resident == "always" else 0)


def _bytes_kept(nets: Grape, store: CropStore, config: Config) -> int:
    """Bytes that the generator's half of a step keeps for the way back, weights left out."""
    n = crops_at_a_time(config)
    # Autocast knows no meta device; all of it in bf16 is a little less than a mixed step keeps.
    dtype = torch.bfloat16 if config.train.precision == "bf16-mixed" else torch.float32
    nets = nets.to(dtype)
    labels = torch.zeros(n, dtype=torch.long, device="meta")
    shape = (n, len(store.channels), store.crop_size, store.crop_size)
    images = torch.zeros(shape, device="meta", dtype=dtype)
    batch = Batch(images, labels, labels)
    objectives = Objectives(config.train.loss)
    own = {t.untyped_storage()._cdata for t in nets.state_dict().values()}
    kept: dict[int, torch.UntypedStorage] = {}  # holding them keeps their addresses from being used twice
    most = 0

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    def descend(loss: Tensor, _: Terms) -> None:
        """Count what an objective keeps on top of the restyling; it is freed before the next."""
        nonlocal most
        most = max(most, sum(storage.nbytes() for storage in kept.values()))
        kept.clear()
        kept.update(restyling)
        loss.backward()

    with saved_tensors_hooks(note, lambda tensor: tensor):
        restyled = objectives.restyle(nets, batch)
        restyling = dict(kept)
        with frozen(nets.discriminator):
            objectives.descend_generator(nets, batch, restyled, descend)
    return most


def free_on(device: torch.device) -> int:
    """Bytes that are free on a device."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_memory()


def check_not_too_large(store: CropStore, config: Config, device: torch.device) -> Need:
    """Stop before a training that cannot fit the memory; the system would kill it without a message.

    Raises
    ------
    GrapeOpsError : it needs more memory than is free; the message names the settings that help.
    """
    need, free = memory_needed(store, config), free_on(device)
    share = config.train.devices if device.type == "cpu" else 1  # processes on CPUs share one memory
    if need.total * share <= free:
        return need
    where = "the GPU" if device.type == "cuda" else "this machine"
    raise GrapeOpsError(
        f"Training would take about {in_gib(need.total * share)} of memory, and {where} has {in_gib(free)} free: "
        f"{in_gib(need.activations * share)} for the activations of {crops_at_a_time(config) * share:,} crops of "
        f"{store.crop_size} px at a time (train.batch_size={config.train.batch_size}, "
        f"train.accumulate={config.train.accumulate}), {in_gib(need.state * share)} for weights and optimisers"
        + (f", {in_gib(need.crops * share)} for the crops (train.resident=always)" if need.crops else "")
        + f".\n{_ways_out(need, config, free // share)}"
    )


def _ways_out(need: Need, config: Config, free: int) -> str:
    """Settings that make it fit, the gentlest first."""
    settings, ways = config.train, []
    room = (free - need.state - need.crops) / PEAK
    if room > 0:
        largest = settings.batch_size // (settings.devices * settings.nodes)
        fits = next(
            (
                n
                for n in range(1, largest + 1)
                if largest % n == 0
                and (settings.together == 1 or largest // n % settings.together == 0)
                and need.activations * settings.accumulate / n < room
            ),
            None,
        )
        if fits is not None and fits > settings.accumulate:
            ways.append(f"train.accumulate={fits} computes the batch in {fits} parts, with the same gradient")
    if not settings.activation_checkpointing:
        ways.append("train.activation_checkpointing=true computes the generator's activations twice")
    if settings.precision == "32-true":
        ways.append("train.precision=bf16-mixed keeps many of them in half the space")
    if need.crops:
        ways.append("train.resident=never leaves the crops on disk")
    ways.append("a smaller train.batch_size learns from fewer crops per step")
    return "What helps: " + "; ".join(ways) + "."


def in_gib(count: float) -> str:
    """Bytes in words."""
    gib = count / 2**30
    return f"{gib:,.0f} GiB" if gib >= 10 else f"{gib:.1f} GiB" if gib >= 0.1 else f"{count / 2**20:.0f} MiB"


def announce_trainings(trainings: Sequence[Config], store: CropStore) -> None:
    """Announce the trainings that a command is about to begin, since they may take days."""
    if not trainings:
        return
    sizes = Counter((config.train.steps, config.train.batch_size) for config in trainings)
    each = [f"{count} of {steps:,} steps, each step on {crops:,} crops" for (steps, crops), count in sizes.items()]
    note(f"Trainings: {'; '.join(each)}.")
    papers = ModelSettings().generator.width
    if any(config.model.generator.width >= papers for config in trainings) and not torch.cuda.is_available():
        note(
            "The networks are of the paper's size (as in paper.yaml and large.yaml), which needs "
            "a GPU. For two CPU cores and thousands of cells: --config recommended.yaml, or small.yaml."
        )
    for sentence in dict.fromkeys(sentence for config in trainings for sentence in mismatches(store, config)):
        note(sentence)


def warn_mismatches(store: CropStore, config: Config) -> None:
    """Warn of settings that will train, but were hardly meant."""
    for sentence in mismatches(store, config):
        note(sentence)


def mismatches(store: CropStore, config: Config) -> list[str]:
    """Sentences on settings that were made for other cells than these."""
    found = []
    made_for, have = config.preprocess.crop_size, store.crop_size
    if made_for != have:
        found.append(
            f"The store's crops are {have} px, but these settings are for crops of {made_for} px "
            f"(preprocess.crop_size), and so are the networks' depth and width. Training goes on with {have} px. "
            "Give the settings the store was made with; presets are large.yaml and paper.yaml for 96 px, "
            "recommended.yaml and small.yaml for 32 px."
        )
    batch, n_cells = config.train.batch_size, len(store)
    if batch > n_cells:
        found.append(
            f"train.batch_size={batch:,} is more than the {n_cells:,} cells of the store: every batch holds cells "
            f"more than once, which costs time and teaches nothing. Set it to {_below(n_cells)} or less."
        )
    return found


def _below(n: int) -> int:
    """The largest power of two that is not above n."""
    return 1 << (n.bit_length() - 1)


GUIDES_FILE = "guides.tsv"


def guide_groups(store: CropStore) -> pd.DataFrame:
    """Each targeting guide and its gene, as a truth: columns gene_symbol (the guide) and complex (its gene).

    Raises
    ------
    GrapeOpsError : a guide stands for more than one gene.
    """
    pairs = store.cells.loc[~store.cells[IS_CONTROL], [GUIDE, GENE]].drop_duplicates().sort_values([GENE, GUIDE])
    twice = pairs[GUIDE][pairs[GUIDE].duplicated()].unique()
    if len(twice):
        raise GrapeOpsError(
            f"{counted(len(twice), 'guides')} of more than one gene, such as {', '.join(map(str, twice[:3]))}: "
            "training by guide needs a name of its own for each. Look at the sgRNA column of the cell table."
        )
    return pairs.rename(columns={GUIDE: GENE, GENE: COMPLEX})


def check_truth_not_genes(store: CropStore, truth: str | None) -> None:
    """Check that a truth of genes is not used for a map of guides."""
    if store.unit == "guide" and truth:
        raise GrapeOpsError(
            f"--truth {truth} names genes, but with train.unit=guide the map is of guides. Leave it out; the run "
            f"folder will hold {GUIDES_FILE}, in which each gene is the group of its guides, for `grape-ops evaluate`."
        )
