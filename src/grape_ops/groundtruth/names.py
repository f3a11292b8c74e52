"""One form of a name, however a table writes it: no invisible characters, plain blanks, one Unicode form.

Names that look alike are one name: a zero-width space, a no-break space or a letter in two Unicode parts comes with
text that was copied from a web page, a PDF or another system, and nobody sees it.
"""

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from grape_ops.progress import note
from grape_ops.words import counted

_HYPHENS = {"\u2010", "\u2011"}  # what word processors write for the hyphen of HLA-A
_SHOWN = 3


def clean_name(name: str) -> str:
    """Write a name without what nobody sees in it; control characters within it stay, see ``has_control``.

    Format characters of Unicode (Cf: zero-width spaces, marks of direction, soft hyphens) go, every blank is a plain
    one, blanks and NUL around the name go, letters are composed (NFC).
    """
    if name.isascii() and name.isprintable():
        return name.strip()
    text = "".join(map(_plain, unicodedata.normalize("NFC", name)))
    return unicodedata.normalize("NFC", text).strip(" \0")


def _plain(letter: str) -> str:
    if letter.isspace():
        return " "
    if letter in _HYPHENS:
        return "-"
    return "" if unicodedata.category(letter) == "Cf" else letter


def has_control(name: str) -> bool:
    """Whether a clean name holds a control character: it is damaged, and nobody knows what it was."""
    return not name.isprintable() and any(unicodedata.category(letter) == "Cc" for letter in name)


def visible_form(name: object) -> str:
    """Write a name so that all of it is seen: é becomes \\xe9, a zero-width space \\u200b."""
    return ascii(str(name))[1:-1]


def clean_names(names: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Clean names: in their order, and those that are written otherwise than by blanks around them -> clean."""
    clean, changed = [], {}
    for name in names:
        own = clean_name(name)
        clean.append(own)
        if own != name and own != name.strip():
            changed[name] = own
    return clean, changed


def cleaned_names(names: Iterable[str], file: Path) -> list[str]:
    """Clean the names that a file holds, and say which were written otherwise."""
    clean, changed = clean_names(names)
    if changed:
        note(f"{file}: {changes_in_words(changed)}.")
    return clean


def changes_in_words(changed: dict[str, str]) -> str:
    """Say which names were cleaned: 2 names held …: 'RPL3\\u200b' is read as 'RPL3'."""
    shown = ", ".join(f"{visible_form(name)} is read as {own}" for name, own in list(changed.items())[:_SHOWN])
    more = ", …" if len(changed) > _SHOWN else ""
    return f"{counted(len(changed), 'names')} held invisible characters or letters in another form: {shown}{more}"


def differ_by_case(names: Iterable[str]) -> list[str]:
    """Say which different names agree but for case: "gena and GENA"."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(name.casefold(), []).append(name)
    return [" and ".join(group) for group in groups.values() if len(group) > 1]
