"""A small version of the question behind everything: planted complexes are found, shuffled labels are not."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grape_ops.config import Config, EmbedSettings, load_config
from grape_ops.embed import embed
from grape_ops.evaluate.evaluate_maps import evaluate_maps
from grape_ops.groundtruth import load_truth
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.schema import CELLS_FILE, CONTROL_LABEL, GENE, GUIDE, TRUTH_FILE
from grape_ops.screen.layouts import open_screen
from grape_ops.simulate.write_screen import simulate_screen
from grape_ops.train.loop import train

SETTINGS = (
    "simulate.complexes=5",
    "simulate.genes_per_complex=4",
    "simulate.cells_per_gene=100",
    "simulate.control_cells=240",
    "simulate.wells_per_plate=1",
    "simulate.effect_size=4",
    "simulate.private_share=0.1",
    "simulate.penetrance=1",
    "simulate.dud_guides=0",
    "simulate.confounding=20",
    "preprocess.workers=1",
    "model.generator={width: 8, max_width: 32, down_blocks: 2, middle_blocks: 1}",
    "model.discriminator={width: 8, max_width: 64, blocks: 4}",
    "model.style_encoder={width: 8, max_width: 64, blocks: 4}",
    "train.steps=160",
    "train.threads=1",
    "evaluate.permutations=2000",
    "evaluate.kmeans_runs=5",
)


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config("small.yaml", SETTINGS)


@pytest.fixture(scope="module")
def screen(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planted") / "screen"
    simulate_screen(path, config.simulate, workers=1)
    return path


def p_value(screen: Path, config: Config, folder: Path) -> float:
    preprocess(open_screen(screen, config.screen), folder / "store", config.preprocess)
    train(folder / "store", folder / "run", config)
    maps = {"grape": embed(folder / "run", EmbedSettings())}
    scores = evaluate_maps(maps, load_truth(str(screen / TRUTH_FILE)), config.evaluate, seed=0)
    print(scores[0].map.value, scores[0].map.p_value)  # shown when it fails
    return scores[0].map.p_value


def test_planted_complexes_are_found(screen: Path, config: Config, tmp_path: Path):
    assert p_value(screen, config, tmp_path) < 0.01


def test_shuffled_labels_find_nothing(screen: Path, config: Config, tmp_path: Path):
    shuffled = shutil.copytree(screen, tmp_path / "screen")
    cells = pd.read_parquet(shuffled / CELLS_FILE)
    rows = np.flatnonzero(cells[GENE] != CONTROL_LABEL)
    drawn = np.random.default_rng(0).permutation(rows)
    for column in (GENE, GUIDE):
        cells.iloc[rows, cells.columns.get_loc(column)] = cells[column].to_numpy()[drawn]
    cells.to_parquet(shuffled / CELLS_FILE)
    assert p_value(shuffled, config, tmp_path) > 0.01
