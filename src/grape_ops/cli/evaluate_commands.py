"""Commands that evaluate gene vectors, find genes with a phenotype, and say how much of a map can be believed."""

import json
from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import app, rows_of, say, say_json, show
from grape_ops.cli.options import (
    AliasTable,
    AsJson,
    Channels,
    ConfigFile,
    Features,
    Groups,
    HitsOnly,
    Jobs,
    MapFiles,
    Methods,
    Out,
    Overrides,
    Pairs,
    Scheduler,
    StoreFolder,
    TableOut,
    Truth,
    Where,
    changes,
    check_scheduler,
)

truth_app = typer.Typer(name="truth", help="Known complexes.", no_args_is_help=True)
app.add_typer(truth_app)


@app.command()
def evaluate(
    maps: Annotated[list[Path] | None, typer.Argument(help="Gene vectors (.h5ad), one file per method.")] = None,
    truth: Truth = "complexes-14x106",
    out: Out = Path("evaluation"),
    group: Groups = None,
    pairs: Pairs = None,
    aliases: AliasTable = None,
    hits_only: HitsOnly = False,
    arms: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Genes and their chromosome arms or locations (17q21.31): a nuisance."),
    ] = None,
    correct_arms: Annotated[
        bool, typer.Option("--correct-arms", help="Write the maps without their arms' means, and score them as well.")
    ] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Score gene vectors by known complexes: scores with nulls and intervals, tables and figures."""
    from grape_ops.api.judge import evaluate_maps
    from grape_ops.config import load_config
    from grape_ops.evaluate.evaluate_files import named_maps
    from grape_ops.evaluate.print_scores import print_scores

    tree, known, named = load_config(config, overrides or ()), truth or "complexes-14x106", named_maps(maps, group)
    more = {"hits_only": hits_only, "correct_arms": correct_arms}
    scores = evaluate_maps(named, known, tree, out=out, pairs=pairs or (), aliases=aliases, arms=arms, **more)
    if as_json:
        return say_json(scores.records)
    print_scores(scores.records)
    return say(f"Scores: {out}")


@app.command()
def neighbours(
    gene: Annotated[str, typer.Argument(help="Gene symbol.")],
    maps: MapFiles,
    n: Annotated[int, typer.Option("--n", min=1, help="How many neighbours.")] = 20,
    truth: Truth = None,
    pairs: Pairs = None,
    aliases: AliasTable = None,
    hits_only: HitsOnly = False,
    out: TableOut = None,
    as_json: AsJson = False,
) -> None:
    """List the nearest genes of a gene, as TSV."""
    from grape_ops.api.judge import nearest_genes

    known, lists = {"truth": truth, "aliases": aliases, "out": out}, pairs or ()
    show(nearest_genes(gene, maps, n=n, pairs=lists, hits_only=hits_only, **known), out, as_json)


@app.command()
def clusters(
    maps: MapFiles,
    resolution: Annotated[float, typer.Option(min=0, help="Of Leiden; larger gives more clusters.")] = 1.0,
    truth: Truth = None,
    aliases: AliasTable = None,
    hits_only: HitsOnly = False,
    out: TableOut = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Cluster all genes, as TSV: by Leiden, or by k-means with --set evaluate.k=N."""
    from grape_ops.api.judge import cluster_genes
    from grape_ops.config import load_config

    tree, known = load_config(config, overrides or ()), {"truth": truth, "aliases": aliases, "out": out}
    show(cluster_genes(maps, tree, resolution=resolution, hits_only=hits_only, **known), out, as_json)
    if truth and out and not as_json:
        say(f"Enrichment: {out.with_suffix('.enrichment.tsv')}")


@truth_app.command()
def curate(
    source: Annotated[str, typer.Argument(help="All complexes of a source: CORUM, ComplexTAB, GMT or a table.")],
    library: Annotated[Path, typer.Option(help="Table with the genes of the screen.")],
    out: Out = Path("truth.tsv"),
    stage: Annotated[str, typer.Option(help="covered, distinct or chosen.")] = "chosen",
    aliases: AliasTable = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Choose complexes that suit a screen; a log beside the file says what was dropped, and why."""
    from grape_ops.config import load_config
    from grape_ops.groundtruth.curation import curate_files, summary

    rule = load_config(config, overrides or ()).curate
    say(summary(curate_files(source, library, out, rule, aliases, stage)))
    say(f"Truth: {out}")


@app.command()
def hits(
    store: StoreFolder,
    out: Out = Path("hits"),
    features: Features = None,
    channels: Channels = None,
    where: Where = None,
    scheduler: Scheduler = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Say which genes have a phenotype, by what their guides share, and how far the test is to be trusted."""
    from grape_ops.api.judge import find_hits
    from grape_ops.config import load_config
    from grape_ops.schema import HITS_GENES, HITS_JSON

    changed = changes(overrides, where=where, features=features, channels=channels, scheduler=scheduler)
    settings = load_config(config, changed)
    check_scheduler(scheduler, settings.hits.features)
    found = find_hits(store, settings, out=out)
    if as_json:
        return say_json(json.loads((out / HITS_JSON).read_text()) | {"table": rows_of(out / HITS_GENES)})
    return say(f"{found}\nTables and figures: {out}")


@app.command()
def calibrate(
    store: Annotated[Path, typer.Argument(help="Crop store of your screen; its control cells are used.")],
    out: Out = Path("calibration"),
    methods: Methods = None,
    restyle: Annotated[
        bool, typer.Option("--restyle", help="Test instead how far cells restyled by grape can be trusted.")
    ] = False,
    jobs: Jobs = 0,
    where: Where = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Find the smallest effect each method recovers, by planting known effects in your own control cells.

    Methods are engineered, classifier and grape if none is named.
    """
    from grape_ops.power.calibrate import calibrate_store
    from grape_ops.power.calibrate_restyling import calibrate_restyling
    from grape_ops.train.preset import training_settings

    settings = training_settings(store, config, changes(overrides, where=where))
    if restyle:
        say(calibrate_restyling(store, out, settings))
    else:
        chosen = methods or ["engineered", "classifier", "grape"]
        say(calibrate_store(store, out, chosen, settings, at_a_time=jobs))
        say(f"Curves: {out / 'recovery.png'}; tables: {out / 'recovery.tsv'}, {out / 'detection_limit.tsv'}")


@app.command()
def trust(
    store: StoreFolder,
    out: Out = Path("trust"),
    methods: Methods = None,
    cells: Annotated[
        bool, typer.Option("--cells", help="See instead what fewer cells per gene give, and how many are needed.")
    ] = False,
    truth: Truth = "complexes-14x106",
    seeds: Annotated[int, typer.Option(min=2, help="With --cells: draws of each number of cells.")] = 3,
    jobs: Jobs = 0,
    where: Where = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Make the map twice, from disjoint halves of the cells, and say whether and on which genes the two agree.

    The method is grape if none is named; with --cells, which makes many maps, statistics and gene_effects.
    """
    from grape_ops.api.comparing import compare_halves
    from grape_ops.train.preset import training_settings

    settings = training_settings(store, config, changes(overrides, where=where))
    if cells:
        from grape_ops.groundtruth.truth import load_truth
        from grape_ops.power.cells_per_gene import trust_cells

        known, chosen = load_truth(truth or "complexes-14x106"), methods or ["statistics", "gene_effects"]
        say(trust_cells(store, out, chosen, known, settings, seeds, at_a_time=jobs))
        return say(f"Tables: {out / 'cells.tsv'}, {out / 'needed.tsv'}; figure: {out / 'cells_per_gene.png'}")
    say(compare_halves(store, out, settings, methods=methods or "grape", jobs=jobs).to_string(index=False))
    return say(f"Genes to believe: {out / 'genes.tsv'}; figure: {out / 'similarities.png'}")
