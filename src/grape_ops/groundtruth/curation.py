"""Choosing complexes that a screen can be evaluated with, with a log of what fell out and why.

The rule of the screen's own lab, in three stages. Coverage: at least so many screened genes, and at least such a
share of the members screened. Overlap: of two complexes that share more than a tenth of the smaller one's pairs of
screened genes the larger is dropped. Choice: complexes of 5 to 10 screened genes, larger ones cut to ten by a
seeded draw, none sharing a gene with another.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from grape_ops.artifacts.atomic import draft_of
from grape_ops.artifacts.ownership import check_file, warn_replaced
from grape_ops.artifacts.spreadsheet import safe_text
from grape_ops.config import CurateSettings, ScreenSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth.aliases import Aliases, load_aliases
from grape_ops.groundtruth.readers import GENE_COLUMNS
from grape_ops.groundtruth.text_tables import find_column, is_missing, read_rows
from grape_ops.groundtruth.truth import GroundTruth, load_truth
from grape_ops.schema import COMPLEX, GENE
from grape_ops.words import counted

Complexes = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Dropped:
    """One line of the log: a complex (or one of its genes) that fell out, at which stage, and why."""

    stage: str
    complex: str
    gene: str
    reason: str


@dataclass(frozen=True)
class Curation:
    """The complexes left after each stage, the log, and genes of the source that the screen does not have."""

    covered: Complexes
    distinct: Complexes
    chosen: Complexes
    log: tuple[Dropped, ...]
    unmatched: tuple[str, ...]
    ambiguous: dict[str, tuple[str, ...]]


def curate(
    truth: GroundTruth, screened: Iterable[str], rule: CurateSettings, aliases: Aliases | None = None
) -> Curation:
    """Apply the rule to complexes and the genes of a screen.

    Parameters
    ----------
    truth : all complexes of a source.
    screened : genes of the screen's library, controls left out.
    rule : the thresholds.
    aliases : other names of genes, applied to source and library alike.
    """
    names = aliases or Aliases()
    library = {names.symbol.get(gene, gene) for gene in screened}
    complexes = {name: tuple(genes) for name, genes in names.apply(truth.complexes).items()}
    log: list[Dropped] = []
    covered = _covered(complexes, library, rule, log)
    distinct = _distinct(covered, rule.most_shared_pairs, log)
    chosen = _chosen(distinct, rule, log)
    members = {gene for genes in complexes.values() for gene in genes}
    ambiguous = {gene: meant for gene, meant in names.ambiguous.items() if gene in members}
    return Curation(covered, distinct, chosen, tuple(log), tuple(sorted(members - library)), ambiguous)


def _covered(
    complexes: Mapping[str, tuple[str, ...]], library: set[str], rule: CurateSettings, log: list[Dropped]
) -> Complexes:
    """Keep the screened genes of complexes that are screened well enough."""
    kept: Complexes = {}
    for name, genes in complexes.items():
        found = tuple(gene for gene in genes if gene in library)
        if len(found) < rule.least_screened:
            few = f"{counted(len(found), 'genes')} screened, fewer than {rule.least_screened}"
            log.append(Dropped("coverage", name, "", few))
        # Whole numbers against the share, so that 2 of 3 members count as two thirds.
        elif len(found) < rule.least_share * len(genes) - 1e-9:
            share = f"{len(found)} of {len(genes)} members screened, below {rule.least_share:.3g}"
            log.append(Dropped("coverage", name, "", share))
        else:
            kept[name] = found
    return kept


def _distinct(complexes: Complexes, most_shared: float, log: list[Dropped]) -> Complexes:
    """Drop every complex that overlaps with a smaller one, even if that one is dropped itself.

    Of two complexes of one size the later in the source counts as the larger.
    """
    names = sorted(complexes, key=lambda name: len(complexes[name]))
    shared = _shared_genes([complexes[name] for name in names])
    shared_pairs = shared * (shared - 1) / 2
    sizes = np.array([len(complexes[name]) for name in names])
    pairs = sizes * (sizes - 1) / 2
    dropped = set()
    for index, name in enumerate(names):
        overlaps = shared_pairs[index, :index] > most_shared * pairs[:index]
        if overlaps.any():
            other = int(np.argmax(overlaps))
            count = f"{int(shared_pairs[index, other])} of {int(pairs[other])} gene pairs of {names[other]}"
            log.append(Dropped("overlap", name, "", f"shares {count}"))
            dropped.add(name)
    return {name: genes for name, genes in complexes.items() if name not in dropped}


def _shared_genes(complexes: list[tuple[str, ...]]) -> np.ndarray:
    """Count the genes two complexes share: C complexes -> (C, C)."""
    column = {gene: i for i, gene in enumerate(sorted({gene for genes in complexes for gene in genes}))}
    rows = [row for row, genes in enumerate(complexes) for _ in genes]
    columns = [column[gene] for genes in complexes for gene in genes]
    table = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(complexes), max(len(column), 1)))
    return (table @ table.T).toarray()


def _chosen(complexes: Complexes, rule: CurateSettings, log: list[Dropped]) -> Complexes:
    """Cut large complexes by a draw, and keep those large enough that share no gene with one already kept."""
    rng = np.random.default_rng(rule.seed)
    kept: Complexes = {}
    taken: dict[str, str] = {}
    # Larger complexes come first: they lose genes to the draw anyway, and name breaks ties.
    for name in sorted(complexes, key=lambda name: (-len(complexes[name]), name)):
        genes = complexes[name]
        if len(genes) < rule.least_genes:
            log.append(Dropped("size", name, "", f"{len(genes)} screened genes, fewer than {rule.least_genes}"))
            continue
        clash = next((gene for gene in genes if gene in taken), None)
        if rule.disjoint and clash is not None:
            log.append(Dropped("disjoint", name, clash, f"is already in {taken[clash]}"))
            continue
        drawn = sorted(rng.choice(len(genes), min(rule.most_genes, len(genes)), replace=False))
        kept[name] = tuple(genes[index] for index in drawn)
        taken.update(dict.fromkeys(kept[name], name))
        cut = [gene for index, gene in enumerate(genes) if index not in set(drawn)]
        log.extend(Dropped("cut", name, gene, f"left out by the draw, seed {rule.seed}") for gene in cut)
    return {name: kept[name] for name in complexes if name in kept}


STAGES = ("covered", "distinct", "chosen")


def curate_files(
    source: str, library: Path, out: Path, rule: CurateSettings, aliases: Path | None = None, stage: str = "chosen"
) -> Curation:
    """Curate a truth file by the genes of a library file and write the table of one stage to ``out``.

    Beside ``NAME.tsv`` (gene_symbol, complex) lie ``NAME.dropped.tsv`` (stage, complex, gene, reason) and
    ``NAME.unmatched.tsv`` (gene, reason): nothing falls out silently.

    Raises
    ------
    GrapeOpsError : a file cannot be read, the stage is unknown, or no complex is left.
    """
    if stage not in STAGES:
        raise GrapeOpsError(f"There is no stage {stage} of the curation; there are: {', '.join(STAGES)}.")
    names = load_aliases(aliases) if aliases is not None else None
    truth = load_truth(source)
    curation = curate(truth, screened_genes(library), rule, names)
    complexes: Complexes = getattr(curation, stage)
    if not complexes:
        raise GrapeOpsError(
            f"No complex is left: of {len(truth.complexes)}, {len(curation.covered)} cover the screen and "
            f"{len(curation.distinct)} do not overlap. Not in {library}: {counted(len(curation.unmatched), 'genes')} "
            f"of {source} (such as {', '.join(curation.unmatched[:3]) or 'none'}). Loosen the thresholds; if the two "
            "name genes differently, as ComplexTAB does by UniProt accessions, give --aliases."
        )
    dropped = out.with_suffix(".dropped.tsv")
    # A truth of the user's own has the same columns; only ours has its log beside it.
    check_file(out, "a curated truth", example="truth.tsv", is_ours=lambda _: dropped.is_file())
    out.parent.mkdir(parents=True, exist_ok=True)
    warn_replaced(out)
    # What later stages dropped is still in the table of an earlier one.
    logged = {"covered": ("coverage",), "distinct": ("coverage", "overlap")}.get(stage)
    lines = [line for line in curation.log if logged is None or line.stage in logged]
    rows = ((line.stage, line.complex, line.gene, line.reason) for line in lines)
    _write(dropped, ("stage", "complex", "gene", "reason"), rows)
    unmatched = [(gene, "not in the screen's library") for gene in curation.unmatched if gene not in curation.ambiguous]
    unmatched += [(gene, f"alias of several genes: {', '.join(m)}") for gene, m in curation.ambiguous.items()]
    _write(out.with_suffix(".unmatched.tsv"), ("gene", "reason"), unmatched)
    # The truth comes last: a call that ends before it leaves nothing that the next would take for somebody else's.
    _write(out, (GENE, COMPLEX), ((gene, name) for name, genes in complexes.items() for gene in genes))
    return curation


def summary(curation: Curation) -> str:
    """Count the complexes at each stage, in a sentence."""
    large = sum(len(genes) >= 5 for genes in curation.distinct.values())
    return (
        f"Complexes that cover the screen: {len(curation.covered)}; of these do not overlap: {len(curation.distinct)} "
        f"({large} with five genes or more), chosen: {len(curation.chosen)}; "
        f"genes of the source that are not in the library: {len(curation.unmatched)}."
    )


def screened_genes(path: Path) -> list[str]:
    """Read the genes of a screen's library: a table with a gene column, or one gene per line; controls are left out."""
    if not path.is_file():
        raise GrapeOpsError(f"There is no library {path}.")
    rows = read_rows(path)
    column = find_column(rows[0], GENE_COLUMNS)
    if column is None and max(len(row) for row in rows) > 1:
        raise GrapeOpsError(
            f"{path} needs a column for genes ({', '.join(GENE_COLUMNS)}); it has {', '.join(rows[0])}."
        )
    control = re.compile(ScreenSettings().control_pattern, re.IGNORECASE)
    named = [row[0] for row in rows] if column is None else [row[column] for row in rows[1:] if len(row) > column]
    return sorted({gene for gene in named if not is_missing(gene) and not control.match(gene)})


def _write(path: Path, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    with draft_of(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(header)
        writer.writerows([safe_text(field) for field in row] for row in rows)
