"""Neighbour graphs, Leiden, recall, enrichment and nuisance on maps whose answer is known."""

import numpy as np
import pytest
from planted_maps import as_map, planted, symbols, truth_of
from scipy.stats import fisher_exact

from grape_ops.config import EvaluateSettings
from grape_ops.cosine import unit_rows
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate import leiden as communities
from grape_ops.evaluate.agreement import agreement
from grape_ops.evaluate.confounding import nuisance_score
from grape_ops.evaluate.discovery import cluster_enrichment, clusters, neighbours
from grape_ops.evaluate.enrichment import enrichment, enrichment_scores
from grape_ops.evaluate.maps import GeneMap, gene_map
from grape_ops.evaluate.recall import known_pairs, pair_similarities, recall_scores
from grape_ops.evaluate.retrieval import nearest, neighbour_count, neighbour_graph
from grape_ops.groundtruth.truth import KnownPairs


def test_nearest_genes_and_ties_by_position():
    vectors = np.array([[1.0, 0], [2, 0], [0, 1], [0, 3], [3, 0], [0, 0]])
    assert nearest(vectors, 2).tolist() == [[1, 4], [0, 4], [3, 0], [2, 0], [0, 1], [0, 1]]
    rng = np.random.default_rng(0)
    many = rng.normal(size=(500, 5))
    order = np.argsort(-(unit_rows(many) @ unit_rows(many).T), axis=1)[:, 1:8]
    np.testing.assert_array_equal(nearest(many, 7), order)


@pytest.mark.parametrize(("genes", "count"), [(2, 1), (4, 3), (24, 3), (80, 8), (106, 10), (5000, 10)])
def test_small_maps_get_fewer_neighbours(genes, count):
    assert neighbour_count(genes, 10) == count


def test_graph_is_symmetric_and_weighs_by_shared_neighbours():
    vectors, _ = planted([10, 10, 10], 8, 2.0, seed=0)
    graph = neighbour_graph(nearest(vectors, 4)).toarray()
    np.testing.assert_allclose(graph, graph.T)
    near = nearest(vectors, 4)
    hoods = [{i, *row} for i, row in enumerate(near.tolist())]
    for i, j in [(0, int(near[0, 0])), (25, int(near[25, 3]))]:
        assert graph[i, j] == pytest.approx(len(hoods[i] & hoods[j]) / len(hoods[i] | hoods[j]))
    assert np.diag(graph).max() == 0 and graph[0, np.setdiff1d(range(30), [*hoods[0]])].max() < 1


def test_leiden_finds_planted_complexes_and_is_drawn_by_its_generator():
    pytest.importorskip("igraph")
    vectors, membership = planted([15] * 5, 30, 3.0, seed=1)
    near = nearest(vectors, 6)
    found = communities.leiden(near, 1.0, 4, np.random.default_rng(0))
    again = communities.leiden(near, 1.0, 4, np.random.default_rng(0))
    np.testing.assert_array_equal(found, again)
    assert agreement(found, membership.argmax(axis=1))["ari"].min() == pytest.approx(1)
    fine = communities.leiden(near, 8.0, 1, np.random.default_rng(0))
    assert fine.max() > found.max()


def test_leiden_without_igraph_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "igraph", None)
    assert not communities.available()
    with pytest.raises(GrapeOpsError, match=r"grape-ops\[leiden\]"):
        communities.leiden(np.array([[1], [0]]), 1.0, 1, np.random.default_rng(0))


def test_consensus_and_support():
    partitions = np.array([[5, 5, 5, 1, 1], [0, 0, 0, 2, 2], [0, 0, 1, 1, 1]])
    labels, support = communities.consensus(partitions)
    assert labels.tolist() == [0, 0, 0, 1, 1]
    # Gene 2 is found with genes 0 and 1 in two of three partitions; they with each other always.
    np.testing.assert_allclose(support, [5 / 6, 5 / 6, 2 / 3, 1, 1])
    labels, support = communities.consensus(np.array([[0, 1, 1]]))
    assert labels.tolist() == [1, 0, 0] and np.isnan(support[0])


def test_recall_equals_brute_force():
    vectors, membership = planted([6] * 7, 5, 1.0, seed=2)
    membership[0, 1] = True
    pairs = known_pairs(membership)
    assert len(pairs) == 7 * 15 + 6
    similarity = (unit_rows(vectors) @ unit_rows(vectors).T).astype(np.float32)
    upper = similarity[np.triu_indices(42, k=1)]
    np.testing.assert_allclose(pair_similarities(vectors), upper, atol=1e-6)
    low, high = np.quantile(upper, [0.05, 0.95])
    known = np.array([similarity[i, j] for i, j in pairs])
    two_sided, right = recall_scores(vectors, pairs, (0.05,))
    assert two_sided["value"] == pytest.approx(np.mean((known <= low) | (known >= high)), abs=0.01)
    assert right["value"] == pytest.approx(np.mean(known >= high), abs=0.01)
    assert two_sided["chance"] == pytest.approx(0.1, abs=0.01) and right["chance"] == pytest.approx(0.05, abs=0.01)


def test_recall_of_random_pairs_is_chance_and_of_none_is_no_number():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(400, 20))
    pairs = known_pairs(np.eye(40, dtype=bool)[rng.integers(40, size=400)])
    for record in recall_scores(vectors, pairs, (0.05, 0.1)):
        assert record["value"] == pytest.approx(record["chance"], abs=0.03)
    assert np.isnan(recall_scores(vectors, np.empty((0, 2), int), (0.05,))[0]["value"])


def test_recall_blocks_join_without_gaps(monkeypatch):
    from grape_ops.evaluate import recall

    vectors = np.random.default_rng(4).normal(size=(50, 4))
    whole = pair_similarities(vectors)
    monkeypatch.setattr(recall, "ROWS", 7)
    np.testing.assert_allclose(pair_similarities(vectors), whole, atol=1e-6)


def test_enrichment_equals_fishers_exact_test():
    rng = np.random.default_rng(5)
    labels, membership = rng.integers(4, size=60), rng.random((60, 5)) < 0.2
    found = enrichment(labels, membership)
    for cluster, complex_, p_value in zip(found["cluster"], found["complex"], found["p_value"], strict=True):
        inside, member = labels == cluster, membership[:, complex_]
        table = [
            [np.sum(inside & member), np.sum(inside & ~member)],
            [np.sum(~inside & member), np.sum(~inside & ~member)],
        ]
        assert p_value == pytest.approx(fisher_exact(table, alternative="greater").pvalue, rel=1e-9)
    assert (np.diff(found["p_value"]) >= 0).all() and (found["q_value"] >= found["p_value"] - 1e-15).all()


def test_enrichment_finds_planted_clusters_and_the_control_does_not():
    _, membership = planted([8] * 6, 2, 1.0, seed=6)
    scores = enrichment_scores(membership.argmax(axis=1), membership, 100, np.random.default_rng(0))
    assert scores["enriched_clusters"] == scores["enriched_complexes"] == 6
    assert scores["shuffled_mean"] < 0.3 and scores["p_value"] == 1 / 101


def test_nuisance_is_found_where_it_is_planted_only():
    rng = np.random.default_rng(7)
    batches = rng.dirichlet(np.full(4, 0.3), size=120)
    clean, leaking = rng.normal(size=(120, 10)), rng.normal(size=(120, 10))
    leaking[:, :4] += 8 * batches
    near = [nearest(v, 10) for v in (clean, leaking)]
    fair = nuisance_score(near[:1], batches, 200, np.random.default_rng(0))
    foul = nuisance_score(near[1:], batches, 200, np.random.default_rng(0))
    assert fair is not None and foul is not None
    assert fair["p_value"] > 0.02 and fair["value"] < fair["chance_high"] + 0.05
    assert foul["value"] > 0.4 and foul["p_value"] == 1 / 201 and foul["chance"] < 0
    assert nuisance_score(near[:1], np.full((120, 3), 1 / 3), 10, rng) is None


def test_nuisance_p_values_are_uniform_under_the_null():
    rng = np.random.default_rng(8)
    p_values = [
        nuisance_score([nearest(rng.normal(size=(40, 5)), 4)], rng.normal(size=(40, 2)), 99, rng)["p_value"]
        for _ in range(150)
    ]
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.1) and np.mean(np.array(p_values) < 0.1) < 0.2


def planted_runs(n: int = 3):
    vectors, membership = planted([6] * 5, 12, 2.0, seed=9)
    rng = np.random.default_rng(10)
    genes = symbols(30)
    runs = [gene_map(as_map(vectors + 0.3 * rng.normal(size=vectors.shape), genes), "m") for _ in range(n)]
    return runs, truth_of(membership, genes)


def test_neighbours_of_a_gene():
    runs, truth = planted_runs()
    pairs = KnownPairs("list", (("G000", "G003"), ("G000", "G020")), "")
    table = neighbours(runs, "G000", 6, truth, [pairs])
    assert set(table["gene_symbol"][:5]) == {f"G00{i}" for i in range(1, 6)}
    assert table["rank"].tolist() == [1, 2, 3, 4, 5, 6] and (np.diff(table["cosine"]) <= 1e-12).all()
    assert (table["support"][:5] == 1).all() and table["support"][5] <= 1
    relation = dict(zip(table["gene_symbol"], table["relation"], strict=True))
    assert relation["G003"] == "C0; list" and relation["G001"] == "C0"
    single = neighbours(runs[:1], "G000", 3)
    assert single["support"].isna().all() and (single["relation"] == "").all()
    cosines = unit_rows(runs[0].vectors) @ unit_rows(runs[0].vectors).T
    np.fill_diagonal(cosines, -np.inf)
    ranks = cosines.argsort(axis=1)[:, ::-1].argsort(axis=1) + 1
    near = [runs[0].genes.index(gene) for gene in single["gene_symbol"]]
    assert ranks[0, near].tolist() == [1, 2, 3]
    np.testing.assert_allclose(single["cosine"], cosines[0, near])
    np.testing.assert_allclose(single["mutual_rank"], np.sqrt(ranks[0, near] * ranks[near, 0]))


def test_genes_that_point_away_are_no_neighbours():
    vectors = np.array([[1.0, 0], [1, 0.5], [-1, 0.1], [-0.1, 1]])
    run = gene_map(as_map(vectors, ["A", "B", "C", "D"]), "m")
    assert neighbours([run], "A", 3)["gene_symbol"].tolist() == ["B"]
    assert neighbours([run], "C", 3)["gene_symbol"].tolist() == ["D"]


def test_mutual_rank_is_the_geometric_mean_of_both_ranks():
    angles = np.deg2rad([0, 10, 15, 90])
    run = gene_map(as_map(np.column_stack([np.cos(angles), np.sin(angles)]), ["A", "B", "C", "D"]), "m")
    table = neighbours([run], "A", 2).set_index("gene_symbol")
    assert table.loc["B", "mutual_rank"] == pytest.approx(np.sqrt(1 * 2))  # B is nearer to C
    assert table.loc["C", "mutual_rank"] == pytest.approx(np.sqrt(2 * 2))


def test_support_of_neighbours_is_a_bootstrap_over_runs():
    # Two runs: B is nearest to A in the first and in the mean, C in the second. Drawn anew, three of four times B.
    def run(b: float, c: float):
        angles = np.deg2rad([0, b, c, 90])
        return gene_map(as_map(np.column_stack([np.cos(angles), np.sin(angles)]), ["A", "B", "C", "D"]), "m")

    table = neighbours([run(5, 40), run(20, 10)], "A", 1)
    assert table["gene_symbol"].tolist() == ["B"] and table["support"][0] == pytest.approx(0.75, abs=0.05)
    assert neighbours([run(5, 40), run(5, 40)], "A", 2)["support"].tolist() == [1.0, 1.0]


def test_a_gene_in_another_case_is_found_where_one_is_meant():
    runs, _ = planted_runs(1)
    assert neighbours(runs, "g003", 3).equals(neighbours(runs, "G003", 3))
    with pytest.raises(GrapeOpsError, match="Similar symbols: .*G003"):
        neighbours(runs, "g03", 3)
    two = [GeneMap("m", ("Abc", "ABC", "abd"), np.eye(3))]
    assert neighbours(two, "ABC", 1)["gene_symbol"].tolist() == ["Abc"]
    with pytest.raises(GrapeOpsError, match="abc is not among .* Similar symbols: ABC, Abc[.]"):
        neighbours(two, "abc", 1)


def test_an_unknown_gene_gets_proposals():
    runs, _ = planted_runs(1)
    with pytest.raises(GrapeOpsError, match="G001"):
        neighbours(runs, "G0001", 3)


@pytest.mark.parametrize("k", [None, 5])
def test_clusters_with_support_and_enrichment(k):
    if k is None:
        pytest.importorskip("igraph")
    runs, truth = planted_runs()
    table = clusters(runs, EvaluateSettings(kmeans_runs=40, leiden_runs=3), 1.0, k, np.random.default_rng(0))
    assert list(table) == ["gene_symbol", "cluster", "support"] and len(table) == 30
    assert table["cluster"].min() == 1 and table["cluster"].is_monotonic_increasing
    assert table["support"].between(0, 1).all() and table["support"].mean() > 0.6
    found = cluster_enrichment(table, truth)
    best = found.iloc[0]
    assert best["q_value"] < 0.01 and len(best["genes"].split()) == best["overlap"]
