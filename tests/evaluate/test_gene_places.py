"""What `grape-ops trust` found of genes, as report and explorer read it."""

import pandas as pd
import pytest

from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.gene_places import read_gene_places

REPEATS = {"AAA": True, "BBB": True, "NA": False}


@pytest.fixture
def folder(write_trust_folder, tmp_path):
    return write_trust_folder(tmp_path / "trust", "mine", REPEATS)


def test_a_place_that_repeats_is_told_with_its_null(folder):
    found = read_gene_places(folder, "mine", "settings")
    assert found.holds("GRAPE M") and not found.holds("statistics")
    assert found.repeating("GRAPE M") == (2, 3)
    place = found.place("GRAPE M", "AAA")
    assert place.status == "significant" and place.correlation == 0.9
    assert place.words == (
        "its place repeats between maps of two halves of the cells (q = 0.01): its cosines to all genes correlate 0.90 "
        "(those of two different genes below 0.70 in 95% of pairs), and 2 of its 2 nearest genes are the same (1.0 by "
        "chance)"
    )
    place = found.place("GRAPE M", "NA")
    assert place.status == "not significant" and "no evidence that its place repeats" in place.words
    assert "correlate −0.10" in place.words and "0 of its 2" in place.words
    assert found.place("GRAPE M", "ZZZ") is None and found.place("statistics", "AAA") is None


def test_what_does_not_fit_is_refused_with_the_command(folder, tmp_path):
    with pytest.raises(GrapeOpsError, match="not checked: `grape-ops trust STORE --config RUN/config.yaml"):
        read_gene_places(tmp_path / "elsewhere", "mine", "settings")
    with pytest.raises(GrapeOpsError, match="another crop store"):
        read_gene_places(folder, "another", "settings")
    with pytest.raises(GrapeOpsError, match="other settings of training than the run's"):
        read_gene_places(folder, "mine", "others")
    table = pd.read_csv(folder / "genes.tsv", sep="\t")
    table.drop(columns="q_value").to_csv(folder / "genes.tsv", sep="\t", index=False)
    with pytest.raises(GrapeOpsError, match="genes.tsv of trust lacks q_value"):
        read_gene_places(folder, "mine", "settings")
    table.assign(q_value="often").to_csv(folder / "genes.tsv", sep="\t", index=False)
    with pytest.raises(GrapeOpsError, match="cannot be read as a comparison of halves"):
        read_gene_places(folder, "mine", "settings")
    table.assign(method="statistics").to_csv(folder / "genes.tsv", sep="\t", index=False)
    with pytest.raises(GrapeOpsError, match="do not fit together"):
        read_gene_places(folder, "mine", "settings")
