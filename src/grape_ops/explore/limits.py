"""What one visitor of the live page may ask of the server, so that none keeps the others waiting."""

import asyncio
import json
from typing import Any

from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_BYTES = 1 << 20  # of a request: the numbers of 100,000 genes
MOST_SECONDS = 10.0  # for a request to arrive, and for a connection that asks for nothing
LARGEST = 10**9  # number in an address or a request
_DIGITS = 10


class RequestLimit:
    """Refuse requests that are too large, or that arrive too slowly (ASGI middleware)."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the whole request within its limits, and only then hand it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(MOST_SECONDS):
                body = await _whole_body(scope, receive)
        except TimeoutError:
            await _refuse(send, 408, f"The request did not arrive within {MOST_SECONDS:.0f} seconds.")
            return
        if body is None:
            await _refuse(send, 413, f"A request must not be larger than {MOST_BYTES >> 20} MB.")
            return
        given = False

        async def given_body() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, given_body, send)


async def _whole_body(scope: Scope, receive: Receive) -> bytes | None:
    """Read the body of a request; None if it is too large."""
    announced = dict(scope["headers"]).get(b"content-length", b"0")
    if not announced.isdigit() or len(announced) > _DIGITS or int(announced) > MOST_BYTES:
        return None
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MOST_BYTES:
            return None
    return bytes(body)


async def _refuse(send: Send, status: int, sentence: str) -> None:
    content = json.dumps({"error": sentence}).encode()
    # The rest of the request is not read, so that the connection cannot be used again.
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


class _Number(Convertor[int]):
    """A whole number in an address; Python itself refuses to read thousands of digits."""

    regex = "[0-9]+"

    def convert(self, value: str) -> int:
        """Read the number.

        Raises
        ------
        HTTPException : it is beyond ``LARGEST``.
        """
        if len(value) > _DIGITS or int(value) > LARGEST:
            raise HTTPException(400, f"The address holds a number of {len(value)} digits; there is none so large.")
        return int(value)

    def to_string(self, value: int) -> str:
        """Write the number."""
        return str(value)


register_url_convertor("number", _Number())


def read_json(body: bytes) -> Any:
    """Read the JSON of a request.

    Raises
    ------
    HTTPException : it is no JSON, or holds NaN, infinity or a number of thousands of digits.
    """

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not a number")

    try:
        return json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"The request is no JSON that can be read: {error}.") from None


class LimitedProtocol(H11Protocol):
    """HTTP whose connections end when they have asked for nothing for a while.

    The server by itself ends only those that were answered before.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch a connection."""
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        self._watch = self.loop.call_later(MOST_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        self._watch.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Note when a request was answered."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def _look(self) -> None:
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if not is_answering and self.loop.time() - self._idle_since >= MOST_SECONDS:
            self.transport.close()
            return
        self._watch = self.loop.call_later(MOST_SECONDS / 2, self._look)
