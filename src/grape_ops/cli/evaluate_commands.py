"""Commands that evaluate gene vectors, find genes with a phenotype, and say how much of a map can be believed."""

import json
from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import (
    AliasTable,
    AsJson,
    Channels,
    ConfigFile,
    Features,
    Jobs,
    Methods,
    Out,
    Overrides,
    Pairs,
    Scheduler,
    TableOut,
    Truth,
    Where,
    app,
    channels_setting,
    check_scheduler,
    features_setting,
    rows_of,
    say,
    say_json,
    scheduler_setting,
    show,
    where_setting,
)

HitsOnly = Annotated[
    bool, typer.Option("--hits-only", help="Only genes with a phenotype, by is_hit in a map's obs (embed --hits).")
]

truth_app = typer.Typer(name="truth", help="Known complexes.", no_args_is_help=True)
app.add_typer(truth_app)


@app.command()
def evaluate(
    maps: Annotated[list[Path] | None, typer.Argument(help="Gene vectors (.h5ad), one file per method.")] = None,
    truth: Truth = "complexes-14x106",
    out: Out = Path("evaluation"),
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=A,B", help="Maps of several runs of one method as one entry; repeatable."),
    ] = None,
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
    from grape_ops.config import load_config
    from grape_ops.evaluate.evaluate_files import evaluate_files
    from grape_ops.evaluate.print_scores import print_scores

    tree, known = load_config(config, overrides or ()), truth or "complexes-14x106"
    runs = (tree.evaluate, tree.seed, group or ())
    more = {"pairs": pairs or (), "aliases": aliases, "hits_only": hits_only}
    more |= {"arms": arms, "correct_arms": correct_arms}
    scores = evaluate_files(maps or [], known, out, *runs, **more)  # type: ignore[arg-type]
    if as_json:
        return say_json(scores)
    print_scores(scores)
    return say(f"Scores: {out}")


@app.command()
def neighbours(
    gene: Annotated[str, typer.Argument(help="Gene symbol.")],
    maps: Annotated[list[Path], typer.Argument(help="Gene vectors (.h5ad); several runs of a method give support.")],
    n: Annotated[int, typer.Option("--n", min=1, help="How many neighbours.")] = 20,
    truth: Truth = None,
    pairs: Pairs = None,
    aliases: AliasTable = None,
    hits_only: HitsOnly = False,
    out: TableOut = None,
    as_json: AsJson = False,
) -> None:
    """List the nearest genes of a gene, as TSV."""
    from grape_ops.evaluate.evaluate_files import write_neighbours

    known = {"truth": truth, "pairs": pairs or (), "aliases": aliases, "hits_only": hits_only}
    show(write_neighbours(gene, maps, out, n, **known), out, as_json)  # type: ignore[arg-type]


@app.command()
def clusters(
    maps: Annotated[list[Path], typer.Argument(help="Gene vectors (.h5ad); several runs of a method give support.")],
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
    from grape_ops.config import load_config
    from grape_ops.evaluate.evaluate_files import write_clusters

    tree = load_config(config, overrides or ())
    known = {"resolution": resolution, "truth": truth, "aliases": aliases, "hits_only": hits_only}
    table = write_clusters(maps, out, tree.evaluate, tree.seed, **known)  # type: ignore[arg-type]
    show(table, out, as_json)
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
    store: Annotated[Path, typer.Argument(help="Crop store made by `preprocess`.")],
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

    more = [*where_setting(where), *features_setting(features), *channels_setting(channels)]
    settings = load_config(config, [*(overrides or ()), *more, *scheduler_setting(scheduler)])
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

    settings = training_settings(store, config, [*(overrides or ()), *where_setting(where)])
    if restyle:
        say(calibrate_restyling(store, out, settings))
    else:
        chosen = methods or ["engineered", "classifier", "grape"]
        say(calibrate_store(store, out, chosen, settings, at_a_time=jobs))
        say(f"Curves: {out / 'recovery.png'}; tables: {out / 'recovery.tsv'}, {out / 'detection_limit.tsv'}")


@app.command()
def trust(
    store: Annotated[Path, typer.Argument(help="Crop store made by `preprocess`.")],
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
    from grape_ops.power.split_half import split_half
    from grape_ops.train.preset import training_settings

    settings = training_settings(store, config, [*(overrides or ()), *where_setting(where)])
    if cells:
        from grape_ops.groundtruth.truth import load_truth
        from grape_ops.power.cells_per_gene import trust_cells

        known, chosen = load_truth(truth or "complexes-14x106"), methods or ["statistics", "gene_effects"]
        say(trust_cells(store, out, chosen, known, settings, seeds, at_a_time=jobs))
        return say(f"Tables: {out / 'cells.tsv'}, {out / 'needed.tsv'}; figure: {out / 'cells_per_gene.png'}")
    say(split_half(store, out, methods or ["grape"], settings, at_a_time=jobs))
    return say(f"Genes to believe: {out / 'genes.tsv'}; figure: {out / 'similarities.png'}")
