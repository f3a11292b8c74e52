"""What functions of the public face take, brought to one form: paths, settings, stores, maps and truths."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd

from grape_ops.cells.store import CropStore
from grape_ops.config import Config, load_config
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.evaluate_files import read_map
from grape_ops.groundtruth.truth import GroundTruth, load_truth
from grape_ops.schema import COMPLEX, GENE, UNS_METHOD
from grape_ops.train.preset import training_settings

if TYPE_CHECKING:
    from anndata import AnnData

    GeneMap: TypeAlias = AnnData | str | Path
    GeneMaps: TypeAlias = GeneMap | Sequence[GeneMap]
    NamedMaps: TypeAlias = Mapping[str, GeneMap | Sequence[GeneMap]]

FileOrFolder = str | Path
Store = str | Path | CropStore
Settings = Config | str | Path | None
Truth = str | Path | pd.DataFrame


def settings_of(config: Settings, store: "Store | None" = None) -> Config:
    """Read settings: a ``Config`` as it is, a file or preset by name, the defaults for None.

    A store that is a subset adds what chose its cells.
    """
    return _with_subset(config if isinstance(config, Config) else load_config(config), store)


def settings_to_train(config: Settings, store: Store, resumed: Path | None = None) -> Config:
    """Read settings for a training; for None, those of the run that goes on, or the preset that suits the store."""
    if isinstance(config, Config):
        return _with_subset(config, store)
    subset = store.where if isinstance(store, CropStore) and config is None else ""
    chosen = [f"where={json.dumps(subset)}"] if subset else []
    return _with_subset(training_settings(path_of(store), config, chosen, resumed=resumed), store)


def _with_subset(config: Config, store: "Store | None") -> Config:
    subset = (store.where, store.narrowed) if isinstance(store, CropStore) else ()
    parts = list(dict.fromkeys(where for where in (config.where, *subset) if where))
    where = parts[0] if len(parts) == 1 else " and ".join(f"({part})" for part in parts)
    return config.model_copy(update={"where": where}) if where != config.where else config


def store_of(store: Store, where: str = "") -> CropStore:
    """Open a store, unless it is open, and take the cells that settings choose."""
    held = store if isinstance(store, CropStore) else CropStore.open(store)
    return held.subset(where) if where and where != held.where else held


def path_of(store: Store) -> Path:
    """Folder of a store."""
    return store.path if isinstance(store, CropStore) else Path(store)


def path_or_none(path: FileOrFolder | None) -> Path | None:
    """Make a path of what was given, if anything was."""
    return Path(path) if path is not None else None


def paths_of(files: FileOrFolder | Iterable[FileOrFolder]) -> list[Path]:
    """Make paths of one file or several."""
    return [Path(files)] if isinstance(files, str | Path) else [Path(file) for file in files]


def names_of(names: str | Iterable[str]) -> list[str]:
    """Take one name or several."""
    return [names] if isinstance(names, str) else list(names)


def map_of(source: "GeneMap") -> "AnnData":
    """Read gene vectors, unless they are an AnnData."""
    return read_map(Path(source)) if isinstance(source, str | Path) else source


def runs_of(maps: "GeneMaps") -> "list[AnnData]":
    """Read one map, or several."""
    given: Sequence[GeneMap] = maps if isinstance(maps, list | tuple) else [maps]
    return [map_of(source) for source in given]


def maps_of(maps: "GeneMaps | NamedMaps") -> "dict[str, list[AnnData]]":
    """Bring maps under the names they have in tables: those of a mapping, or their own; each with all its runs."""
    if isinstance(maps, Mapping):
        return {name: runs_of(given) for name, given in maps.items()}
    named: dict[str, list[AnnData]] = {}
    for place, adata in enumerate(runs_of(maps), start=1):
        name = str(adata.uns.get(UNS_METHOD, f"map {place}"))
        if name in named:
            raise GrapeOpsError(f"Two maps are named {name}. Name them: {{'one': ..., 'other': ...}}.")
        named[name] = [adata]
    return named


def truth_of(truth: Truth) -> GroundTruth:
    """Read known complexes: a built-in name, a file, or a table with columns gene_symbol and complex."""
    if not isinstance(truth, pd.DataFrame):
        return load_truth(truth)
    missing = [column for column in (GENE, COMPLEX) if column not in truth]
    if missing:
        raise GrapeOpsError(f"A truth has columns {GENE} and {COMPLEX}; this one lacks {', '.join(missing)}.")
    return GroundTruth.of("table", {str(name): part[GENE].astype(str) for name, part in truth.groupby(COMPLEX)})
