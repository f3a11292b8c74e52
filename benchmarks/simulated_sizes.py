"""How quality and cost of a map grow with the cells of a gene: the simulated screen at three sizes.

A seed draws the screen, its planted complexes and every method's training. Figures stand under the cells per gene:
for each method the scores and ``seconds``, and what it cost to cut the crops.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from compare import compare, options_of_methods, print_figures
from grape_ops.config import Config, load_config
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.schema import TRUTH_FILE
from grape_ops.screen.layouts import open_screen
from grape_ops.simulate.write_screen import simulate_screen
from record import write_record

SIZES = (100, 400, 1600)
QUICK_SIZES = (40, 80, 160)


def write_simulated(seed: int, out: Path, size: int, config: Config, seconds: list[float]) -> None:
    """Simulate the screen of a seed and cut it into crops."""
    # Wells grow with the cells, as they do in a laboratory, so that no tile becomes fuller.
    simulated = config.simulate.model_copy(update={"cells_per_gene": size, "control_cells": 3 * size, "seed": seed})
    screen = out.with_name("screen")
    simulate_screen(screen, simulated)
    begun = time.perf_counter()
    preprocess(open_screen(screen, config.screen), out, config.preprocess)
    seconds.append(time.perf_counter() - begun)
    (out / TRUTH_FILE).write_text((screen / TRUTH_FILE).read_text())


def main() -> None:
    """Run the methods at every size and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    options_of_methods(parser)
    options = parser.parse_args()
    config = load_config(options.config, options.set)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for size in QUICK_SIZES if options.quick else SIZES:
            seconds: list[float] = []
            write = partial(write_simulated, size=size, config=config, seconds=seconds)
            work = (options.work or Path(scratch)) / str(size)
            if options.store_only:
                for seed in options.seeds:
                    write(seed, options.store_only / str(size) / f"seed{seed}" / "store")
                continue
            scores, differences = compare(options, work, write)
            print(f"\n{size} cells per gene")
            print_figures(scores, differences)
            cutting = round(sum(seconds) / len(seconds), 1) if seconds else None
            figures[str(size)] = scores | {"preprocess_seconds": cutting, "differences": differences}
    if not options.store_only:
        write_record(options.out, "simulated_sizes", figures | {"seeds": options.seeds})


if __name__ == "__main__":
    main()
