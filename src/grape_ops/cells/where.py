"""Which cells of a store an expression means, such as ``plate in ["1", "2"] and gene != "XYZ"``.

Comparisons of one column with values, joined by ``and``, ``or`` and ``not``. The text is only parsed, never evaluated.
Letters: n cells of a stretch of the cell table.
"""

import ast
import difflib
import keyword
import re
import sys
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from grape_ops.errors import GrapeOpsError
from grape_ops.schema import CONTROL_LABEL, GENE, GUIDE, IS_CONTROL

SHORT_NAMES = {"gene": GENE, "guide": GUIDE}
EXAMPLE = 'plate in ["1", "2"] and gene != "XYZ"'
_OPERATORS: dict[type[ast.cmpop], str] = {
    **{ast.Eq: "==", ast.NotEq: "!=", ast.In: "in", ast.NotIn: "not in"},
    **{ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="},
}
_OPPOSITE = {"==": "!=", "in": "not in", "<": ">=", "<=": ">"} | {"!=": "==", "not in": "in", ">=": "<", ">": "<="}
_MIRRORED = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_WORDS = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`([^`]+)`|\bclass\b""")
_SHOWN = 12
Value = str | int | float | bool


@dataclass
class _Comparison:
    """A column compared with values; controls are not dropped because they are not the gene or guide asked for."""

    column: str
    operator: str
    values: tuple[Value, ...]
    seen: set[str] = field(default_factory=set)  # of a column of text, the values that cells have

    def __str__(self) -> str:
        listed = self.operator in ("in", "not in")
        return f"{_spelt(self.column)} {self.operator} {list(self.values) if listed else repr(self.values[0])}"

    def mask(self, cells: pd.DataFrame) -> np.ndarray:
        """Cells (n,) that fulfil it; a missing value fulfils ``!=`` and ``not in`` alone."""
        column, wanted = cells[self.column], self.values
        if any(isinstance(value, bool) for value in wanted) and not pd.api.types.is_bool_dtype(column):
            raise GrapeOpsError(f"--where {self}: {self.column} is not true or false; compare it with a value.")
        if pd.api.types.is_bool_dtype(column) and not all(isinstance(value, bool) for value in wanted):
            raise GrapeOpsError(f"--where {self}: {self.column} is true or false; write it alone, or with not.")
        if pd.api.types.is_numeric_dtype(column):
            if not all(isinstance(value, int | float) for value in wanted):
                raise GrapeOpsError(f"--where {self}: the column {self.column} holds numbers; leave out the quotes.")
            return self._fulfilled(column)
        return self._text_mask(column, cells[IS_CONTROL].to_numpy(bool))

    def _text_mask(self, column: pd.Series, is_control: np.ndarray) -> np.ndarray:
        if self.operator not in ("==", "!=", "in", "not in"):
            raise GrapeOpsError(
                f"--where {self}: the column {self.column} holds text, which has no order; use == or in."
            )
        codes, names = pd.factorize(column)
        texts = [str(name) for name in names]
        self.seen.update(texts)
        wanted = {str(value) for value in self.values}
        named = np.array([*(text in wanted for text in texts), False], bool)[codes]  # code -1 is a missing value
        if self.column == GENE and CONTROL_LABEL in wanted:
            self.seen.add(CONTROL_LABEL)
            named |= is_control
        if self.operator in ("!=", "not in"):
            return ~named
        return named | is_control if self.column in (GENE, GUIDE) else named

    def _fulfilled(self, column: pd.Series) -> np.ndarray:
        # Numbers are compared in the column's own type: 0.1 of 32 bits is no 0.1 of 64, and ids may be longer than a
        # float's 15 digits.
        wanted: Any = [value for value in self.values if not isinstance(value, str)]
        name = str(column.dtype).lower()
        if pd.api.types.is_integer_dtype(column) and not column.hasnans:
            values = column.to_numpy()
            if self.operator in ("==", "!=", "in", "not in"):
                wanted = [int(value) for value in wanted if float(value).is_integer()]
        else:
            values = column.to_numpy(name if name in ("float16", "float32") else np.float64, na_value=np.nan)
            with np.errstate(over="ignore"):
                wanted = np.array(wanted, np.float64).astype(values.dtype)
        match self.operator:
            case "==" | "in":
                return np.isin(values, wanted)
            case "!=" | "not in":
                return ~np.isin(values, wanted)
            case "<":
                return values < wanted[0]
            case "<=":
                return values <= wanted[0]
            case ">":
                return values > wanted[0]
            case _:
                return values >= wanted[0]

    def unknown(self) -> list[str]:
        """Values of a column of text that no cell has."""
        return [str(value) for value in self.values if str(value) not in self.seen] if self.seen else []


@dataclass
class _Joined:
    """Several conditions of which all (``and``), or at least one (``or``), are to be fulfilled."""

    word: str
    parts: list["_Comparison | _Joined"]

    def __str__(self) -> str:
        texts = [f"({part})" if isinstance(part, _Joined) else str(part) for part in self.parts]
        return f" {self.word} ".join(texts)

    def mask(self, cells: pd.DataFrame) -> np.ndarray:
        """Cells (n,) that fulfil it."""
        every = np.logical_and if self.word == "and" else np.logical_or
        return np.asarray(every.reduce([part.mask(cells) for part in self.parts]))


class Condition:
    """A parsed expression over the columns of a cell table; as text, one spelling of it.

    Parameters
    ----------
    text : the expression.
    columns : of the cell table.

    Raises
    ------
    GrapeOpsError : it cannot be parsed, is more than comparisons, or names a column that the table lacks.
    """

    def __init__(self, text: str, columns: Sequence[str]):
        self.text, self._columns = text, list(columns)
        names: list[str] = []

        def placeholder(found: re.Match[str]) -> str:
            if found[0][0] in "'\"":
                return found[0]
            names.append(found[1] or found[0])
            return f"column_{len(names)}_"

        bare = _WORDS.sub(placeholder, text)  # `class` is a word of Python's, and `a column` may be several
        self._names = {f"column_{number}_": name for number, name in enumerate(names, start=1)}
        try:
            with warnings.catch_warnings(action="ignore"):  # Python's own, of what is refused below
                parsed = ast.parse(f"({bare})", mode="eval").body
            self._tree = self._read(parsed, negated=False)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise self._refused("it cannot be read") from None
        self._leaves = list(_leaves(self._tree))
        self.columns = list(dict.fromkeys([IS_CONTROL, *(leaf.column for leaf in self._leaves)]))

    def __str__(self) -> str:
        return str(self._tree)

    def mask(self, cells: pd.DataFrame) -> np.ndarray:
        """Cells (n,) of a stretch of the table that are meant."""
        return self._tree.mask(cells)

    def check_values(self) -> None:
        """Refuse values that no cell has, once ``mask`` has seen all cells: they are misspelt."""
        for leaf in self._leaves:
            if unknown := leaf.unknown():
                known = sorted(leaf.seen)
                near = [name for value in unknown for name in difflib.get_close_matches(value, known, n=3)]
                shown = list(dict.fromkeys([*near, *known]))[:_SHOWN]
                more = ", …" if len(known) > len(shown) else ""
                raise GrapeOpsError(
                    f"--where {self.text}: no cell has {leaf.column} {', '.join(unknown[:_SHOWN])}. "
                    f"There are {', '.join(shown)}{more}."
                )

    def _refused(self, why: str) -> GrapeOpsError:
        return GrapeOpsError(
            f"--where {self.text}: {why}. Columns are compared with values by ==, !=, <, <=, >, >=, in and not in, and "
            f"joined by and, or and not: --where '{EXAMPLE}'."
        )

    def _read(self, node: ast.expr, *, negated: bool) -> _Comparison | _Joined:
        match node:
            case ast.BoolOp():
                word = "and" if isinstance(node.op, ast.And) != negated else "or"
                return _Joined(word, [self._read(value, negated=negated) for value in node.values])
            case ast.UnaryOp(op=ast.Not()):
                return self._read(node.operand, negated=not negated)
            case ast.Name():
                return _Comparison(self._column(node), "==", (not negated,))
            case ast.Compare():
                sides = [node.left, *node.comparators]
                pairs = [self._pair(*part) for part in zip(sides, node.ops, sides[1:], strict=False)]
                for pair in pairs if negated else ():
                    pair.operator = _OPPOSITE[pair.operator]
                return pairs[0] if len(pairs) == 1 else _Joined("or" if negated else "and", [*pairs])
        raise self._refused(f"{ast.unparse(node)} is no comparison")

    def _pair(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> _Comparison:
        word = _OPERATORS.get(type(operator))
        if word is None:
            raise self._refused("`is` compares nothing here")
        if isinstance(right, ast.Name) and not isinstance(left, ast.Name) and word in _MIRRORED:
            left, right, word = right, left, _MIRRORED[word]
        if not isinstance(left, ast.Name):
            raise self._refused(f"{ast.unparse(left)} is no column")
        if word in ("in", "not in"):
            if not isinstance(right, ast.List | ast.Tuple | ast.Set) or not right.elts:
                raise self._refused(f"`in` takes a list of values, as in {left.id} in [...]")
            return _Comparison(self._column(left), word, tuple(self._value(item) for item in right.elts))
        return _Comparison(self._column(left), word, (self._value(right),))

    def _column(self, node: ast.Name) -> str:
        name = self._names.get(node.id, node.id)
        if name not in self._columns:
            name = SHORT_NAMES.get(name, name)
        if name not in self._columns:  # Python reads the micro sign in a name as the Greek letter
            name = next((own for own in self._columns if unicodedata.normalize("NFKC", own) == name), name)
        if name not in self._columns:
            raise GrapeOpsError(
                f"--where {self.text}: the cell table has no column {name}. It has {', '.join(self._columns)} "
                "(gene and guide for short). Values that are text need quotes."
            )
        return name

    def _value(self, node: ast.expr) -> Value:
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError):
            value = None
        if not isinstance(value, str | int | float):
            raise self._refused(f"{ast.unparse(node)} is no value; text needs quotes")
        if isinstance(value, int) and abs(value) > sys.float_info.max:
            raise self._refused("a number is too large")
        return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


def _spelt(column: str) -> str:
    return column if column == "class" or (column.isidentifier() and not keyword.iskeyword(column)) else f"`{column}`"


def _leaves(tree: _Comparison | _Joined) -> Iterator[_Comparison]:
    if isinstance(tree, _Comparison):
        yield tree
    else:
        for part in tree.parts:
            yield from _leaves(part)
