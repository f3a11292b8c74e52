import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from grape_ops.cells.genes import BATCH_COMPOSITION
from grape_ops.config import EvaluateSettings
from grape_ops.groundtruth.truth import GroundTruth
from grape_ops.power.recovery import METRICS, recovery

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

GENES = [f"g{i:02d}" for i in range(24)]
TRUTH = GroundTruth.of("planted", {f"c{k}": GENES[4 * k : 4 * k + 4] for k in range(6)})


def gene_vectors(noise: float, seed: int) -> AnnData:
    rng = np.random.default_rng(seed)
    vectors = np.repeat(np.eye(6), 4, axis=0) + noise * rng.standard_normal((24, 6))
    obs = pd.DataFrame({"is_control": [False] * 24 + [True]}, index=[*GENES, "nontargeting"])
    adata = AnnData(np.vstack([vectors, np.zeros((1, 6))]).astype(np.float32), obs=obs)
    adata.obsm[BATCH_COMPOSITION] = rng.dirichlet([0.1] * 4, 25)
    return adata


def test_a_perfect_map_scores_one_and_noise_scores_chance() -> None:
    good, bad = (recovery(gene_vectors(noise, 0), TRUTH, EvaluateSettings(), 0) for noise in (1e-3, 1e3))
    assert good["map"] == 1
    assert all(good[name] > 0.8 for name in METRICS)
    assert abs(bad["map"] - bad["chance"]) < 0.08
    assert len(good["complex_ap"]) == 6


def test_decoys_are_asked_for() -> None:
    scores = recovery(gene_vectors(0.1, 0), TRUTH, EvaluateSettings(), 0, decoys=True)
    assert abs(scores["decoy_map"] - scores["decoy_null"]) < 4 * scores["decoy_null_sd"]
    assert "decoy_map" not in recovery(gene_vectors(0.1, 0), TRUTH, EvaluateSettings(), 0)


def test_means_and_spread_over_screens() -> None:
    from compare import over_screens

    runs = [{"map": value, "complex_ap": [value, value]} for value in (0.2, 0.4)]
    figures = over_screens({"a": runs})["a"]
    assert figures["map"] == pytest.approx(0.3)
    assert figures["sd"]["map"] == pytest.approx(0.1414, abs=1e-4)
    assert figures["per_seed"] == [0.2, 0.4]


def test_what_one_screen_lacks_is_left_out_of_the_mean() -> None:
    from compare import over_screens

    runs = [{"map": 0.2, "seconds": 30.0}, {"map": 0.4, "seconds": None}]
    figures = over_screens({"a": runs})["a"]
    assert figures["seconds"] == 30 and figures["sd"]["seconds"] is None


def test_a_better_method_is_told_apart_and_equal_ones_are_not() -> None:
    from compare import paired_differences

    rng = np.random.default_rng(0)

    def runs(offset: float) -> list[dict]:
        screens = rng.normal(0.5 + offset, 0.05, (5, 6))
        return [{"map": float(part.mean()), "complex_ap": part.tolist()} for part in screens]

    better, same = paired_differences({"a": runs(0.3), "b": runs(0.0), "c": runs(0.0)})[1:]
    assert better["low"] > 0
    assert same["low"] < 0 < same["high"]
