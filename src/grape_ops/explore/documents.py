"""What the page asks for, by address: the live server answers these addresses, a static page has files of them.

Addresses hold numbers only, never symbols or paths.
"""

import json
from collections.abc import Callable, Iterator

from grape_ops.explore.atlas import Atlas
from grape_ops.explore.page import content_type


def as_json(content: object) -> bytes:
    """Write JSON as browsers read it: no NaN, no spaces."""
    return json.dumps(content, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()


def document(atlas: Atlas, kind: str, numbers: tuple[int, ...], draw: int = 0) -> tuple[bytes, str]:
    """Content and type of one document: its kind, and the numbers of map, clustering or gene."""
    makers: dict[str, Callable[..., bytes]] = {
        "map.json": lambda m: as_json(atlas.sheet(m)),
        "clusters.json": lambda m, c: as_json(atlas.details(m, c)),
        "gene.json": lambda g: as_json(atlas.card(g)),
        "cells.json": lambda g: as_json(atlas.pictures().describe(atlas.row(g), draw)),
        "cells.png": lambda g: atlas.pictures().picture(atlas.row(g), draw),
        "strip.png": lambda g: atlas.strip(g),
        "control.json": lambda: as_json(atlas.pictures().describe_controls(draw)),
        "control.png": lambda: atlas.pictures().control_picture(draw),
        "map.h5ad": lambda m: atlas.export(m, range(len(atlas.genes))),
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


def all_documents(atlas: Atlas) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Everything a static page needs: (kind, numbers)."""
    for number in range(len(atlas.sheets)):
        yield "map.json", (number,)
        for choice in range(len(atlas.clusterings(number))):
            yield "clusters.json", (number, choice)
        yield "map.h5ad", (number,)
    for gene in range(len(atlas.genes)):
        yield "gene.json", (gene,)
    if atlas.montage is not None:
        yield "control.json", ()
        yield "control.png", ()
        for gene in atlas.pictured:
            yield "cells.json", (gene,)
            yield "cells.png", (gene,)
            if atlas.painter is not None:
                yield "strip.png", (gene,)
