"""What reading damaged files raises, and how it becomes words: one list for all readers."""

import json
import struct
import tokenize
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from grape_ops.errors import GrapeOpsError

# Files that are cut off, overwritten, of a kind a library lacks, or that announce more than there is.
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    RuntimeError,  # among them RecursionError, of what nests too deeply
    MemoryError,
    SyntaxError,
    BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
)


@contextmanager
def damage_in_words(file: Path | str, what: str = "") -> Iterator[None]:
    """Say in words what is wrong with a file that the block reads.

    Parameters
    ----------
    what : what it is to be read as, such as " as a table of features".

    Raises
    ------
    GrapeOpsError : it is damaged, or not what it should be.
    """
    try:
        yield
    except DAMAGE as error:
        raise GrapeOpsError(f"{file} cannot be read{what}: {why(error)}") from None


def why(error: Exception) -> str:
    """Say why something cannot be read; of objects, which numpy refuses for safety's sake, how they become readable."""
    if isinstance(error, RecursionError):
        return "it nests too deeply."
    if isinstance(error, MemoryError):
        return (
            f"it announces more than the memory holds ({error})."
            if str(error)
            else "it takes more memory than is free."
        )
    words = str(error) or type(error).__name__
    if "allow_pickle" in words or "Python objects" in words:
        return "it holds Python objects. Save labels as text (labels.astype(str)), and crops as one array of numbers."
    return words


def read_json(file: Path, what: str, keys: Mapping[str, type | tuple[type, ...]] | None = None) -> dict[str, Any]:
    """Read a JSON file of keys and values.

    Parameters
    ----------
    what : what the file is, such as "a record of hits".
    keys : those it must have, and the types of their values.

    Raises
    ------
    GrapeOpsError : it cannot be read, or lacks a key.
    """
    with damage_in_words(file, f" as {what}"):
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__} in place of keys and values")
        wrong = [key for key, kind in (keys or {}).items() if not isinstance(content.get(key), kind)]
        if wrong:
            raise ValueError(f"it does not say {', '.join(wrong)}, or says it otherwise")
    return content
