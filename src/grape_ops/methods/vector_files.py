"""Reading vectors of genes from the files people have them in.

word2vec's text format (with or without its first line of two numbers) and binary format, CSV and TSV with or without a
header, ``.npz`` with one array of names and one of vectors, ``.h5ad``; text may be compressed with gzip.
"""

from pathlib import Path

import numpy as np

from grape_ops.artifacts.damage import damage_in_words
from grape_ops.artifacts.declared_size import check_npz
from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth.names import cleaned_names
from grape_ops.groundtruth.text_tables import decode, read_bytes, split_lines

_MOST_BYTES = 1 << 31  # of vectors, unpacked


def read_vectors(path: Path) -> tuple[list[str], np.ndarray]:
    """Read names and vectors: (N,), (N, V) float32.

    Raises
    ------
    GrapeOpsError : the file is missing, in none of these formats, or a vector is cut off or not of numbers.
    """
    if not path.is_file():
        raise GrapeOpsError(f"There is no file of gene vectors {path}.")
    names, vectors = _FORMATS.get(path.suffix, _word2vec)(path)
    if not names:
        raise GrapeOpsError(f"{path} holds no vectors.")
    if not np.isfinite(vectors).all():
        raise GrapeOpsError(f"{path}: some vectors hold values that are not finite numbers.")
    return cleaned_names(names, path), vectors


def _word2vec(path: Path) -> tuple[list[str], np.ndarray]:
    data = read_bytes(path, _MOST_BYTES)
    return _binary(path, data) if _is_binary(data) else _text(path, data)


def _is_binary(data: bytes) -> bool:
    """word2vec's binary begins with a line of two numbers, and goes on with bytes that no text has."""
    first, _, rest = data.partition(b"\n")
    try:
        rest[:4096].decode()
        return b"\x00" in rest[:4096]
    except UnicodeDecodeError:
        return len(first.split()) == 2


def _binary(path: Path, data: bytes) -> tuple[list[str], np.ndarray]:
    head, _, _ = data.partition(b"\n")
    try:
        count, width = (int(number) for number in head.split())
    except ValueError:
        raise GrapeOpsError(f"{path} is not word2vec's binary format: its first line is {head[:40]!r}.") from None
    if count < 0 or width < 1:
        raise GrapeOpsError(f"{path} announces {count} vectors of {width} numbers.")
    if 4 * count * width > len(data):  # before memory is asked for
        held = len(data) // (4 * width)
        raise GrapeOpsError(f"{path} announces {count} vectors of {width} numbers, but ends after {held}.")
    names, vectors = [], np.empty((count, width), np.float32)
    place, size = len(head) + 1, 4 * width
    for row in range(count):
        space = data.find(b" ", place)
        if space < 0 or space + 1 + size > len(data):
            raise GrapeOpsError(f"{path} announces {count} vectors of {width} numbers, but ends after {row}.")
        names.append(data[place:space].decode(errors="replace").lstrip("\n"))
        vectors[row] = np.frombuffer(data, "<f4", width, space + 1)
        place = space + 1 + size
    if data[place:].strip() or not all(name.isprintable() and name and "\ufffd" not in name for name in names):
        raise GrapeOpsError(
            f"{path} is not word2vec's binary format, or damaged: its {count} vectors of {width} numbers leave "
            f"{len(data) - place:,} bytes over, or have names that are none. A text with such bytes in it is damaged."
        )
    return names, vectors


def _text(path: Path, data: bytes) -> tuple[list[str], np.ndarray]:
    lines = [line for line in split_lines(decode(path, data)) if line.strip()]
    if not lines:
        return [], np.empty((0, 0), np.float32)
    last = lines[-1]
    separator = next((mark for mark in ("\t", ",", ";") if mark in last), None)
    rows = [[word.strip().strip('"') for word in line.split(separator)] for line in lines]
    # A line of two numbers is word2vec's, one without numbers is a header; 0, 1, 2, …, behind "" or not, is pandas'.
    counts = len(rows[0]) == 2 and _is_vector(["", *rows[0]]) and len(rows[-1]) != 2
    numbered = rows[0] == [str(place) for place in range(len(rows[-1]) - 1)]
    announced = rows[0] if counts else None
    if counts or numbered or rows[0][0] == "" or not any(_is_vector(["", word]) for word in rows[0][1:]):
        head, rows = rows[0], rows[1:]
        if rows and not counts and len(rows[0]) - len(head) not in (0, 1):  # pandas' has no word for the names
            raise GrapeOpsError(f"{path}: its first line has {len(head)} words, and the second {len(rows[0])}.")
    names, vectors = [], []
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]) or not _is_vector(row):
            raise GrapeOpsError(
                f"{path}: vector {number} ({row[0][:30]}) has not {len(rows[0]) - 1} numbers behind the gene's name."
            )
        names.append(row[0])
        vectors.append(np.array(row[1:], dtype=np.float32))
    if announced is not None and float(announced[0]) != len(rows):
        raise GrapeOpsError(
            f"{path} announces {announced[0]} vectors of {announced[1]} numbers, but has {len(rows)}: was it cut off?"
        )
    return names, np.array(vectors, dtype=np.float32).reshape(len(names), -1 if names else 0)


def _is_vector(words: list[str]) -> bool:
    try:
        return len([float(word) for word in words[1:]]) > 0
    except ValueError:
        return False


def _npz(path: Path) -> tuple[list[str], np.ndarray]:
    with damage_in_words(path, " as .npz"):
        check_npz(path, most=_MOST_BYTES)
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    names = [a for a in arrays.values() if a.ndim == 1 and a.dtype.kind in "US"]
    tables = [a for a in arrays.values() if a.ndim == 2 and a.dtype.kind in "fiu"]
    if len(names) != 1 or len(tables) != 1 or len(names[0]) != len(tables[0]):
        held = ", ".join(f"{name} {a.dtype} {a.shape}" for name, a in arrays.items())
        raise GrapeOpsError(f"{path} should hold one array of names (N,) and one of vectors (N, V); it has {held}.")
    return names[0].astype(str).tolist(), tables[0].astype(np.float32)


def _h5ad(path: Path) -> tuple[list[str], np.ndarray]:
    from grape_ops.evaluate.evaluate_files import read_map

    adata = read_map(path)
    matrix = adata.X.toarray() if hasattr(adata.X, "toarray") else np.asarray(adata.X)
    return [str(name) for name in adata.obs_names], matrix.astype(np.float32)


_FORMATS = {".npz": _npz, ".h5ad": _h5ad}
