"""Random streams of one seed draw different numbers."""

from enum import IntEnum

import pytest

from grape_ops import randomness
from grape_ops.randomness import generator

REGISTERED = [kind for kind in vars(randomness).values() if isinstance(kind, type) and issubclass(kind, IntEnum)]


@pytest.mark.parametrize("streams", [kind for kind in REGISTERED if len(kind)])
def test_streams_and_their_parts_are_drawn_apart(streams: type[IntEnum]):
    keys = [(stream, *part) for stream in streams for part in ((1,), (2,), (1, 1))]
    assert len({float(generator(7, *key).random()) for key in keys}) == len(keys)
    assert generator(7, *keys[0]).random() == generator(7, *keys[0]).random() != generator(8, *keys[0]).random()
