"""Do maps of real compounds group by mechanism of action? BBBC021, 973 cells of 38 compounds.

Compound stands for gene, mechanism for complex, week for batch, untreated cells (DMSO) for controls; taxol, which has
a third of all cells, is capped at 60; cells that are camera noise are left out. Crops are shrunk from 64 to 32 px.

Every compound but taxol was imaged in one week, so a map may find pairs by their week alone: ``map`` is over all
pairs, ``map_other_week`` leaves out pairs that share a week.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from bbbc021 import read_cells, write_cells
from compare import compare, options_of_methods, print_figures
from grape_ops.cells.genes import BATCH_COMPOSITION, gene_anndata, gene_table
from grape_ops.cells.store import CropStore
from grape_ops.config import Config, load_config
from grape_ops.evaluate.retrieval import restricted_precision, shared
from grape_ops.groundtruth import load_truth, membership
from grape_ops.power.recovery import recovery
from grape_ops.schema import BATCH, COMPLEX, CONTROL_LABEL, GENE, GUIDE, IS_CONTROL, OBS_IS_CONTROL, TRUTH_FILE
from record import write_record

SIZE = 32
MOST_OF_A_COMPOUND = 60  # cells; only taxol has more


def write_compounds(seed: int, out: Path) -> None:
    """Write the store of a seed, which draws the cells of taxol, and its truth beside it."""
    crops, table = read_cells("allmoa_1000")
    is_control = (table["compound"] == "DMSO").to_numpy()
    clean = table[table["noise_artifact"] == 0].sample(frac=1, random_state=seed)
    place = clean.groupby("compound").cumcount()
    kept = place[is_control[place.index] | (place < MOST_OF_A_COMPOUND)].index.sort_values()
    cells = table.assign(**{GENE: table["compound"].where(~is_control, CONTROL_LABEL), IS_CONTROL: is_control})
    cells = cells.assign(**{GUIDE: cells["compound"] + "_" + cells["concentration"].astype(str), BATCH: cells["week"]})
    cells = cells.loc[kept].reset_index(drop=True)
    write_cells(out, crops[kept], cells, SIZE)
    compounds = cells[~cells[IS_CONTROL]].drop_duplicates(GENE)
    truth = pd.DataFrame({GENE: compounds[GENE], COMPLEX: compounds["moa"]})
    truth.to_csv(out / TRUTH_FILE, sep="\t", index=False)


def score(vectors: AnnData, store: Path, config: Config, seed: int) -> dict[str, Any]:
    """Score one map over all pairs, and over pairs of different weeks."""
    truth = load_truth(str(store / TRUTH_FILE))
    scores = recovery(vectors, truth, config.evaluate, seed)
    genes = vectors[~vectors.obs[OBS_IS_CONTROL].to_numpy(bool)]
    weeks = genes.obsm[BATCH_COMPOSITION] > 0
    precision = restricted_precision(
        np.asarray(genes.X), shared(membership(truth, list(genes.obs_names))), ~shared(weeks)
    )
    queries = int(np.sum(~np.isnan(precision)))
    return scores | {"map_other_week": float(np.nanmean(precision)), "queries_other_week": queries}


def week_alone(store: Path) -> dict[str, float]:
    """What the week alone amounts to: each compound's shares over weeks as its vector, ties broken at random."""
    table = gene_table(CropStore.open(store))
    shares = gene_anndata(np.zeros((len(table), 1)), table, "week").obsm[BATCH_COMPOSITION]
    config, rng, scores = load_config(None, []), np.random.default_rng(0), []
    for _ in range(20):
        vectors = shares + 1e-3 * rng.standard_normal(shares.shape)
        scores.append(score(gene_anndata(vectors, table, "week"), store, config, 0))
    return {name: round(float(np.mean([s[name] for s in scores])), 4) for name in ("map", "map_other_week")}


def main() -> None:
    """Write stores, or run the methods on them and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    options_of_methods(parser)
    options = parser.parse_args()
    if options.store_only:
        for seed in options.seeds:
            write_compounds(seed, options.store_only / f"seed{seed}")
        return
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        figures, differences = compare(options, work, write_compounds, score)
        week = week_alone(work / f"seed{options.seeds[0]}" / "store")
    print_figures(figures, differences)
    write_record(
        options.out, "bbbc021_moa", figures | {"week_alone": week, "seeds": options.seeds, "differences": differences}
    )


if __name__ == "__main__":
    main()
