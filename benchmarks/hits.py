"""Which genes have a phenotype: false hits and power of ``grape-ops hits`` and of what others do.

Screens are put together from untouched cells, real ones of BBBC021 and simulated ones, measured by image statistics. A
phenotype is the mean change that planting one on the pixels makes in these features; it is added to the share of a
gene's cells that show it. Guides of genes and controls alike may differ by off-target shifts. With learned features,
phenotypes and shifts are planted on the pixels, and two small classifiers are trained for each screen.

``rate_at_05`` is the share of genes without a phenotype that have p < 0.05, by control cells per batch, layout and
off-target shift: such genes are untouched control cells dealt into guides and genes. ``power`` is the share of genes
with a phenotype beyond the 5th percentile of the p-values of the method's own genes without one, so that all methods
are compared at equal false positives; ``more_than`` is by how much the power of ``grape-ops hits`` is larger on the
same screens, and the standard error of that. ``seconds`` are CPU seconds per screen. ``large`` is one call of the
command on a store of 5,000 genes and 500,000 cells with a file of features.
"""

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import cell_vectors
from grape_ops.artifacts.atomic import write_json
from grape_ops.cells.gene_effects import CellSums
from grape_ops.config import load_config
from grape_ops.hits.find_hits import find_hits
from grape_ops.hits.gene_test import gene_tests
from grape_ops.hits.guide_profiles import GuideProfiles
from grape_ops.schema import CELLS_FILE, ROW, SHARD
from hit_peers import PEERS, guide_means
from hit_screens import BATCHES, GENES, GUIDES, N_GUIDES, Design, Pool, Screen
from record import write_record

OURS, LEARNED = "grape-ops hits", "grape-ops hits, learned features"
ON_PIXELS = "grape-ops hits, image statistics of the same cells"
CLASSIFIER = "{width: 16, max_width: 64, steps: 300, batch_size: 64}"
FIRST_SEED_OF_EFFECTS = 10_000
LARGE_GENES, LARGE_CELLS, LARGE_FEATURES = 5000, 500_000, 95
Answers = dict[str, list[float]]  # p-values by the name of a design


def ours(screen: Screen, seed: int) -> np.ndarray:
    """The test of ``grape-ops hits``: (GENES,) p-values."""
    sums = CellSums.zeros(N_GUIDES, BATCHES, screen.values.shape[1])
    sums.add(screen.values, screen.guides, screen.batches)
    profiles = GuideProfiles.of(sums, np.arange(N_GUIDES) >= GENES * GUIDES)
    rows = {str(gene): list(range(gene * GUIDES, (gene + 1) * GUIDES)) for gene in range(GENES)}
    return np.array([test.p_value for test in gene_tests(profiles, rows, seed).genes.values()])


def nulls(counts: Sequence[int], shifts: Sequence[float]) -> list[Design]:
    """Screens without phenotypes."""
    return [Design(controls=n, confounded=c, off_target=o) for n in counts for c in (False, True) for o in shifts]


def phenotypes() -> list[Design]:
    """Screens with phenotypes: by size, working guides and penetrance."""
    plain, shifted = Design(), Design(off_target=0.3)
    found = [replace(base, effect=e) for base in (plain, shifted) for e in (0.25, 0.5, 1.0)]
    found += [replace(shifted, effect=1.0, working=n) for n in (1, 2, 3)]
    return found + [replace(shifted, effect=1.0, penetrance=share) for share in (0.2, 0.5)]


def seed_of(design: Design, seed: int) -> int:
    """Screens with phenotypes are other cells than those without."""
    return seed + FIRST_SEED_OF_EFFECTS if design.effect else seed


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a file holds, or what is made, with its CPU seconds, and kept there."""
    if not path.exists():
        begun = time.process_time()
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, made | {"seconds": time.process_time() - begun})
    return json.loads(path.read_text())


def on_statistics(pool: Pool, method: Callable[[Screen, int], np.ndarray], designs: Sequence[Design], seed: int) -> Any:
    """P-values of a method on one screen of each design."""
    pool.measured  # noqa: B018 - its time is not the method's
    return {d.name: [float(p) for p in method(pool.screen(d, seed_of(d, seed)), seed)] for d in designs}


def on_pixels(pool: Pool, design: Design, seed: int) -> Any:
    """P-values with learned features, and with image statistics, on one screen planted on the pixels."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = pool.planted(design, seed_of(design, seed), Path(folder) / "store")
        for name, features in ((LEARNED, "learned"), (ON_PIXELS, "statistics")):
            begun = time.process_time()
            few = [f"hits.features={features}", f"seed={seed}", "hits.pseudo_genes=1", "train.accelerator=cpu"]
            config = load_config(overrides=[*few, f"train.init.classifier={CLASSIFIER}"])
            genes = find_hits(store, config).genes.sort_values("gene_symbol")
            found[name] = {"p": genes["p_value"].tolist(), "seconds": time.process_time() - begun}
    return found


def summary(answers: Sequence[Answers], designs: Sequence[Design], more: Sequence[Answers] = ()) -> dict[str, Any]:
    """Rates and power over screens; ``more`` are further screens without phenotypes, for the rates alone."""
    rates, power = {}, {}
    for design in designs:
        if design.effect:
            null = np.array([own[design.null.name] for own in answers])
            power[design.name] = [found_at(0.05, null, np.array(own[design.name])) for own in answers]
        else:
            p_values = np.array([own[design.name] for own in (*answers, *more)])
            rates[design.name] = round(float((p_values < 0.05).mean()), 4)
    return {"rate_at_05": rates, "power": power}


def found_at(rate: float, null: np.ndarray, p_values: np.ndarray) -> float:
    """Share of genes found where this share of those without a phenotype is; of equal p-values, as many as fit."""
    limit = np.quantile(null, rate, method="inverted_cdf")
    share = (rate - (null < limit).mean()) / (null == limit).mean()
    return float((p_values < limit).mean() + share * (p_values == limit).mean())


def compared(found: dict[str, dict[str, Any]], name_of_ours: str) -> None:
    """Replace power by seed with its mean, and say how much more of it ours has."""
    own = found[name_of_ours]["power"]
    for name, figures in found.items():
        if name != name_of_ours:
            gaps = {design: np.subtract(own[design], power) for design, power in figures["power"].items()}
            figures["more_than"] = {
                design: [round(float(gap.mean()), 4), round(float(gap.std(ddof=1) / np.sqrt(len(gap))), 4)]
                for design, gap in gaps.items()
                if len(gap) > 1
            }
    for figures in found.values():
        figures["power"] = {design: round(float(np.mean(power)), 4) for design, power in figures["power"].items()}


def statistics_figures(pool: Pool, options: argparse.Namespace, work: Path) -> dict[str, dict[str, Any]]:
    """Figures of all methods on image statistics."""
    designs = [*nulls(options.counts, (0.0, 0.3)), *phenotypes()]
    methods = {OURS: ours} | PEERS
    further = []
    for seed in options.calibration_seeds:
        path = work / "calibration" / f"{seed}.json"
        further.append(kept(path, lambda seed=seed: on_statistics(pool, ours, designs[: -len(phenotypes())], seed)))
    found: dict[str, dict[str, Any]] = {}
    for number, (name, method) in enumerate(methods.items()):
        answers = []
        for seed in options.seeds:
            path = work / f"method{number}" / f"{seed}.json"
            answers.append(kept(path, lambda m=method, s=seed: on_statistics(pool, m, designs, s)))
        found[name] = summary(answers, designs, further if name == OURS else ())
        found[name]["seconds"] = round(float(np.mean([own["seconds"] for own in answers])) / len(designs), 3)
        print(f"{work.name}: {name} {found[name]['seconds']} s per screen", flush=True)
    if options.mantispy:
        theirs = by_mantispy(pool, options.mantispy, designs, options.seeds, work / "mantispy")
        found["mantispy"] = summary(theirs, designs)
        found["mantispy"]["seconds"] = round(float(np.mean([own["seconds"] for own in theirs])) / len(designs), 3)
    compared(found, OURS)
    return found


def by_mantispy(pool: Pool, python: str, designs: Sequence[Design], seeds: Sequence[int], work: Path) -> list[Any]:
    """P-values of mantispy on one screen of each design and seed, by an interpreter that has it."""
    work.mkdir(parents=True, exist_ok=True)
    missing = [seed for seed in seeds if not (work / f"{seed}.json").exists()]
    if missing:
        profiles = {
            f"{seed} {d.name}": guide_means(pool.screen(d, seed_of(d, seed))) for seed in missing for d in designs
        }
        np.savez(work / "profiles.npz", shape=(GENES, GUIDES), **profiles)
        script = Path(__file__).parent / "hit_mantispy.py"
        subprocess.run([python, script, work / "profiles.npz", work / "found.json"], check=True, env=bare())
        found = json.loads((work / "found.json").read_text())
        for seed in missing:
            own = {d.name: found[f"{seed} {d.name}"] for d in designs}
            seconds = sum(each["seconds"] for each in own.values())
            write_json(work / f"{seed}.json", {d: each["p"] for d, each in own.items()} | {"seconds": seconds})
    return [json.loads((work / f"{seed}.json").read_text()) for seed in seeds]


def bare() -> dict[str, str]:
    """The environment without this project's packages."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def learned_figures(pool: Pool, options: argparse.Namespace, work: Path) -> dict[str, dict[str, Any]]:
    """Figures with learned features, and with image statistics of the same crops."""
    effects = [Design(off_target=0.3, effect=e) for e in (0.25, 0.5, 1.0)]
    designs = [*nulls(options.counts, (0.3,)), *effects]
    answers: dict[str, list[Answers]] = {LEARNED: [], ON_PIXELS: []}
    seconds: dict[str, list[float]] = {LEARNED: [], ON_PIXELS: []}
    for seed in options.learned_seeds:
        made = {}
        for number, design in enumerate(designs):
            made[design.name] = kept(work / f"{seed}-{number}.json", lambda d=design, s=seed: on_pixels(pool, d, s))
            print(f"{work.name}: seed {seed}, {design.name}", flush=True)
        for name in answers:
            answers[name].append({design: own[name]["p"] for design, own in made.items()})
            seconds[name] += [own[name]["seconds"] for own in made.values()]
    found = {name: summary(own, designs) for name, own in answers.items()}
    for name, figures in found.items():
        figures["seconds"] = round(float(np.mean(seconds[name])), 2)
    compared(found, LEARNED)
    return found


def large() -> dict[str, float]:
    """Seconds and memory of the command on a large screen whose features lie in a file."""
    with tempfile.TemporaryDirectory() as folder:
        store, features = Path(folder) / "store", Path(folder) / "features.parquet"
        cell_vectors.write_random_store(store, LARGE_CELLS, LARGE_GENES)
        values = np.random.default_rng(0).normal(size=(LARGE_CELLS, LARGE_FEATURES)).astype(np.float32)
        names = [f"feature{i}_{cell_vectors.CHANNELS[i % 2]}" for i in range(LARGE_FEATURES)]
        crops = pd.read_parquet(store / CELLS_FILE, columns=[SHARD, ROW])
        pd.concat([crops, pd.DataFrame(values, columns=names)], axis=1).to_parquet(features)
        del values, crops
        call = ["hits", str(store), "--features", str(features), "--out", str(Path(folder) / "hits")]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = {"genes": LARGE_GENES, "cells": LARGE_CELLS, "features": LARGE_FEATURES} | cell_vectors.measured(call)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return found | {"cpu_seconds": round(cpu, 1)}


def print_figures(found: dict[str, dict[str, Any]]) -> None:
    """Print a table of rates and one of power."""
    for figure in ("rate_at_05", "power"):
        print(f"\n{figure}: {'; '.join(found)}")
        for key in dict.fromkeys(key for own in found.values() for key in own[figure]):
            row = (f"{own[figure][key]:10.3f}" if key in own[figure] else " " * 10 for own in found.values())
            print(f"  {key:76}" + "".join(row))


def seeds(text: str) -> list[int]:
    """Read ``0,1,2`` or ``0-99``; nothing is none."""
    first, _, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if last else [int(word) for word in text.split(",") if word]


def main() -> None:
    """Measure, test, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=seeds, default=list(range(10)), help="screens of all methods; may be none")
    parser.add_argument("--calibration-seeds", type=seeds, default=list(range(10, 100)), help="further nulls of ours")
    parser.add_argument("--learned-seeds", type=seeds, default=[0, 1, 2, 3], help="screens with learned features")
    parser.add_argument("--mantispy", metavar="PYTHON", help="an interpreter that has mantispy (Python 3.12 or newer)")
    parser.add_argument("--large", action="store_true", help="measure the large screen too")
    parser.add_argument("--quick", action="store_true", help="one seed and few settings: shows that it runs")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep pools and p-values; what is there is kept")
    parser.add_argument("--out", required=True, help="JSON file to write")
    options = parser.parse_args()
    options.counts = (24, 48, 192)
    if options.quick:
        options.seeds, options.calibration_seeds, options.learned_seeds = [0], [], []
        options.counts = (192,)
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        found: dict[str, dict[str, Any]] = {}
        for kind, simulated in (("real", False), ("simulated", True)):
            pool = Pool(work / kind, simulated)
            own = statistics_figures(pool, options, work / kind / "statistics") if options.seeds else {}
            if options.learned_seeds and not simulated:
                own |= learned_figures(pool, options, work / kind / "learned")
            for name, figures in own.items():
                add(found.setdefault(name, {}), figures, "simulated cells, " if simulated else "")
    print_figures(found)
    chosen = {"seeds": options.seeds, "calibration_seeds": len(options.calibration_seeds)}
    chosen |= {"mantispy_version": version_of(options.mantispy)} if options.mantispy else {}
    chosen |= {"learned_seeds": options.learned_seeds} | ({"large": large()} if options.large else {})
    write_record(options.out, "hits", found | chosen)


def version_of(python: str) -> str:
    """The version of mantispy that an interpreter has."""
    ask = "from importlib.metadata import version; print(version('mantispy'))"
    return subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True, env=bare()).stdout.strip()


def add(found: dict[str, Any], figures: dict[str, Any], prefix: str) -> None:
    """Take in figures whose designs are of a kind of cells."""
    for name, value in figures.items():
        if isinstance(value, dict):
            found.setdefault(name, {}).update({prefix + key: own for key, own in value.items()})
        else:
            found[prefix + name] = value


if __name__ == "__main__":
    main()
