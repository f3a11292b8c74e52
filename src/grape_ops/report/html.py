"""One self-contained page about a run: scores, training curves, gene map, restyled cells, data quality, settings.

The page loads nothing: the plotting library, styles, script, figures and pictures are all in the one file, and its
content security policy forbids the browser to fetch anything.
"""

import html
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from grape_ops import __version__
from grape_ops.artifacts.atomic import write_text
from grape_ops.artifacts.ownership import check_file
from grape_ops.config import dump_config
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.print_scores import p_in_words
from grape_ops.evaluate.records import MethodScores
from grape_ops.evaluate.scores import without_nan
from grape_ops.progress import waiting
from grape_ops.report import report_figures, training_figures
from grape_ops.report.cell_pictures import cell_pictures
from grape_ops.report.data_quality import count_rows, dropped_rows, flat_field_text, problem_rows, table_rows
from grape_ops.report.findings import findings, volcano
from grape_ops.report.gene_tables import gene_tables
from grape_ops.report.generation import content_rows, gene_cells, recognised_rows, top_features
from grape_ops.report.inputs import ReportInputs, gather
from grape_ops.report.plates import plate_maps, smallest, wells_of
from grape_ops.report.profiles import profiles
from grape_ops.report.projection import nearest_genes, neighbours_in_words, projections
from grape_ops.report.provenance import changed_settings, cost_rows, network_rows, provenance_rows
from grape_ops.report.scores import map_from_vectors, number, own_entry, score_table
from grape_ops.report.summary import conclusions, restyled_controls, what_was_done
from grape_ops.report.terms import GLOSSARY, rich
from grape_ops.schema import OBS_IS_CONTROL, OBS_N_CELLS, OBS_N_GUIDES, UNS_METHOD

NEIGHBOURS = 8
GENERATOR = '<meta name="generator" content="grape-ops'  # by it we know a report of ours
PIECES = ("vectors", "store", "truth", "scores", "check", "hits", "places")


def write_report(
    run_path: Path,
    out: Path,
    *,
    store_path: Path | None = None,
    scores: Path | None = None,
    truth: str | None = None,
    phenotype: Path | None = None,
    hits: Path | None = None,
) -> None:
    """Write the page about a run.

    Parameters
    ----------
    run_path : the run folder.
    out : the HTML file to write.
    store_path : the run's crop store, if it has moved. Without a store the page has no pictures of cells.
    scores : scores.json; if not given, one beside ``out`` or the run is taken.
    truth : name or file of known complexes; if not given, the one the run was trained with.
    phenotype, hits : folders written by ``grape-ops phenotype`` and ``grape-ops hits``; if not given, those beside
        ``out`` or the run are taken.

    Raises
    ------
    GrapeOpsError : ``run_path`` is no run, or a store, scores, truth, check or hits that were given cannot be used.
    """
    check_file(out, "a report", example="report.html", is_ours=_is_report)
    given = {"store_path": store_path, "scores": scores, "truth": truth, "phenotype": phenotype, "hits": hits}
    inputs = gather(run_path, out, **given)  # type: ignore[arg-type]
    content = _content(inputs)
    with waiting("report: writing the page"):
        page = _render(content)
    write_text(out, page, tell=True)


def _is_report(file: Path) -> bool:
    with file.open("rb") as content:
        return GENERATOR.encode() in content.read(4096)


def _render(content: dict[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("grape_ops.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["rich"] = rich
    template = environment.get_template("report.html.jinja")
    return template.render(plotly=Markup(get_plotlyjs()), **content)


def _content(inputs: ReportInputs) -> dict[str, Any]:
    """Everything the template asks for."""
    run = inputs.run
    can, cannot = conclusions(inputs)
    own = own_entry(inputs.scores, inputs)
    pictures, no_pictures = _pictures(inputs)
    known = _gene_map(inputs)
    return {
        "title": page_title(run.path),
        "screen": _screen_name(inputs),
        "version": __version__,
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "started": str(run.record["started"]),
        "summary": what_was_done(inputs),
        "can": can,
        "cannot": cannot,
        "tiles": _tiles(inputs, own),
        "scores": score_table(inputs.scores, own) if inputs.scores else None,
        "no_own": bool(inputs.scores) and own is None,
        "missing": {piece: inputs.missing.get(piece, "") for piece in PIECES},
        "map": known,
        "figures": _figures(inputs, known),
        "tables": gene_tables(inputs),
        "findings": findings(inputs),
        "no_phenotype": dict.fromkeys(gene for gene in inputs.genes if inputs.is_hit(gene) is False),
        "simulated": run.simulated,
        "glossary": GLOSSARY,
        "check": _check(inputs),
        "cost": cost_rows(inputs),
        "networks": network_rows(inputs),
        "cells": pictures,
        "no_cells": no_pictures,
        "dropped": dropped_rows(inputs.quality),
        "problems": problem_rows(inputs.quality),
        "quality_table": table_rows(inputs.quality),
        "flat_field": flat_field_text(inputs.quality),
        "counts": count_rows(inputs),
        "smallest": smallest(inputs.run.genes.loc[inputs.genes, OBS_N_CELLS]),
        "plates": plate_maps(wells_of(run, inputs.store)) if inputs.store else None,
        "changed": changed_settings(run.config),
        "config": dump_config(run.config),
        "provenance": provenance_rows(inputs),
    }


def page_title(run: Path) -> str:
    """Name of the run's folder; pipelines call every run `run`, so theirs also says where it lies."""
    path = run.resolve()
    return f"{path.parent.name} / {path.name}" if path.name == "run" and path.parent.name else path.name


def _screen_name(inputs: ReportInputs) -> str:
    """Name of the screen's folder, if the store holds one that says something."""
    name = str(inputs.store.meta["provenance"].get("screen", "")) if inputs.store else ""
    return "" if name == "screen" else name


def _tiles(inputs: ReportInputs, own: MethodScores | None) -> list[tuple[str, str, str]]:
    """The page's key figures: (what, how much, beside it)."""
    run = inputs.run
    table = run.genes.loc[inputs.genes]
    batches = len(inputs.batches)
    tiles = [
        ("cells", f"{int(run.genes[OBS_N_CELLS].sum()):,}", f"{batches:,} batch{'' if batches == 1 else 'es'}"),
        ("genes", f"{len(table):,}", f"{int(table[OBS_N_GUIDES].sum()):,} guides"),
        ("steps trained", f"{inputs.step:,}", f"of {run.config.train.steps:,}"),
    ]
    if (found := inputs.phenotypes) is not None:
        beside = f"of {len(found.genes):,} tested, q < {found.level:g}"
        tiles.insert(0, ("genes with a phenotype", f"{int(found.genes['is_hit'].sum()):,}", beside))
    if own is not None:
        beside = f"chance {number(own.map.chance)}, p {p_in_words(own.map.p_value)}"
        tiles.append(("mAP", number(own.map.value), beside))
    elif (score := map_from_vectors(inputs)) is not None:
        tiles.append(("mAP", number(score[0]), f"chance {number(score[1])}"))
    return tiles


def _figures(inputs: ReportInputs, known: dict[str, Any] | None) -> dict[str, report_figures.Figure]:
    """All figures by the name of their place on the page; those without data are left out."""
    counts = inputs.batch_counts()
    is_control = inputs.run.genes[OBS_IS_CONTROL].to_numpy(bool)
    found = {
        "volcano": volcano(inputs.phenotypes) if inputs.phenotypes is not None else None,
        "profiles": profiles(inputs),
        "adversarial": training_figures.adversarial_losses(inputs.metrics),
        "reconstruction": training_figures.reconstruction_losses(inputs.metrics),
        "logits": training_figures.discriminator_logits(inputs.metrics),
        "training-map": training_figures.map_along_training(inputs.metrics),
        "complexes": report_figures.complex_scores(inputs.scores or []),
        "gene-map": known["figure"] if known else None,
        "shares": _shares(inputs),
        "cells-per-gene": report_figures.cells_per_gene(inputs.run.genes.loc[inputs.genes, OBS_N_CELLS].tolist()),
        "cells-per-batch": report_figures.cells_per_batch(
            inputs.batches, counts.sum(axis=0).tolist(), counts[is_control].sum(axis=0).tolist()
        ),
    }
    # A training that broke down logs numbers that are none, and browsers read no NaN.
    return {name: without_nan(figure) for name, figure in found.items() if figure is not None}


def _check(inputs: ReportInputs) -> dict[str, Any] | None:
    """What the phenotype check found, in words and numbers."""
    check = inputs.check
    if check is None:
        return None
    return {
        "n_genes": len(check.table),
        "n_separable": int(check.table["separable"].sum()),
        "n_scored": len(check.scored),
        "n_features": len(check.summary["features"]),
        "cells": f"{restyled_controls(inputs, check)[0]:,}",
        "content": content_rows(check),
        "recognised": recognised_rows(check),
        "n_restyling": sum(part.status == "significant" for part in check.trusts().values()),
        "n_tested": sum(part.status in ("significant", "not significant") for part in check.trusts().values()),
        "genes": gene_cells(check),
        "results": check.results(),
        "features": top_features(check),
    }


def _shares(inputs: ReportInputs) -> report_figures.Figure | None:
    if inputs.check is None or inputs.check.scored.empty:
        return None
    scored, results = inputs.check.scored, inputs.check.results()
    names = scored["gene_symbol"].tolist()
    share, low, high = (scored[name].to_numpy() for name in ("share", "share_low", "share_high"))
    trusts = inputs.check.trusts()
    words = [(results[gene], trusts[gene].words) for gene in names]
    filled = [trusts[gene].status == "significant" for gene in names]
    return report_figures.phenotype_shares(names, scored["auc"].tolist(), share, low, high, words, filled)


def _gene_map(inputs: ReportInputs) -> dict[str, Any] | None:
    """The map's figure, its other projections, and the genes nearest to each."""
    if inputs.vectors is None:
        return None
    table = inputs.run.genes
    names = table.index.tolist()
    vectors = np.asarray(inputs.vectors.X, dtype=np.float64)
    method = str(inputs.vectors.uns[UNS_METHOD])
    planes = projections(vectors, inputs.run.config.seed, method, keep=inputs.run.path)
    control = np.flatnonzero(table[OBS_IS_CONTROL].to_numpy(bool)).tolist()
    groups: dict[str, list[int]] = {name: [] for name in inputs.truth.complexes} if inputs.truth else {}
    groups[""] = []
    for row, gene in enumerate(names):
        if row not in control:
            groups[next(iter(inputs.complexes_of(gene)), "")].append(row)
    groups = {name: rows for name, rows in groups.items() if rows}
    lines = table[[OBS_IS_CONTROL, OBS_N_CELLS, OBS_N_GUIDES]].to_dict("records")
    hover = [_hover(gene, line, inputs) for gene, line in zip(names, lines, strict=True)]
    genes = np.flatnonzero(~table[OBS_IS_CONTROL].to_numpy(bool))
    near, cosine = nearest_genes(vectors[genes], NEIGHBOURS)
    quiet = [row for row, gene in enumerate(names) if inputs.is_hit(gene) is False]
    places = {gene: vars(place) for gene in inputs.genes if (place := inputs.place_of(gene)) is not None}
    return {
        "figure": report_figures.gene_map(next(iter(planes.values())), groups, control, hover, quiet),
        "planes": {name: plane.tolist() for name, plane in planes.items()},
        "method": method,
        "averaged": inputs.averaged,
        "names": names,
        "complexes": [inputs.complexes_of(gene) for gene in names],
        "near_words": neighbours_in_words(vectors[genes], compared=bool(places)),
        "places": places,
        "near": {
            # A gene that points away is no neighbour.
            names[row]: [
                [names[genes[o]], round(float(value), 3)] for o, value in zip(*pair, strict=True) if value >= 0
            ]
            for row, pair in zip(genes, zip(near, cosine, strict=True), strict=True)
        },
    }


def _hover(gene: str, row: dict[Any, Any], inputs: ReportInputs) -> str:
    complexes = ", ".join(inputs.complexes_of(gene)) or ("none known" if inputs.truth else "")
    lines = [f"<b>{html.escape(gene, quote=False)}</b>"]
    lines += [f"complex: {html.escape(complexes, quote=False)}"] if complexes and not row[OBS_IS_CONTROL] else []
    lines += ["no evidence of a phenotype"] if inputs.is_hit(gene) is False else []
    return "<br>".join([*lines, f"{int(row[OBS_N_CELLS]):,} cells, {int(row[OBS_N_GUIDES]):,} guides"])


def _pictures(inputs: ReportInputs) -> tuple[dict[str, Any] | None, str]:
    """Pictures of cells, or why there are none."""
    if inputs.store is None:
        return None, (
            f"{inputs.missing['store']} With the store the page shows real and restyled cells: "
            "grape-ops report RUN --store STORE."
        )
    try:
        return cell_pictures(inputs, inputs.store), ""
    except GrapeOpsError as error:
        return None, str(error).replace(str(inputs.run.path), inputs.run.path.name)
