"""Whether an LMDB store is as long as its head says."""

import struct
from pathlib import Path

from grape_ops.errors import GrapeOpsError

# Where a page of an LMDB store's head says what it is, how large a page is, and which page was written last, and when.
_MAGIC, _PAGE_SIZE, _LAST_PAGE = (16, 0xBEEFC0DE), 40, 136


def check_pages(file: Path) -> None:
    """Stop at a store that was cut off: touching a page that is not there would kill the process.

    Each of the two first pages says which is the last page in use; the later of their transactions counts.

    Raises
    ------
    GrapeOpsError : it was, or is no LMDB store.
    """
    with file.open("rb") as opened:
        head = opened.read(1 << 16)
    try:
        (size,) = struct.unpack_from("<I", head, _PAGE_SIZE)
        heads = [struct.unpack_from("<I", head, start + _MAGIC[0])[0] for start in (0, size)]
        ends = [struct.unpack_from("<QQ", head, start + _LAST_PAGE) for start in (0, size)]
    except struct.error:
        heads = []
    if heads != [_MAGIC[1]] * 2:
        raise GrapeOpsError(f"{file} is no LMDB store, or its head is damaged.")
    last, _ = max(ends, key=lambda end: end[1])
    if (last + 1) * size > file.stat().st_size:
        raise GrapeOpsError(f"{file} is cut off: it is {file.stat().st_size} bytes long, not {(last + 1) * size}.")
