"""Counts, lists and durations in words."""

import pytest

from grape_ops.words import counted, duration, short_duration, some_of


@pytest.mark.parametrize(
    ("count", "what", "words"),
    [
        (1, "batches without control cells", "1 batch without control cells"),
        (1, "cells outside their tile", "1 cell outside its tile"),
        (1, "missing tiles", "1 missing tile"),
        (1, "complexes", "1 complex"),
        (1, "classes", "1 class"),
        (2, "batches", "2 batches"),
        (1200, "control cells", "1,200 control cells"),
    ],
)
def test_counts_take_the_singular_for_one(count: int, what: str, words: str):
    assert counted(count, what) == words


def test_the_first_names_are_listed_and_the_others_counted():
    assert some_of(["A", "B", "C"]) == "A, B, C"
    assert some_of(iter("ABCDE"), 2) == "A, B and 3 more"


@pytest.mark.parametrize(
    ("seconds", "words", "short"),
    [(90, "2 minutes", "90s"), (600, "10 minutes", "10m"), (9000, "2.5 hours", "2.5h"), (216_000, "2.5 days", "2.5d")],
)
def test_durations_have_the_unit_that_suits_them(seconds: float, words: str, short: str):
    assert duration(seconds) == words and short_duration(seconds) == short
