"""Planted screens of simulated control cells: as many cells as are asked for, and true counterfactuals beside."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from grape_ops.cells.store import CropStore
from grape_ops.config import CalibrateSettings, Config, SimulateSettings, load_config
from grape_ops.power.counterfactual_reference import CounterfactualReference, read_reference
from grape_ops.power.design import draw_design
from grape_ops.power.planted_store import Source, read_source, write_planted_store
from grape_ops.power.restyling_scores import counterfactuals_of
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.screen.layouts import open_screen
from grape_ops.simulate.write_screen import simulate_screen
from record import package_commit

SPARE = 1.25  # cells simulated for each that is wanted: one in eight lies at a tile's edge


@dataclass(frozen=True)
class Screens:
    """Planted screens of one kind, a folder for them, and how many cells of each are restyled.

    Attributes
    ----------
    folder : holds nothing of other settings, or of another package.
    planted : what is planted.
    restyled : control cells that enter no screen.
    """

    folder: Path
    planted: CalibrateSettings
    restyled: int

    @classmethod
    def of(cls, work: Path, planted: CalibrateSettings, restyled: int, judging: Config) -> "Screens":
        """Choose the folder; ``judging`` says how maps and cells are made, read and measured, training left out."""
        settings = judging.model_dump(mode="json", exclude={"seed", "model", "train"})
        facts = [package_commit(), planted.model_dump(mode="json"), restyled, settings]
        mark = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]
        return cls(work / f"{planted.cells_per_gene}cells-{mark}", planted, restyled)

    @cached_property
    def source(self) -> Source:
        """The usable control cells."""
        pool = self.folder / "pool"
        if not pool.exists():
            write_pool(pool, cells_of(self.planted) + self.restyled)
        return read_source(CropStore.open(pool))

    def store(self, seed: int) -> CropStore:
        """The planted store of a seed, written if it is not there."""
        path = self.folder / f"seed{seed}" / "store"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_planted_store(self.source, self.planted, seed, path)
        return CropStore.open(path)

    def reference(self, seed: int, store: CropStore, config: Config) -> CounterfactualReference:
        """The measured counterfactuals of a seed."""
        design = draw_design(self.source.batch_codes, len(self.source.traits), self.planted, seed)
        folder = self.folder / f"seed{seed}"
        pictures = counterfactuals_of(self.source, design, store, folder, self.restyled)
        return read_reference(pictures, store, config, folder)


def cells_of(planted: CalibrateSettings) -> int:
    """Cells of a planted screen, controls among them."""
    return planted.complexes * planted.genes_per_complex * planted.cells_per_gene + planted.control_cells


def write_pool(pool: Path, wanted: int) -> None:
    """Simulate control cells, and cut them into crops."""
    config = load_config("small.yaml")
    # A screen cannot be without genes: one, of four cells, which nobody reads.
    simulated = SimulateSettings(complexes=1, genes_per_complex=1, cells_per_gene=4, control_cells=int(SPARE * wanted))
    draft, screen = pool.with_name("pool.partial"), pool.with_name("screen")
    simulate_screen(screen, simulated)
    preprocess(open_screen(screen, config.screen), draft, config.preprocess, overwrite=True)
    draft.rename(pool)
    shutil.rmtree(screen)
