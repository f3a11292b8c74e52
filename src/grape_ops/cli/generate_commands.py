"""Commands that restyle cells and measure the restyled cells."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grape_ops.cli.app import ConfigFile, Out, Overrides, app, say

if TYPE_CHECKING:
    from grape_ops.config import Config

RunFolder = Annotated[Path, typer.Argument(help="Run folder made by `train`.")]
StoreFolder = Annotated[Path, typer.Argument(help="The crop store the run was trained on.")]
Source = Annotated[str, typer.Option("--from", help="Whose cells are restyled: a gene, or `control`.")]
Genes = Annotated[str | None, typer.Option(help="Genes, with commas between; all if not set.")]
Cells = Annotated[int | None, typer.Option(min=1, help="Cells to restyle; generate.cells if not set.")]


def settings_of(config: str | None, overrides: list[str] | None, cells: int | None = None) -> "Config":
    """Read the settings, with the number of cells given as an option."""
    from grape_ops.config import load_config

    return load_config(config, [*(overrides or ()), *([f"generate.cells={cells}"] if cells else [])])


def listed(genes: str | None) -> list[str]:
    """Split a list of genes."""
    return [gene.strip() for gene in (genes or "").split(",") if gene.strip()]


@app.command()
def transfer(
    run: RunFolder,
    store: StoreFolder,
    out: Out,
    source: Source = "control",
    genes: Genes = None,
    cells: Cells = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Restyle the same cells to genes; write a crop store, and figures beside real knock-out cells."""
    from grape_ops.progress import counted
    from grape_ops.restyle.transfer import write_transfer

    tree = settings_of(config, overrides, cells)
    made = write_transfer(run, store, out, tree.generate, source=source, genes=listed(genes), seed=tree.seed)
    genes_made = counted(len(made["genes"]), "genes")
    say(f"{counted(made['cells'], 'cells')} x {genes_made}, {made['cells_per_second']:,.0f} per second: {out}")


@app.command()
def phenotype(
    run: RunFolder,
    store: StoreFolder,
    out: Out = Path("phenotype"),
    genes: Genes = None,
    cells: Cells = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Test whether restyled control cells show the phenotypes of real knock-outs; write tables and figures."""
    from grape_ops.restyle.phenotype_check import write_check

    tree = settings_of(config, overrides, cells)
    made = write_check(run, store, out, tree.generate, tree.features, genes=listed(genes), seed=tree.seed)
    separable = f"{made['separable']} of {made['genes']} genes differ significantly from control"
    say(f"{separable}; restyling is significant for {made['restyling_significant']}: {out}")


@app.command()
def directions(
    run: RunFolder,
    store: StoreFolder,
    genes: Annotated[str, typer.Option(help="Genes to restyle to, with commas between.")],
    out: Out = Path("directions"),
    source: Source = "control",
    cells: Cells = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Draw cells on the way from control to genes, and say which channels and radii change most."""
    from grape_ops.restyle.directions import write_directions

    tree = settings_of(config, overrides, cells)
    table = write_directions(run, store, out, tree.generate, source=source, genes=listed(genes), seed=tree.seed)
    for gene, part in table.groupby("gene_symbol", sort=False):
        top = part.iloc[0]
        where = f"{top['channel']}, {top['radius_from']:.3g} to {top['radius_to']:.3g} px"
        say(f"{gene}: changes most in {where} ({top['restyled']:+.2f} sd; knock-out {top['knockout']:+.2f})")
