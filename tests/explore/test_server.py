"""The live server and the static page, without a browser: what is answered, and what is refused."""

import json
import shutil
import socket
import threading
from dataclasses import replace

import pytest

from grape_ops.errors import GrapeOpsError
from grape_ops.explore.explore_run import write_static
from grape_ops.explore.routes import POLICY, page_files

uvicorn = pytest.importorskip("uvicorn", reason="the explorer needs the extra `explore`")
testclient = pytest.importorskip("fastapi.testclient", reason="the explorer needs the extra `explore`")

from grape_ops.explore.explore_run import explore_run  # noqa: E402
from grape_ops.explore.limits import LimitedProtocol  # noqa: E402
from grape_ops.explore.server import is_loopback, listen, make_app  # noqa: E402


def client(request):
    return testclient.TestClient(make_app(request), base_url="http://localhost")


def test_what_is_no_run_is_refused_in_place_of_being_served(tmp_path, request_):
    def explore(place):
        explore_run(place, None, ("127.0.0.1", 0, False), (None, ()), say=pytest.fail)

    with pytest.raises(GrapeOpsError, match="is not a run folder: it has no run.json. `grape-ops train` makes one"):
        explore(tmp_path)
    (tmp_path / "run").symlink_to(request_.run)
    with pytest.raises(GrapeOpsError, match="is not a run folder: it has no run.json. .*run is one"):
        explore(tmp_path)


@pytest.fixture(scope="module")
def live(request_):
    return client(request_)


def test_every_address_of_the_page_answers(live):
    types = {"json": "application/json", "png": "image/png", "h5ad": "application/octet-stream"}
    addresses = ["data/overview.json", "data/map/0.json", "data/map/0/clusters/0.json", "data/map/1.h5ad"]
    addresses += ["data/gene/2.json", "data/cells/2.json", "data/cells/2.png?draw=3", "data/strip/2.png"]
    addresses += [
        "data/cells/control.json",
        "data/cells/control.png",
        "live/restyled.png?cell=3&gene=1&mix=0.5&start=2",
    ]
    addresses += ["live/strip.png?cell=3&gene=1", "data/screen.json"]
    for address in addresses:
        response = live.get("/" + address)
        assert response.status_code == 200, address
        assert response.headers["content-type"] == types[address.partition("?")[0].rpartition(".")[2]]
    assert live.post("/live/genes.h5ad", json={"map": 1, "genes": [0, 2]}).status_code == 200


def test_every_file_of_the_page_is_served_and_nothing_else(live):
    for name, content in page_files().items():
        assert live.get("/" + name).content == content, name
    for name in (
        "pyproject.toml",
        "..%2f..%2fpyproject.toml",
        "%2e%2e/%2e%2e/etc/passwd",
        "static/../../routes.py",
        "etc",
    ):
        assert live.get("/" + name).status_code == 404, name


def test_the_pages_own_files_are_kept_while_they_are_the_same(live):
    first = live.get("/main.js")
    again = live.get("/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"") and first.headers["cache-control"] == "no-cache"
    assert live.get("/data/overview.json").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/data/gene/99.json", 422),
        ("/data/map/7.json", 422),
        ("/data/gene/-1.json", 404),
        ("/data/gene/AAA.json", 404),
        ("/data/gene/..%2f..%2f1.json", 404),
        ("/live/restyled.png?cell=999999&gene=1", 422),
        ("/live/restyled.png?cell=1&gene=1&mix=7", 400),
        ("/live/restyled.png?cell=../1&gene=1", 400),
        ("/data/cells/1.png?draw=-1", 400),
    ],
)
def test_what_does_not_exist_is_refused(live, address, status):
    assert live.get(address).status_code == status


DIGITS = "9" * 4400


@pytest.mark.parametrize(
    "address",
    [
        f"/data/gene/{DIGITS}.json",
        f"/data/gene/1.json?draw={DIGITS}",
        f"/live/restyled.png?cell={DIGITS}&gene=1",
        "/live/restyled.png?cell=1&gene=1&mix=nan",
        "/live/restyled.png?cell=1&gene=1&start=99999999999999999999",
    ],
)
def test_numbers_that_are_none_are_refused_in_words(live, address):
    response = live.get(address)
    assert response.status_code == 400 and response.json()["error"] and len(response.content) < 1000


@pytest.mark.parametrize(
    "body",
    [
        b'{"map": NaN, "genes": [0]}',
        b'{"map": 0, "genes": [1, NaN]}',
        b'{"map": 0, "genes": [Infinity]}',
        b'{"map": 0, "genes": [1e999]}',
        b'{"map": 0, "genes": [' + DIGITS.encode() + b"]}",
        b'{"map": 0, "genes": [-1]}',
        b'{"map": true, "genes": [0]}',
        b'{"map": 0, "genes": "all"}',
        b'{"map": 0',
        b"[]",
        b"[" * 100_000,
        b"\xff",
        b"",
    ],
)
def test_requests_for_a_file_that_cannot_be_read_are_refused_in_words(live, body):
    response = live.post("/live/genes.h5ad", content=body)
    assert response.status_code == 400 and response.json()["error"]


def test_a_large_request_is_refused_before_it_is_read(live):
    def pieces():
        for _ in range(20):
            yield b" " * (1 << 17)

    for content in (b" " * ((1 << 20) + 1), pieces()):
        response = live.post("/live/genes.h5ad", content=content)
        assert (response.status_code, response.json()["error"]) == (413, "A request must not be larger than 1 MB.")
    assert live.post("/live/genes.h5ad", json={"map": 0, "genes": [0] * 100_001}).status_code == 400


@pytest.fixture
def port(request_, monkeypatch):
    """Port of a live server in a thread, which waits a fifth of a second instead of ten."""
    monkeypatch.setattr("grape_ops.explore.limits.MOST_SECONDS", 0.2)
    config = uvicorn.Config(make_app(request_), log_level="warning", lifespan="off", http=LimitedProtocol)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    listener = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"GET / HTT", b""),
        (b"POST /live/genes.h5ad HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{", b"408"),
    ],
)
def test_connections_that_ask_for_nothing_are_ended(port, sent, answer):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as visitor:
        visitor.sendall(sent)
        received = b"".join(iter(lambda: visitor.recv(4096), b""))  # ends when the server closes the connection
    assert answer in received and bool(answer) == bool(received)


def test_trouble_is_reported_as_json(live):
    assert live.get("/data/gene/99.json").json() == {"error": "There is no gene of number 99; there are 4."}


def test_every_answer_is_guarded(live):
    for address in ("/", "/main.js", "/data/overview.json", "/data/gene/99.json"):
        headers = live.get(address).headers
        assert headers["content-security-policy"] == POLICY + "; frame-ancestors 'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_other_names_of_this_machine_are_refused(live):
    # A page elsewhere may point a name of its own at 127.0.0.1 and read what the server answers.
    assert live.get("/data/overview.json", headers={"Host": "evil.example"}).status_code == 400
    assert live.get("/data/overview.json", headers={"Host": "127.0.0.1:8765"}).status_code == 200


def test_a_folder_that_is_no_run_gets_a_page_that_says_so(tmp_path, request_):
    (tmp_path / "<b>holiday").mkdir()
    response = client(replace(request_, run=tmp_path / "<b>holiday", groups=())).get("/")
    assert response.status_code == 500
    assert "is not a run folder" in response.text and "&lt;b&gt;holiday" in response.text


@pytest.mark.parametrize(
    ("name", "content"),
    [("run.json", "{"), ("run.json", "[]"), ("run.json", "{}"), ("genes.parquet", "no"), ("config.yaml", "model: 3")],
)
def test_a_damaged_run_gets_a_page_until_it_is_mended(copied, name, content):
    kept = (copied.run / name).read_bytes()
    (copied.run / name).write_text(content)
    page = client(replace(copied, groups=()))
    response = page.get("/")
    assert response.status_code == 500 and "This run cannot be explored" in response.text
    assert page.get("/data/overview.json").status_code == 422
    (copied.run / name).write_bytes(kept)
    assert page.get("/").status_code == 200


def test_a_store_that_is_another_runs_is_reported(copied, tmp_path, tiny_store):
    shutil.copytree(tiny_store.path, tmp_path / "store")
    file = tmp_path / "store" / "store.json"
    file.write_text(file.read_text() + " ")
    response = client(replace(copied, store=tmp_path / "store", groups=())).get("/")
    assert response.status_code == 500 and "is not the crop store" in response.text


def test_the_static_page_holds_what_the_live_one_answers(live, request_, tmp_path):
    out = write_static(request_, tmp_path / "page")
    for address in ("data/map/1.json", "data/gene/3.json", "data/cells/0.png", "data/strip/1.png", "index.html"):
        served = live.get("/" if address == "index.html" else "/" + address)
        assert (out / address).read_bytes() == served.content, address
    overview = json.loads((out / "data" / "overview.json").read_text())
    assert overview["mode"] == "static" and overview["pictured"] == [0, 1, 2, 3]
    assert json.loads((out / "explore.json").read_text()) == {"title": "screen-one", "genes": 4}


def test_a_static_page_may_hold_pictures_of_some_genes(request_, tmp_path):
    settings = request_.settings.model_copy(update={"static_genes": 2})
    out = write_static(replace(request_, settings=settings, groups=()), tmp_path / "page")
    pictured = json.loads((out / "data" / "overview.json").read_text())["pictured"]
    assert len(pictured) == 2
    assert sorted(file.stem for file in (out / "data" / "cells").glob("*.png")) == sorted(
        [*map(str, pictured), "control"]
    )


def test_a_static_page_replaces_one_of_its_own_and_nothing_else(request_, tmp_path):
    request = replace(request_, groups=())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(GrapeOpsError, match="something else than a page"):
        write_static(request, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").is_file()
    write_static(request, tmp_path / "page")
    (tmp_path / "page" / "stale.json").write_text("{}")
    write_static(request, tmp_path / "page")
    assert not (tmp_path / "page" / "stale.json").exists()


def test_loopback_is_distinguished_from_the_world():
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "my-host", "")))


def test_a_taken_port_is_reported():
    with listen("127.0.0.1", 0) as first:
        first.listen()
        with pytest.raises(GrapeOpsError, match="--port 0"):
            listen("127.0.0.1", first.getsockname()[1])


def test_serving_to_the_world_is_warned_of(request_, monkeypatch):
    said = []
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: [s.close() for s in sockets])
    files = {"groups": (), "maps": ()}
    explore_run(request_.run, None, ("0.0.0.0", 0, False), (None, ()), say=said.append, **files)
    assert "Warning" in said[0] and "no password" in said[0]
    said.clear()
    explore_run(request_.run, None, ("127.0.0.1", 0, False), (None, ()), say=said.append, **files)
    assert not any("Warning" in line for line in said) and "http://127.0.0.1:" in said[-1]


def test_serving_a_folder_that_is_no_run_ends_with_the_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: pytest.fail("it was served"))
    with pytest.raises(GrapeOpsError, match="is not a run folder: it has no run.json"):
        explore_run(tmp_path, None, ("127.0.0.1", 0, False), (None, ()), say=print, groups=(), maps=())
