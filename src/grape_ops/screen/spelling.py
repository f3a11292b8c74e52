"""What programs make of names: words for a missing value, labels that a spreadsheet ruined, other spellings."""

import re
import unicodedata
from collections.abc import Iterable

import numpy as np
import pandas as pd

from grape_ops.groundtruth.names import clean_name, has_control
from grape_ops.words import some_of

# As R, pandas, spreadsheets and databases write it. None of them is a gene or a guide.
MISSING = frozenset({"", "-", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nan", "none", "null", "nat"})
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec"
_RUINED = re.compile(
    rf"(\d{{1,4}}-({_MONTHS})|({_MONTHS})-\d{{1,4}}"
    r"|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{4}-\d{2}-\d{2}( 00:00:00)?"
    r"|\d([.,]\d+)?e\+\d+|#(name\?|ref!|value!|div/0!))",
    re.IGNORECASE,
)


def without_missing(names: pd.Series) -> pd.Series:
    """Empty the names that mean a missing value: (N,) texts -> (N,) texts."""
    return names.where(~names.str.strip().str.lower().isin(MISSING), "")


def different_values(values: pd.Series) -> tuple[np.ndarray, list[object]]:
    """Number the different values of a column: -> (N,) which, and the values; gaps are one of them.

    Unlike ``pandas.factorize``, to which a text ends at its first NUL.
    """
    try:
        ends_early = values.dtype == object and "\0" in "".join(values.dropna())
    except TypeError:  # not all of it is text
        ends_early = values.dtype == object and any(isinstance(value, str) and "\0" in value for value in values)
    if not ends_early:
        codes, found = pd.factorize(values, use_na_sentinel=False)
        return codes, list(found)
    listed = values.where(values.notna(), None).tolist()
    places = {value: place for place, value in enumerate(dict.fromkeys(listed))}
    return np.array([places[value] for value in listed]), list(places)


def clean_texts(values: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Clean names (``clean_name``), each different one once: (N,) texts -> (N,) texts, and (N,) bool, which changed.

    Changed are those that more than blanks around them were taken from. Of a name that holds a control character
    nothing is left: it is damaged.
    """
    codes, found = different_values(values)
    before = [str(name) for name in found]
    clean = [clean_name(name) for name in before]
    kept = pd.Series(["" if has_control(name) else name for name in clean], dtype=object)
    changed = pd.Series([own != name.strip() for own, name in zip(kept, before, strict=True)], dtype=bool)
    return (
        pd.Series(kept.to_numpy()[codes], index=values.index, name=values.name),
        pd.Series(changed.to_numpy()[codes], index=values.index),
    )


def is_ruined(name: str) -> bool:
    """Whether a name looks like a date or a rounded number that a spreadsheet has made of it."""
    return _RUINED.fullmatch(name.strip()) is not None


def doubts_of_names(*kinds: Iterable[str]) -> list[str]:
    """Sentences about names that a spreadsheet seems to have changed, and names of one kind that differ by case."""
    known = [list(dict.fromkeys(names)) for names in kinds]
    ruined = [name for names in known for name in names if is_ruined(name)]
    doubts = []
    if ruined:
        doubts.append(
            f"{some_of(ruined, 5)}: a spreadsheet seems to have made dates or rounded numbers of names, such as "
            "2-Sep of SEPTIN2. Write the table again from its source."
        )
    alike = [" and ".join(group) for names in known for group in alike_names(names)]
    if alike:
        doubts.append(
            f"Counted apart, though they differ by case or leading zeros alone: {some_of(alike, 5)}. If they mean the "
            "same, write them alike in the table, or name a table of both as screen.aliases."
        )
    return doubts


def alike_names(names: Iterable[str]) -> list[list[str]]:
    """Group different names that agree in their ``loose`` form."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(loose(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def loose(name: str) -> str:
    """Simplify a name for comparison: lower case, one Unicode form, and A01 becomes a1."""
    text = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"\d+", lambda digits: digits.group().lstrip("0") or "0", text)
