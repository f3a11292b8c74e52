"""Folders of ready crops, one file per cell, whose names say whose they are.

As the authors of the paper keep them: ``GENE;GUIDE;PLATE;WELL;TILE;INDEX.npy``, or with ``__`` in place of ``;``.
"""

import itertools
import os
import re
from pathlib import Path

FIELDS = ("gene_symbol", "sgRNA", "plate", "well", "tile", "cell")  # of a name, in this order; the last two may lack
EXAMPLE = "GENE;GUIDE;PLATE;WELL;TILE;INDEX.npy"
_LEAST_FIELDS = 4
_SEPARATORS = (";", "__")
_ENDINGS = (".npy", ".tif", ".tiff")
_LOOKED_AT = 64  # names
_WELL = re.compile(r"(well)?[A-P]-?\d{1,2}", re.IGNORECASE)


def pattern_of_names(folder: Path) -> str | None:
    """Find the pattern of a folder's crops, such as ``{gene_symbol};{sgRNA};{plate};{well}.npy``.

    None if the names are of different kinds, or their fourth field is no well.
    """
    with os.scandir(folder) as entries:
        crops = (entry.name for entry in entries if entry.name.endswith(_ENDINGS) and not entry.name.startswith("."))
        names = [Path(name) for name in itertools.islice(crops, _LOOKED_AT)]
    endings = {name.suffix for name in names}
    if len(endings) != 1:
        return None
    for separator in _SEPARATORS:
        parts = [name.stem.split(separator) for name in names]
        count = len(parts[0])
        alike = all(len(part) == count and all(part) for part in parts)
        if alike and _LEAST_FIELDS <= count <= len(FIELDS) and all(_WELL.fullmatch(part[3]) for part in parts):
            return separator.join(f"{{{name}}}" for name in FIELDS[:count]) + endings.pop()
    return None
