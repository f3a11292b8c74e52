"""Hits are what guides share: calibrated on guides without a target, not fooled by one strong guide or by batches."""

import copy
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from grape_ops.cells.gene_effects import CellSums
from grape_ops.config import load_config
from grape_ops.errors import GrapeOpsError
from grape_ops.features.channels import BETWEEN, feature_channels
from grape_ops.hits import find_hits
from grape_ops.hits.calibration import dealt_pseudo_genes, in_words, pseudo_gene_p_values
from grape_ops.hits.cell_features import cell_features
from grape_ops.hits.find_hits import inactive_guides
from grape_ops.hits.gene_test import combined, gene_metric, gene_test, gene_tests
from grape_ops.hits.guide_profiles import GuideProfiles
from grape_ops.hits.guides import Guides
from grape_ops.hits.write_hits import write_hits
from grape_ops.train import fit_classifier

FEATURES, BATCHES, GUIDES, CONTROL_GUIDES = 15, 4, 4, 30


def screen(seed, *, genes=40, controls=96, confounded=False, off_target=0.0, effect=0.0, working=GUIDES):
    """Sums of a screen by guide (controls last), which are controls, and the rows of each gene."""
    rng = np.random.default_rng(seed)
    of_batch = 2 * rng.normal(size=(BATCHES, FEATURES))
    changes = effect * rng.normal(size=(genes, FEATURES)) / np.sqrt(FEATURES)
    sums = CellSums.zeros(genes * GUIDES + CONTROL_GUIDES, BATCHES, FEATURES)
    scale = np.linspace(0.5, 2, FEATURES)
    rows = {f"g{gene}": [gene * GUIDES + guide for guide in range(GUIDES)] for gene in range(genes)}
    for gene in range(genes):
        for guide in range(GUIDES):
            n = 10 + rng.poisson(15)
            batch = np.full(n, gene % BATCHES) if confounded else rng.integers(0, BATCHES, n)
            shift = off_target * rng.normal(size=FEATURES) + changes[gene] * (guide < working)
            cells = rng.normal(size=(n, FEATURES)) + shift
            sums.add((cells + of_batch[batch]) * scale, np.full(n, gene * GUIDES + guide), batch)
    shifts = off_target * rng.normal(size=(CONTROL_GUIDES, FEATURES))
    guide = rng.integers(0, CONTROL_GUIDES, controls * BATCHES)
    batch = np.repeat(np.arange(BATCHES), controls)
    cells = rng.normal(size=(len(batch), FEATURES)) + shifts[guide] + of_batch[batch]
    sums.add(cells * scale, genes * GUIDES + guide, batch)
    return sums, np.arange(genes * GUIDES + CONTROL_GUIDES) >= genes * GUIDES, rows


def p_values_of(**settings):
    found = []
    for seed in range(8):
        sums, controls, rows = screen(seed, **settings)
        profiles = GuideProfiles.of(sums, controls)
        found.append([test.p_value for test in gene_tests(profiles, rows, seed).genes.values()])
    return np.array(found)


@pytest.mark.parametrize("confounded", [False, True])
@pytest.mark.parametrize("off_target", [0.0, 0.2])
@pytest.mark.parametrize("controls", [48, 192])
def test_genes_without_a_phenotype_are_significant_as_often_as_they_should(confounded, off_target, controls):
    p_values = p_values_of(confounded=confounded, off_target=off_target, controls=controls)
    assert 0.003 <= (p_values < 0.05).mean() <= 0.09
    assert (p_values < 0.001).mean() < 0.015


def test_what_guides_share_is_found_and_one_strong_guide_is_no_gene():
    strong, one = p_values_of(effect=1.2), p_values_of(effect=1.2, working=1)
    assert (strong < 0.05).mean() > 0.9
    assert (one < 0.05).mean() < 0.35
    assert (p_values_of(effect=1.2, working=2) < 0.05).mean() > (one < 0.05).mean()


def test_pseudo_genes_of_control_guides_show_the_calibration():
    sums, controls, rows = screen(0, controls=192)
    profiles = GuideProfiles.of(sums, controls)
    dealt = dealt_pseudo_genes(np.flatnonzero(controls), GUIDES, 100, 0)
    p_values = pseudo_gene_p_values(profiles, dealt, gene_metric(profiles, rows))
    assert len(p_values) == 100 and kstest(p_values, "uniform").pvalue > 1e-4
    assert "of 100 pseudo-genes" in in_words(p_values)
    assert not dealt_pseudo_genes(np.flatnonzero(controls), CONTROL_GUIDES, 100, 0)
    assert "too few non-targeting guides" in in_words(np.empty(0))
    assert "p-values are too small" in in_words(np.full(50, 0.01))
    assert "the test is strict" in in_words(np.full(200, 0.5))
    assert "too few to call the test strict" in in_words(np.full(20, 0.5))


def test_the_distance_is_unbiased():
    effect = 0.8
    found, wanted = [], []
    for seed in range(6):
        sums, controls, rows = screen(seed, effect=effect, controls=192)
        profiles = GuideProfiles.of(sums, controls)
        metric = np.eye(len(profiles.scatter))
        found += [gene_test(profiles, np.array(own), metric).distance for own in rows.values()]
        wanted.append(effect**2 / (1 + 0.1))  # the ridge shrinks every direction of equal variance alike
    assert np.mean(found) == pytest.approx(np.mean(wanted), rel=0.15)


def test_two_control_guides_are_the_least():
    sums, controls, _ = screen(0)
    controls[np.flatnonzero(controls)[1:]] = False
    with pytest.raises(GrapeOpsError, match="1 non-targeting guides have cells, 2 at least"):
        GuideProfiles.of(sums, controls)


def test_dependent_p_values_are_combined():
    np.testing.assert_allclose(combined(np.array([[0.2, 0.7]])), [0.2, 0.7])
    np.testing.assert_allclose(combined(np.array([[0.2, 0.01], [0.2, 0.9]])), [0.2, 0.02], rtol=0.15)


def test_features_of_channels():
    names = ("mean_DNA", "sd_DNA", "mean_actin", "sd_actin", "correlation_DNA_actin", "corr_DNA_actin_2", "area")
    found = feature_channels(names, ("DNA", "actin"))
    assert {name: columns.tolist() for name, columns in found.items()} == {
        "DNA": [0, 1],
        "actin": [2, 3],
        BETWEEN: [4, 5],
    }


def test_a_guide_that_does_nothing_beside_guides_that_work_is_inactive():
    def gene(name, *guides):
        columns = ["p_value", "q_value", "agreement"]
        return pd.DataFrame(guides, columns=columns).assign(gene_symbol=name)

    works, idle, shares, unsure = (1e-5, 1e-4, 0.8), (0.6, 0.8, 0.1), (0.6, 0.8, 0.6), (0.1, 0.3, 0.1)
    lone = (0.6, 0.8, np.nan)
    table = [gene("HIT", works, works, idle, shares, unsure), gene("WEAK", idle, shares), gene("NONE", works, idle)]
    guides = pd.concat([*table, gene("ALONE", lone)], ignore_index=True)
    found = inactive_guides(guides, {"HIT", "WEAK", "ALONE"}, 0.05)
    assert np.flatnonzero(found).tolist() == [2]


def test_the_command_writes_tables_and_figures(tiny_store, tmp_path):
    words = str(write_hits(tiny_store, tmp_path / "hits", load_config(overrides=["hits.pseudo_genes=5"])))
    genes = pd.read_csv(tmp_path / "hits" / "genes.tsv", sep="\t", keep_default_na=False)
    facts = json.loads((tmp_path / "hits" / "hits.json").read_text())
    assert facts["hits"] == genes["is_hit"].sum() and f"of {len(genes)} genes" in words
    assert set(genes["gene_symbol"]) == set(tiny_store.perturbations[:-1])
    guides = pd.read_csv(tmp_path / "hits" / "guides.tsv", sep="\t")
    assert guides["n_cells"].sum() == len(tiny_store)
    assert guides["inactive"].dtype == bool and "0.2" in facts["definitions"]["inactive"]
    assert (tmp_path / "hits" / "volcano.png").exists()
    (tmp_path / "hits" / "hits.json").unlink()  # as a kill before the last file leaves it
    again = str(write_hits(tiny_store, tmp_path / "hits", load_config(overrides=["hits.pseudo_genes=5"])))
    assert (tmp_path / "hits" / "hits.json").exists()
    assert again == words
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(GrapeOpsError, match="other things than hits"):
        write_hits(tiny_store, tmp_path / "other", load_config())


def test_pseudo_genes_are_the_same_ones_for_both_halves(tiny_store, monkeypatch):
    config, store = load_config(overrides=["hits.pseudo_genes=400"]), copy.copy(tiny_store)
    number = store.cells.groupby("gene_symbol").cumcount() % np.where(store.cells["is_control"], 6, 2)
    store.cells = store.cells.assign(sgRNA=store.cells["gene_symbol"] + number.astype(str))
    (features,) = cell_features(store, config)
    guides = Guides.of(store)
    control = np.flatnonzero(guides.controls)[0]
    without = np.flatnonzero(guides.codes != control)  # as if this guide had a single cell, in the other half
    halves = [features, replace(features, cells=without)]
    monkeypatch.setattr(find_hits, "cell_features", lambda *_: halves)
    both = find_hits.find_hits(store, config)
    monkeypatch.setattr(find_hits, "cell_features", lambda *_: halves[1:])
    assert len(both.pseudo_genes) == len(find_hits.find_hits(store, config).pseudo_genes) > 0


def test_what_guides_leave_open_is_said(tiny_store):
    config, store = load_config(overrides=["hits.pseudo_genes=5"]), copy.copy(tiny_store)
    assert not find_hits.find_hits(store, config).notes
    guides = tiny_store.cells["sgRNA"].where(tiny_store.cells["gene_symbol"] != tiny_store.perturbations[0], "one")
    store.cells = tiny_store.cells.assign(sgRNA=guides.where(np.arange(len(store)) > 2, ""))
    unnamed, alone = find_hits.find_hits(store, config).notes
    assert unnamed.startswith(f"3 of {len(store)} cells name no guide")
    assert alone.startswith("1 of 4 genes have a single guide")


def test_learned_features_of_genes_on_one_batch_are_doubted(tiny_store):
    learned, plain = (load_config(overrides=[f"hits.features={kind}"]) for kind in ("learned", "statistics"))
    assert not find_hits._on_batches(tiny_store, learned)
    store = copy.copy(tiny_store)
    genes = store.labels != store.control_label
    store.batch_codes = np.where(genes, store.labels % len(store.batches), store.batch_codes)
    (said,) = find_hits._on_batches(store, learned)
    assert "a classifier can learn the batch" in said
    assert not find_hits._on_batches(store, plain)


def test_learned_features_are_read_on_cells_that_the_network_has_not_seen(tiny_store, tmp_path, monkeypatch):
    seen = []
    plain = fit_classifier.train_classifier

    def noted(store, settings, seed, cells, **more):
        seen.append(cells)
        return plain(store, settings, seed, cells, **more)

    monkeypatch.setattr(fit_classifier, "train_classifier", noted)
    few = ("init.classifier={width: 4, max_width: 8, steps: 2, batch_size: 8}", "accelerator=cpu")
    config = load_config(overrides=["hits.features=learned", *(f"train.{setting}" for setting in few)])
    first, second = cell_features(tiny_store, config)
    for cells, features in zip(seen, (first, second), strict=True):
        assert not np.isin(features.cells, cells).any() and len(cells) + len(features.cells) == len(tiny_store)
    assert np.array_equal(np.sort(np.concatenate([first.cells, second.cells])), np.arange(len(tiny_store)))
    write_hits(tiny_store, tmp_path / "hits", config)
    genes = pd.read_csv(tmp_path / "hits" / "genes.tsv", sep="\t")
    assert genes["p_value"].between(0, 1).all() and "top_channel" not in genes
