"""Reading small text tables as people have them: any encoding, packed or not, quoted or not.

A line ends with a line feed (or carriage return) and with nothing else. A quoted field may hold a separator or a line
break; a stray quote does not swallow the rows behind it.
"""

import codecs
import os
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from grape_ops.artifacts.spreadsheet import without_mark
from grape_ops.errors import GrapeOpsError
from grape_ops.groundtruth.names import changes_in_words, clean_names
from grape_ops.progress import note
from grape_ops.words import counted

MOST_BYTES = 1 << 28  # of unpacked text: the largest public tables of genes hold a tenth of it
MISSING_WORDS = frozenset(
    {"", "-", "--", ".", "?", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "none", "null", "#value!", "#ref!"}
)
_LONGEST = 100  # letters of a name; longer fields are descriptions
_COMPLEXTAB = "#complex ac"  # a header, not a comment
_BLOCK = 1 << 20
_GZIP = b"\x1f\x8b"
_LONGEST_FIELD = 1000  # lines that a quoted field may span
_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
# What spreadsheets make of SEPTIN2, MARCHF1 or DEC1, and of clone names such as 2310009E13.
_RUINED = re.compile(
    r"\d{1,2}-(jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)(-\d{2,4})?"
    r"|(jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)-\d{1,2}|\d[.,]?\d*e[+-]?\d+",
    re.IGNORECASE,
)


class Row(list[str]):
    """Fields of one row, without blanks around them, and the number of its first line in the file."""

    def __init__(self, fields: Iterable[str], line: int):
        super().__init__(fields)
        self.line = line


Rows = list[Row]


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """Read a file, unpacked if it is packed by gzip.

    Parameters
    ----------
    most : bytes that it may hold, unpacked; ``MOST_BYTES`` if None.

    Raises
    ------
    GrapeOpsError : it cannot be read, is damaged, or holds more.
    """
    most = most or MOST_BYTES
    try:
        with path.open("rb") as file:
            head = file.read(2)
            file.seek(0)
            if head != _GZIP:
                data = file.read(min(most, os.fstat(file.fileno()).st_size) + 1)  # it takes as much as it is asked for
            else:
                data = _unpack(iter(lambda: file.read(_BLOCK), b""), most)
    except (OSError, EOFError, zlib.error) as error:
        raise GrapeOpsError(f"{path} cannot be read: {error}") from None
    if len(data) > most:
        raise GrapeOpsError(f"{path} holds more than {most >> 20} MB of text, too much for a table of genes.")
    return data


def _unpack(blocks: Iterable[bytes], most: int) -> bytes:
    """Unpack gzip, at most a byte more than allowed, so that a small file cannot fill the memory."""
    found, unpacker = bytearray(), zlib.decompressobj(wbits=31)
    for block in blocks:
        rest = block
        while rest and len(found) <= most:
            if unpacker.eof:  # files may be packed in several pieces
                unpacker = zlib.decompressobj(wbits=31)
            found += unpacker.decompress(rest, most + 1 - len(found))
            rest = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
        if len(found) > most:
            return bytes(found)
    if not unpacker.eof:
        raise EOFError("it ends before its gzip stream does")
    return bytes(found)


def read_text(path: Path) -> str:
    """Read a text file: UTF-8, UTF-16, or else Western European (Windows-1252); a byte-order mark is left out.

    Raises
    ------
    GrapeOpsError : it is no text, damaged, or too large.
    """
    return decode(path, read_bytes(path))


def decode(path: Path, data: bytes) -> str:
    """Decode what was read from a text file; see ``read_text``."""
    for encoding in _encodings(data):
        try:
            text = data.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError:
            continue
        if not _NO_TEXT.search(text):
            return text
    raise GrapeOpsError(f"{path} cannot be read as text; save it as UTF-8.")


def _encodings(data: bytes) -> tuple[str, ...]:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ("utf-16",)
    if 3 * data[:4096].count(0) > len(data[:4096]):  # Latin letters in UTF-16: every other byte is zero
        return ("utf-16-le",) if data[1:2] == b"\x00" else ("utf-16-be",)
    return "utf-8", "cp1252"


def split_lines(text: str) -> list[str]:
    """Split a text at line feeds or, if it has none, at carriage returns."""
    return re.split(r"\r?\n", text) if "\n" in text else text.split("\r")


def read_rows(path: Path) -> Rows:
    """Split a table into clean fields (``clean_name``); empty lines are left out, and so are leading comments (#).

    Fields are separated by tabs if the first line has one, else by commas, else by semicolons. Columns behind the last
    that holds anything are left out.

    Raises
    ------
    GrapeOpsError : the file cannot be read or is empty, or a quote joins lines that cannot be separated.
    """
    text = read_text(path)
    lines = _without_comments(split_lines(text))
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise GrapeOpsError(f"{path} is empty.")
    separator = next((mark for mark in "\t,;" if mark in first), ",")
    rows: Rows = []
    place = 0
    while place < len(lines):
        fields, is_open = _split(lines[place], separator)
        span = 1
        if is_open:
            width = len(rows[0]) if rows else None
            fields, span = _joined(path, lines, place, separator, width, fields)
        if any(fields):
            rows.append(Row(map(without_mark, fields), place + 1))
        place += span
    if not text.isascii():
        rows = _cleaned(path, rows)
    held = max((column + 1 for row in rows for column, field in enumerate(row) if field), default=0)
    return [Row(row[:held], row.line) for row in rows]


def _without_comments(lines: list[str]) -> list[str]:
    """Empty the comments (#) of a file that begins with one; a header may begin so too, with fields as the next line.

    Where a file begins with comments, lines further down that begin so are comments as well.
    """
    kept = list(lines)
    for place, line in enumerate(lines):
        if line.strip() and (not line.startswith("#") or line.casefold().startswith(_COMPLEXTAB)):
            break
        following = next((other for other in lines[place + 1 :] if other.strip()), "")
        separator = next((mark for mark in "\t,;" if mark in following), None)
        if separator and line.count(separator) == following.count(separator) and not following.startswith("#"):
            break
        kept[place] = ""
    commented = any(line and not left for line, left in zip(lines, kept, strict=True))
    header = next((place for place, line in enumerate(kept) if line.strip()), 0)
    below = range(header + 1, len(kept)) if commented else ()
    for place in below:
        kept[place] = "" if kept[place].startswith("#") else kept[place]
    return kept


def _cleaned(path: Path, rows: Rows) -> Rows:
    """Clean all fields, and say which were written otherwise by more than blanks."""
    found, changed = [], dict[str, str]()
    for row in rows:
        fields, own = clean_names(row)
        found.append(Row(fields, row.line))
        names = {name: clean for name, clean in own.items() if len(name) <= _LONGEST}
        changed |= {name: clean for name, clean in names.items() if "".join(name.split()) != "".join(clean.split())}
    if changed:
        note(f"{path}: {changes_in_words(changed)}.")
    return found


def _split(line: str, separator: str) -> tuple[list[str], bool]:
    """Split one line; whether a field opens a quote that the line does not close (it is then taken as a letter)."""
    plain = [field.strip() for field in line.split(separator)]
    if not any(field.startswith('"') for field in plain):
        return plain, False
    mark = re.escape(separator)
    quoted = re.compile(rf' *"((?:[^"]|""|"(?! *(?:{mark}|\Z)))*+)" *(?={mark}|\Z)')
    fields, place, is_open = [], 0, False
    while True:
        if found := quoted.match(line, place):
            fields.append(" ".join(found[1].replace('""', '"').split()))
            end = found.end()
        else:
            end = line.find(separator, place)
            end = len(line) if end < 0 else end
            field = line[place:end].strip()
            is_open |= field.startswith('"')
            fields.append(field.strip('"').strip())
        if end >= len(line):
            return fields, is_open
        place = end + 1


def _joined(
    path: Path, lines: list[str], place: int, separator: str, width: int | None, alone: list[str]
) -> tuple[list[str], int]:
    """Decide what a quote that is open at a line's end means: the row's fields, and the lines it takes.

    It is a line break in a field if the lines together have the header's number of fields and not each of them alone;
    it is a stray quote if each of them alone has.
    """
    for end in range(place + 1, min(place + _LONGEST_FIELD, len(lines))):
        if '"' not in lines[end]:
            continue
        fields, is_open = _split("\n".join(lines[place : end + 1]), separator)
        if is_open:
            continue
        parts = [_split(line, separator)[0] for line in lines[place : end + 1] if line.strip()]
        if width is not None and all(len(part) == width for part in parts):
            return alone, 1
        if width is None or len(fields) == width:
            return fields, end + 1 - place
        raise GrapeOpsError(
            f"{path}: the quote that line {place + 1} opens is closed in line {end + 1}: {end + 1 - place} lines "
            f"become one row of {len(fields)} fields, where the first row has {width}. Remove the stray quote."
        )
    return alone, 1


def check_widths(path: Path, rows: Rows, needed: int) -> None:
    """Stop at rows that do not fit the header, and fill rows up whose last fields are left out.

    Parameters
    ----------
    needed : fields that each row must have; those behind may be missing.

    Raises
    ------
    GrapeOpsError : a row has too few fields, or more than the header.
    """
    width = len(rows[0])
    for row in rows[1:]:
        if len(row) < needed or any(row[width:]):
            raise GrapeOpsError(
                f"{path}: line {row.line} has {counted(len(row), 'fields')}, where the header has {width} "
                "(a stray quote or separator?)."
            )
        row += [""] * (width - len(row))


def is_missing(name: str) -> bool:
    """Whether a field says that there is no value."""
    return name.casefold() in MISSING_WORDS


def warn_ruined(path: Path, names: Iterable[str]) -> None:
    """Say which names look like what a spreadsheet makes of gene symbols."""
    ruined = sorted({name for name in names if _RUINED.fullmatch(name)})
    if ruined:
        note(
            f"{path} names {counted(len(ruined), 'genes')} that a spreadsheet seems to have turned into dates or "
            f"numbers ({', '.join(ruined[:3])}); such names match no gene. Restore the symbols, as SEPTIN2 for 2-Sep."
        )


def find_column(header: Sequence[str], names: Sequence[str]) -> int | None:
    """Find the first of ``names`` in a header, upper and lower case, blanks and a # in front aside."""
    folded = [field.lstrip("# ").casefold().replace(" ", "_") for field in header]
    return next(
        (folded.index(name) for name in (n.casefold().replace(" ", "_") for n in names) if name in folded), None
    )
