"""Reference pages made from the code itself: commands, settings, Python API."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_args

import typer
import yaml
from pydantic import BaseModel

import grape_ops
from grape_ops.cli import app
from grape_ops.config import Config, load_config, preset_names


def commands_page() -> str:
    """Every command: its sentence, its call, its arguments and options."""
    sections = []
    for path, command in _commands(typer.main.get_command(app), "grape-ops"):
        context = typer.Context(command, info_name=path)
        usage = " ".join([path, *command.collect_usage_pieces(context)])
        sentences = inspect.cleandoc(command.help or "")
        rows = [record for param in command.params if (record := param.get_help_record(context))]
        table = _table(("argument or option", "meaning"), ((f"`{_one_line(name)}`", text) for name, text in rows))
        sections.append(f"## {path}\n\n{sentences}\n\n```text\n{usage}\n```\n\n{table}")
    return "\n\n".join(sections)


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def settings_page() -> str:
    """Every setting by branch: name, default, what presets change, meaning, and whether it is of the paper."""
    defaults = Config().model_dump(mode="json")
    presets = {name.removesuffix(".yaml"): load_config(name).model_dump(mode="json") for name in preset_names()}
    sections: dict[str, list[tuple[str, ...]]] = {}
    for key, field, addition in settings():
        branch = key.partition(".")[0] if "." in key else "General"
        default = _value(defaults, key)
        changed = [f"{name}: {value}" for name, tree in presets.items() if (value := _value(tree, key)) != default]
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        notes = ["Addition to the paper."] if addition else []
        notes += ["Changes no result."] if extra.get("affects_results") is False else []
        meaning = " ".join([*filter(None, [field.description, _choices(field.annotation)]), *notes])
        sections.setdefault(branch, []).append((f"`{key}`", default, "<br>".join(changed), meaning))
    head = ("setting", "default", "presets", "meaning")
    about = {name: (field.annotation.__doc__ or "") for name, field in Config.model_fields.items()}
    return "\n\n".join(
        "\n\n".join(filter(None, [f"## {branch}", about.get(branch, ""), _table(head, rows)]))
        for branch, rows in sections.items()
    )


def settings(
    branch: type[BaseModel] = Config, path: str = "", addition: bool = False
) -> Iterator[tuple[str, Any, bool]]:
    """Walk all settings: dotted name, field, and whether it or its branch is an addition to the paper."""
    for name, field in branch.model_fields.items():
        extra = field.json_schema_extra
        added = addition or bool(isinstance(extra, dict) and extra.get("addition"))
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings(field.annotation, f"{path}{name}.", added)
        else:
            yield f"{path}{name}", field, added


def api_page() -> str:
    """Every public name of the package, with its docstring; above them, what the package says of itself."""
    sections = [inspect.cleandoc(grape_ops.__doc__ or "")]
    for name in grape_ops.__all__:
        thing = getattr(grape_ops, name)
        if inspect.isclass(thing) and issubclass(thing, BaseModel):
            kind, rest = "autoclass", "()"  # its fields are the page of settings
        elif inspect.isclass(thing):
            kind, rest = "autoclass", "\n   :members:"
        else:
            kind, rest = "autofunction" if callable(thing) else "autodata", ""
        sections.append(f"## {name}\n\n```{{eval-rst}}\n.. {kind}:: grape_ops::{name}{rest}\n```")
    return "\n\n".join(sections)


PAGES: dict[str, Callable[[], str]] = {
    "reference/commands": commands_page,
    "reference/settings": settings_page,
    "reference/api": api_page,
}


def _choices(annotation: Any) -> str:
    """List the words that a setting takes, if it takes only some."""
    words = [word for part in (annotation, *get_args(annotation)) for word in get_args(part) if isinstance(word, str)]
    return f"One of {', '.join(f'`{word}`' for word in words)}." if words else ""


def _value(tree: Any, key: str) -> str:
    """Write a setting's value as it stands in a YAML file, on one line."""
    for name in key.split("."):
        tree = tree[name]
    text = yaml.safe_dump(tree, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
    return "unset" if tree is None else f"`{text}`"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(_one_line(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _one_line(text: str) -> str:
    return " ".join(text.split())
