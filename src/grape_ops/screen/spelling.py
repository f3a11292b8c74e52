"""What programs make of names: words for a missing value, labels that a spreadsheet ruined, other spellings."""

import re
import unicodedata
from collections.abc import Iterable

import pandas as pd

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


def is_ruined(name: str) -> bool:
    """Whether a name looks like a date or a rounded number that a spreadsheet has made of it."""
    return _RUINED.fullmatch(name.strip()) is not None


def doubts_of_names(names: Iterable[str]) -> list[str]:
    """Sentences about names that a spreadsheet seems to have changed."""
    ruined = [name for name in names if is_ruined(name)]
    if not ruined:
        return []
    more = f" and {len(ruined) - 5} more" if len(ruined) > 5 else ""
    return [
        f"{', '.join(ruined[:5])}{more}: a spreadsheet seems to have made dates or rounded numbers of names, such as "
        "2-Sep of SEPTIN2. Write the table again from its source."
    ]


def loose(name: str) -> str:
    """Simplify a name for comparison: lower case, one Unicode form, and A01 becomes a1."""
    text = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"\d+", lambda digits: digits.group().lstrip("0") or "0", text)
