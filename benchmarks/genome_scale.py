"""Time and memory of one iteration of the paper's networks with 107 and with 5,000 perturbations, in turns."""

import argparse
import statistics

from record import write_record
from train_step import timed

GENES = (107, 5000)


def main() -> None:
    """Take turns over the two sizes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each size")
    parser.add_argument("--steps", type=int, default=3, help="timed steps in a turn, after one that is not")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="batch 2, one turn")
    parser.add_argument("--out", required=True, help="JSON file to write")
    options = parser.parse_args()
    if options.quick:
        options.batch, options.rounds, options.steps = 2, 1, 1
    runs: dict[int, list[dict]] = {genes: [] for genes in GENES}
    for _ in range(options.rounds):
        for genes in GENES:
            runs[genes].append(timed("channels_last", options.batch, options.steps, options.threads, genes))
    # The ratio is taken turn by turn, so that a drift of the machine's speed cancels.
    medians = {genes: [statistics.median(run["seconds"]) for run in turns] for genes, turns in runs.items()}
    ratios = [many / few for few, many in zip(*(medians[genes] for genes in GENES), strict=True)]
    peaks = {genes: max(run["peak_mib"] for run in turns) for genes, turns in runs.items()}
    print(f"batch {options.batch}   s/step   peak MiB")
    for genes in GENES:
        print(f"P = {genes:5} {statistics.median(medians[genes]):8.2f} {peaks[genes]:10.0f}")
    figures = {
        **{f"p{genes}_s": statistics.median(medians[genes]) for genes in GENES},
        **{f"p{genes}_peak_mib": peaks[genes] for genes in GENES},
        "time_ratio": statistics.median(ratios),
        "time_ratio_min": min(ratios),
        "time_ratio_max": max(ratios),
        "memory_ratio": peaks[GENES[1]] / peaks[GENES[0]],
    }
    write_record(options.out, "genome_scale", figures)


if __name__ == "__main__":
    main()
