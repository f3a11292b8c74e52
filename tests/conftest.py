"""Small inputs that several tests share."""

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.cells.writer import write_store
from grape_ops.config import Config, load_config
from grape_ops.errors import GrapeOpsError
from grape_ops.runner.jobs import Job
from grape_ops.schema import (
    BATCH,
    CONTROL_LABEL,
    GENE,
    GUIDE,
    HITS_GENES,
    HITS_GUIDES,
    HITS_JSON,
    IS_CONTROL,
    PLATE,
    ROW,
    SHARD,
    TILE,
    TRUST_GENES,
    TRUST_JSON,
    TRUST_MAPS,
    WELL,
    X,
    Y,
)
from grape_ops.train import preflight

TINY_GENES = ("AAA", "BBB", "CCC", "DDD")

TINY = (
    "preprocess.crop_size=32",
    "model.embedding_dim=8",
    "model.style_dim=4",
    "model.mapping_width=8",
    "model.generator={width: 4, max_width: 8, down_blocks: 2, middle_blocks: 1}",
    "model.discriminator={width: 4, max_width: 8, blocks: 3}",
    "model.style_encoder={width: 4, max_width: 8, blocks: 3}",
    "train.batch_size=8",
    "train.steps=12",
    "train.checkpoint_every=4",
    "train.log_every=2",
    "train.evaluate_every=6",
    "train.ema={every: 2, decay: 0.5}",
    "train.threads=1",
    "train.augment=true",
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Small networks are many times slower on several threads while a machine is busy."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    return load_config(overrides=TINY)


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    """Two wells, four genes of 10 to 13 cells and 16 controls; genes differ by the brightness of a channel."""
    path = tmp_path_factory.mktemp("tiny") / "store"
    make_store(path, seed=0)
    return CropStore.open(path)


@pytest.fixture(scope="session")
def two_phenotypes(tmp_path_factory) -> CropStore:
    """Four genes of two phenotypes, a spot in the middle or a stripe, in two batches of other brightness."""
    rng = np.random.default_rng(0)
    rows, crops = [], {}
    for number, shard in enumerate(("P_A1", "P_A2")):
        images = rng.normal(9000, 1500, (120, 2, 16, 16))
        for row in range(120):
            gene = ("nontargeting", "SPOT1", "SPOT2", "STRIPE1", "STRIPE2")[row % 5]
            images[row, 0, 6:10, 6:10] += 8000 * gene.startswith("SPOT")
            images[row, 1, :, 7:9] += 8000 * gene.startswith("STRIPE")
            place = {"plate": "P", "well": shard[2:], "tile": "0", "batch": shard, "shard": shard, "row": row}
            rows.append({"gene_symbol": gene, "sgRNA": f"{gene}_{row // 5 % 2}", "is_control": row % 5 == 0} | place)
        crops[shard] = np.clip(images * (1 + number), 0, 65535).astype(np.uint16)
    path = tmp_path_factory.mktemp("classifier") / "store"
    write_store(path, crops, pd.DataFrame(rows), ("DNA", "actin"))
    return CropStore.open(path)


def make_store(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shards, tables = {}, []
    for well in ("A1", "A2"):
        genes = [CONTROL_LABEL] * 8 + [gene for i, gene in enumerate(TINY_GENES) for _ in range(5 + i % 2)]
        crops = rng.integers(8_000, 24_000, (len(genes), 2, 32, 32)).astype(np.uint16)
        for crop, gene in zip(crops, genes, strict=True):
            if gene in TINY_GENES:
                crop[TINY_GENES.index(gene) % 2] += np.uint16(20_000 if gene in TINY_GENES[:2] else 10_000)
        shards[f"P1_{well}"] = crops
        tables.append(
            pd.DataFrame(
                {
                    GENE: genes,
                    GUIDE: [f"{gene}_{i % 2}" for i, gene in enumerate(genes)],
                    PLATE: "P1",
                    WELL: well,
                    TILE: "1",
                    Y: 50.0,
                    X: 50.0,
                    IS_CONTROL: [gene == CONTROL_LABEL for gene in genes],
                    BATCH: f"P1|{well}",
                    SHARD: f"P1_{well}",
                    ROW: range(len(genes)),
                }
            )
        )
    write_store(path, shards, pd.concat(tables, ignore_index=True), ("DNA", "actin"))


@contextmanager
def signal_when(happened: Callable[[], bool], number: int) -> Iterator[None]:
    """Signal this process as soon as something has happened."""

    def watch() -> None:
        while not over.wait(0.02):
            if happened():
                os.kill(os.getpid(), number)
                return

    over = threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@pytest.fixture(name="signal_when")
def _signal_when() -> Callable[[Callable[[], bool], int], AbstractContextManager[None]]:
    return signal_when


@pytest.fixture(autouse=True, scope="session")
def _count_memory_once() -> Iterator[None]:
    """Count what a training takes once for networks and batches of the same size: it is half of a tiny training."""
    count, counted = preflight.memory_needed, {}
    steps = {"steps", "checkpoint_every", "keep_checkpoints", "keep_every", "log_every", "evaluate_every"}

    def remembered(store: CropStore, config: Config) -> preflight.Need:
        cells = (len(store), len(store.perturbations), store.channels, store.crop_size, store.pixel_type)
        key = (*cells, config.model.model_dump_json(), config.train.model_dump_json(exclude=steps))
        if key not in counted:
            counted[key] = count(store, config)
        return counted[key]

    preflight.memory_needed = remembered
    yield
    preflight.memory_needed = count


def _job_of(method: str, config: Config, store: CropStore, work: Path) -> Job:
    return Job.of(method, 0, config, store.path, store_fingerprint(store), work)


@pytest.fixture(name="job_of")
def _the_job_of() -> Callable[[str, Config, CropStore, Path], Job]:
    return _job_of


@contextmanager
def _jobs_here() -> Iterator[None]:
    """Do the jobs of a command here, one after the other: starting a process for each takes seconds.

    That jobs run in processes of their own is tested in tests/runner and tests/benchmark.
    """
    from grape_ops.runner import processes
    from grape_ops.runner.worker import work

    def run(_: object, job: Job, __: object) -> str:
        try:
            work(job.folder)
        except GrapeOpsError as error:
            return str(error)
        return ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "core_count", lambda: 1)
        patch.setattr(processes._Processes, "_run", run)
        yield


@pytest.fixture(name="jobs_here", scope="session")
def _the_jobs_here() -> Callable[[], AbstractContextManager[None]]:
    return _jobs_here


@pytest.fixture
def jobs_in_this_process() -> Iterator[None]:
    with _jobs_here():
        yield


@pytest.fixture(autouse=True, scope="session")
def _heed_ctrl_c() -> Iterator[None]:
    """Let processes that tests start die of Ctrl-C, although nohup or a background shell has it ignored here.

    Children inherit an ignored signal, but never a handler: with one here, theirs is the default again.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _write_hits(folder: Path, store: str, is_hit: dict[str, bool], discordant: str = "", inactive: str = "") -> Path:
    """A folder as `grape-ops hits` writes it: two guides per gene, one of ``discordant`` or ``inactive`` is that."""
    folder.mkdir(parents=True)
    genes = list(is_hit)
    table = pd.DataFrame({"gene_symbol": genes, "n_cells": 10, "n_guides": 2, "n_batches": 2})
    table["effect"] = [1.5 if hit else 0.25 for hit in is_hit.values()]
    table["p_value"] = [1e-6 if hit else 0.5 for hit in is_hit.values()]
    table["q_value"] = [1e-5 if hit else 0.5 for hit in is_hit.values()]
    table["is_hit"] = list(is_hit.values())
    table = table.assign(guides_agree=0.75, auc=0.9, share_of_cells=0.5, top_channel="DNA")
    table.sort_values("p_value", kind="stable").to_csv(folder / HITS_GENES, sep="\t", index=False)
    rows = []
    for gene in genes:
        for number in range(2):
            out = gene == discordant and number == 1
            idle = gene == inactive and number == 1
            p_value = 0.001 if is_hit[gene] and not idle else 0.5
            agreement = -0.5 if out else 0.0 if idle else 0.75
            rows.append([f"{gene}-GUIDE-{number}", gene, 5, 1.0, p_value, p_value, agreement, out, idle])
    columns = ["guide", "gene_symbol", "n_cells", "effect", "p_value", "q_value", "agreement", "outlier", "inactive"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / HITS_GUIDES, sep="\t", index=False)
    summary = {
        "store": store,
        "settings": {"q_value": 0.05, "features": "statistics"},
        "genes": len(genes),
        "hits": sum(is_hit.values()),
        "calibration": {
            "pseudo_genes": 150,
            "rate_at_05": 0.04,
            "in_words": "4.0% of 150 pseudo-genes of non-targeting guides have p < 0.05: as it should be.",
        },
    }
    (folder / HITS_JSON).write_text(json.dumps(summary))
    return folder


@pytest.fixture(name="write_hits_folder", scope="session")
def _write_hits_folder() -> Callable[..., Path]:
    return _write_hits


def _write_trust(
    folder: Path, store: str, repeats: dict[str, bool], method: str = "GRAPE M", training: str = "settings"
) -> Path:
    """A folder as `grape-ops trust` writes it: genes whose place repeats between halves of the cells, or does not."""
    folder.mkdir(parents=True)
    genes = pd.DataFrame({"method": method, "gene_symbol": list(repeats), "n_cells": 12})
    for name, yes, no in (("correlation", 0.9, -0.1), ("neighbours", 1.0, 0.0), ("q_value", 0.01, 0.6)):
        genes[name] = [yes if repeat else no for repeat in repeats.values()]
    genes.assign(p_value=genes["q_value"]).to_csv(folder / TRUST_GENES, sep="\t", index=False)
    whole = {"correlation": 0.8, "p_value": 0.001, "neighbours_chance": 0.5, "n_neighbours": 2, "different_genes": 0.7}
    pd.DataFrame([{"method": method, **whole}]).to_csv(folder / TRUST_MAPS, sep="\t", index=False)
    (folder / TRUST_JSON).write_text(json.dumps({"methods": ["grape"], "store": store, "training": training}))
    return folder


@pytest.fixture(name="write_trust_folder", scope="session")
def _write_trust_folder() -> Callable[..., Path]:
    return _write_trust


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Two workers of a Dask scheduler."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as two:
        yield two


CHROME = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # WebGL without a graphics card
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1366,768",
)


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory, downloads: Path) -> Iterator[Any]:
    """One headless browser for all pages."""
    pytest.importorskip("selenium", reason="the browser test needs selenium")
    if CHROME is None or DRIVER is None:
        pytest.skip("the browser test needs chromium and chromedriver on the PATH")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROME)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
    yield driver
    driver.quit()
