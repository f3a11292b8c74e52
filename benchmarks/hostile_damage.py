"""Damage to a file of any kind: bytes that were lost or changed, text that was edited, values of the wrong type.

Each damage takes the file's bytes and a random generator and gives other bytes, or None where it does not apply.
"""

import codecs
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import yaml

Damage = Callable[[bytes, np.random.Generator], bytes | None]

_LONG = "9" * 5000  # digits; Python itself refuses to read more than 4,300
_SEPARATORS = (b",", b"\t", b";")
# What a value in JSON or YAML becomes; those that JSON cannot write are put in as text.
_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**63, 10**30, 1e308, float("nan"), float("inf"), "", "x", "é\u2028", [], [None], {}, {"x": {}},
    [[[[[]]]]], "../../..", "/", "\x00",
)  # fmt: skip
_RAW = (
    _LONG,
    "2020-99-99",
    "[" * 20_000,
    "{" * 20_000,
    "1e99999",
    "*x",
    "&x [*x]",
    "!!python/object:os.system {}",
    ":",
)


def cut_off(data: bytes, rng: np.random.Generator) -> bytes:
    """Lose the end."""
    return data[: rng.integers(len(data))]


def emptied(data: bytes, rng: np.random.Generator) -> bytes:
    """Lose everything."""
    return b""


def bit_flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip one bit, twice as often within the first 512 bytes, where headers lie."""
    changed = bytearray(data)
    end = len(data) if rng.random() < 0.5 else min(512, len(data))
    changed[rng.integers(end)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def bytes_changed(data: bytes, rng: np.random.Generator) -> bytes:
    """Change eight bytes here and there."""
    changed = bytearray(data)
    for place in rng.integers(len(data), size=8):
        changed[place] = int(rng.integers(256))
    return bytes(changed)


def _block(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    size = int(min(2 ** rng.integers(2, 11), (len(data) + 1) // 2))
    first = int(rng.integers(len(data) - size + 1))
    return first, first + size


def block_zeroed(data: bytes, rng: np.random.Generator) -> bytes:
    """Lose a block, of which zeros are left."""
    first, last = _block(data, rng)
    return data[:first] + bytes(last - first) + data[last:]


def block_random(data: bytes, rng: np.random.Generator) -> bytes:
    """Overwrite a block by something else."""
    first, last = _block(data, rng)
    return data[:first] + rng.bytes(last - first) + data[last:]


def block_lost(data: bytes, rng: np.random.Generator) -> bytes:
    """Lose a block, and close the gap."""
    first, last = _block(data, rng)
    return data[:first] + data[last:]


def block_twice(data: bytes, rng: np.random.Generator) -> bytes:
    """Write a block twice."""
    first, last = _block(data, rng)
    return data[:last] + data[first:]


def blocks_swapped(data: bytes, rng: np.random.Generator) -> bytes:
    """Swap two neighbouring blocks."""
    first, last = _block(data, rng)
    end = min(2 * last - first, len(data))
    return data[:first] + data[last:end] + data[first:last] + data[end:]


def appended(data: bytes, rng: np.random.Generator) -> bytes:
    """Write on behind the end."""
    return data + rng.bytes(int(rng.integers(1, 600)))


BYTES: tuple[Damage, ...] = (
    cut_off, emptied, bit_flipped, bytes_changed, block_zeroed, block_random, block_lost, block_twice, blocks_swapped,
    appended,
)  # fmt: skip


def _edited(edit: Callable[[list[bytes], bytes, np.random.Generator], None]) -> Damage:
    """Make a damage of an edit in place of one line's fields."""

    def damage(data: bytes, rng: np.random.Generator) -> bytes | None:
        lines = data.split(b"\n")
        mark = next((mark for mark in _SEPARATORS if mark in lines[0]), None)
        if mark is None:
            return None
        place = int(rng.integers(max(len(lines) - 1, 1)))
        fields = lines[place].split(mark)
        edit(fields, mark, rng)
        lines[place] = mark.join(fields)
        return b"\n".join(lines)

    damage.__name__ = edit.__name__
    return damage


def _any(fields: list[bytes], rng: np.random.Generator) -> int:
    return int(rng.integers(len(fields)))


@_edited
def field_lost(fields: list[bytes], mark: bytes, rng: np.random.Generator) -> None:
    """Leave a field out."""
    del fields[_any(fields, rng)]


@_edited
def field_twice(fields: list[bytes], mark: bytes, rng: np.random.Generator) -> None:
    """Write a field twice; in the header, a column."""
    place = _any(fields, rng)
    fields.insert(place, fields[place])


@_edited
def field_odd(fields: list[bytes], mark: bytes, rng: np.random.Generator) -> None:
    """Put something into a field that is no value of its column."""
    odd = (
        b"", b"NA", b"nan", b"-inf", b"1e999", _LONG.encode(), b"2020-99-99", b"2-Sep", b'"', b'"a', b"\x00", b"\xe9",
        b"\r", b"\x0b", "\u2028".encode(), b"x" * 200_000, b"-1", b"0x10", b"1_000", "٣".encode(), b"'", b"=1+1",
    )  # fmt: skip
    fields[_any(fields, rng)] = odd[int(rng.integers(len(odd)))]


def encoded_otherwise(data: bytes, rng: np.random.Generator) -> bytes | None:
    """Save the text in another encoding, or with other ends of lines."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    ways = (
        lambda: codecs.BOM_UTF8 + data,
        lambda: text.encode("utf-16"),
        lambda: text.encode("utf-16-le"),
        lambda: text.encode("utf-32"),
        lambda: data.replace(b"\n", b"\r\n"),
        lambda: data.replace(b"\n", b"\r"),
        lambda: data.replace(b"\n", b"\n\n"),
    )
    return ways[int(rng.integers(len(ways)))]()


TEXT: tuple[Damage, ...] = (field_lost, field_twice, field_odd, encoded_otherwise)


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths of all values of a tree."""
    found = [path]
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            found += _places(value, (*path, key))
    return found


def _tree_damage(read: Callable[[bytes], Any], write: Callable[[Any], str]) -> tuple[Damage, ...]:
    def value_odd(data: bytes, rng: np.random.Generator) -> bytes | None:
        """Give one value of the tree another type, or a size that nothing has."""
        tree = read(data)
        *branch, leaf = path if (path := _drawn(tree, rng)) else (None,)
        number = int(rng.integers(len(_VALUES) + len(_RAW)))
        raw = number >= len(_VALUES)
        value = "@raw@" if raw else _VALUES[number]
        if leaf is None:
            tree = value
        else:
            node = tree
            for key in branch:
                node = node[key]
            node[leaf] = value
        text = write(tree)
        for quoted in ('"@raw@"', "'@raw@'"):
            text = text.replace(quoted, _RAW[number - len(_VALUES)] if raw else quoted)
        return text.encode("utf-8", "surrogatepass")

    def key_lost(data: bytes, rng: np.random.Generator) -> bytes | None:
        """Leave a key or an entry out."""
        tree = read(data)
        if not (path := _drawn(tree, rng)):
            return None
        node = tree
        for key in path[:-1]:
            node = node[key]
        del node[path[-1]]
        return write(tree).encode()

    return value_odd, key_lost


def _drawn(tree: Any, rng: np.random.Generator) -> tuple[Any, ...]:
    """Draw a place, upper ones more often."""
    places = _places(tree)
    depth = int(rng.integers(1 + max(map(len, places))))
    there = [place for place in places if len(place) == depth]
    return there[int(rng.integers(len(there)))]


JSON = _tree_damage(json.loads, lambda tree: json.dumps(tree))
YAML = _tree_damage(yaml.safe_load, lambda tree: yaml.safe_dump(tree, default_style=None))
