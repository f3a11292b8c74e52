"""Chromosome arms: found where they are planted, not where a complex lies on one arm, and taken out at little cost."""

import errno
import itertools
import json
import os

import anndata
import numpy as np
import pandas as pd
import pytest
from planted_maps import as_map, planted, symbols, truth_of

from grape_ops.config import EvaluateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate import evaluate_files as files
from grape_ops.evaluate.chromosome_arms import corrected_maps, in_blocks, without_arms
from grape_ops.evaluate.evaluate_files import named_maps, score_maps
from grape_ops.evaluate.evaluate_maps import evaluate_maps
from grape_ops.groundtruth.aliases import Aliases
from grape_ops.groundtruth.chromosome_arms import arm_of, load_arms
from grape_ops.groundtruth.truth import load_truth

QUICK = EvaluateSettings(
    permutations=20, kmeans_runs=2, sweep_max=0, bootstrap=50, leiden_runs=1, shuffles=99, leiden_resolutions=(1.0,)
)
SIZES = [6] * 10 + [1] * 140
GENES = symbols(200)


def screen(effect: float, whole_complexes: bool = False, seed: int = 0):
    """A map of ten complexes and 140 other genes on twelve arms, its truth, and its table of arms."""
    vectors, membership = planted(SIZES, 24, 1.2, seed)
    rng = np.random.default_rng(seed + 100)
    arms = rng.integers(12, size=len(GENES))
    if whole_complexes:
        arms[:60] = np.repeat(rng.integers(12, size=10), 6)
        vectors[:60] += np.repeat(rng.normal(size=(5, 24)), 12, axis=0)  # complexes come in pairs that are alike
    vectors += effect * rng.normal(size=(12, 24))[arms]
    of_genes = {gene: f"{arm}q" for gene, arm in zip(GENES, arms, strict=True)}
    return as_map(vectors, GENES), truth_of(membership[:, :10], GENES), of_genes


def test_a_planted_arm_effect_is_found_and_taken_out_at_little_cost():
    adata, truth, arms = screen(0.6)
    before, after = evaluate_maps({"m": adata, **corrected_maps({"m": adata}, arms)}, truth, QUICK, 0, arms=arms)
    found, left = before.nuisance.arm, after.nuisance.arm
    assert found.value > 0.1 and found.p_value == 0.01 and found.variance > 0.1 and found.n_arms == 12
    assert left.p_value > 0.05 and left.value < left.chance_high and left.variance < 0.02
    assert after.method == "m, arms corrected" and after.map.value > before.map.value - 0.01


def test_complexes_that_lie_on_one_arm_are_not_blamed():
    p_values = []
    for seed in range(8):
        adata, truth, arms = screen(0.0, whole_complexes=True, seed=seed)
        p_values.append(evaluate_maps({"m": adata}, truth, QUICK, 0, arms=arms)[0].nuisance.arm.p_value)
    assert np.median(p_values) > 0.2 and min(p_values) > 0.01


def test_complexes_are_dealt_out_as_wholes():
    blocks = np.array([0, 0, 0, -1, 1, 1, 1, -1, 2, 2, 2, -1])
    for seed in range(5):
        drawn = in_blocks(blocks, np.random.default_rng(seed))
        assert sorted(drawn) == list(range(12)) and (blocks[drawn[blocks < 0]] < 0).all()
        assert all(len(set(blocks[drawn[blocks == k]])) == 1 for k in range(3))


def test_an_arms_mean_is_taken_without_the_gene_itself():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(5), 8)
    vectors = rng.normal(size=(40, 3)) + 3 * rng.normal(size=(5, 3))[codes]
    # Of a strong arm effect hardly anything is shrunken: the correction is the others' mean less that of all others.
    alone = np.array([vectors[(codes == codes[i]) & (np.arange(40) != i)].mean(axis=0) for i in range(40)])
    rest = np.array([np.delete(vectors, i, axis=0).mean(axis=0) for i in range(40)])
    assert np.abs(vectors - without_arms(vectors, codes) - (alone - rest)).max() < 0.25
    # Without one next to nothing is taken off, and genes without an arm stay as they are.
    noise = rng.normal(size=(400, 3))
    arms = rng.integers(20, size=400)
    assert np.abs(noise - without_arms(noise, arms)).mean() < 0.05
    arms[:50] = -1
    assert (without_arms(noise + 1, arms)[:50] == noise[:50] + 1).all()


@pytest.mark.parametrize(
    ("location", "arm"),
    [
        ("17q21.31", "17q"), ("Xp22.33 and Yp11.2", "Xp"), ("chr1P36.33-p36.32", "1p"), ("22q11.21-qter", "22q"),
        ("2p11.2-q11", None), ("1p11-cen", None), ("9cen", None), ("mitochondria", None), ("", None), ("17", None),
    ],
)  # fmt: skip
def test_arms_of_locations(location, arm):
    assert arm_of(location) == arm


def test_tables_of_arms(tmp_path, capsys):
    table = tmp_path / "hgnc.txt"
    rows = ["hgnc_id\tsymbol\tlocation", "1\tAAA\t17q21.31", "2\tBBB\tmitochondria", "3\tOLD\tXp11", "4\tTWO\t1p3"]
    table.write_text("\n".join([*rows, "5\tTWO\t2q3"]) + "\n")
    assert load_arms(table, Aliases({"OLD": "NEW"})) == {"AAA": "17q", "NEW": "Xp"}
    assert "1 gene on several arms (TWO)" in capsys.readouterr().err
    (tmp_path / "fly.csv").write_text("gene,arm\nw,2L\nvg,NA\n")
    assert load_arms(tmp_path / "fly.csv") == {"w": "2L"}
    (tmp_path / "none.csv").write_text("gene,location\nw,here\n")
    with pytest.raises(GrapeOpsError, match="gives no gene an arm: location holds 'here', where 17q"):
        load_arms(tmp_path / "none.csv")
    (tmp_path / "wrong.csv").write_text("gene,plate\nw,here\n")
    with pytest.raises(GrapeOpsError, match="one for arms"):
        load_arms(tmp_path / "wrong.csv")


def test_corrected_maps_are_written_and_replace_their_own(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(files, "write_details", lambda *_, **__: None)  # figures take seconds
    adata, truth, arms = screen(0.6)
    adata.write_h5ad(tmp_path / "m.h5ad")
    lines = [f"{gene}\t{name}" for name, genes in truth.complexes.items() for gene in genes]
    (tmp_path / "truth.tsv").write_text("gene_symbol\tcomplex\n" + "\n".join(lines) + "\n")
    table = tmp_path / "arms.tsv"
    table.write_text("gene\tarm\n" + "\n".join(f"{gene}\t{arm}" for gene, arm in list(arms.items())[5:]) + "\n")
    maps, known, out = [tmp_path / "m.h5ad"], load_truth(tmp_path / "truth.tsv"), tmp_path / "out"
    for _ in range(2):
        score_maps(named_maps(maps), known, QUICK, 0, out=out, arms=load_arms(table), correct_arms=True)
    assert "5 of 200 genes have no arm in the table and stay as they are" in capsys.readouterr().err
    corrected = anndata.read_h5ad(out / "m_arms_corrected.h5ad")
    same = (corrected.X == adata.X).all(axis=1)
    assert list(corrected.obs_names) == list(adata.obs_names) and list(np.flatnonzero(same)) == [0, 1, 2, 3, 4, 200]
    records = json.loads((out / "scores.json").read_text())
    assert [record["method"] for record in records] == ["m", "m, arms corrected"]
    assert records[0]["nuisance"]["arm"]["n_genes"] == 195
    told = pd.read_csv(out / "scores.csv").set_index(["method", "score"])["definition"]
    assert "chromosome arm" in told["m", "arm R squared"]
    with pytest.raises(GrapeOpsError, match="--correct-arms needs --arms TABLE"):
        score_maps(named_maps(maps), known, QUICK, 0, out=out, correct_arms=True)
    table.write_text("gene\tarm\nOTHER\t1q\n")
    with pytest.raises(GrapeOpsError, match="0 have an arm in the table of chromosome arms"):
        score_maps(named_maps(maps), known, QUICK, 0, out=tmp_path / "o", arms=load_arms(table))


def test_a_folder_that_a_full_disk_left_unfinished_is_filled_by_the_next_call(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "write_details", lambda *_, **__: None)  # figures take seconds
    adata, truth, arms = screen(0.6)
    scores = evaluate_maps({"m": adata, **corrected_maps({"m": adata}, arms)}, truth, QUICK, 0, arms=arms)
    monkeypatch.setattr(files, "evaluate_maps", lambda *_, **__: scores)
    fsync, written = os.fsync, ["m_arms_corrected.h5ad", "scores.csv", "scores.json"]
    for room in range(len(written)):
        out, forced = tmp_path / str(room), itertools.count()

        def full_later(descriptor, room=room, forced=forced):
            if next(forced) >= room:
                raise OSError(errno.ENOSPC, "No space left on device")
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", full_later)
        with pytest.raises(GrapeOpsError, match="The disk is full"):
            score_maps({"m": adata}, truth, QUICK, 0, out=out, arms=arms, correct_arms=True)
        assert len(list(out.glob("[!.]*"))) == room
        monkeypatch.setattr(os, "fsync", fsync)
        score_maps({"m": adata}, truth, QUICK, 0, out=out, arms=arms, correct_arms=True)
        assert sorted(file.name for file in out.glob("[!.]*")) == written
