"""Runs to explore, served in this process on a free port, and a headless browser."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_store
from grape_ops.config import Config, EvaluateSettings, ExploreSettings
from grape_ops.embed import embed
from grape_ops.explore.explorer_data import ExplorerData
from grape_ops.explore.sources import Request
from grape_ops.methods.grape import training_identity
from grape_ops.restyle.phenotype_results import FEATURES_TSV, PHENOTYPE_JSON, PHENOTYPE_TSV
from grape_ops.schema import GENE, UNS_METHOD
from grape_ops.train.loop import train
from grape_ops.train.run_folder import open_run

EVIL_GENE = "<img src=x onerror=\"document.title='broken'\">"
EVIL_COMPLEX = "<script>document.title='broken'</script>"
QUICK = EvaluateSettings(leiden_runs=2, leiden_resolutions=(0.5, 1.0), shuffles=5)


def write_truth(file: Path, complexes: dict[str, tuple[str, ...]]) -> Path:
    lines = [f"{gene}\t{name}" for name, genes in complexes.items() for gene in genes]
    file.write_text("\n".join(["gene_symbol\tcomplex", *lines]) + "\n")
    return file


def write_check(run: Path, significant: dict[str, bool]) -> None:
    """A phenotype check beside a run, of genes whose restyling is or is not significant."""
    folder = run.parent / "phenotype"
    folder.mkdir()
    lines = {
        "gene_symbol": list(significant),
        "note": "",
        "separable": True,
        "auc": 0.9,
        "q_value": 1e-5,
        "share": 0.4,
        "share_low": 0.2,
        "share_high": 0.5,
        "rank": 1.0,
        "ranked": 4,
        "classified": 0.5,
        "classified_held_out": 0.6,
        "p_along": 0.001,
        "restyling_q": [0.001 if yes else 0.6 for yes in significant.values()],
        "restyling_significant": list(significant.values()),
    }
    pd.DataFrame(lines).to_csv(folder / PHENOTYPE_TSV, sep="\t", index=False)
    pd.DataFrame({"gene_symbol": [], "feature": []}).to_csv(folder / FEATURES_TSV, sep="\t", index=False)
    made = open_run(run)
    latest = made.latest_checkpoint()
    summary = {
        "checkpoint": latest.name if latest else "",
        "store_fingerprint": made.record["store_fingerprint"],
        "features": [],
        "settings": {"cells": 30},
    }
    (folder / PHENOTYPE_JSON).write_text(json.dumps(summary))


@pytest.fixture(scope="session")
def request_(tiny_store: CropStore, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Request:
    """A run of four genes with a truth, aliases, and another map of three runs beside it."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("explored")
    truth = write_truth(folder / "truth.tsv", {"first complex": ("AAA", "BBB"), "second": ("CCC", "DDD")})
    train(tiny_store.path, folder / "screen-one", tiny_config, truth=str(truth))
    vectors = embed(folder / "screen-one", tiny_config.embed)
    vectors.obs["druggable"] = np.array(["yes", "no", "yes", "no", "no"])
    vectors.uns[UNS_METHOD] = "other"
    for seed in range(3):
        other = vectors.copy()
        other.X = np.random.default_rng(seed).normal(size=other.shape).astype(np.float32)
        other.write_h5ad(folder / f"seed{seed}.h5ad")
    (folder / "aliases.tsv").write_text("alias\tgene_symbol\nOLDNAME\tCCC\n")
    return Request(
        run=folder / "screen-one",
        groups=("other=" + ",".join(str(folder / f"seed{seed}.h5ad") for seed in range(3)),),
        aliases=folder / "aliases.tsv",
        settings=ExploreSettings(cells=4, neighbours=3, strip_steps=3, strip_cells=2, pixel_size=0.5),
        evaluate=QUICK,
    )


@pytest.fixture(scope="session")
def request_with_hits(
    request_: Request, write_hits_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Request:
    """The same run, with hits.

    BBB has no phenotype, DDD was not tested, a guide of CCC contradicts the other, one of AAA does nothing.
    """
    folder = tmp_path_factory.mktemp("hits") / "hits"
    store = open_run(request_.run).record["store_fingerprint"]
    is_hit = {"AAA": True, "BBB": False, "CCC": True}
    return replace(request_, hits=write_hits_folder(folder, store, is_hit, discordant="CCC", inactive="AAA"))


@pytest.fixture
def compared(copied: Request, write_trust_folder: Callable[..., Path]) -> Request:
    """The run beside halves of its cells: the place of AAA repeats, that of BBB does not."""
    run = open_run(copied.run)
    store, training = run.record["store_fingerprint"], training_identity(run.config)
    write_trust_folder(copied.run.parent / "trust", store, {"AAA": True, "BBB": False}, training=training)
    return copied


@pytest.fixture(scope="session")
def explorer(request_: Request) -> ExplorerData:
    return ExplorerData(request_)


@pytest.fixture(scope="session")
def hostile(tiny_store: CropStore, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Request:
    """A run on one channel whose gene, complex and channel names are markup."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("hostile")
    cells = tiny_store.cells.copy()
    cells[GENE] = cells[GENE].replace({"AAA": EVIL_GENE})
    shards = {}
    for name in dict.fromkeys(cells["shard"]):
        shards[name] = tiny_store.read(np.flatnonzero(cells["shard"] == name))[:, :1]
    write_store(folder / "store", shards, cells, ["<i>DNA</i>"])
    truth = write_truth(folder / "truth.tsv", {EVIL_COMPLEX: (EVIL_GENE, "BBB"), "second": ("CCC", "DDD")})
    train(folder / "store", folder / "run", tiny_config, truth=str(truth))
    return Request(run=folder / "run", evaluate=QUICK)


@dataclass(frozen=True)
class Site:
    """A page being served."""

    address: str


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Request], Site]]:
    """Serve requests until the session ends."""
    uvicorn = pytest.importorskip("uvicorn", reason="the explorer needs the extra `explore`")
    from grape_ops.explore.server import listen, make_app

    running = []

    def start(request: Request) -> Site:
        listener = listen("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(make_app(request), log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        running.append((server, thread))
        return Site(f"http://127.0.0.1:{listener.getsockname()[1]}/")

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture(scope="session")
def site(serve: Callable[[Request], Site], request_: Request) -> Site:
    return serve(request_)


@pytest.fixture
def copied(request_: Request, tmp_path: Path) -> Request:
    """The run in a folder of its own, to be damaged."""
    shutil.copytree(request_.run, tmp_path / "run")
    store = request_.run / json.loads((request_.run / "run.json").read_text())["store"]
    return replace(request_, run=tmp_path / "run", store=store.resolve())
