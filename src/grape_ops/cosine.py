"""Directions of vectors: rows of length 1, and the cosines between vectors.

Letters: N and M vectors of F numbers.
"""

import numpy as np

_SHORTEST = 1e-12  # rows below this length are left short of 1


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Scale every vector to length 1, zero vectors left at zero: (N, F) -> (N, F) float64."""
    rows = np.asarray(vectors, dtype=np.float64)
    # Dividing by the largest entry first keeps very small and very large vectors from under- and overflowing.
    scale = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    rows = np.divide(rows, scale, out=np.zeros_like(rows), where=scale > 0)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=rows, where=length > 0)


def floored_unit_rows(vectors: np.ndarray) -> np.ndarray:
    """The same with one division, in the type of the vectors: (N, F) -> (N, F).

    Gene effects, and what M is initialised with, are made so; ``unit_rows`` would change their last bits.
    """
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _SHORTEST))


def cosines(first: np.ndarray, second: np.ndarray, shortest: float = 0.0) -> np.ndarray:
    """Cosine of each row with each: (N, F), (M, F) -> (N, M); 0 if their lengths' product is not above ``shortest``."""
    sizes = np.linalg.norm(first, axis=1)[:, None] * np.linalg.norm(second, axis=1)
    return np.divide(first @ second.T, sizes, out=np.zeros_like(sizes), where=sizes > shortest)


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Cosine of two vectors (F,), NaN where one of them is zero."""
    size = np.linalg.norm(first) * np.linalg.norm(second)
    return float(first @ second / size) if size > 0 else float("nan")
