"""A run on a tiny store whose guides have the names real libraries have."""

import numpy as np
import pandas as pd
import pytest

from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_store
from grape_ops.config import Config
from grape_ops.train.loop import train

GENES = ("POLR2A", "RPL4", "CCT2", "COG1", "SF3B1")
CHANNELS = ("tubulin", "DNA", "actin")


def guide(gene: str, number: int) -> str:
    rng = np.random.default_rng([number, *gene.encode()])
    return "".join(rng.choice(list("ACGT"), 20))


def cell(rng: np.random.Generator, size: int = 32) -> np.ndarray:
    """A nucleus in a body, as uint16 of three channels."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    nucleus = ((x / 6) ** 2 + (y / rng.uniform(4, 6)) ** 2 < 1) * rng.uniform(20_000, 40_000)
    body = ((x / rng.uniform(9, 13)) ** 2 + (y / 11) ** 2 < 1) * rng.uniform(15_000, 30_000)
    picture = np.stack([body, nucleus, 0.7 * body]) + rng.uniform(500, 1500, (3, size, size))
    return picture.astype(np.uint16)


@pytest.fixture(scope="session")
def export_run_path(tmp_path_factory, tiny_config: Config):
    """Path of a run; its store lies beside it."""
    folder = tmp_path_factory.mktemp("export")
    rng = np.random.default_rng(0)
    tables, shards = [], {}
    for well in ("A1", "B02"):
        genes = ["nontargeting"] * 12 + [gene for gene in GENES for _ in range(6)]
        shards[f"P1_{well}"] = np.stack([cell(rng) for _ in genes])
        tables.append(
            pd.DataFrame(
                {
                    "gene_symbol": genes,
                    "sgRNA": [guide(gene, n % 3) for n, gene in enumerate(genes)],
                    "plate": "P1",
                    "well": well,
                    "tile": [str(n % 4) for n in range(len(genes))],
                    "y": rng.uniform(20, 200, len(genes)),
                    "x": rng.uniform(20, 200, len(genes)),
                    "is_control": [gene == "nontargeting" for gene in genes],
                    "batch": f"P1|{well}",
                    "shard": f"P1_{well}",
                    "row": range(len(genes)),
                }
            )
        )
    write_store(folder / "store", shards, pd.concat(tables, ignore_index=True), CHANNELS)
    train(CropStore.open(folder / "store").path, folder / "run", tiny_config)
    return folder / "run"
