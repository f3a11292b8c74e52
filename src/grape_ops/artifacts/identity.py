"""Hashes of files and of what decides a result: two results of equal identity are the same result.

Which settings decide is said by ``Settings.decisive`` (``config/base.py``), and for the vectors of a method by
``Method.decisive`` (``methods/method.py``).
"""

import hashlib
import json
from pathlib import Path
from typing import Any


def identity_of(*facts: Any) -> str:
    """SHA-256 of facts that JSON can hold, as 64 hexadecimal digits; the order of a mapping's keys does not count."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def sha256_of(file: Path) -> str:
    """Return the checksum of a file, or an empty string if it is not there."""
    if not file.is_file():
        return ""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
