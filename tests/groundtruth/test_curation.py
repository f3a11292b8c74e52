"""Aliases and the curation rule: what stays, what falls out, and that the log says why."""

import pytest

from grape_ops.config import CurateSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth import GroundTruth, load_truth
from grape_ops.groundtruth import curation as module
from grape_ops.groundtruth.aliases import Aliases, load_aliases
from grape_ops.groundtruth.curation import curate, curate_files, screened_genes, summary


def genes(prefix: str, n: int) -> list[str]:
    return [f"{prefix}{i}" for i in range(1, n + 1)]


def reasons(curation, stage: str) -> dict[str, str]:
    return {line.complex: line.reason for line in curation.log if line.stage == stage}


def test_coverage_counts_genes_and_share():
    truth = GroundTruth.of(
        "t", {"two": genes("A", 2), "half": genes("B", 6), "two thirds": genes("C", 6), "whole": genes("D", 3)}
    )
    library = [*genes("A", 2), *genes("B", 3), *genes("C", 4), *genes("D", 3)]
    curation = curate(truth, library, CurateSettings())
    assert list(curation.covered) == ["two thirds", "whole"]
    assert curation.covered["two thirds"] == tuple(genes("C", 4))
    assert set(reasons(curation, "coverage")) == {"two", "half"}
    assert "3 of 6 members" in reasons(curation, "coverage")["half"]
    assert curation.unmatched == ("B4", "B5", "B6", "C5", "C6")


def test_of_two_overlapping_complexes_the_larger_falls_out_even_if_the_smaller_one_does():
    small, middle = genes("A", 3), [*genes("A", 2), *genes("B", 2)]
    large = [*genes("B", 2), *genes("C", 4)]
    truth = GroundTruth.of("t", {"large": large, "middle": middle, "small": small, "apart": genes("D", 4)})
    curation = curate(truth, truth.genes, CurateSettings())
    # small and middle share 1 of small's 3 pairs, middle and large 1 of middle's 6.
    assert list(curation.distinct) == ["small", "apart"]
    assert reasons(curation, "overlap") == {
        "middle": "shares 1 of 3 gene pairs of small",
        "large": "shares 1 of 6 gene pairs of middle",
    }


def test_a_tenth_of_the_pairs_may_be_shared():
    # 5 genes have 10 pairs; sharing 2 genes shares one of them.
    truth = GroundTruth.of("t", {"five": genes("A", 5), "six": [*genes("A", 2), *genes("B", 4)]})
    assert list(curate(truth, truth.genes, CurateSettings()).distinct) == ["five", "six"]
    strict = CurateSettings(most_shared_pairs=0.09)
    assert list(curate(truth, truth.genes, strict).distinct) == ["five"]


def test_of_two_equal_complexes_the_first_stays():
    truth = GroundTruth.of("t", {"first": genes("A", 4), "second": genes("A", 4)})
    assert list(curate(truth, truth.genes, CurateSettings()).distinct) == ["first"]


def test_chosen_complexes_are_disjoint_sized_and_drawn_by_the_seed():
    truth = GroundTruth.of("t", {"four": genes("A", 4), "five": genes("B", 5), "big": [*genes("C", 29), "B1"]})
    curation = curate(truth, truth.genes, CurateSettings(seed=3))
    assert len(curation.chosen["big"]) == 10 and "four" not in curation.chosen
    cut = [line for line in curation.log if line.stage == "cut"]
    assert len(cut) == 20 and {line.gene for line in cut}.isdisjoint(curation.chosen["big"])
    assert ("five" in curation.chosen) == ("B1" not in curation.chosen["big"])
    again, other = (curate(truth, truth.genes, CurateSettings(seed=seed)) for seed in (3, 4))
    assert again.chosen == curation.chosen and other.chosen["big"] != curation.chosen["big"]


def test_files_with_controls_aliases_and_logs(tmp_path):
    (tmp_path / "source.gmt").write_text("one\t-\tOLD1\tA2\tA3\tA4\tA5\tAMB\ntwo\t-\tX1\tX2\tX3\n")
    (tmp_path / "library.tsv").write_text(
        "sgRNA\tgene_symbol\n" + "".join(f"g\t{g}\n" for g in [*genes("A", 5), "A1", "nontargeting_7", "X1"])
    )
    (tmp_path / "aliases.tsv").write_text("alias\tgene_symbol\nOLD1\tA1\nAMB\tX1\nAMB\tX2\n")
    assert screened_genes(tmp_path / "library.tsv") == [*genes("A", 5), "X1"]
    out = tmp_path / "deep" / "truth.tsv"
    found = curate_files(
        str(tmp_path / "source.gmt"), tmp_path / "library.tsv", out, CurateSettings(), tmp_path / "aliases.tsv"
    )
    assert load_truth(out).complexes == {"one": tuple(genes("A", 5))}
    assert "two\t\t1 gene screened" in out.with_suffix(".dropped.tsv").read_text()
    unmatched = out.with_suffix(".unmatched.tsv").read_text()
    assert "X2\tnot in" in unmatched and "AMB\talias of several genes: X1, X2" in unmatched
    assert summary(found).startswith("Complexes that cover the screen: 1; of these do not overlap: 1")


@pytest.mark.parametrize("written_before", [0, 1, 2])
def test_a_call_that_ends_before_all_is_written_is_no_obstacle_to_the_next(tmp_path, monkeypatch, written_before):
    (tmp_path / "source.gmt").write_text("one\t-\tA1\tA2\tA3\tA4\tA5\n")
    (tmp_path / "library.txt").write_text("\n".join(genes("A", 6)) + "\n")
    out, write, room = tmp_path / "truth.tsv", module._write, iter(range(written_before))

    def full(*content):
        if next(room, None) is None:
            raise GrapeOpsError("The disk is full")
        write(*content)

    call = (str(tmp_path / "source.gmt"), tmp_path / "library.txt", out, CurateSettings())
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", full)
        with pytest.raises(GrapeOpsError, match="disk is full"):
            curate_files(*call)
    assert not out.exists()
    curate_files(*call)
    assert load_truth(out).complexes == {"one": tuple(genes("A", 5))}


def test_clear_refusals(tmp_path):
    source, library = tmp_path / "s.gmt", tmp_path / "l.tsv"
    source.write_text("one\t-\tA1\tA2\tA3\n")
    library.write_text("A1\nA2\nA3\n")
    with pytest.raises(
        GrapeOpsError, match="No complex is left: of 1, 1 cover the screen and 1 do not overlap. Not in .*: 0 genes"
    ):
        curate_files(str(source), library, tmp_path / "t.tsv", CurateSettings())
    with pytest.raises(GrapeOpsError, match="covered, distinct, chosen"):
        curate_files(str(source), library, tmp_path / "t.tsv", CurateSettings(), stage="last")
    own = tmp_path / "own.tsv"
    own.write_text("gene_symbol\tcomplex\nA1\tmine\n")
    with pytest.raises(GrapeOpsError, match="exists and is not a curated truth"):
        curate_files(str(source), library, own, CurateSettings(), stage="covered")
    assert own.read_text() == "gene_symbol\tcomplex\nA1\tmine\n"
    curate_files(str(source), library, tmp_path / "t.tsv", CurateSettings(), stage="covered")
    curate_files(str(source), library, tmp_path / "t.tsv", CurateSettings(), stage="covered")
    library.write_text("guide\tprice\n1\t2\n")
    with pytest.raises(GrapeOpsError, match="column for genes"):
        screened_genes(library)
    with pytest.raises(GrapeOpsError, match="no library"):
        screened_genes(tmp_path / "absent.tsv")


def test_approved_symbols_are_never_renamed_and_ambiguous_aliases_never_applied(tmp_path):
    path = tmp_path / "hgnc.txt"
    path.write_text(
        'symbol\talias_symbol\tprev_symbol\tuniprot_ids\nA1\tB1|SHARED\t"OLD1|OLDER1"\tP00001\n'
        "B1\tSHARED\t\tP00002|P00003\n"
    )
    aliases = load_aliases(path)
    assert aliases.symbol == {"OLD1": "A1", "OLDER1": "A1", "P00001": "A1", "P00002": "B1", "P00003": "B1"}
    assert aliases.ambiguous == {"SHARED": ("A1", "B1")}


def test_renaming_keeps_genes_apart():
    aliases = Aliases({"OLD1": "A1", "OLDER1": "A1"})
    assert aliases.rename(["OLD1", "B"]) == {"OLD1": "A1", "B": "B"}
    assert aliases.rename(["A1", "OLD1"]) == {"A1": "A1", "OLD1": "OLD1"}
    assert aliases.rename(["OLD1", "OLDER1"]) == {"OLD1": "A1", "OLDER1": "OLDER1"}


def test_alias_tables_say_which_columns_they_want(tmp_path):
    (tmp_path / "a.tsv").write_text("from\tto\nA\tB\n")
    with pytest.raises(GrapeOpsError, match="column for symbols"):
        load_aliases(tmp_path / "a.tsv")
    with pytest.raises(GrapeOpsError, match="no alias table"):
        load_aliases(tmp_path / "b.tsv")
