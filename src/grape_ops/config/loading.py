"""Reading a configuration: a file over the defaults, then ``--set a.b=c``; a tree back to YAML."""

import difflib
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
    path : str or Path, optional
        A YAML file, or the name of a preset that ships with the package (``recommended.yaml``, ``paper.yaml``).
    overrides : strings
        Single settings ``a.b=c``; the value is read as YAML.

    Returns
    -------
    Config
        All settings, by branch: ``config.train.steps``.

    Raises
    ------
    GrapeOpsError
        The file is missing or not YAML, a key is unknown, or a value does not fit.

    Examples
    --------
    >>> config = go.load_config("recommended.yaml", ["train.steps=200"])
    >>> config.train.steps, config.preprocess.crop_size
    (200, 32)
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
        raise GrapeOpsError(f"The settings in {source} do not fit:\n{misfits(error, Config)}") from None


# What a value has to be, by the validator's name of the misfit; braces take what the validator knows about it.
_WANTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "literal_error": "{expected}",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "tuple_type": "a list",
    "list_type": "a list",
    "too_short": "a list with at least {min_length} entry",
}
_MOST_SHOWN = 60  # characters of a value that does not fit


def misfits(error: ValidationError, model: type[BaseModel]) -> str:
    """What does not fit in a tree of settings, a line each: the setting, what it has to be, and what it was."""
    return "\n".join(f"  {_named(e)}{_in_words(e, model)}" for e in error.errors())


def _named(error: Any) -> str:
    name = ".".join(map(str, error["loc"]))
    return f"{name}: " if name else ""


def _in_words(error: Any, model: type[BaseModel]) -> str:
    kind, facts = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(model, error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        return f"there is no setting of this name here{guess}; there are: {', '.join(known)}"
    if kind == "value_error":  # our own rules over several settings
        return str(facts["error"])
    value = _shortened(error["input"])
    if kind in _WANTED:
        return f"must be {_WANTED[kind].format(**facts)}; it is {value}"
    return f"{error['msg']}; it is {value}"


def _shortened(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…"


def _known_keys(model: type[BaseModel], branch: Iterable[Any]) -> list[str]:
    for part in branch:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return sorted(model.model_fields)


# Besides the reader's own errors those of values: a date that is none, thousands of digits, brackets without an end.
_NO_YAML = (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError)


def _why(error: Exception) -> str:
    return "it nests too deeply" if isinstance(error, RecursionError) else str(error)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping from a file, or from the presets that ship with the package."""
    file = Path(path)
    preset = resources.files("grape_ops") / "configs" / str(path)
    if not file.is_file() and preset.is_file():
        text = preset.read_text()
    elif file.is_file():
        text = _text_of(file)
    elif file.is_dir():
        raise GrapeOpsError(f"{path} is a folder; a YAML file is wanted.")
    else:
        raise GrapeOpsError(f"There is no file {path}; presets that ship with it: {', '.join(preset_names())}.")
    try:
        tree = yaml.safe_load(text)
    except _NO_YAML as error:
        raise GrapeOpsError(f"{path} is not valid YAML: {_why(error)}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise GrapeOpsError(f"{path} must hold keys and values at its top, not a {type(tree).__name__}.")
    return tree


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise GrapeOpsError(f"{file} is no text; a YAML file is wanted.") from None


def preset_names() -> list[str]:
    """Names of the configuration files that ship with the package."""
    folder = resources.files("grape_ops") / "configs"
    return sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def lay_over(tree: dict[str, Any], override: str) -> None:
    """Set one ``a.b=c`` in a tree of mappings, in place."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise GrapeOpsError(
            f"--set needs key=value with dots between levels, for example train.steps=500; got {override!r}."
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
    except _NO_YAML as error:
        raise GrapeOpsError(f"--set {override}: the value is not valid YAML: {_why(error)}") from None


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one tree of settings over another; neither changes."""
    both = dict(below)
    for key, value in above.items():
        old = both.get(key)
        both[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name: {"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def dump_config(config: Config) -> str:
    """Write the resolved tree as YAML."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
