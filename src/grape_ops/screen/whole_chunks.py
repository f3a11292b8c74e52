"""Chunks of zarr packed by Blosc, whose decoder reads on beyond the end of one that was cut off, and says nothing."""

from typing import Any

import zarr
from numcodecs import Blosc
from numcodecs.compat import ensure_contiguous_ndarray
from numcodecs.registry import register_codec
from zarr.codecs import BloscCodec

_HEAD = 16  # bytes; the last four of them are the length of the whole


class WholeBlosc(Blosc):
    """Blosc of zarr v2 that refuses a chunk of another length than the chunk says."""

    codec_id = "blosc"

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Unpack a chunk.

        Raises
        ------
        ValueError : it was cut off.
        """
        _check(ensure_contiguous_ndarray(buf))
        return super().decode(buf, out)


class WholeBloscCodec(BloscCodec):
    """The same of zarr v3."""

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        _check(chunk_bytes.as_numpy_array())
        return await super()._decode_single(chunk_bytes, chunk_spec)


def _check(chunk: Any) -> None:
    packed = memoryview(chunk).cast("B")
    if len(packed) < _HEAD or int.from_bytes(packed[_HEAD - 4 : _HEAD], "little") != len(packed):
        raise ValueError("a chunk is cut off")


def use_whole_chunks() -> None:
    """Let zarr read by these."""
    register_codec(WholeBlosc)
    zarr.registry.register_codec("blosc", WholeBloscCodec)
    zarr.config.set({"codecs.blosc": f"{__name__}.{WholeBloscCodec.__name__}"})
