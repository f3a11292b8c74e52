"""The record of a method as a whole: keys, common genes, groups, differences, and everything a user can get wrong."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from planted_maps import as_map, planted, symbols, truth_of
from scipy.sparse import csr_matrix
from scipy.stats import norm, t

from grape_ops.config import EvaluateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate import leiden
from grape_ops.evaluate.bootstrap import (
    bootstrap_map,
    complex_draws,
    difference,
    expanded_p,
    expanded_tail,
    interval,
)
from grape_ops.evaluate.evaluate_maps import evaluate_maps
from grape_ops.evaluate.maps import gene_map
from grape_ops.evaluate.metrics import METRICS, Metric
from grape_ops.evaluate.print_scores import p_text, print_scores
from grape_ops.evaluate.records import PARTS, LeftOut, NuisanceScores
from grape_ops.evaluate.retrieval import average_precision
from grape_ops.evaluate.scores import read_scores, without_nan, write_scores
from grape_ops.groundtruth import GroundTruth
from grape_ops.groundtruth.aliases import Aliases
from grape_ops.groundtruth.truth import KnownPairs

QUICK = EvaluateSettings(
    permutations=200, kmeans_runs=10, sweep_max=8, bootstrap=200, leiden_runs=2, shuffles=20, leiden_resolutions=(1.0,)
)
GENES = symbols(40)
VECTORS, MEMBERSHIP = planted([8] * 5, 16, 1.2, seed=0)
TRUTH = truth_of(MEMBERSHIP, GENES)
NOISE = np.random.default_rng(1).normal(size=VECTORS.shape)


def evaluate(maps, truth=TRUTH, settings=QUICK, **kwargs):
    return evaluate_maps(maps, truth, settings, 0, **kwargs)


def test_the_promised_keys_and_the_winner():
    good, bad = evaluate({"good": as_map(VECTORS, GENES), "bad": as_map(NOISE, GENES)})
    for entry in without_nan([good, bad]):
        assert {"method", "truth", "n_genes", "map", "kmeans", "definitions", "truth_sha256"} <= set(entry)
        assert {"value", "chance", "p_value"} <= set(entry["map"])
        assert {"k", "runs", "purity", "nmi", "ari"} <= set(entry["kmeans"])
        assert all({"mean", "sd"} <= set(entry["kmeans"][name]) for name in ("purity", "nmi", "ami", "ari"))
    assert good.n_genes == 40 and good.kmeans.k == 5 and good.truth == "planted"
    assert good.map.p_value == 1 / 201 and bad.map.p_value > 0.02
    assert good.map.value > bad.map.value + 0.2
    assert good.map.low < good.map.value < good.map.high
    assert [line.k for line in good.sweep] == [5, 6, 7, 8] == [line.k for line in good.sweep_random]
    by_score = {line.score: line for line in good.differences}
    assert set(by_score) == {"map", "purity", "nmi", "ari"} and by_score["map"].low > 0
    mirrored = {line.score: line for line in bad.differences}
    assert mirrored["map"].value == pytest.approx(-by_score["map"].value)
    assert mirrored["map"].low == pytest.approx(-by_score["map"].high)


def test_equal_seeds_give_equal_scores_and_other_methods_do_not_change_them():
    alone = evaluate({"good": as_map(VECTORS, GENES)})
    beside = evaluate({"bad": as_map(NOISE, GENES), "good": as_map(VECTORS, GENES)})[1]
    assert alone[0] == replace(beside, differences=())


def test_the_scores_at_one_k_do_not_hang_on_the_sweep():
    with_sweep = evaluate({"m": as_map(VECTORS, GENES)})[0]
    without = evaluate({"m": as_map(VECTORS, GENES)}, settings=QUICK.model_copy(update={"sweep_max": 0}))[0]
    assert without.sweep == () and without.kmeans == with_sweep.kmeans


def test_methods_that_miss_genes_are_scored_on_the_common_set_and_say_so():
    full, part = evaluate({"full": as_map(VECTORS, GENES), "part": as_map(VECTORS[:30], GENES[:30])})
    assert (full.n_genes, full.n_genes_own) == (30, 40) and (part.n_genes, part.n_genes_own) == (30, 30)
    assert part.unmatched_genes == tuple(GENES[30:]) and full.unmatched_genes == ()
    assert full.map.value == part.map.value and full.n_complexes == 4
    assert full.map_own_genes == pytest.approx(average_precision(VECTORS.astype(np.float32), MEMBERSHIP).mean())


def test_unlabelled_genes_and_controls_do_not_enter_the_retrieval():
    more = np.vstack([VECTORS, np.random.default_rng(2).normal(size=(30, 16))])
    names = [*GENES, *(f"X{i}" for i in range(29)), "NTC_7"]
    with_others = as_map(more, names)
    with_others.obs["is_control"] = False
    small, large = evaluate({"small": as_map(VECTORS, GENES)})[0], evaluate({"large": with_others})[0]
    assert large.map.value == pytest.approx(small.map.value)
    assert {line.n_genes for line in large.recall} == {69}


def test_runs_of_one_method_make_one_entry_with_both_spreads():
    runs = [as_map(VECTORS + s * NOISE, GENES) for s in (0, 0.5, 1)]
    entry = evaluate({"runs": runs})[0]
    singles = [evaluate({"one": run})[0].map.value for run in runs]
    assert entry.n_runs == 3 and entry.map.per_run == pytest.approx(singles)
    assert entry.map.value == pytest.approx(np.mean(singles))
    assert entry.map.seed_sd == pytest.approx(np.std(singles, ddof=1))
    assert entry.kmeans.purity.seed_sd > 0 and entry.kmeans.purity.sd > 0
    assert evaluate({"one": runs[0]})[0].map.seed_sd is None


def test_nuisance_is_read_from_the_map_or_borrowed():
    rng = np.random.default_rng(3)
    leaking = as_map(np.hstack([VECTORS, 30 * (MEMBERSHIP[:, :1] - 0.5)]), GENES)
    leaking.obs["n_cells"] = rng.integers(50, 500, len(leaking))
    shares = np.vstack([MEMBERSHIP[:, :1], [[0]]]).astype(float)
    leaking.obsm["batch_composition"] = np.hstack([shares, 1 - shares])
    first, second = evaluate({"leaking": leaking, "noise": as_map(NOISE, GENES)})
    assert first.nuisance.batch.value > 0.5 and first.nuisance.batch.p_value < 0.1
    assert second.nuisance.batch.source == "leaking" and second.nuisance.batch.value < 0.2
    assert evaluate({"noise": as_map(NOISE, GENES)})[0].nuisance == NuisanceScores(batch=None, cells=None)


def test_multi_label_truths_and_lists_of_pairs():
    everywhere = MEMBERSHIP.copy()
    everywhere[:, 0] = True  # every gene is in the first complex, most in two
    pairs = [KnownPairs("list", (("G000", "G001"), ("G000", "absent")), "")]
    entry = evaluate({"m": as_map(VECTORS, GENES)}, truth_of(everywhere, GENES), pairs=pairs)[0]
    assert entry.kmeans.n_genes == 8 and entry.map.n_queries == 40
    listed = [line for line in entry.recall if line.pairs == "list"]
    assert len(listed) == 4 and {line.n_pairs for line in listed} == {1}


def test_where_every_gene_is_in_several_complexes_partitions_have_no_score(tmp_path):
    double = np.hstack([MEMBERSHIP, MEMBERSHIP])
    scores = evaluate({"m": as_map(VECTORS, GENES), "n": as_map(NOISE, GENES)}, truth_of(double, GENES))
    assert math.isnan(scores[0].kmeans.nmi.mean) and scores[0].sweep == ()
    assert scores[0].map.p_value == 1 / 201
    write_scores(scores, tmp_path)
    print_scores(read_scores(tmp_path / "scores.json"))


def test_aliases_join_maps_and_truth():
    old = ["OLD" + gene if i % 7 == 0 else gene for i, gene in enumerate(GENES)]
    aliases = Aliases({"OLD" + gene: gene for gene in GENES})
    plain = evaluate({"m": as_map(VECTORS, GENES)})[0]
    for names, truth in ((old, TRUTH), (GENES, truth_of(MEMBERSHIP, old)), (old, truth_of(MEMBERSHIP, old))):
        entry = evaluate({"m": as_map(VECTORS, names)}, truth, aliases=aliases)[0]
        assert entry.map.value == pytest.approx(plain.map.value) and entry.n_genes == 40
    assert evaluate({"m": as_map(VECTORS, old)})[0].n_genes == 34


def test_leiden_left_out_is_said_and_enrichment_falls_back(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "igraph", None)
    scores = evaluate({"m": as_map(VECTORS, GENES)})
    assert scores[0].leiden == LeftOut(leiden.MISSING)
    assert scores[0].enrichment[0].clusters == "k-means"
    print_scores(scores)
    assert "grape-ops[leiden]" in " ".join(capsys.readouterr().out.split())


def test_constant_vectors_have_documented_scores():
    entry = evaluate({"m": as_map(np.ones((40, 3)), GENES)})[0]
    assert entry.map.value == pytest.approx(7 / 39) and entry.map.p_value == 1.0
    assert entry.kmeans.purity.mean == pytest.approx(0.2) and entry.kmeans.nmi.mean == 0
    assert entry.kmeans.ari.mean == 0


def test_files_and_table(tmp_path, capsys):
    scores = evaluate({"good": as_map(VECTORS, GENES), "part": as_map(VECTORS[:30], GENES[:30])})
    write_scores(scores, tmp_path)
    assert json.loads((tmp_path / "scores.json").read_text())[0]["method"] == "good"
    table = pd.read_csv(tmp_path / "scores.csv")
    assert list(table)[:2] == ["method", "score"] and not table.duplicated(["method", "score"]).any()
    good = table[table["method"] == "good"].set_index("score")
    assert {"good", "part"} == {*table["method"]} and {"mAP", "k-means NMI", "Leiden 1 purity"} <= {*good.index}
    record = scores[0]
    found = [record.map.value, record.map.low, record.map.p_value]
    assert good.loc["mAP", ["value", "low", "p_value"]].tolist() == pytest.approx(found)
    assert good.loc["k-means NMI", "chance"] == pytest.approx(record.kmeans.random.nmi.mean)
    assert good.loc["mAP, own genes", "n"] == 40 and good.loc["mAP", "n"] == 30
    assert good.loc["k-means ARI", "definition"].startswith("Lloyd's k-means")
    print_scores(scores)
    printed = capsys.readouterr().out
    assert (
        f"{scores[0].map.value:.3f}" in printed
        and "10 of 40 genes" in printed
        and "of its 40 genes" in printed.replace("\n", " ")
    )


@pytest.fixture(scope="module")
def evaluated():
    """Scores of two methods, one with two runs; a complex of one gene has no score."""
    lonely = GroundTruth.of("lonely", {**TRUTH.complexes, "alone": [GENES[0]]})
    return evaluate({"good": [as_map(VECTORS, GENES), as_map(NOISE, GENES)], "bad": as_map(NOISE, GENES)}, lonely)


def test_what_is_written_is_read_back(evaluated, tmp_path):
    costly = [replace(evaluated[0], cost={"cpu_s": 1.5}), evaluated[1]]
    write_scores(costly, tmp_path)
    found = read_scores(tmp_path / "scores.json")
    assert found[0].cost == {"cpu_s": 1.5} and found[1].cost is None and found[1].map == evaluated[1].map
    assert math.isnan(found[0].complexes.map[-1]) and found[0].kmeans == evaluated[0].kmeans
    write_scores(found, tmp_path / "again")
    for name in ("scores.json", "scores.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def replaced(scores: list, place: str, value: object) -> list:
    """The content of a scores.json with another value at one place, or without it for ``...``."""
    *path, last = place.split(".")
    content = json.loads(json.dumps(without_nan(scores)))
    part = content[1]
    for key in path:
        part = part[key]
    part[last] = value
    if value is ...:
        del part[last]
    return content


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("map.value", "0.5", 'entry 2, map.value holds "0.5"'),
        ("map", None, "entry 2, map holds null"),
        ("n_genes", None, "entry 2, n_genes holds null"),
        ("n_genes", True, "entry 2, n_genes holds true"),
        ("kmeans.purity", ..., "entry 2, kmeans.purity is missing"),
        ("leiden", {"x": 1}, 'entry 2, leiden holds {"x": 1}'),
        ("genes.ap", [0.5], "entry 2, genes holds"),
        ("recall", [{"pairs": 1}], "entry 2, recall.0.pairs holds 1"),
    ],
)
def test_a_part_of_another_shape_is_named(evaluated, tmp_path, place, value, message):
    (tmp_path / "scores.json").write_text(json.dumps(replaced(evaluated, place, value)))
    with pytest.raises(GrapeOpsError, match=re.escape(message)):
        read_scores(tmp_path / "scores.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"null", "the file holds null"),
        (b"[]", "the file holds .."),
        (b"[null]", "entry 1 holds null"),
        (b'{"a": 1}', "the file holds ..a.: 1"),
        (b'[{"method": "x"}]', "entry 1, n_runs is missing"),
        (b"{", "it is not JSON"),
        (b"\xff\xfe\x00", "it is not JSON"),
    ],
)
def test_a_file_that_is_no_scores_json_is_refused(tmp_path, content, message):
    (tmp_path / "scores.json").write_bytes(content)
    with pytest.raises(GrapeOpsError, match=f"{message}.*makes it again"):
        read_scores(tmp_path / "scores.json")
    with pytest.raises(GrapeOpsError, match="there is an evaluation"):
        read_scores(tmp_path)


def test_a_metric_is_a_function_and_a_line(tmp_path, monkeypatch):
    def size(method):
        return {"mean_length": float(np.linalg.norm(method.labelled[0], axis=1).mean()), "none": float("nan")}

    line = Metric("size", {"size": "Mean length of the vectors of {labelled} genes."}, size)
    for module in ("metrics", "evaluate_maps", "scores"):
        monkeypatch.setattr(f"grape_ops.evaluate.{module}.METRICS", (*METRICS, line))
    (entry,) = evaluate({"m": as_map(VECTORS, GENES)})
    expected = pytest.approx(np.linalg.norm(VECTORS, axis=1).mean())
    assert entry.more["size"]["mean_length"] == expected
    assert entry.definitions["size"] == "Mean length of the vectors of 40 genes."
    write_scores([entry], tmp_path)
    table = pd.read_csv(tmp_path / "scores.csv")
    assert table["score"].tolist()[-2:] == ["size mean_length", "size none"]
    assert table["value"].iloc[-2] == expected and math.isnan(table["value"].iloc[-1])
    assert table["definition"].iloc[-1] == "Mean length of the vectors of 40 genes."
    assert math.isnan(read_scores(tmp_path / "scores.json")[0].more["size"]["none"])


def test_every_metric_is_a_part_of_the_record_and_is_defined(evaluated):
    assert {metric.name for metric in METRICS} <= PARTS
    defined = {"genes", "intervals", "differences", "seed_sd", "seed"}.union(*(metric.definition for metric in METRICS))
    assert set(evaluated[0].definitions) == defined
    assert not any("{" in sentence for sentence in evaluated[0].definitions.values())


def test_long_names_are_folded_and_not_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    truth = GroundTruth("complexes_of_the_screen_without_ribosomes_2026_curated", TRUTH.complexes, TRUTH.sha256)
    print_scores(evaluate({"a_method_of_an_even_longer_name_than_that": as_map(VECTORS, GENES)}, truth))
    printed = capsys.readouterr().out
    assert "…" not in printed and max(map(len, printed.splitlines())) <= 80
    assert "curated" in printed[printed.index("share of known pairs") :]


def test_the_table_reads_at_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    scores = evaluate({"a method of a long name": as_map(VECTORS, GENES), "other": as_map(NOISE, GENES)})
    scores = [replace(entry, map=replace(entry.map, p_value=9.999e-5)) for entry in scores]
    print_scores(scores)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed and "<0.0001" in printed and "p < 0.0001" not in printed
    first = scores[0]
    shown = [first.map.value, first.kmeans.purity.mean, first.kmeans.nmi.mean, first.kmeans.ari.mean]
    line = next(line for line in printed.splitlines() if "a method" in line)
    assert [f"{value:.3f}" for value in shown] == [word for word in line.split() if re.fullmatch(r"\d\.\d{3}", word)]


@pytest.mark.parametrize(
    ("p", "text"),
    [(9.999e-5, "<0.0001"), (2e-4, "0.0002"), (0.0123, "0.012"), (0.5, "0.50"), (1.0, "1.00"), (None, "–")],
)
def test_p_values_as_text(p, text):
    assert p_text(p) == text


NAN = VECTORS.copy()
NAN[3, 2] = np.nan
ONE_COMPLEX = GroundTruth.of("one", {"C": GENES})
LONELY = GroundTruth.of("lonely", {f"C{i}": [gene] for i, gene in enumerate(GENES)})


@pytest.mark.parametrize(
    ("maps", "truth", "message"),
    [
        ({}, TRUTH, "no gene map"),
        ({"m": []}, TRUTH, "no run"),
        ({"m": as_map(NAN, GENES)}, TRUTH, "not finite: 1 of 40 genes .G003"),
        ({"m": as_map(VECTORS[:1], GENES[:1])}, TRUTH, "1 gene besides controls"),
        ({"m": as_map(VECTORS[:0], [])}, TRUTH, "0 genes besides controls"),
        ({"m": as_map(VECTORS, [*GENES[:39], GENES[0]])}, TRUTH, "1 gene symbol more than once .G000"),
        ({"m": as_map(VECTORS[:, :0], GENES)}, TRUTH, "no vectors"),
        ({"m": as_map(VECTORS, GENES)}, ONE_COMPLEX, "at least two such complexes"),
        ({"m": as_map(VECTORS, GENES)}, LONELY, "40 complexes of lonely only 0"),
        ({"m": as_map(VECTORS, [f"X{i}" for i in range(40)])}, TRUTH, "alias table"),
        ({"m": as_map(VECTORS[:20], GENES[:20]), "n": as_map(VECTORS[20:], GENES[20:])}, TRUTH, "share no gene"),
    ],
)
def test_bad_input_is_refused_in_the_users_words(maps, truth, message):
    with pytest.raises(GrapeOpsError, match=message):
        evaluate(maps, truth)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("n_cells", ["many"] * 41, "m: obs..n_cells.. .* needs numbers"),
        ("n_cells", [np.nan, *range(40)], "missing for 1 of 40 genes"),
        ("n_cells", [-1, *range(40)], "missing for 1 of 40 genes"),
        ("is_control", ["perhaps"] * 41, "is_control.* needs true or false"),
    ],
)
def test_columns_that_mean_something_are_not_read_loosely(column, values, message):
    adata = as_map(VECTORS, GENES)
    adata.obs[column] = values
    with pytest.raises(GrapeOpsError, match=message):
        gene_map(adata, "m")


def test_controls_may_be_marked_by_words_and_lack_numbers():
    adata = as_map(VECTORS, GENES)
    adata.obs["is_control"] = pd.Categorical(["True", *["False"] * 40])
    adata.obs["n_cells"] = [np.nan, *range(39), np.nan]
    found = gene_map(adata, "m")
    assert found.genes == tuple(GENES[1:]) and found.nuisance["cells"].shape == (39, 1)


def test_symbols_in_another_case_are_reported():
    with pytest.raises(GrapeOpsError, match="40 genes would be if case did not count"):
        evaluate({"m": as_map(VECTORS, [gene.lower() for gene in GENES])})


def test_more_clusters_than_genes_are_refused():
    with pytest.raises(GrapeOpsError, match="only 40 genes"):
        evaluate({"m": as_map(VECTORS, GENES)}, settings=QUICK.model_copy(update={"k": 41}))


def test_sparse_maps_are_read():
    adata = as_map(VECTORS, GENES)
    adata.X = csr_matrix(adata.X)
    np.testing.assert_allclose(gene_map(adata, "m").vectors, VECTORS.astype(np.float32))


def test_bootstrap_over_complexes_equals_drawing_them_one_by_one():
    precision = average_precision(VECTORS, MEMBERSHIP)
    draws = complex_draws(5, 50, np.random.default_rng(0))
    found = bootstrap_map(precision, MEMBERSHIP, draws)
    for draw, value in zip(draws, found, strict=True):
        genes = np.concatenate([np.flatnonzero(MEMBERSHIP[:, k]) for k in range(5) for _ in range(draw[k])])
        assert value == pytest.approx(precision[genes].mean())


@pytest.mark.parametrize(("complexes", "least"), [(30, 0.92), (14, 0.92), (6, 0.9)])
def test_intervals_cover_the_truth_as_often_as_they_say(complexes, least):
    # Scores of a few complexes drawn around a known mean: the interval should hold it in about 95 of 100 cases.
    rng = np.random.default_rng(4)
    membership = np.eye(complexes, dtype=bool)[np.repeat(np.arange(complexes), 5)]
    covered, called = 0, 0
    for _ in range(400):
        effect = rng.normal(0.5, 0.1, complexes)
        precision = np.repeat(effect, 5) + rng.normal(0, 0.05, 5 * complexes)
        draws = bootstrap_map(precision, membership, complex_draws(complexes, 2000, rng))
        bounds = interval(precision.mean(), draws, 0.95, complexes)
        covered += bounds["low"] <= 0.5 <= bounds["high"]
        called += difference(precision.mean() - 0.5, draws - 0.5, 0.95, complexes)["p_value"] < 0.05
    assert least < covered / 400 < 0.99
    # Interval and p-value say the same, but for draws on the border.
    assert called == pytest.approx(400 - covered, abs=4)


def test_two_methods_of_equal_merit_rarely_differ_significantly():
    # Each method finds complexes of its own, as strong on average; 14 complexes as in the built-in truth.
    rng = np.random.default_rng(5)
    membership = np.eye(14, dtype=bool)[np.repeat(np.arange(14), 6)]
    p_values = []
    for _ in range(400):
        first, second = (np.repeat(rng.beta(0.6, 1.2, 14), 6) for _ in range(2))
        draws = complex_draws(14, 1000, rng)
        gap = bootstrap_map(first, membership, draws) - bootstrap_map(second, membership, draws)
        p_values.append(difference(first.mean() - second.mean(), gap, 0.95, 14)["p_value"])
    assert np.mean(np.array(p_values) < 0.05) < 0.08 and np.mean(np.array(p_values) < 0.2) == pytest.approx(
        0.2, abs=0.06
    )


def test_expanded_percentiles_fit_student_and_come_back():
    # Standard error of the plug-in kind times Student's quantile is the interval of a normal mean.
    assert expanded_tail(0.025, 14) == pytest.approx(norm.cdf(t.ppf(0.025, 13) * np.sqrt(14 / 13)))
    assert expanded_tail(0.025, 10**6) == pytest.approx(0.025, abs=1e-5)
    assert expanded_p(2 * expanded_tail(0.025, 14), 14) == pytest.approx(0.05)
    assert expanded_p(1.2, 14) == 1.0


def test_differences_of_equal_methods_are_nothing():
    values = np.zeros(100)
    assert difference(0.0, values, 0.95, 5) == {"value": 0.0, "low": 0.0, "high": 0.0, "p_value": 1.0}
