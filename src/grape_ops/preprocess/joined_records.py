"""What stands beside the cells of several screens in one store: what was kept and dropped, scaling, origin."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from grape_ops.preprocess.store_folder import Plan
from grape_ops.schema import CONTROL_LABEL
from grape_ops.screen.quality import Tally, as_records, merge_tallies

_SHOWN = 5  # examples of a problem


def of_screen(screen: str, name: str) -> str:
    """The name of a screen's batch or group in the store of all."""
    return f"{screen}|{name}"


def joined_quality(counts: Mapping[str, Mapping[str, Any]], spelling: Mapping[str, str]) -> dict[str, Any]:
    """Add up what the screens kept and dropped."""
    genes: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    total: Counter[str] = Counter()
    batches: dict[str, dict[str, int]] = {"cells_per_batch": {}, "controls_per_batch": {}}
    problems: dict[str, dict[str, Any]] = {}
    fields: dict[str, Any] = {"groups": 0, "applied": {}, "not_applied": []}
    dead: list[str] = []
    for name, quality in counts.items():
        for gene, number in quality["cells_per_gene"].items():
            genes[gene if gene == CONTROL_LABEL else spelling.get(gene, gene)] += number
        dropped.update(quality["cells_dropped"])
        total.update({key: value for key, value in quality.items() if isinstance(value, int)})
        for key, kept in batches.items():
            kept |= {of_screen(name, batch): number for batch, number in quality[key].items()}
        for problem in quality["problems"]:
            known = problems.setdefault(problem["what"], {"what": problem["what"], "count": 0, "examples": []})
            known["count"] += problem["count"]
            known["examples"] = [*known["examples"], *(f"{name}: {where}" for where in problem["examples"])][:_SHOWN]
        fields["groups"] += quality["flat_field"]["groups"]
        for channel, number in quality["flat_field"]["applied"].items():
            fields["applied"][channel] = fields["applied"].get(channel, 0) + number
        fields["not_applied"] += [of_screen(name, group) for group in quality["flat_field"]["not_applied"]]
        dead += [of_screen(name, channel) for channel in quality.get("dead_channels", [])]
    table = merge_tallies([Tally(**entry) for entry in quality["table"]] for quality in counts.values())
    return {
        **total,
        "cells_dropped": dict(sorted(dropped.items())),
        "cells_per_gene": dict(sorted(genes.items())),
        **batches,
        "problems": list(problems.values()),
        "table": as_records(table),
        **({"dead_channels": dead} if dead else {}),
        "flat_field": fields,
    }


def joined_scaling(metas: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """How pixels were scaled, by the groups of all screens."""
    held = {name: meta["scaling"] for name, meta in metas.items()}
    joined: dict[str, Any] = {}
    for name, scaling in held.items():
        for key, value in scaling.items():
            if isinstance(value, dict):
                joined.setdefault(key, {}).update({of_screen(name, group): part for group, part in value.items()})
            else:
                joined.setdefault(key, value)
    return joined


def joined_provenance(metas: Mapping[str, Mapping[str, Any]], plan: Plan) -> dict[str, Any]:
    """Where the store came from, and each screen."""
    origins = {name: meta["provenance"] for name, meta in metas.items()}
    sizes = [origin["pixel_size"] for origin in origins.values() if "pixel_size" in origin]
    known: dict[str, Any] = {"pixel_size": sizes[0]} if sizes else {}
    known |= {"simulated": True} if any(origin.get("simulated") for origin in origins.values()) else {}
    return {
        "screen": " + ".join(origins),
        "screens": origins,
        "screen_fingerprint": plan.screen,
        "settings": plan.settings,
    } | known
