"""Whether an LMDB store is as long as what it holds takes."""

import struct
from pathlib import Path
from typing import IO

from grape_ops.errors import GrapeOpsError

# Where a page of an LMDB store's head says what it is, how large a page is, where the tree of keys begins, and which
# page was written last, and when.
_MAGIC, _PAGE_SIZE, _ROOT, _LAST_PAGE = (16, 0xBEEFC0DE), 40, 128, 136
_EMPTY = (1 << 64) - 1  # the root of a tree without keys
_HEAD = 16  # bytes of a page before the places of its nodes
_BRANCH, _LEAF, _LARGE_VALUE = 1, 2, 1  # flags of pages, and of a node whose value has pages of its own


def check_pages(file: Path) -> None:
    """Stop at a store that was cut off: touching a page that is not there would kill the process.

    Each of the two first pages says which is the last page in use; the later of their transactions counts. Pages at the
    end that were given up in the transaction that took them are never written, so a shorter store is cut off only if a
    key or a value lies beyond its end.

    Raises
    ------
    GrapeOpsError : it was, or is no LMDB store.
    """
    with file.open("rb") as opened:
        head = opened.read(1 << 16)
        try:
            (size,) = struct.unpack_from("<I", head, _PAGE_SIZE)
            magic = [struct.unpack_from("<I", head, start + _MAGIC[0])[0] for start in (0, size)]
            starts = {start: struct.unpack_from("<QQ", head, start + _LAST_PAGE) for start in (0, size)}
        except struct.error:
            magic = []
        if magic != [_MAGIC[1]] * 2:
            raise GrapeOpsError(f"{file} is no LMDB store, or its head is damaged.")
        start, (last, _) = max(starts.items(), key=lambda item: item[1][1])
        held = file.stat().st_size
        (root,) = struct.unpack_from("<Q", head, start + _ROOT)
        if (last + 1) * size > held and not _holds_all(opened, root, size, held // size):
            raise GrapeOpsError(f"{file} is cut off: it is {held} bytes long, not {(last + 1) * size}.")


def _holds_all(opened: IO[bytes], root: int, size: int, pages: int) -> bool:
    """Tell whether all pages of the tree of keys, and of large values, are among the first ``pages``."""
    ahead, seen = [root] if root != _EMPTY else [], set[int]()
    try:
        while ahead:
            number = ahead.pop()
            if number >= pages or number in seen:
                return False
            seen.add(number)
            opened.seek(number * size)
            page = opened.read(size)
            flags, lower = struct.unpack_from("<HH", page, 10)
            for place in struct.unpack_from(f"<{(lower - _HEAD) // 2}H", page, _HEAD):
                low, high, more, key = struct.unpack_from("<HHHH", page, place)
                if flags & _BRANCH:
                    ahead.append(low | high << 16 | more << 32)
                elif flags & _LEAF and more & _LARGE_VALUE:
                    (first,) = struct.unpack_from("<Q", page, place + 8 + key)
                    length = low | high << 16
                    if first * size + _HEAD + length > pages * size:
                        return False
    except struct.error:
        return False
    return True
