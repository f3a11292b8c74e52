"""Runs to report on: one with everything, and one whose names try to break out of the page."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from grape_ops.cells.genes import write_gene_vectors
from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_store
from grape_ops.config import Config, EvaluateSettings, lay_over, load_config, parse_config
from grape_ops.embed import embed
from grape_ops.evaluate.evaluate_maps import evaluate_maps
from grape_ops.evaluate.scores import write_scores
from grape_ops.groundtruth import load_truth
from grape_ops.restyle.phenotype_results import FEATURES_TSV, PHENOTYPE_JSON, PHENOTYPE_TSV, VALUES_FILE
from grape_ops.schema import GENE
from grape_ops.train.loop import train
from grape_ops.train.run_folder import Run, open_run

QUICK = EvaluateSettings(permutations=50, kmeans_runs=5, bootstrap=20, shuffles=5, sweep_max=2, leiden_runs=2)
EVIL_COMPLEX = "<script>document.title='broken'</script>"
EVIL_GENE = "<img src=x onerror=\"document.title='broken'\">"
EVIL_METHOD = "grape </script><b>bold</b>"


def changed(config: Config, *overrides: str) -> Config:
    tree = config.model_dump(mode="json")
    for override in overrides:
        lay_over(tree, override)
    return parse_config(tree, "a test")


def write_truth(file: Path, complexes: dict[str, tuple[str, ...]]) -> Path:
    lines = [f"{gene}\t{name}" for name, genes in complexes.items() for gene in genes]
    file.write_text("\n".join(["gene_symbol\tcomplex", *lines]) + "\n")
    return file


@pytest.fixture(scope="session")
def settings() -> Config:
    """A tiny configuration, for fixtures that live as long as the session."""
    tiny = (
        "preprocess.crop_size=32",
        "model={embedding_dim: 8, style_dim: 4, mapping_width: 8}",
        "model.generator={width: 4, max_width: 8, down_blocks: 2, middle_blocks: 1}",
        "model.discriminator={width: 4, max_width: 8, blocks: 3}",
        "model.style_encoder={width: 4, max_width: 8, blocks: 3}",
        "train={batch_size: 8, steps: 8, checkpoint_every: 4, log_every: 2, evaluate_every: 4, threads: 1}",
        "train.ema={every: 2, decay: 0.5}",
    )
    return load_config(overrides=tiny)


@pytest.fixture(scope="session")
def full_run(tiny_store: CropStore, settings: Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run with a truth, and real scores beside it."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("full")
    truth = write_truth(folder / "truth.tsv", {"first": ("AAA", "BBB"), "second": ("CCC", "DDD")})
    train(tiny_store.path, folder / "screen-one", settings, truth=str(truth))
    run = open_run(folder / "screen-one")
    vectors = embed(run.path, settings.embed)
    other = vectors.copy()
    other.X = np.random.default_rng(0).random(other.shape, np.float32)
    scores = evaluate_maps({"GRAPE M": vectors, "statistics": other}, load_truth(str(truth)), QUICK, 0)
    write_scores(scores, folder)
    return run


@pytest.fixture(scope="session")
def check_folder(full_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phenotype check of the full run: two genes scored, the others not separable, one named as tables dread it.

    The restyling of the first is significant, that of the second is not.
    """
    folder = tmp_path_factory.mktemp("check")
    genes = ["AAA", "BBB", "CCC", "NA"]
    two = [0.4, 0.3, np.nan, np.nan]
    lines = {
        "gene_symbol": genes,
        "note": ["", "", *["not significantly different from control"] * 2],
        "separable": [True, True, False, False],
        "auc": [0.9, 0.8, 0.51, 0.48],
        "q_value": [1e-5, 1e-4, 0.6, 0.6],
        "share": two,
        "share_low": [0.2, 0.1, np.nan, np.nan],
        "share_high": [0.5, 0.4, np.nan, np.nan],
        "rank": [1, 3, np.nan, np.nan],
        "ranked": 4,
        "classified": [0.5, 0.1, np.nan, np.nan],
        "classified_held_out": [0.6, 0.6, np.nan, np.nan],
        "p_along": 0.001,
        "restyling_q": [0.002, 0.4, np.nan, np.nan],
        "restyling_significant": [True, False, False, False],
        "surroundings": -0.2,
    }
    pd.DataFrame(lines).to_csv(folder / PHENOTYPE_TSV, sep="\t", index=False)
    rng = np.random.default_rng(0)
    features = ("cell_AreaShape_Area", "nucleus_Intensity_MeanIntensity_DNA")
    parts = [
        pd.DataFrame({"gene_symbol": "AAA", "set": name, "feature": feature, "value": rng.normal(size=30)})
        for name in ("control", "restyled", "knock-out")
        for feature in features
    ]
    pd.concat(parts).to_parquet(folder / VALUES_FILE)
    pd.DataFrame({"gene_symbol": "AAA", "feature": features}).to_csv(folder / FEATURES_TSV, sep="\t", index=False)
    latest = full_run.latest_checkpoint()
    summary = {
        "checkpoint": latest.name if latest else "",
        "store_fingerprint": full_run.record["store_fingerprint"],
        "features": list(features),
        "settings": {"cells": 30},
        "unrelated": {"surroundings": 0.1},
        "top1": {"chance": 0.25, "restyled cells": 0.5, "unrestyled cells": 0.25, "held-out real cells": 1.0},
    }
    (folder / PHENOTYPE_JSON).write_text(json.dumps(summary))
    return folder


@pytest.fixture(scope="session")
def hostile_run(tiny_store: CropStore, settings: Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on one channel whose gene, complex, method and channel names are markup."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("hostile")
    cells = tiny_store.cells.copy()
    cells[GENE] = cells[GENE].replace({"AAA": EVIL_GENE})
    shards = {}
    for name in dict.fromkeys(cells["shard"]):
        rows = np.flatnonzero(cells["shard"] == name)
        shards[name] = tiny_store.read(rows)[:, :1]
    write_store(folder / "store", shards, cells, ["<i>DNA</i>"], quality={"cells_in_table": 60, "cells_kept": 58})
    truth = write_truth(folder / "truth.tsv", {EVIL_COMPLEX: (EVIL_GENE, "BBB"), "second": ("CCC", "DDD")})
    train(folder / "store", folder / "run", settings, truth=str(truth))
    vectors = embed(folder / "run", settings.embed)
    vectors.uns["method"] = EVIL_METHOD
    (entry,) = evaluate_maps({EVIL_METHOD: vectors}, load_truth(str(truth)), QUICK, 0)
    write_scores([replace(entry, truth=EVIL_COMPLEX)], folder)
    write_gene_vectors(vectors, folder / "genes.h5ad")
    return open_run(folder / "run")
