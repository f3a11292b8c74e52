"""Where M begins: noise, as in the paper, or what a weakly supervised network sees in the cells.

Few and noisy updates reach M, and the noise it starts from never leaves it when cells are few. A classifier that
learns for minutes which gene was knocked out sees most of what tells genes apart; its shrunken contrasts, turned
into M's space without changing any angle, are a start that adversarial training then has to better.
"""

from dataclasses import dataclass

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
from grape_ops.nn.classifier import CellClassifier
from grape_ops.nn.grape import Grape
from grape_ops.progress import note, progress
from grape_ops.schema import INIT_FILE
from grape_ops.train.fit_classifier import Part, features_of, train_classifier
from grape_ops.train.run import Run

INITIALISATION = "GRAPE initialisation"  # name of the map that M begins as


@dataclass
class Start:
    """What networks begin with besides noise.

    Attributes
    ----------
    rows : (P, V) of M; None where it begins as noise.
    classifier : that D or a loss looks through, if one does.
    whitening, effects : what genes change in its layers (``nn/effects.py``).
    """

    rows: Tensor | None = None
    classifier: CellClassifier | None = None
    whitening: Tensor | None = None
    effects: Tensor | None = None

    def begin(self, nets: Grape) -> None:
        """Put it into freshly built networks."""
        nets.embedding.begin(self.rows)
        if nets.classifier is not None:
            assert self.classifier is not None and self.whitening is not None and self.effects is not None
            nets.classifier.load_state_dict(self.classifier.state_dict())
            assert nets.effects is not None
            nets.effects.begin(self.whitening, self.effects)


def find_initialization(run: Run, store: CropStore) -> Start:
    """Train what the networks begin with, if anything.

    Rows of M are written to the run folder as gene vectors too, so that what training adds to them can be judged.
    """
    config = run.config
    from_noise, looks = config.train.init.kind == "noise", config.seen_through is not None
    if from_noise and not looks:
        return Start()
    if from_noise:
        typer.echo("M begins as noise; a classifier is trained first, since D or a loss looks through it.", err=True)
    networks, cells = init_classifiers(store, config)
    start = Start()
    if not from_noise:
        contrasts = shrunken_gene_effects(
            sums_of_layers(networks, store, cells), config.train.init.gene_specific_fraction
        )
        start.rows = turned_into(contrasts, config.model.embedding_dim, torch.Generator().manual_seed(config.seed))
        start.rows *= config.train.init.spread * config.model.embedding_dim**0.5
        write_gene_vectors(gene_anndata(start.rows.numpy(), gene_table(store), INITIALISATION), run.path / INIT_FILE)
    if looks:
        whitening, effects = shrunken_effects(summed(networks[0].centred_layers, networks[0], store, cells))
        start.whitening, start.effects = torch.from_numpy(whitening).float(), torch.from_numpy(effects).float()
        start.classifier = networks[0].cpu()
        if config.train.loss.match and not effects.any():
            note(
                "No gene's cells differ from the others' by more than chance in the classifier's layers: "
                "train.loss.match asks restyling to change nothing. More cells per gene may show more."
            )
    return start


def classifier_gene_effects(store: CropStore, config: Config) -> np.ndarray:
    """Shrunken contrasts of classifiers' layers, over the cells that training sees: (P, R)."""
    networks, cells = init_classifiers(store, config)
    return shrunken_gene_effects(sums_of_layers(networks, store, cells), config.train.init.gene_specific_fraction)


def init_classifiers(store: CropStore, config: Config) -> tuple[list[CellClassifier], np.ndarray]:
    """Train the classifiers, and tell which cells training sees: (n,)."""
    train = config.train
    cells = np.flatnonzero(~hold_out(store.labels, train.holdout, config.seed))
    device = torch.device("cpu") if train.accelerator == "cpu" else None
    networks = [
        train_classifier(store, train.init.classifier, seed, cells, device, train.precision)
        for seed in np.random.SeedSequence(config.seed).generate_state(train.init.networks).tolist()
    ]
    return networks, cells


def sums_of_layers(networks: list[CellClassifier], store: CropStore, cells: np.ndarray) -> CellSums:
    """Sum the layers of all networks, side by side, over cells (n,)."""
    return summed(lambda crops: torch.cat([n.layers(crops) for n in networks], dim=1), networks[0], store, cells)


def summed(part: Part, network: CellClassifier, store: CropStore, cells: np.ndarray) -> CellSums:
    """Sum over cells (n,) what ``part`` makes of their crops, on the device of the network."""
    crops = StandardizedCrops(store, next(network.parameters()).device, "auto")
    features = features_of(part, crops, cells[:1]).shape[1]
    sums = CellSums.zeros(len(store.perturbations), len(store.batches), features)
    with progress("Contrasts between genes", len(cells), "crop") as advance:
        for rows in blocks(cells):
            sums.add(features_of(part, crops, rows), store.labels[rows], store.batch_codes[rows])
            advance(len(rows))
    return sums


def turned_into(rows: np.ndarray, length: int, rng: torch.Generator) -> Tensor:
    """Turn rows into a space of another dimension at random: (P, R) -> (P, length), angles kept if R <= length."""
    if rows.shape[1] > length:
        _, _, directions = np.linalg.svd(rows, full_matrices=False)
        rows = rows @ directions[:length].T
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    frame, _ = torch.linalg.qr(torch.randn(length, length, generator=rng, dtype=torch.float64))
    return (torch.from_numpy(rows) @ frame[: rows.shape[1]]).float()
