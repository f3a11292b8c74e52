"""A store that several methods learn from."""

import numpy as np
import pandas as pd
import pytest

from grape_ops.cells.store import CropStore
from grape_ops.cells.writer import write_store


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
            rows.append({"gene_symbol": gene, "sgRNA": gene, "is_control": row % 5 == 0} | place)
        crops[shard] = np.clip(images * (1 + number), 0, 65535).astype(np.uint16)
    path = tmp_path_factory.mktemp("classifier") / "store"
    write_store(path, crops, pd.DataFrame(rows), ("DNA", "actin"))
    return CropStore.open(path)
