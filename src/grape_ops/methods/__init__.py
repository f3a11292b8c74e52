"""Ways to make gene vectors from the cells of a store: GRAPE, and what it is compared with.

A method is one function in one file and one line in ``METHODS``; docs/baselines.md says how to bring one of your own.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from grape_ops.artifacts.identity import identity_of
from grape_ops.cells.genes import check_vectors_place, write_gene_vectors
from grape_ops.cells.store import CropStore, store_fingerprint
from grape_ops.config import Config
from grape_ops.errors import GrapeOpsError
from grape_ops.methods.classifier import CLASSIFIER, UNTRAINED
from grape_ops.methods.consistency import CONSISTENCY
from grape_ops.methods.engineered import ENGINEERED
from grape_ops.methods.gene2vec import GENE2VEC
from grape_ops.methods.gene_effects import GENE_EFFECTS
from grape_ops.methods.grape import GRAPE
from grape_ops.methods.impa import IMPA
from grape_ops.methods.method import NOTES, Method, Task
from grape_ops.methods.own_method import installed_methods, load_installed, load_named
from grape_ops.methods.profiles import PROFILES
from grape_ops.methods.random import RANDOM
from grape_ops.methods.sphered import CLASSIFIER_SPHERED, ENGINEERED_SPHERED, STATISTICS_SPHERED
from grape_ops.methods.statistics import STATISTICS
from grape_ops.progress import note

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        RANDOM,
        GENE2VEC,
        UNTRAINED,
        STATISTICS,
        STATISTICS_SPHERED,
        ENGINEERED,
        ENGINEERED_SPHERED,
        PROFILES,
        IMPA,
        CLASSIFIER,
        CLASSIFIER_SPHERED,
        CONSISTENCY,
        GENE_EFFECTS,
        GRAPE,
    )
}

__all__ = [
    "METHODS",
    "NOTES",
    "Method",
    "Task",
    "check_methods",
    "find_method",
    "find_methods",
    "method_names",
    "reads_all_channels",
    "write_baseline",
]


def method_names() -> list[str]:
    """Names of all methods: this package's, then those of entry points."""
    return [*METHODS, *(name for name in installed_methods() if name not in METHODS)]


def find_method(spec: str) -> Method:
    """Find a method by its name, or a method of your own by ``module:function``.

    Raises
    ------
    GrapeOpsError : there is none, it cannot be loaded, or it has the name of another one.
    """
    if spec in METHODS:
        return METHODS[spec]
    if (entry := installed_methods().get(spec)) is not None:
        return load_installed(entry)
    if ":" not in spec:
        raise GrapeOpsError(
            f"There is no method {spec}; there are: {', '.join(method_names())}. One of your own is given as "
            "module:function."
        )
    method = load_named(spec)
    if method.name in method_names():
        raise GrapeOpsError(f"The method {spec} is called {method.name}, as another one is; give it another name.")
    return method


def find_methods(specs: Iterable[str]) -> dict[str, Method]:
    """Find methods, each once: what they were asked for by -> method.

    Raises
    ------
    GrapeOpsError : one is not there, two have the same name, or none is asked for.
    """
    found = {spec: find_method(spec) for spec in dict.fromkeys(spec.strip() for spec in specs)}
    if not found:
        raise GrapeOpsError(f"Name at least one method of {', '.join(method_names())}.")
    names = [method.name for method in found.values()]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise GrapeOpsError(f"Two of the methods have the same name: {', '.join(twice)}.")
    return found


def check_methods(methods: Iterable[Method], store: CropStore, config: Config) -> None:
    """Stop before hours of other methods where one of them lacks what it needs; see ``Method.check_inputs``."""
    every = list(methods)
    for method in every:
        method.check_inputs(store, config)
    _tell_of_channels(every, config)


def reads_all_channels(method: Method, config: Config) -> bool:
    """Whether the settings restrict channels, and the method reads all of them nevertheless."""
    return bool(config.features.channels) and method.reads == "crops" and not method.by_channel


def _tell_of_channels(methods: Iterable[Method], config: Config) -> None:
    if whole := [method.name for method in methods if reads_all_channels(method, config)]:
        note(f"features.channels restricts no network and no method of your own: {', '.join(whole)} read all channels.")


def write_baseline(
    spec: str, store: str | Path, out: str | Path, seed: int = 0, config: Config | None = None
) -> Sequence[str]:
    """Make the gene vectors of a method on a store's cells and write them as ``.h5ad``.

    Parameters
    ----------
    spec : a method's name, or ``module:function``; of several maps the first that the settings ask for is written.
    store : folder of a crop store.
    out : file to write; what an interrupted call can go on from is kept in a folder ``NAME.work-…`` beside it, one
        for each set of cells, settings and seed.
    seed : of whatever the method draws.
    config : all settings; the defaults if None.

    Returns
    -------
    Sentences on what was left out.
    """
    method = find_method(spec)
    if seed < 0:
        raise GrapeOpsError(f"The seed must be 0 or more; got {seed}.")
    out = Path(out)
    check_vectors_place(out)
    config = config or Config()
    cells = CropStore.open(store, where=config.where)
    _tell_of_channels([method], config)
    key = identity_of(store_fingerprint(cells), seed, spec, method.decisive(config))[:10]
    maps = method.maps(Task(cells, config, seed, out.with_name(f"{out.stem}.work-{key}")))
    adata = next(iter(method.asked_for(config, maps).values()))
    write_gene_vectors(adata, out)
    return [str(note) for note in adata.uns.get(NOTES, [])]
