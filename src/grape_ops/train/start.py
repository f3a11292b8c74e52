"""Where M begins: noise, as in the paper, or what a weakly supervised network sees in the cells.

Few and noisy updates reach M, and the noise it starts from never leaves it when cells are few. A classifier that
learns for minutes which gene was knocked out sees most of what tells genes apart; its shrunken contrasts, turned
into M's space without changing any angle, are a start that adversarial training then has to better.
"""

import numpy as np
import torch
from torch import Tensor

from grape_ops.cells.averages import blocks
from grape_ops.cells.batches import StandardizedCrops, hold_out
from grape_ops.cells.contrasts import CellSums, shrunken_contrasts
from grape_ops.cells.genes import gene_anndata, gene_table, write_gene_vectors
from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.progress import progress
from grape_ops.schema import START_FILE
from grape_ops.train.classifier import features_of, train_classifier
from grape_ops.train.run import Run


def start_rows(run: Run, store: CropStore) -> Tensor | None:
    """Rows of M before the first step: (P, V), or None where it begins as noise.

    They are written to the run folder as gene vectors too, so that what training adds to them can be judged.
    """
    config = run.config
    if config.train.start.kind == "noise":
        return None
    contrasts = classifier_contrasts(store, config)
    rows = turned_into(contrasts, config.model.embedding_dim, torch.Generator().manual_seed(config.seed))
    rows *= config.train.start.spread * config.model.embedding_dim**0.5
    write_gene_vectors(gene_anndata(rows.numpy(), gene_table(store), "start"), run.path / START_FILE)
    return rows


def classifier_contrasts(store: CropStore, config: Config) -> np.ndarray:
    """Shrunken contrasts of classifiers' layers, over the cells that training sees: (P, R)."""
    train = config.train
    cells = np.flatnonzero(~hold_out(store.labels, train.holdout, config.seed))
    device = torch.device("cpu") if train.accelerator == "cpu" else None
    networks = [
        train_classifier(store, train.start.classifier, seed, cells, device, train.precision)
        for seed in np.random.SeedSequence(config.seed).generate_state(train.start.networks).tolist()
    ]
    crops = StandardizedCrops(store, next(networks[0].parameters()).device, "auto")

    def read(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([features_of(network.layers, crops, rows) for network in networks], axis=1)

    sums = CellSums.zeros(len(store.perturbations), len(store.batches), read(cells[:1]).shape[1])
    with progress("Contrasts between genes", len(cells), "crop") as advance:
        for rows in blocks(cells):
            sums.add(read(rows), store.labels[rows], store.batch_codes[rows])
            advance(len(rows))
    return shrunken_contrasts(sums, train.start.own)


def turned_into(rows: np.ndarray, length: int, rng: torch.Generator) -> Tensor:
    """Turn rows into a space of another dimension at random: (P, R) -> (P, length), angles kept if R <= length."""
    if rows.shape[1] > length:
        _, _, directions = np.linalg.svd(rows, full_matrices=False)
        rows = rows @ directions[:length].T
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    frame, _ = torch.linalg.qr(torch.randn(length, length, generator=rng, dtype=torch.float64))
    return (torch.from_numpy(rows) @ frame[: rows.shape[1]]).float()
