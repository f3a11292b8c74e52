"""How the networks are initialised besides noise (docs/training.md).

Few and noisy updates reach M, and its initial noise never leaves it when cells are few. A classifier that learns
for minutes which gene was knocked out sees most of what distinguishes genes. Its shrunken gene effects, turned into M's
space without changing any angle, initialise M, and adversarial training has to better them.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import typer
from torch import Tensor

from grape_ops.cells.averages import blocks
from grape_ops.cells.batches import StandardizedCrops, hold_out
from grape_ops.cells.gene_effects import CellSums, shrunken_effects, shrunken_gene_effects
from grape_ops.cells.genes import gene_anndata, gene_table, write_gene_vectors
from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.cosine import floored_unit_rows
from grape_ops.nn.classifier import CellClassifier
from grape_ops.nn.grape import Grape
from grape_ops.nn.shape import shape_features
from grape_ops.progress import note, progress
from grape_ops.randomness import InitializationStream, generator
from grape_ops.schema import INIT_FILE
from grape_ops.train.fit_classifier import features_of, train_classifier
from grape_ops.train.run_folder import Run

INITIALISATION = "GRAPE initialisation"  # name of the map that M is initialised with


class MatchedEffects(NamedTuple):
    """What a matching loss asks restyling to change: whitening (V, V) and effects (P, V) of ``GeneEffects``."""

    whitening: Tensor
    targets: Tensor

    @classmethod
    def of(cls, cells: CellSums) -> "MatchedEffects":
        """Fit them to the cells' features."""
        return cls(*(torch.from_numpy(part).float() for part in shrunken_effects(cells)))


@dataclass
class Initialization:
    """The initial values of the networks besides noise.

    Attributes
    ----------
    rows : (P, V) of M; None where it is initialised with noise.
    classifier : that D or a loss looks through, if one does.
    layers : what genes change in its layers.
    shape : what genes change of the shape of cells, where a loss asks for it.
    """

    rows: Tensor | None = None
    classifier: CellClassifier | None = None
    layers: MatchedEffects | None = None
    shape: MatchedEffects | None = None

    def initialize(self, nets: Grape) -> None:
        """Put it into freshly built networks."""
        if self.rows is not None:
            nets.embedding.initialize(self.rows)
        if nets.classifier is not None:
            assert self.classifier is not None
            nets.classifier.load_state_dict(self.classifier.state_dict())
        for effects, found in ((nets.effects, self.layers), (nets.shape_effects, self.shape)):
            if effects is not None:
                assert found is not None
                effects.initialize(*found)


def find_initialization(run: Run, store: CropStore) -> Initialization:
    """Train what the networks are initialised with, if anything.

    Rows of M are written to the run folder as gene vectors too, so that what training adds to them can be evaluated.
    """
    config, found = run.config, Initialization()
    if config.train.loss.match_shape:
        found.shape = MatchedEffects.of(sum_shapes(store, training_cells(store, config)))
        if not found.shape.targets.any():
            note(
                "No gene's cells differ from the others' by more than chance in size or elongation: "
                "train.loss.match_shape asks restyling to keep the shape of cells."
            )
    count = classifiers_to_train(config, store.labels)
    if not count:
        return found
    from_noise, looks = config.train.init.kind == "noise", config.seen_through is not None
    if from_noise:
        typer.echo(
            "M is initialised with noise; a classifier is trained first, since D or a loss looks through it.", err=True
        )
    networks, cells = init_classifiers(store, config, count)
    of_layers, of_centred = sum_layers(networks, store, cells, layers=not from_noise, centred=looks)
    if of_layers is not None:
        found.rows = rows_of_embedding(of_layers, config)
        write_gene_vectors(gene_anndata(found.rows.numpy(), gene_table(store), INITIALISATION), run.path / INIT_FILE)
    if of_centred is not None:
        found.layers = MatchedEffects.of(of_centred)
        found.classifier = networks[0].cpu()
        if config.train.loss.match and not found.layers.targets.any():
            note(
                "No gene's cells differ from the others' by more than chance in the classifier's layers: "
                "train.loss.match asks restyling to change nothing. More cells per gene may show more."
            )
    return found


def classifiers_to_train(config: Config, labels: np.ndarray) -> int:
    """How many classifiers the initialisation trains: those that M is read from, or the one that is looked through."""
    if config.train.init.kind == "noise":
        return int(config.seen_through is not None)
    return classifiers_for_effects(config, labels)


def classifiers_for_effects(config: Config, labels: np.ndarray) -> int:
    """How many classifiers gene effects are read from; ``labels`` (N,) are those of the store's cells.

    Classifiers that share no cells are no more than leave the median perturbation ``train.init.cells_per_network``
    cells for each.
    """
    init = config.train.init
    if not init.cells_per_network:
        return init.networks
    seen = np.median(np.unique_counts(labels).counts) * (1 - config.train.holdout)
    return max(1, min(init.networks, int(seen / init.cells_per_network)))


def rows_of_embedding(layers: CellSums, config: Config) -> Tensor:
    """Rows of M from the sums of classifiers' layers: (P, V)."""
    settings, length = config.train.init, config.model.embedding_dim
    effects = shrunken_gene_effects(layers, settings.gene_specific_fraction)
    rows = turned_into(effects, length, torch.Generator().manual_seed(config.seed))
    rows *= settings.spread * length**0.5
    return rows


def classifier_gene_effects(store: CropStore, config: Config) -> np.ndarray:
    """Shrunken gene effects in classifiers' layers, over the cells that training sees: (P, R)."""
    networks, cells = init_classifiers(store, config, classifiers_for_effects(config, store.labels))
    layers, _ = sum_layers(networks, store, cells, layers=True, centred=False)
    assert layers is not None
    return shrunken_gene_effects(layers, config.train.init.gene_specific_fraction)


def init_classifiers(store: CropStore, config: Config, count: int) -> tuple[list[CellClassifier], np.ndarray]:
    """Train so many classifiers, each from a seed of its own, and return which cells training sees: (n,)."""
    train = config.train
    cells = training_cells(store, config)
    apart = count > 1 and train.init.cells_per_network > 0
    parts = cells_of_each(store.labels, cells, count, config.seed) if apart else [cells] * count
    device = torch.device("cpu") if train.accelerator == "cpu" else None
    seeds = np.random.SeedSequence(config.seed).generate_state(count).tolist()
    networks = [
        train_classifier(store, train.init.classifier, seed, part, device, train.precision)
        for seed, part in zip(seeds, parts, strict=True)
    ]
    return networks, cells


def training_cells(store: CropStore, config: Config) -> np.ndarray:
    """The cells that training sees: (n,)."""
    return np.flatnonzero(~hold_out(store.labels, config.train.holdout, config.seed))


def cells_of_each(labels: np.ndarray, cells: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """Deal cells (n,) out to so many classifiers, each perturbation's evenly: one sorted array per classifier.

    A perturbation with fewer cells than classifiers gives all of them to each, so that every classifier knows it.
    """
    parts: list[list[np.ndarray]] = [[] for _ in range(count)]
    for label in np.unique(labels[cells]):
        own = generator(seed, InitializationStream.DEALT_CELLS, int(label)).permutation(cells[labels[cells] == label])
        for k, part in enumerate(parts):
            part.append(own[k::count] if len(own) >= count else own)
    return [np.sort(np.concatenate(part)) for part in parts]


def sum_layers(
    networks: list[CellClassifier], store: CropStore, cells: np.ndarray, *, layers: bool, centred: bool
) -> tuple[CellSums | None, CellSums | None]:
    """Sum over cells (n,), in one pass, the layers of all networks side by side and the centred ones of the first.

    What is not asked for is None. The first half of a network's centred layers are its layers.
    """
    first, *others = networks if layers else networks[:1]
    width = 2 * sum(first.map_widths)

    def read(images: Tensor) -> Tensor:
        of_first = first.centred_layers(images) if centred else first.layers(images)
        return torch.cat([of_first, *(network.layers(images) for network in others)], dim=1)

    total = (2 if centred else 1) * width + sum(2 * sum(network.map_widths) for network in others)
    columns = np.arange(total)
    of_layers = columns[(columns < width) | (columns >= 2 * width)] if centred else columns
    wanted = [of_layers if layers else None, columns[: 2 * width] if centred else None]
    shape = (len(store.perturbations), len(store.batches))
    sums = [None if part is None else CellSums.zeros(*shape, len(part)) for part in wanted]
    crops = StandardizedCrops(store, next(first.parameters()).device, "auto")
    with progress("Gene effects", len(cells), "crop") as advance:
        for rows in blocks(cells):
            features = features_of(read, crops, rows)
            for part, into in zip(wanted, sums, strict=True):
                if part is not None and into is not None:
                    into.add(features.take(part, axis=1), store.labels[rows], store.batch_codes[rows])
            advance(len(rows))
    return sums[0], sums[1]


def sum_shapes(store: CropStore, cells: np.ndarray) -> CellSums:
    """Sum the shape features of cells (n,)."""
    sums = CellSums.zeros(len(store.perturbations), len(store.batches), 2 * len(store.channels))
    with progress("Shapes of cells", len(cells), "crop") as advance:
        for rows in blocks(cells):
            features = shape_features(torch.from_numpy(store.standardized(rows))).numpy()
            sums.add(features, store.labels[rows], store.batch_codes[rows])
            advance(len(rows))
    return sums


def turned_into(rows: np.ndarray, length: int, rng: torch.Generator) -> Tensor:
    """Turn rows into a space of another dimension at random: (P, R) -> (P, length), angles kept if R <= length."""
    if rows.shape[1] > length:
        _, _, directions = np.linalg.svd(rows, full_matrices=False)
        rows = rows @ directions[:length].T
        rows = floored_unit_rows(rows)
    frame, _ = torch.linalg.qr(torch.randn(length, length, generator=rng, dtype=torch.float64))
    return (torch.from_numpy(rows) @ frame[: rows.shape[1]]).float()
