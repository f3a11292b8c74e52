"""Hit calling of mantispy, run as ``PYTHON hit_mantispy.py PROFILES.npz P_VALUES.json`` by an interpreter that has it.

mantispy wants a newer Python than this project's, so that ``hits.py`` calls this file in a process of its own. Half of
the control guides are the reference of ``guide_activity``, the other half the null of ``aggregate_guides``, as its
documentation asks for. Guides lie in rows, those of genes first: (U, V).
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np

NULL = 1000  # groups of control guides


def p_values(profiles: np.ndarray, genes: int, guides: int) -> list[float]:
    """P-values of genes from profiles of guides (U, V)."""
    import anndata
    import mantispy as mt
    import pandas as pd

    controls = len(profiles) - genes * guides
    classes = np.where(np.arange(controls) % 2, "nontargeting", "intergenic")
    obs = pd.DataFrame({"gene": [*(f"G{gene:02d}" for gene in range(genes) for _ in range(guides)), *classes]})
    obs.index = obs["guide"] = [f"guide{row}" for row in range(len(profiles))]
    table = anndata.AnnData(profiles.astype(np.float32), obs=obs)
    mt.tl.guide_activity(table, reference="intergenic", group="gene")
    scored = table[table.obs["gene"] != "intergenic"].copy()
    mt.tl.aggregate_guides(
        scored, score="guide_activity", guide="guide", gene="gene", control="nontargeting", n_null=NULL
    )
    found = scored.obs.drop_duplicates("gene").set_index("gene")["gene_aggregation_pvalue"]
    return [float(found[f"G{gene:02d}"]) for gene in range(genes)]


def main() -> None:
    """Score all screens of a file, and note the CPU seconds of each."""
    warnings.simplefilter("ignore")  # that the pool of control guides is small
    found = {}
    with np.load(sys.argv[1]) as screens:
        genes, guides = (int(number) for number in screens["shape"])
        for name in screens.files:
            if name != "shape":
                begun = time.process_time()
                found[name] = {"p": p_values(screens[name], genes, guides), "seconds": time.process_time() - begun}
    Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
