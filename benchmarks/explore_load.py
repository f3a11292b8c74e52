"""The explorer with a genome's worth of genes: opening the page, moving the map, a gene's card, live restyling.

The run is made on the spot: a store of random crops, networks of ``small.yaml`` after one step. What is timed is the
page, in headless Chromium (WebGL in software where there is no graphics card), and the server, both on this machine.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import uvicorn
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from grape_ops.cells.writer import write_store
from grape_ops.config import ExploreSettings, load_config
from grape_ops.explore.server import listen, make_app
from grape_ops.explore.sources import Request
from grape_ops.schema import BATCH, CONTROL_LABEL, GENE, GUIDE, IS_CONTROL, PLATE, ROW, SHARD, TILE, WELL, X, Y
from grape_ops.train.loop import train
from record import write_record

CHANNELS, SIZE, GUIDES, CONTROLS = ("DNA", "gammaH2AX", "tubulin", "actin"), 32, 4, 500
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage")
FRAMES = """
window.frames_ = [];
let last = performance.now();
const next = (now) => {
  if (!window.frames_) return;
  window.frames_.push(now - last);
  last = now;
  requestAnimationFrame(next);
};
requestAnimationFrame(next);
"""


def make_run(folder: Path, genes: int) -> Path:
    """A run of one step on random crops of many genes."""
    rng = np.random.default_rng(0)
    names = np.repeat([f"GENE{i:05d}" for i in range(genes)], GUIDES).tolist() + [CONTROL_LABEL] * CONTROLS
    guides = [f"guide{i}" for i in range(genes * GUIDES)] + [f"control{i % 20}" for i in range(CONTROLS)]
    wells = rng.integers(0, 6, len(names))
    shards, tables = {}, []
    for well in range(6):
        rows = np.flatnonzero(wells == well)
        shards[f"P1_A{well}"] = rng.integers(0, 65535, (len(rows), len(CHANNELS), SIZE, SIZE), dtype=np.uint16)
        table = pd.DataFrame({GENE: [names[r] for r in rows], GUIDE: [guides[r] for r in rows]})
        table = table.assign(**{PLATE: "P1", WELL: f"A{well}", TILE: "0", Y: 0.0, X: 0.0, BATCH: f"P1|A{well}"})
        control = table[GENE] == CONTROL_LABEL
        tables.append(table.assign(**{SHARD: f"P1_A{well}", ROW: range(len(rows)), IS_CONTROL: control}))
    write_store(folder / "store", shards, pd.concat(tables, ignore_index=True), CHANNELS)
    complexes = [f"GENE{i:05d}\tcomplex {i // 8}" for i in range(0, genes // 2)]
    (folder / "truth.tsv").write_text("\n".join(["gene_symbol\tcomplex", *complexes]) + "\n")
    quick = ["train.steps=1", "train.ema.every=1", "train.evaluate_every=1", "train.threads=1"]
    config = load_config("small.yaml", quick)
    train(folder / "store", folder / "run", config, truth=str(folder / "truth.tsv"))
    return folder / "run"


def serve(request: Request) -> tuple[str, dict[str, float], uvicorn.Server]:
    """Address, seconds and CPU seconds until the page can be asked for, and the server."""
    start, cpu = time.perf_counter(), time.process_time()
    listener = listen("127.0.0.1", 0)
    app = make_app(request)
    app.state.lazy.explorer().warm()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    took = {"s": round(time.perf_counter() - start, 2), "cpu_s": round(time.process_time() - cpu, 2)}
    return f"http://127.0.0.1:{listener.getsockname()[1]}/", took, server


def open_browser() -> Any:
    """Headless Chromium with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium") or shutil.which("google-chrome"))
    for flag in (*FLAGS, "--window-size=1366,768", f"--user-data-dir={tempfile.mkdtemp()}"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(str(shutil.which("chromedriver"))))


def until(browser: Any, script: str) -> None:
    """Wait until a script is true."""
    WebDriverWait(browser, 60, poll_frequency=0.01).until(lambda b: b.execute_script("return " + script), script)


def timed(what: Callable[[], Any]) -> float:
    """Seconds a call takes."""
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


def load(browser: Any, address: str) -> float:
    """Seconds from asking for the page until its map is drawn."""
    browser.get("about:blank")
    return timed(lambda: (browser.get(address), until(browser, "document.documentElement.dataset.ready === 'true'")))


def drag(browser: Any) -> list[float]:
    """Milliseconds of each frame while the mouse drags the map to and fro."""
    box = browser.find_element("css selector", ".plot .nsewdrag").rect
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def mouse(kind: str, shift: float) -> None:
        event = {"type": kind, "x": x + shift, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    mouse("mousePressed", 0)
    mouse("mouseMoved", 10)
    browser.execute_script(FRAMES)
    for step in range(90):
        mouse("mouseMoved", 100 * float(np.sin(step / 8)))
    frames: list[float] = browser.execute_script("const f = window.frames_; window.frames_ = null; return f")
    mouse("mouseReleased", 0)
    return frames[1:]


def card(browser: Any, gene: int) -> float:
    """Seconds from a click on a dot to its card."""
    point = "{points: [{curveNumber: 0, customdata: %d}], event: {}}"
    click = f"document.querySelector('.plot').emit('plotly_click', {point})"
    name = f"document.getElementById('panel-gene').dataset.gene === 'GENE{gene:05d}'"
    return timed(lambda: (browser.execute_script(click % gene), until(browser, name)))


def main() -> None:
    """Make the run, serve it, time it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="500 genes")
    parser.add_argument("--genes", type=int, default=5000)
    parser.add_argument("--out", default="benchmarks/results/explore_load.json")
    options = parser.parse_args()
    genes = 500 if options.quick else options.genes
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        request = Request(run=make_run(Path(folder), genes), settings=ExploreSettings())
        address, up, server = serve(request)
        server.should_exit = True
        address, again, server = serve(request)
        browser = open_browser()
        loads = [load(browser, address) for _ in range(6)]
        frames = drag(browser)
        kind = browser.execute_script("return document.querySelector('.plot').data[0].type")
        cards = [card(browser, gene) for gene in range(0, genes, genes // 8)]
        browser.quit()

        def ask(part: str) -> bytes:
            with urllib.request.urlopen(address + part) as answer:
                return bytes(answer.read())

        restyled = [timed(lambda g=g: ask(f"live/restyled.png?cell={g}&gene={g}&mix=0.5")) for g in range(60)]
        sizes = {part: len(ask(part)) for part in ("data/overview.json", "data/map/0.json")}
        clusters = timed(lambda: ask("data/map/0/clusters/1.json"))
        server.should_exit = True
    figures = {
        "genes": genes,
        "load_average": round(os.getloadavg()[0], 1),  # of other programs, too: seconds are too long where it is high
        "server_up": up,
        "server_up_again": again,  # what the first start has kept with the run is read
        "first_load_s": round(loads[0], 2),
        "load_s_median_of_5": round(statistics.median(loads[1:]), 2),
        "plot": kind,
        "pan_frame_ms_median": round(statistics.median(frames), 1),
        "pan_frame_ms_p95": round(float(np.quantile(frames, 0.95)), 1),
        "card_s_median": round(statistics.median(cards), 3),
        "repaint_ms_median": round(1000 * statistics.median(restyled[10:]), 1),
        "repaint_ms_p95": round(1000 * float(np.quantile(restyled[10:], 0.95)), 1),
        "clusters_s": round(clusters, 1),
        "bytes": sizes,
    }
    write_record(options.out, "explore_load", json.loads(json.dumps(figures)))


if __name__ == "__main__":
    main()
