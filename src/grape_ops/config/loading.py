"""Reading a configuration: a file over the defaults, then ``--set a.b=c``; a tree back to YAML."""

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from grape_ops.config.tree import Config
from grape_ops.errors import GrapeOpsError


def load_config(path: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Read a configuration file over the defaults and lay ``a.b=c`` overrides over it.

    Parameters
    ----------
    path : a YAML file, or the name of a preset that ships with the package (``paper.yaml``, ``small.yaml``).
    overrides : strings ``a.b=c``; the value is read as YAML.

    Raises
    ------
    GrapeOpsError : the file is missing or not YAML, a key is unknown, or a value does not fit.
    """
    tree: dict[str, Any] = read_yaml(path) if path is not None else {}
    sources = [str(path)] if path is not None else []
    for override in overrides:
        lay_over(tree, override)
        sources.append(f"--set {override}")
    return parse_config(tree, source=" and ".join(sources) or "the defaults")


def parse_config(tree: Mapping[str, Any], source: str) -> Config:
    """Make a configuration from nested mappings; errors name ``source`` and the key."""
    try:
        return Config.model_validate(dict(tree))
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc']))}: {_plain(e)}" for e in error.errors()]
        raise GrapeOpsError(f"The settings in {source} do not fit:\n" + "\n".join(lines)) from None


def _plain(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return f"there is no setting of this name here; there are: {', '.join(_known_keys(error['loc'][:-1]))}"
    return f"{error['msg']} (was {error['input']!r})"


def _known_keys(branch: Iterable[Any]) -> list[str]:
    model: type[BaseModel] = Config
    for part in branch:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return sorted(model.model_fields)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping from a file, or from the presets that ship with the package."""
    file = Path(path)
    preset = resources.files("grape_ops") / "configs" / str(path)
    if not file.is_file() and preset.is_file():
        text = preset.read_text()
    elif file.is_file():
        text = file.read_text()
    else:
        raise GrapeOpsError(f"There is no configuration file {path}; presets: {', '.join(preset_names())}.")
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise GrapeOpsError(f"{path} is not valid YAML: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise GrapeOpsError(f"{path} must hold keys and values at its top, not a {type(tree).__name__}.")
    return tree


def preset_names() -> list[str]:
    """Names of the configuration files that ship with the package."""
    folder = resources.files("grape_ops") / "configs"
    return sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def lay_over(tree: dict[str, Any], override: str) -> None:
    """Set one ``a.b=c`` in a tree of mappings, in place."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise GrapeOpsError(
            f"--set wants key=value with dots between levels, for example train.steps=500; got {override!r}."
        )
    *branch, leaf = key.strip().split(".")
    node = tree
    for part in branch:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise GrapeOpsError(f"--set {override}: {part} is a value, not a group of settings.")
        node = child
    try:
        node[leaf] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise GrapeOpsError(f"--set {override}: the value is not valid YAML: {error}") from None


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name: {"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def dump_config(config: Config) -> str:
    """Write the resolved tree as YAML."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
