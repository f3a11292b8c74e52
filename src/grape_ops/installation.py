"""What is installed and what this machine offers: ``grape-ops doctor``."""

import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from grape_ops.machine import core_count, free_memory

NAME = "grape-ops"
EXTRAS = {
    "cluster": "`--scheduler`: workers of a Dask cluster",
    "explore": "`explore`: the page in a browser",
    "features": "`phenotype`, and the method and hits by `engineered` features",
    "leiden": "Leiden clusters in `clusters`, `evaluate` and `export`; k-means works without",
    "lmdb": "screens whose crops lie in an LMDB",
    "tensorboard": "`train.tensorboard`: curves of a training",
    "umap": "maps drawn by UMAP; principal components are drawn without",
}


@dataclass(frozen=True)
class Package:
    """A package that is needed.

    Attributes
    ----------
    name : of the distribution.
    wanted : the versions that will do, such as ``>=2,<3``.
    found : the version that is installed, if any.
    fits : whether that one will do.
    """

    name: str
    wanted: str
    found: str | None
    fits: bool


@dataclass(frozen=True)
class Extra:
    """An optional part: what it is for, and its packages."""

    use: str
    packages: tuple[Package, ...]

    @property
    def complete(self) -> bool:
        """Whether all its packages are there."""
        return all(package.fits for package in self.packages)


@dataclass(frozen=True)
class Installation:
    """What is here: versions, device, core packages, and extras by name."""

    grape_ops: str
    python: str
    system: str
    device: str
    cores: int
    free_memory_gib: float
    packages: tuple[Package, ...]
    extras: dict[str, Extra]

    @property
    def complete(self) -> bool:
        """Whether all packages are there that grape-ops cannot do without."""
        return all(package.fits for package in self.packages)

    def __str__(self) -> str:
        """Say all of it in lines, what is missing last."""
        width = max(len(package.name) for package in self.packages)
        lines = [
            f"grape-ops {self.grape_ops}, Python {self.python}, {self.system}",
            f"Device: {self.device}",
            f"{self.cores} cores, {self.free_memory_gib:.1f} GiB of memory free",
            "Packages:",
            *(f"  {package.name:<{width}}  {_state(package)}" for package in self.packages),
            "Extras:",
        ]
        width = max(map(len, self.extras), default=0)
        for name, extra in self.extras.items():
            state = ", ".join(f"{package.name} {_state(package)}" for package in extra.packages)
            lines.append(f"  {name:<{width}}  {'yes' if extra.complete else 'NO '}  {extra.use} ({state})")
        lacking = [name for name, extra in self.extras.items() if not extra.complete]
        if not self.complete:
            wrong = ", ".join(f"{package.name}{package.wanted}" for package in self.packages if not package.fits)
            lines.append(f"Missing, and nothing works without: {wrong}. pip install --upgrade {NAME} brings them.")
        if lacking:
            lines.append(f"To add what is missing: pip install '{NAME}[{','.join(lacking)}]'")
        elif self.complete:
            lines.append("Nothing is missing.")
        return "\n".join(lines)


def _state(package: Package) -> str:
    if package.found is None:
        return "missing"
    return package.found if package.fits else f"{package.found}, but {package.wanted} is needed"


def examine() -> Installation:
    """Look at what is installed; packages are not imported, but torch, which knows the device."""
    core: list[Package] = []
    optional: dict[str, list[Package]] = {name: [] for name in EXTRAS}
    for line in requires(NAME) or ():
        needed = Requirement(line)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            core.append(_package(needed))
            continue
        for extra, packages in optional.items():
            if needed.marker.evaluate({"extra": extra}):
                packages.append(_package(needed))
    return Installation(
        version(NAME),
        platform.python_version(),
        f"{platform.system()} {platform.machine()}, {sys.executable}",
        _device(),
        core_count(),
        round(free_memory() / 2**30, 1),
        tuple(sorted(core, key=lambda package: package.name)),
        {name: Extra(EXTRAS[name], tuple(packages)) for name, packages in optional.items()},
    )


def _package(needed: Requirement) -> Package:
    try:
        found = version(needed.name)
    except PackageNotFoundError:
        return Package(needed.name, str(needed.specifier), None, False)
    return Package(needed.name, str(needed.specifier), found, needed.specifier.contains(found, prereleases=True))


def _device() -> str:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: its own libraries do not load
        return f"unknown, since torch cannot be imported ({error})"
    if not torch.cuda.is_available():
        why = "" if torch.backends.cuda.is_built() else "; this torch is built without CUDA"
        return f"CPU{why}: recommended.yaml trains in minutes to hours, the paper's size in days"
    cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return ", ".join(f"{card.name} ({card.total_memory / 2**30:.0f} GiB)" for card in cards)
