"""Tables that people open in spreadsheets: no cell of text is taken for a formula."""

import numpy as np
import pandas as pd

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_MARK = "'"


def spreadsheet_safe(table: pd.DataFrame) -> pd.DataFrame:
    """Put an apostrophe before texts that a spreadsheet would calculate; numbers, also as text, stay as they are.

    Readers of truth tables take it away again (``without_mark``).
    """
    safe = table.copy(deep=False)
    for place, kind in enumerate(table.dtypes):
        if not pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_datetime64_any_dtype(kind):
            values = [safe_text(value) for value in table.iloc[:, place]]
            safe.isetitem(place, np.array([*values, None], dtype=object)[:-1])  # objects: whole numbers stay whole
    return safe


def safe_text(value: object) -> object:
    """Put an apostrophe before one text that a spreadsheet would calculate."""
    if not isinstance(value, str) or not value.startswith(FORMULA_STARTS) or value == "-" or _is_number(value):
        return value
    return _MARK + value


def without_mark(text: str) -> str:
    """Take the apostrophe away that ``safe_text`` has put."""
    return text[1:] if text.startswith(tuple(_MARK + start for start in FORMULA_STARTS)) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
