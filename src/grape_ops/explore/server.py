"""The live page: a web server on this machine.

Addresses hold numbers; the page's own files are looked up by name among those read at the start. So nothing that a
browser sends ever becomes a path. Answers are computed in threads, the networks one at a time.
"""

import ipaddress
import socket
import time
import webbrowser
from collections.abc import Awaitable, Callable
from functools import lru_cache
from hashlib import sha256
from threading import Lock
from typing import Annotated, Any

import torch

from grape_ops.errors import GrapeOpsError
from grape_ops.explore.explorer_data import ExplorerData
from grape_ops.explore.routes import ADDRESSES, POLICY, as_json, content_type, document, error_page, page_files
from grape_ops.explore.sources import Request
from grape_ops.machine import core_count

try:
    import uvicorn
    from fastapi import FastAPI, Path, Query, Response
    from fastapi import Request as Call
    from fastapi.concurrency import run_in_threadpool
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from grape_ops.explore.limits import LARGEST, LimitedProtocol, RequestLimit, read_json
except ImportError:
    raise GrapeOpsError("The explorer needs FastAPI and uvicorn: pip install 'grape-ops[explore]'.") from None

LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")
KEPT = 512  # pictures and cards kept in memory
SLOW = 0.1  # seconds a crop may take on one thread
MOST_GENES = 100_000  # in one request for a file

Number = Annotated[int, Path(ge=0, le=LARGEST)]
Asked = Annotated[int, Query(ge=0, le=LARGEST)]
Draw = Annotated[int, Query(ge=0, le=1_000_000)]


class LazyExplorer:
    """The explorer, opened when first asked for; one that cannot be opened is tried again."""

    def __init__(self, request: Request):
        self.request = request
        self._explorer: ExplorerData | None = None
        self._lock = Lock()
        self.document = lru_cache(KEPT)(self._document)

    def explorer(self) -> ExplorerData:
        """The explorer.

        Raises
        ------
        GrapeOpsError : run, store, maps or truth cannot be used.
        """
        with self._lock:
            if self._explorer is None:
                self._explorer = ExplorerData(self.request)
            return self._explorer

    def _document(self, kind: str, numbers: tuple[int, ...], draw: int) -> tuple[bytes, str]:
        return document(self.explorer(), kind, numbers, draw)


def make_app(request: Request, hosts: tuple[str, ...] = LOOPBACK) -> FastAPI:
    """The web application; it answers only to the names of ``hosts``, so that no other page can reach it."""
    app = FastAPI(title="grape-ops explore", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(RequestLimit)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    lazy, files = LazyExplorer(request), page_files()
    app.state.lazy = lazy
    tags = {name: f'"{sha256(content).hexdigest()[:32]}"' for name, content in files.items()}

    @app.middleware("http")
    async def _guard(call: Call, answer: Callable[[Call], Awaitable[Response]]) -> Response:
        response = await answer(call)
        response.headers["Content-Security-Policy"] = POLICY + "; frame-ancestors 'none'"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        # The page's own files may be kept if asked about again; what is said of the run may change with it.
        response.headers["Cache-Control"] = "no-cache" if "etag" in response.headers else "no-store"
        return response

    @app.exception_handler(GrapeOpsError)
    def _trouble(_: Call, error: GrapeOpsError) -> Response:
        return Response(as_json({"error": str(error)}), status_code=422, media_type="application/json")

    @app.exception_handler(HTTPException)
    def _refusal(_: Call, error: HTTPException) -> Response:
        return Response(as_json({"error": error.detail}), error.status_code, media_type="application/json")

    @app.exception_handler(RequestValidationError)
    def _misfit(_: Call, error: RequestValidationError) -> Response:
        # What was sent is not repeated: it may be large, or NaN, which JSON cannot hold.
        words = "; ".join(f"{found['loc'][-1]}: {found['msg']}" for found in error.errors()[:3])
        return Response(
            as_json({"error": f"The request cannot be answered: {words}."}), 400, media_type="application/json"
        )

    @app.get("/")
    def _index() -> Response:
        try:
            lazy.explorer()
        except GrapeOpsError as error:
            page = error_page("This run cannot be explored", str(error))
            return Response(page, status_code=500, media_type=content_type("index.html"))
        return Response(files["index.html"], media_type=content_type("index.html"))

    _serve_data(app, lazy)
    _serve_live(app, lazy)

    @app.get("/{name}")
    def _file(name: str, call: Call) -> Response:
        if name not in files:
            return Response(as_json({"error": "There is no such page."}), 404, media_type="application/json")
        if call.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers={"ETag": tags[name]})
        return Response(files[name], media_type=content_type(name), headers={"ETag": tags[name]})

    return app


def _serve_data(app: FastAPI, lazy: LazyExplorer) -> None:
    """Answer what a static page has files of."""

    @app.get("/data/overview.json")
    def _overview() -> Response:
        return Response(as_json(lazy.explorer().overview("live")), media_type=content_type("overview.json"))

    def answer(kind: str, *numbers: int, draw: int = 0) -> Response:
        content, media_type = lazy.document(kind, numbers, draw)
        return Response(content, media_type=media_type)

    def serve(kind: str) -> None:
        def of_none(draw: Draw = 0) -> Response:
            return answer(kind, draw=draw)

        def of_one(first: Number, draw: Draw = 0) -> Response:
            return answer(kind, first, draw=draw)

        def of_two(first: Number, second: Number) -> Response:
            return answer(kind, first, second)

        address = "/" + ADDRESSES[kind]
        endpoint: Callable[..., Response] = (of_none, of_one, of_two)[address.count("{}")]
        app.get(address.replace("{}", "{first:number}", 1).replace("{}", "{second:number}", 1))(endpoint)

    for kind in ADDRESSES:
        serve(kind)


def _serve_live(app: FastAPI, lazy: LazyExplorer) -> None:
    """Answer what only a live page can ask: cells restyled on demand, and files of chosen genes."""

    def restyle(cell: int, gene: int, mixes: list[float], start: int | None) -> Response:
        picture = lazy.explorer().restyled(cell, gene, mixes, start)
        return Response(picture, media_type=content_type("strip.png"))

    @app.get("/live/restyled.png")
    def _restyled(
        cell: Asked,
        gene: Asked,
        mix: Annotated[float, Query(ge=0, le=1)] = 1.0,
        start: Asked | None = None,
    ) -> Response:
        return restyle(cell, gene, [mix], start)

    @app.get("/live/strip.png")
    def _strip(
        cell: Asked,
        gene: Asked,
        start: Asked | None = None,
    ) -> Response:
        return restyle(cell, gene, lazy.explorer().mixes, start)

    def genes_file(body: bytes) -> bytes:
        asked = read_json(body)
        genes = asked.get("genes") if isinstance(asked, dict) else None
        numbers: list[Any] = [asked.get("map"), *genes] if isinstance(genes, list) else [None]
        if len(numbers) > MOST_GENES + 1 or not all(type(n) is int and 0 <= n <= LARGEST for n in numbers):
            raise HTTPException(
                400, f'The request should hold "map", a number, and "genes", at most {MOST_GENES} numbers of genes.'
            )
        return lazy.explorer().export(numbers[0], numbers[1:])

    @app.post("/live/genes.h5ad")
    async def _genes(call: Call) -> Response:
        # Reading it in a thread leaves the server free for others.
        content = await run_in_threadpool(genes_file, await call.body())
        return Response(content, media_type=content_type("genes.h5ad"))


def serve(request: Request, host: str, port: int, *, browse: bool, say: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C.

    Raises
    ------
    GrapeOpsError : the host or port cannot be had.
    """
    listener = listen(host, port)
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{listener.getsockname()[1]}/"
    if is_loopback(host):
        hosts: tuple[str, ...] = (*LOOPBACK, name)
    else:
        hosts = ("*",)
        say(
            f"Warning: {host} is reached from other machines. Whoever can reach the port sees the whole screen; "
            "there is no password."
        )
    app = make_app(request, hosts)
    try:
        app.state.lazy.explorer().warm()
        _choose_threads(app.state.lazy.explorer())
    except GrapeOpsError as error:
        say(f"Error: {error} The page says so too; reload it once it is fixed.")
    config = uvicorn.Config(app, log_level="warning", lifespan="off", access_log=False, http=LimitedProtocol)
    say(f"Explore at {address} (Ctrl-C ends it)")
    if browse:
        webbrowser.open(address)
    uvicorn.Server(config).run(sockets=[listener])


def _choose_threads(explorer: ExplorerData) -> None:
    """One thread restyles a crop quicker than several, unless the networks are large."""
    torch.set_num_threads(1)
    if explorer.restyler is None:
        return
    cells = explorer.pictures().controls(0)[:1]
    explorer.restyler.restyle(cells, 0, 0, [1.0])  # the first pass also allocates
    start = time.perf_counter()
    explorer.restyler.restyle(cells, 0, 0, [1.0])
    if time.perf_counter() - start > SLOW:
        torch.set_num_threads(core_count())


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Take a port, 0 for a free one, before anything slow is done."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise GrapeOpsError(
            f"The page cannot be served at {host}, port {port}: {error}. `--port 0` takes a free port."
        ) from None
