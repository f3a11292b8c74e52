"""Damaged inputs, kills and full disks: nothing wrong or lost without a word.

For every reader of the package (``hostile_inputs.py``) a small valid input is damaged (``hostile_damage.py``,
``hostile_crafted.py``) and read in a process that may die. What comes out is one of:

* none: the damage drawn does not apply to the file;
* same: what was there before the damage;
* refused: an error in words that names the file;
* told: other values, and a note, a warning or a count that says so;
* as written: other values that the file now holds by all its format's rules, with as many columns and pixels, and as
  many rows as it has lines: no reader could know better;
* wrong: other values without a word;
* unnamed: an error in words that does not name the file; traceback; signal; hang; memory.

Then commands are killed at events of the file system, meet a full disk, or run twice on one folder
(``hostile_kills.py``). The last six and everything wrong are failures.

    python benchmarks/hostile.py [--quick] [--seed S] [--inputs N] [--kills N] [--only READER] [--out FILE]
"""

import os

# Before numpy and torch are imported; the threads of numba's other layers do not survive a fork.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
os.environ["NUMBA_THREADING_LAYER"] = "workqueue"

import argparse
import contextlib
import io
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from hostile_inputs import READERS
from hostile_kills import draw_trials, try_all
from hostile_reading import Outcome, draw_cases, run_cases
from record import write_record

GOOD, BAD = (
    ("none", "same", "refused", "told", "as written"),
    ("wrong", "unnamed", "traceback", "signal", "hang", "memory"),
)


def summarise(found: list[Outcome]) -> dict[str, Any]:
    """Count outcomes by reader, and list the failures."""
    table = {name: Counter(o.kind for o in found if o.case.reader == name) for name in READERS}
    failures = sorted((o for o in found if o.kind in BAD), key=lambda o: (o.case.reader, o.kind, o.case.seed))
    return {
        "inputs": len(found),
        "total": {kind: sum(row[kind] for row in table.values()) for kind in (*GOOD, *BAD)},
        "by_reader": {name: dict(row) for name, row in table.items() if row},
        "failures": [
            {
                "reader": outcome.case.reader,
                "damage": outcome.damage or outcome.case.crafted,
                "kind": outcome.kind,
                "seed": outcome.case.seed,
                "words": outcome.words[-1500:],
            }
            for outcome in failures
        ],
    }


def print_table(figures: dict[str, Any]) -> None:
    """Print the counts, a row for each reader, and those of the disturbed commands."""
    table = pd.DataFrame(figures["by_reader"]).T.reindex(columns=[*GOOD, *BAD]).fillna(0).astype(int)
    table.loc["all"] = table.sum()
    print(table.to_string())
    if figures["commands"]["tried"]:
        print(pd.DataFrame(figures["commands"]["by_kind"]).T.fillna(0).astype(int).to_string())


def main() -> None:
    """Try, print the table, write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few of everything, some 15 seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inputs", type=int, help="damaged inputs; 10,000 if not set, of --quick 400")
    parser.add_argument("--kills", type=int, help="commands that are disturbed; 250 if not set, of --quick 4")
    parser.add_argument("--only", choices=list(READERS), help="one reader alone, and no commands")
    parser.add_argument("--workers", type=int, default=2, help="processes beside each other")
    parser.add_argument("--out", default="benchmarks/results/hostile.json")
    args = parser.parse_args()
    inputs = args.inputs if args.inputs is not None else 400 if args.quick else 10_000
    kills = args.kills if args.kills is not None else 0 if args.only else 4 if args.quick else 250
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hostile-", ignore_cleanup_errors=True) as root:
        read = summarise(run_cases(draw_cases(inputs, args.seed, args.only), Path(root), args.workers))
        commands = try_all(Path(root) / "commands", draw_trials(kills, args.seed), args.workers)
    figures = {"seed": args.seed, "seconds": round(time.monotonic() - began), **read, "commands": commands}
    print_table(figures)
    with contextlib.redirect_stdout(io.StringIO()):
        write_record(args.out, "hostile", figures)


if __name__ == "__main__":
    main()
