"""Figures for a paper: drawn from real results, in both formats, and what is missing is said."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from typer.testing import CliRunner

from grape_ops.cli import app
from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth import GroundTruth
from grape_ops.plotting.map_figures import maps_figure
from grape_ops.report.paper_figures import complexes_to_colour, map_planes, write_figures
from grape_ops.restyle.phenotype_results import read_table
from grape_ops.schema import CONTROL_LABEL


def adata(names, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(len(names), 5)).astype(np.float32)
    return AnnData(vectors, obs=pd.DataFrame(index=list(names)))


def test_everything_there_is_data_for(full_run, check_folder, tmp_path):
    drawn, missing = write_figures(full_run.path, tmp_path / "out", phenotype=check_folder)
    assert drawn == ["fig2_shares", "fig2_AAA", "fig3_maps", "fig5_training"]
    assert list(missing) == ["fig4_clusters"] and "sweep" in missing["fig4_clusters"]
    for name in drawn:
        assert (tmp_path / "out" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_gene_called_na_is_a_gene(check_folder):
    table = read_table(check_folder)
    assert table["gene_symbol"].tolist() == ["AAA", "BBB", "CCC", "NA"]
    assert table["separable"].tolist() == [True, True, False, False]
    assert table["share"].tolist() == pytest.approx([0.4, 0.3, np.nan, np.nan], nan_ok=True)


def test_the_command_says_what_it_could_not_draw(full_run, tmp_path):
    result = CliRunner().invoke(app, ["figures", str(full_run.path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0
    assert "2 figures as PDF and PNG" in result.output and "not drawn: fig2: --phenotype names" in result.output


def test_what_was_asked_for_must_be_there(full_run, check_folder, tmp_path):
    with pytest.raises(GrapeOpsError, match="holds no phenotype check"):
        write_figures(full_run.path, tmp_path / "out", phenotype=tmp_path)
    other = tmp_path / "other"
    shutil.copytree(check_folder, other)
    summary = json.loads((other / "phenotype.json").read_text()) | {"checkpoint": "step_1"}
    (other / "phenotype.json").write_text(json.dumps(summary))
    with pytest.raises(GrapeOpsError, match="made for another checkpoint"):
        write_figures(full_run.path, tmp_path / "out", phenotype=other)
    with pytest.raises(GrapeOpsError, match="no gene ZZZ"):
        write_figures(full_run.path, tmp_path / "out", phenotype=check_folder, genes=["ZZZ"])


def test_genes_are_coloured_by_their_complex_and_the_control_is_left_out():
    truth = GroundTruth.of("t", {"one": ("A", "B"), "two": ("C", "D"), "absent": ("X", "Y"), "lonely": ("E",)})
    names = [*"ABCDE", CONTROL_LABEL]
    planes = map_planes({"first": adata(names), "second": adata(names[:4], 1)}, 0)
    assert [list(plane.genes) for plane in planes.values()] == [list("ABCDE"), list("ABCD")]
    complexes = complexes_to_colour([gene for plane in planes.values() for gene in plane.genes], truth)
    figure = maps_figure(planes, complexes)
    panels = [axis for axis in figure.axes if axis.get_title()]
    assert [axis.get_title() for axis in panels] == ["first", "second"]
    counts = [{part.get_label(): len(part.get_offsets()) for part in axis.collections} for axis in panels]
    assert counts[0] == {"no known complex": 1, "one": 2, "two": 2}
    assert counts[1] == {"one": 2, "two": 2}


def test_a_gene_of_two_complexes_is_drawn_once_and_the_largest_are_kept():
    truth = GroundTruth.of("t", {"one": ("A", "B"), "two": ("B", "C", "D")})
    assert complexes_to_colour(list("ABCD"), truth) == {"one": ["A", "B"], "two": ["C", "D"]}
    many = GroundTruth.of("t", {f"c{i}": (f"g{i}a", f"g{i}b", *([f"g{i}c"] if i % 2 else [])) for i in range(60)})
    kept = complexes_to_colour([gene for genes in many.complexes.values() for gene in genes], many)
    assert len(kept) == 40 and sum(len(genes) == 3 for genes in kept.values()) == 30
