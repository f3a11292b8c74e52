"""Vectors of single cells and of guides, for any tool: codes of E, a network's features, measurements, own encoders.

Cells are read and written in blocks, so that memory is flat in their number; what an interrupted call has read lies in
a folder ``NAME.work-…`` beside the file, and the same call goes on from there.
Letters: N cells, n cells with vectors, V length of a vector, U guides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from grape_ops.artifacts.disk_errors import output_errors
from grape_ops.artifacts.identity import identity_of
from grape_ops.artifacts.locks import locked
from grape_ops.cells.averages import blocks
from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.config import Config
from grape_ops.embed import run_store, trained_nets
from grape_ops.errors import GrapeOpsError
from grape_ops.export.vector_tables import VectorTable, check_place, write_table
from grape_ops.hits.cell_features import standardised
from grape_ops.hits.feature_sources import FeatureSource, feature_sources, what_decides
from grape_ops.hits.guide_profiles import GuideProfiles
from grape_ops.hits.guides import Guides
from grape_ops.progress import progress
from grape_ops.schema import (
    BATCH,
    CELLS_FILE,
    GENE,
    GUIDE,
    IS_CONTROL,
    METADATA,
    METADATA_NAMES,
    METADATA_OBJECT,
    OBS_N_CELLS,
    PLATE,
    ROW,
    RUN_FILE,
    SHARD,
    TILE,
    WELL,
    X,
    Y,
)
from grape_ops.train.checkpoint import weights_sha256
from grape_ops.train.run_folder import Run, open_run

CELL_ID, FOLD, HELD_OUT = "cell_id", "fold", "held_out"
_OBS = (GENE, GUIDE, PLATE, WELL, TILE, Y, X, IS_CONTROL, BATCH, CELL_ID, SHARD, ROW)
# What a run's networks make of a cell: E, and the classifier that restyling looks through.
CODES, NETWORK = "codes", "network"


@dataclass(frozen=True)
class _Origin:
    """Where vectors come from.

    Attributes
    ----------
    store, config : cells and settings.
    features : what they are, in a word.
    run : whose networks read the cells; None where no trained run is needed.
    """

    store: CropStore
    config: Config
    features: str
    run: Run | None

    def sources(self) -> list[FeatureSource]:
        """The vectors, to be read in blocks: one set, or one per fold."""
        if self.features not in (CODES, NETWORK):
            return list(feature_sources(self.store, self.config))
        assert self.run is not None
        return [_of_run(self.run, self.store, self.features)]

    def key(self) -> str:
        """Hash of all that decides the vectors."""
        facts = [what_decides(self.config), self.config.seed] if self.run is None else []
        if self.run is not None:
            path = self.run.latest_checkpoint() or Path()
            facts = [weights_sha256(path, self.run.config.embed.ema)]
        return identity_of(store_fingerprint(self.store), self.features, *facts)[:10]


def write_cells(
    place: Path,
    out: Path,
    config: Config,
    *,
    level: str,
    features: str | None = None,
    store_path: Path | None = None,
    columns: str = "own",
) -> str:
    """Write vectors of cells or of guides as ``.h5ad``, ``.zarr`` or ``.parquet``.

    Parameters
    ----------
    place : a run folder, or a crop store.
    out : file to write; its ending says how.
    config : settings of the features; of a run's networks those of the run.
    level : "cell" or "guide".
    features : "codes" and "network" are those of a run; None takes codes of a run, ``hits.features`` of a store.
    store_path : of a run whose store has moved.
    columns : "own", or "metadata" for the names of pycytominer, CytoTable and mantispy.

    Returns
    -------
    What was left out, in sentences.

    Raises
    ------
    GrapeOpsError : the features need a run, the run has no such network, or ``out`` is somebody else's.
    """
    if level not in ("cell", "guide") or columns not in ("own", "metadata"):
        raise GrapeOpsError(
            f"--level is gene, guide or cell, and --columns own or metadata; got {level} and {columns}."
        )
    check_place(out)
    origin = _origin(place, config, features, store_path)
    if level == "guide":
        return _written(_guides(origin), out, columns)
    work = out.with_name(f"{out.stem}.work-{origin.key()}")
    with locked(work, "vectors of cells", temporary=True):
        return _written(_cells(origin, work / "vectors.f32"), out, columns)


def _written(table: VectorTable, out: Path, columns: str) -> str:
    """Write a table, and return what was left out."""
    if columns == "metadata":
        table.obs = _as_metadata(table.obs)
    write_table(table, out)
    return "".join(f"{note}.\n" for note in table.notes)


def _origin(place: Path, config: Config, features: str | None, store_path: Path | None) -> _Origin:
    if (place / RUN_FILE).is_file():
        run = open_run(place)
        kept = {name: getattr(config, name) for name in ("hits", "baselines", "features")}
        store = _cells_of(run, store_path, config.where)
        used = features or CODES
        own = used in (CODES, NETWORK)
        if own and config.features.channels:
            raise GrapeOpsError(
                f"Networks read all channels, so that {used} cannot be restricted to some (features.channels, "
                "--channels). Add --features statistics or engineered for vectors of these channels."
            )
        return _Origin(store, run.config.model_copy(update=kept), used, run if own else None)
    if features in (CODES, NETWORK):
        raise GrapeOpsError(f"--features {features} are made by the networks of a run; {place} is no run folder.")
    return _Origin(CropStore.open(place, where=config.where), config, features or config.hits.features, None)


def _cells_of(run: Run, store_path: Path | None, where: str) -> CropStore:
    """The cells of a run, by gene whatever its unit."""
    place = run_store(run, store_path, where).path
    store = CropStore.open(place, where=run.config.where)
    return store.within(where) if where else store


def _of_run(run: Run, store: CropStore, features: str) -> FeatureSource:
    """What E, or the classifier that D and the losses look through, makes of real cells."""
    import torch

    from grape_ops.cells.batches import StandardizedCrops
    from grape_ops.train.fit_classifier import features_of

    nets, _ = trained_nets(run, averaged=run.config.embed.ema)
    if features == NETWORK and nets.classifier is None:
        raise GrapeOpsError(
            f"{run.path} keeps no classifier: a run does where D or a loss looks through it, as in recommended.yaml. "
            "--features learned trains one, and reads each cell by a network that has not seen it."
        )
    part = nets.style_encoder if nets.classifier is None or features == CODES else nets.classifier.trunk
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    part, crops = part.to(device), StandardizedCrops(store, device)
    width = features_of(part, crops, np.arange(1)).shape[1]
    names = tuple(f"{'code' if features == CODES else 'network'}_{number}" for number in range(width))
    return FeatureSource(names, np.arange(len(store)), lambda rows: features_of(part, crops, rows))


def _cells(origin: _Origin, file: Path) -> VectorTable:
    """Vectors of cells, which lie in a file of float32."""
    sources = origin.sources()
    with output_errors(file):
        _read_all(sources, file)
    cells = np.concatenate([source.cells for source in sources])
    obs = _obs_of(origin.store).iloc[cells]
    if len(sources) > 1:
        obs[FOLD] = pd.Categorical(np.repeat(np.arange(len(sources)), [len(s.cells) for s in sources]).astype(str))
    if origin.run is not None and origin.run.config.train.holdout:
        from grape_ops.cells.batches import hold_out

        run = origin.run
        labels, here = run_store(run, origin.store.path, origin.store.narrowed).run_cells
        obs[HELD_OUT] = hold_out(labels, run.config.train.holdout, run.config.seed)[here][cells]
    notes = tuple(dict.fromkeys(note for source in sources for note in source.notes))
    return VectorTable(obs, sources[0].names, file, origin.features, notes, origin.store.simulated)


def _read_all(sources: Sequence[FeatureSource], file: Path) -> None:
    """Append the vectors of all cells to a file of float32, from where an earlier call stopped."""
    length = 4 * len(sources[0].names)
    every: Iterator[tuple[FeatureSource, np.ndarray]] = ((s, rows) for s in sources for rows in blocks(s.cells))
    total, there = sum(len(source.cells) for source in sources), file.stat().st_size if file.exists() else 0
    begun = 0
    with file.open("r+b" if there else "wb") as handle, progress("Vectors of cells", total, "cell") as advance:
        for source, rows in every:
            if there < begun + len(rows) * length:
                handle.seek(begun)
                handle.write(np.ascontiguousarray(source.read(rows), np.float32).tobytes())
            begun += len(rows) * length
            advance(len(rows))
        handle.truncate(begun)


def _obs_of(store: CropStore) -> pd.DataFrame:
    """What is known of every cell, with texts as categories: a million cells take some 100 MB."""
    schema = pq.read_schema(store.path / CELLS_FILE)
    wanted = [name for name in _OBS if name in schema.names]
    texts = [name for name in wanted if "string" in str(schema.field(name).type)]
    obs = store.table(wanted, texts).to_pandas(ignore_metadata=True)
    crop = obs[SHARD].astype(str) + ":" + obs[ROW].astype(str)
    if CELL_ID not in obs:
        obs.insert(wanted.index(BATCH) + 1, CELL_ID, crop)
    return obs.set_axis(pd.Index(crop))


def _guides(origin: _Origin) -> VectorTable:
    """Batch-adjusted profiles of guides, as hits are tested on; those of several folds side by side."""
    guides = Guides.of(origin.store)
    profiles: list[GuideProfiles] = []
    notes: list[str] = []
    for source in origin.sources():
        features = standardised(origin.store, source, origin.config.hits)
        profiles.append(GuideProfiles.of(features.sums(guides.codes, "Profiles of guides"), guides.controls))
        notes += features.notes
    cells = np.sum([found.cells for found in profiles], axis=0)
    batches = (sum(found.shares * found.cells[:, None] for found in profiles) > 0).sum(axis=1)
    obs = pd.DataFrame(
        {
            GENE: pd.Categorical(guides.genes),
            GUIDE: guides.names,
            OBS_N_CELLS: cells.astype(np.int64),
            "n_batches": batches,
            IS_CONTROL: guides.controls,
        }
    )
    twice = obs[GUIDE].duplicated(keep=False)
    obs.index = pd.Index(obs[GUIDE].where(~twice, obs[GENE].astype(str) + "_" + obs[GUIDE]))
    vectors = np.hstack([found.profiles for found in profiles]).astype(np.float32)
    names = tuple(f"axis_{number}" for number in range(vectors.shape[1]))
    present = cells > 0
    kept = tuple(dict.fromkeys(notes))
    return VectorTable(obs[present], names, vectors[present], origin.features, kept, simulated=origin.store.simulated)


def _as_metadata(obs: pd.DataFrame) -> pd.DataFrame:
    """Columns with the names of CellProfiler's family of tools; cells are numbered from 1 in each site."""
    names = {c: METADATA_NAMES.get(c, METADATA + "_".join(w.capitalize() for w in c.split("_"))) for c in obs.columns}
    named = obs.rename(columns=names)
    if {PLATE, WELL} <= set(obs):
        site = obs.groupby([c for c in (PLATE, WELL, TILE) if c in obs], sort=False, observed=True, dropna=False)
        named[METADATA_OBJECT] = site.cumcount() + 1
    return named
