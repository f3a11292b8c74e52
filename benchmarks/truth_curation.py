"""Apply the curation rule to CORUM and the library of the paper's screen, and count what is left at each stage.

The reference counts are those of the screen's own lab's rule: 605 complexes cover the screen, 236 do not overlap,
48 of them have five genes or more.
"""

import argparse
from collections import Counter

from rich.console import Console
from rich.table import Table

from grape_ops.config import CurateSettings
from grape_ops.groundtruth import load_truth
from grape_ops.groundtruth.curation import curate, screened_genes
from real_data import real_data
from record import write_record

REFERENCE = {"covered": 605, "distinct": 236, "distinct_with_5_genes": 48}


def main() -> None:
    """Run the benchmark and write its record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="nothing to leave out: it takes a second")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()

    truth = load_truth(real_data("groundtruth/corum_clusters_NC.tsv"))
    library = screened_genes(real_data("funk2022/barcode_library.tsv"))
    curation = curate(truth, library, CurateSettings())
    counts = {
        "covered": len(curation.covered),
        "distinct": len(curation.distinct),
        "distinct_with_5_genes": sum(len(genes) >= 5 for genes in curation.distinct.values()),
    }
    shown = Table("stage", "reference", "here")
    shown.add_row("complexes of the source", "2696", str(len(truth.complexes)))
    for stage, count in counts.items():
        shown.add_row(stage, str(REFERENCE[stage]), str(count))
    shown.add_row("chosen: disjoint, 5 to 10 genes", "", str(len(curation.chosen)))
    Console(width=110).print(shown)
    figures = {
        "complexes": len(truth.complexes),
        "library_genes": len(library),
        **counts,
        "chosen": len(curation.chosen),
        "chosen_genes": sum(map(len, curation.chosen.values())),
        "log_lines": dict(Counter(line.stage for line in curation.log)),
        "unmatched_genes": len(curation.unmatched),
        "agrees": counts == REFERENCE,
    }
    write_record(arguments.out, "truth_curation", figures)


if __name__ == "__main__":
    main()
