"""Commands that restyle cells and measure the restyled cells."""

from pathlib import Path
from typing import Annotated

import typer

from grape_ops.cli.app import app, say
from grape_ops.cli.options import (
    ConfigFile,
    Genes,
    NeededGenes,
    Out,
    Overrides,
    RunFolder,
    TrainedStore,
    Where,
    changes,
)

Source = Annotated[str, typer.Option("--from", help="Whose cells are restyled: a gene, or `control`.")]
Cells = Annotated[int | None, typer.Option(min=1, help="Cells to restyle; generate.cells if not set.")]


@app.command()
def transfer(
    run: RunFolder,
    store: TrainedStore,
    out: Out,
    source: Source = "control",
    genes: Genes = None,
    cells: Cells = None,
    where: Where = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Restyle the same cells to genes; write a crop store, and figures beside real knock-out cells."""
    from grape_ops.config import load_config
    from grape_ops.restyle.transfer import write_transfer
    from grape_ops.words import counted

    tree = load_config(config, changes(overrides, where=where, cells=cells))
    made = write_transfer(
        run, store, out, tree.generate, source=source, genes=genes or (), where=tree.where, seed=tree.seed
    )
    genes_made = counted(len(made["genes"]), "genes")
    say(f"{counted(made['cells'], 'cells')} x {genes_made}, {made['cells_per_second']:,.0f} per second: {out}")


@app.command()
def phenotype(
    run: RunFolder,
    store: TrainedStore,
    out: Out = Path("phenotype"),
    genes: Genes = None,
    cells: Cells = None,
    where: Where = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Test whether restyled control cells show the phenotypes of real knock-outs; write tables and figures."""
    from grape_ops.api.restyling import check_phenotypes
    from grape_ops.config import load_config

    tree = load_config(config, changes(overrides, where=where, cells=cells))
    table = check_phenotypes(run, store, out, tree, genes=genes or ())
    separable = f"{int(table['separable'].sum())} of {len(table)} genes differ significantly from control"
    say(f"{separable}; restyling is significant for {int(table['restyling_significant'].sum())}: {out}")


@app.command()
def directions(
    run: RunFolder,
    store: TrainedStore,
    genes: NeededGenes,
    out: Out = Path("directions"),
    source: Source = "control",
    cells: Cells = None,
    where: Where = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Draw cells on the way from control to genes, and say which channels and radii change most."""
    from grape_ops.config import load_config
    from grape_ops.restyle.directions import write_directions

    tree = load_config(config, changes(overrides, where=where, cells=cells))
    table = write_directions(
        run, store, out, tree.generate, source=source, genes=genes, where=tree.where, seed=tree.seed
    )
    for gene, part in table.groupby("gene_symbol", sort=False):
        top = part.iloc[0]
        place = f"{top['channel']}, {top['radius_from']:.3g} to {top['radius_to']:.3g} px"
        doubt = "; restyling goes the other way" if top["opposite"] else ""
        sizes = f"{top['knockout']:+.2f} sd; restyled {top['restyled']:+.2f}{doubt}"
        say(f"{gene}: knock-outs change most in {place} ({sizes})")
