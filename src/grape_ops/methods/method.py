"""What a method is, and what it is given: everything that makes gene vectors from the cells of a store.

All methods are registered in ``METHODS`` of ``methods/__init__.py``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from grape_ops.artifacts.identity import sha256_of
from grape_ops.cells.genes import MADE_BY, gene_table
from grape_ops.cells.store import CropStore
from grape_ops.config import Config, Settings
from grape_ops.errors import GrapeOpsError
from grape_ops.schema import OBS_IS_CONTROL, OBS_N_CELLS, OBS_N_GUIDES, UNS_MADE_BY, UNS_SIMULATED, UNS_WHERE

if TYPE_CHECKING:
    from anndata import AnnData

NOTES = "notes"  # of uns: sentences for whoever reads the scores


@dataclass(frozen=True)
class Task:
    """What a method is given.

    Attributes
    ----------
    store : the cells; a method uses these and no others.
    config : all settings.
    seed : of whatever it draws.
    folder : for what an interrupted call can go on from; it need not exist yet.
    """

    store: CropStore
    config: Config
    seed: int
    folder: Path


def all_settings(config: Config) -> dict[str, Any]:
    """Every setting that may decide a result: what is assumed of a method that does not say what it reads."""
    return config.decisive()


def all_files(config: Config) -> dict[str, Path | None]:
    """Every file that a setting names, by the setting's dotted name."""
    return _files_of(config, "")


def no_files(config: Config) -> dict[str, Path | None]:
    """Return no file: the method reads nothing but the store."""
    return {}


def no_check(store: CropStore, config: Config) -> None:
    """Accept every store."""


@dataclass(frozen=True)
class Method:
    """A way of making gene vectors.

    Attributes
    ----------
    name : what it is called on the command line and, if it makes one map, in tables.
    run : makes its vectors: one AnnData, or several by the names they have in tables, the main one first.
    deterministic : whether it draws nothing, so that every seed gives the same vectors.
    settings : what of the configuration decides its vectors, as JSON; all of it unless a method says otherwise.
    inputs : the files it reads: the setting that names one -> the file; None for a file that it needs and nobody set.
    code : source files whose content decides its vectors, for methods that are not part of this package.
    trains : whether it trains networks of GRAPE's, which is announced before it begins.
    reads : what its vectors are made of: the crops of the store, measurements of the store's cells made elsewhere, or
        prior knowledge of genes.
    order : place in tables: the method with the lowest is what the others are compared with.
    needs : an optional package it imports, and the extra of grape-ops that installs it.
    check : refuses, before hours of other methods, a store or settings it cannot work with.
    by_channel : whether ``features.channels`` restricts it; a method that ignores it reads all channels.
    read_outs : names of the maps that the settings ask for, the main one first; None if that is all of them.
    """

    name: str
    run: Callable[[Task], "AnnData | dict[str, AnnData]"]
    deterministic: bool = False
    settings: Callable[[Config], Any] = all_settings
    inputs: Callable[[Config], Mapping[str, Path | None]] = all_files
    code: tuple[Path, ...] = ()
    trains: bool = False
    reads: Literal["crops", "measurements", "prior knowledge"] = "crops"
    order: int = 0
    needs: tuple[str, str] | None = None
    check: Callable[[CropStore, Config], None] = no_check
    by_channel: bool = False
    read_outs: Callable[[Config], tuple[str, ...]] | None = None

    def maps(self, task: Task) -> "dict[str, AnnData]":
        """Make its vectors: name in tables -> AnnData.

        What ``obs`` does not say of the genes, such as their number of cells, is filled in from the store.

        Raises
        ------
        GrapeOpsError : what it returns is no AnnData.
        """
        from anndata import AnnData

        made = self.run(task)
        maps = made if isinstance(made, dict) else {self.name: made}
        if not maps or not all(isinstance(adata, AnnData) for adata in maps.values()):
            raise GrapeOpsError(f"The method {self.name} must return an AnnData of gene vectors, or several by name.")
        genes = gene_table(task.store)
        for adata in maps.values():
            adata.uns[UNS_MADE_BY] = MADE_BY
            if task.store.where:
                adata.uns[UNS_WHERE] = task.store.where
            if task.store.simulated:
                adata.uns[UNS_SIMULATED] = True
            for column in (OBS_N_CELLS, OBS_N_GUIDES, OBS_IS_CONTROL):
                if column not in adata.obs:
                    absent = False if column == OBS_IS_CONTROL else 0
                    adata.obs[column] = genes[column].reindex(adata.obs_names, fill_value=absent)
        return maps

    def asked_for(self, config: Config, maps: "Mapping[str, AnnData]") -> "dict[str, AnnData]":
        """Of its maps those that the settings ask for, the main one first."""
        names = self.read_outs(config) if self.read_outs else tuple(maps)
        return {name: maps[name] for name in names if name in maps}

    def decisive(self, config: Config) -> dict[str, Any]:
        """What decides its vectors besides the cells and the seed, as JSON.

        A file that it reads counts by its path, size and time of change, its source code by content.
        """
        settings = self.settings(config)
        if isinstance(settings, dict):
            settings = {key: value for key, value in settings.items() if key != "seed"}
        files = [[name, *_facts(file)] for name, file in self.inputs(config).items() if file is not None]
        return {"settings": settings, "files": files, "code": [sha256_of(file) for file in self.code]}

    @property
    def missing(self) -> str:
        """What has to be installed before it can run, in words; empty if nothing."""
        if self.needs is None or find_spec(self.needs[0]) is not None:
            return ""
        package, extra = self.needs
        return f"{package.replace('_', '-')} is not installed: pip install 'grape-ops[{extra}]'"

    def lacks_input(self, config: Config) -> bool:
        """Whether a file that it needs is not set."""
        return any(file is None for file in self.inputs(config).values())

    def check_inputs(self, store: CropStore, config: Config) -> None:
        """Stop before hours of work where the method lacks what it needs.

        Raises
        ------
        GrapeOpsError : a file is not set or not there, a package is missing, or the store does not suit the method.
        """
        if self.missing:
            raise GrapeOpsError(f"{self.name} cannot run, since {self.missing}.")
        for setting, file in self.inputs(config).items():
            if file is None or not file.exists():
                raise GrapeOpsError(f"{self.name} reads a file, --set {setting}=FILE; there is {file or 'none set'}.")
        self.check(store, config)


def _facts(file: Path) -> list[Any]:
    if not file.exists():
        return [str(file)]
    inside = sorted(p for p in file.rglob("*") if p.is_file()) if file.is_dir() else [file]  # a zarr is a folder
    facts = [part.stat() for part in inside]
    return [str(file), sum(f.st_size for f in facts), max((f.st_mtime_ns for f in facts), default=0)]


def _files_of(settings: Settings, prefix: str) -> dict[str, Path | None]:
    found: dict[str, Path | None] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Settings):
            found |= _files_of(value, f"{prefix}{name}.")
        elif isinstance(value, Path) and value.is_file():
            found[prefix + name] = value
        elif isinstance(value, tuple):
            files = {f"{prefix}{name}[{place}]": one for place, one in enumerate(value) if isinstance(one, Path)}
            found |= {place: file for place, file in files.items() if file.exists()}
    return found
