"""What the page asks for, by address: the live server answers these addresses, a static page has files of them.

Addresses hold numbers only, never symbols or paths.
"""

import json
from collections.abc import Callable, Iterator

from grape_ops.explore.explorer_data import ExplorerData
from grape_ops.explore.page import content_type


def as_json(content: object) -> bytes:
    """Write JSON as browsers read it: no NaN, no spaces."""
    return json.dumps(content, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()


def document(explorer: ExplorerData, kind: str, numbers: tuple[int, ...], draw: int = 0) -> tuple[bytes, str]:
    """Content and type of one document: its kind, and the numbers of map, clustering or gene."""
    makers: dict[str, Callable[..., bytes]] = {
        "map.json": lambda m: as_json(explorer.view(m)),
        "clusters.json": lambda m, c: as_json(explorer.details(m, c)),
        "gene.json": lambda g: as_json(explorer.card(g)),
        "cells.json": lambda g: as_json(explorer.pictures().describe(explorer.row(g), draw)),
        "cells.png": lambda g: explorer.pictures().picture(explorer.row(g), draw),
        "strip.png": lambda g: explorer.strip(g),
        "control.json": lambda: as_json(explorer.pictures().describe_controls(draw)),
        "control.png": lambda: explorer.pictures().control_picture(draw),
        "map.h5ad": lambda m: explorer.export(m, range(len(explorer.genes))),
    }
    return makers[kind](*numbers), content_type(kind)


# Address of each kind of document; {} stands for a number.
ADDRESSES = {
    "map.json": "data/map/{}.json",
    "clusters.json": "data/map/{}/clusters/{}.json",
    "map.h5ad": "data/map/{}.h5ad",
    "gene.json": "data/gene/{}.json",
    "cells.json": "data/cells/{}.json",
    "cells.png": "data/cells/{}.png",
    "strip.png": "data/strip/{}.png",
    "control.json": "data/cells/control.json",
    "control.png": "data/cells/control.png",
}


def all_routes(explorer: ExplorerData) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Everything a static page needs: (kind, numbers)."""
    for number in range(len(explorer.map_views)):
        yield "map.json", (number,)
        for choice in range(len(explorer.clusterings(number))):
            yield "clusters.json", (number, choice)
        yield "map.h5ad", (number,)
    for gene in range(len(explorer.genes)):
        yield "gene.json", (gene,)
    if explorer.montage is not None:
        yield "control.json", ()
        yield "control.png", ()
        for gene in explorer.pictured:
            yield "cells.json", (gene,)
            yield "cells.png", (gene,)
            if explorer.restyler is not None:
                yield "strip.png", (gene,)
