"""Preprocessing at scale: time against only reading, memory against size, the flat field against the whole median.

Screens are written as uncompressed TIFF tiles of 1480 x 1480 x 4 pixels with the paper's crops of 96 px. On that area
the paper's training set has 2 cells (106 genes) and its whole screen has 126 (5,049 genes), whose crops are more than
half as many bytes as the tiles; figures of the latter end in ``_all_cells``.

``time_over_read``, the headline, is the wall time of the command over that of only reading all tiles once with
tifffile, both with two worker processes, whose start counts for us only, and both from disk: the tiles are dropped
from the page cache before, since a screen is larger than memory and its tiles lie on a disk. Ours is helped by the
memory in which the second pass still finds what the first has read, and hurt by the seconds that Python's start takes.
``time_over_read_cached`` is the same with all tiles in memory already, where reading is as fast as copying.
``time_over_read_per_tile`` is taken between two screens in memory, one of eight times the tiles: what a further tile
costs over reading it, without what is done once a process or a well.
``time_over_read_and_write_all_cells`` counts on the other side also the writing of as many bytes as the crops have.

Peak memory is the sum over all processes of the most that each ever held for itself, as if these moments met; so it
does not hang on when two workers happen to be busiest. ``peak_ratio_8x`` is that of a screen with eight times the
tiles and cells in as many wells. ``stitched`` is one well of 100,000 x 100,000 pixels and two channels in OME-Zarr,
every chunk of it the same file. The flat field is compared with the median at every pixel, on simulated and, if there
are, real fields.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile
import zarr
from scipy import ndimage
from skimage.filters import median, rank
from skimage.morphology import disk

from grape_ops.cells.store import CropStore
from grape_ops.config import FlatFieldSettings
from grape_ops.preprocess.illumination import estimate_field, lattice, median_radius
from grape_ops.preprocess.intensity import BINS, count_into, count_stride, counted, percentiles
from grape_ops.workers import Workers
from real_data import DATA
from record import write_record

SIZE, CHANNELS, CELLS = 1480, ("DNA", "gammaH2AX", "tubulin", "actin"), {"all": 126, "few": 2}
VARIANTS = 16
WORKERS = 2
PARTS = ("tiles", "table", "stitched", "flatfield")
STITCHED, CHUNK = 100_000, 2048


def main() -> None:
    """Measure everything and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small screens: shows that it runs")
    parser.add_argument("--out", required=True, help="JSON file to write")
    parser.add_argument("--folder", help="where the screens are written; a temporary folder if not given")
    parser.add_argument("--only", choices=PARTS, help="one part; all if not given")
    arguments = parser.parse_args()
    parts = [arguments.only] if arguments.only else PARTS
    tiles, rows = (4, 20_000) if arguments.quick else (32, 5_000_000)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        if "tiles" in parts:
            figures |= many_tiles(Path(folder), tiles, repeats=1 if arguments.quick else 2)
        if "table" in parts:
            figures |= long_table(Path(folder) / "table", rows)
        if "stitched" in parts:
            figures |= stitched_well(Path(folder) / "stitched", 6_000 if arguments.quick else STITCHED)
    if "flatfield" in parts:
        figures |= flat_fields(arguments.quick)
    write_record(arguments.out, "preprocess", figures)


def many_tiles(folder: Path, tiles: int, repeats: int) -> dict[str, Any]:
    """Peak memory of two wells of few and of eight times as many tiles, and the time the latter take."""
    figures: dict[str, Any] = {"tiles": 2 * tiles}
    small = write_screen(folder / "small", wells=2, tiles=tiles)
    name_cells(small, "all")
    figures["peak_mib"] = round(max(preprocess(small)[1] for _ in range(repeats)), 1)
    name_cells(small, "few")
    seconds, read_seconds = alternately(small, repeats, forget=False)[:2]
    shutil.rmtree(small)
    large = write_screen(folder / "large", wells=2, tiles=8 * tiles)
    figures |= times(large, repeats)
    figures["peak_ratio_8x"] = round(figures["peak_mib_8x"] / figures["peak_mib"], 3)
    figures |= {"seconds_cached_8th": round(seconds, 2), "read_seconds_cached_8th": round(read_seconds, 2)}
    further = figures["seconds_cached"] - seconds, figures["read_seconds_cached"] - read_seconds
    figures["time_over_read_per_tile"] = round(further[0] / further[1], 2)
    shutil.rmtree(large)
    return figures


def write_screen(folder: Path, wells: int, tiles: int) -> Path:
    """Write tiles of noise and blobs under uneven light, and cells with controls among them."""
    rng = np.random.default_rng(0)
    (folder / "tiles").mkdir(parents=True)
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    light = 1 - 0.3 * (y**2 + x**2) / 2
    blobs = [ndimage.gaussian_filter((rng.random((SIZE, SIZE)) < 2e-4) * 4e6, 9) for _ in CHANNELS]
    base = [rng.poisson((300 + blob) * light) / light for blob in blobs]
    images = []
    for _ in range(VARIANTS):  # other cells under the same light; as many as there are tiles would take an hour
        shift = rng.integers(0, SIZE, 2)
        images.append(np.stack([np.roll(picture, shift, (0, 1)) * light for picture in base]).astype(np.uint16))
    rows = []
    for well in range(wells):
        for tile in range(tiles):
            file = folder / "tiles" / f"A{well + 1}_{tile}.tif"
            tifffile.imwrite(file, images[(well + tile) % VARIANTS], photometric="minisblack")
            centres = rng.uniform(48, SIZE - 49, (CELLS["all"], 2))
            rows.append(pd.DataFrame(centres, columns=["y", "x"]).assign(well=f"A{well + 1}", tile=tile))
    cells = pd.concat(rows, ignore_index=True).assign(plate="P1")
    gene = rng.integers(0, 107, len(cells))
    cells["gene_symbol"] = np.where(gene < 20, "nontargeting", "GENE" + pd.Series(gene.astype(str)))
    cells["sgRNA"] = cells["gene_symbol"] + "_1"
    for name, count in CELLS.items():
        cells.groupby(["well", "tile"]).head(count).to_parquet(folder / f"{name}.parquet")
    return folder


def name_cells(screen: Path, name: str) -> None:
    """Say which of the screen's cell tables counts."""
    description = f"cells: {name}.parquet\ntiles: tiles/{{well}}_{{tile}}.tif\nchannels: [{', '.join(CHANNELS)}]\n"
    (screen / "screen.yaml").write_text(description)


def preprocess(screen: Path, *settings: str, layout: str = "table") -> tuple[float, float]:
    """Run the command; returns its wall time in seconds and the peak memory of all its processes in MiB."""
    store = screen.parent / "store"
    shutil.rmtree(store, ignore_errors=True)
    chosen = [word for setting in (f"preprocess.workers={WORKERS}", *settings) for word in ("--set", setting)]
    words = ["preprocess", str(screen), "--layout", layout, "--out", str(store), "--config", "paper.yaml", *chosen]
    start = time.perf_counter()
    process = psutil.Popen([sys.executable, "-m", "grape_ops", *words], stdout=subprocess.DEVNULL)
    peaks: dict[int, float] = {}
    while process.poll() is None:
        for member, memory in own_memory(process).items():
            peaks[member] = max(peaks.get(member, 0), memory)
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit("grape-ops preprocess failed")
    return time.perf_counter() - start, sum(peaks.values())


def own_memory(process: psutil.Process) -> dict[int, float]:
    """Memory that a process and its children each hold for themselves (not cached pages of files), in MiB."""
    found = {}
    for member in (process, *process.children(recursive=True)):
        try:
            memory = member.memory_info()
        except psutil.Error:
            continue  # it has just ended
        found[member.pid] = (memory.rss - memory.shared) / 2**20
    return found


def times(screen: Path, repeats: int) -> dict[str, Any]:
    """Time preprocessing and only reading, from disk and from memory; also the peak memory."""
    figures: dict[str, Any] = {}
    for name, forget, where, turns in (
        ("few", True, "", repeats),
        ("few", False, "_cached", repeats),
        ("all", True, "_all_cells", 1),
    ):
        name_cells(screen, name)
        whole, only, peak = alternately(screen, turns, forget)
        figures[f"seconds{where}"] = round(whole, 2)
        figures[f"read_seconds{where}"] = round(only, 2)
        figures[f"time_over_read{where}"] = round(whole / only, 2)
        figures[f"crops{where}"] = len(CropStore.open(screen.parent / "store"))
    figures["write_seconds_all_cells"] = round(only_write(screen.parent / "store"), 2)
    both = figures["read_seconds_all_cells"] + figures["write_seconds_all_cells"]
    figures["time_over_read_and_write_all_cells"] = round(figures["seconds_all_cells"] / both, 2)
    return figures | {"tiles_8x": len(list((screen / "tiles").iterdir())), "peak_mib_8x": round(peak, 1)}


def alternately(screen: Path, turns: int, forget: bool) -> tuple[float, float, float]:
    """Preprocess and only read in turn; returns the median seconds of either, and the highest peak memory."""
    files = sorted((screen / "tiles").iterdir())
    whole, only, peaks = [], [], []
    for _ in range(turns):
        prepare(files, forget)
        seconds, peak = preprocess(screen)
        whole.append(seconds)
        peaks.append(peak)
        prepare(files, forget)
        only.append(only_read(files))
    return float(np.median(whole)), float(np.median(only)), max(peaks)


def prepare(files: list[Path], forget: bool) -> None:
    """Drop files from the page cache, or bring them into it."""
    os.sync()
    for file in files:
        with file.open("rb") as handle:
            if forget:
                os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while handle.read(1 << 24):
                    pass


def only_read(files: list[Path]) -> float:
    """Read every tile once with tifffile in worker processes; returns seconds, without their start."""
    with Workers(WORKERS) as workers:
        for _ in workers.run(deque((read, (files[0],)) for _ in range(4 * WORKERS))):
            pass
        start = time.perf_counter()
        for _ in workers.run(deque((read, (file,)) for file in files)):
            pass
        return time.perf_counter() - start


def read(file: Path) -> int:
    """Read a tile; its size alone goes back."""
    return tifffile.imread(file).nbytes


def only_write(store: Path) -> float:
    """Write as many bytes as the store's shards have, a file each, and force them to the disk; returns seconds."""
    sizes = [file.stat().st_size for file in (store / "shards").glob("*.npy")]
    shutil.rmtree(store)
    store.mkdir()
    with Workers(WORKERS) as workers:
        for _ in workers.run(deque((write, (store / f"warm{n}", 1)) for n in range(4 * WORKERS))):
            pass
        start = time.perf_counter()
        for _ in workers.run(deque((write, (store / str(n), size)) for n, size in enumerate(sizes))):
            pass
        return time.perf_counter() - start


def write(file: Path, size: int) -> None:
    """Write so many bytes of noise."""
    piece = np.random.default_rng(0).bytes(1 << 22)
    with file.open("wb") as handle:
        for first in range(0, size, len(piece)):
            handle.write(piece[: size - first])
        handle.flush()
        os.fsync(handle.fileno())


def stitched_well(folder: Path, side: int) -> dict[str, Any]:
    """Preprocess one stitched well in the layout ``scallops``, a cell for every million pixels."""
    rng = np.random.default_rng(0)
    channels = 2
    (folder / "merge").mkdir(parents=True)
    image = zarr.open_group(str(folder / "pheno-registered.zarr" / "P1-A1"), mode="w", zarr_format=2)
    axes = [{"name": name, "type": "channel" if name == "c" else "space"} for name in "cyx"]
    image.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    chunks = (1, CHUNK, CHUNK)
    image.create_array("0", shape=(channels, side, side), chunks=chunks, dtype="uint16", compressors=None)
    array = folder / "pheno-registered.zarr" / "P1-A1" / "0"
    (folder / "chunk").write_bytes(rng.poisson(300, (CHUNK, CHUNK)).astype("<u2").tobytes())
    count = -(-side // CHUNK)
    for channel in range(channels):
        for row in range(count):
            for column in range(count):
                os.link(folder / "chunk", array / f"{channel}.{row}.{column}")
    cells = pd.DataFrame(rng.uniform(48, side - 49, (side * side // 1_000_000, 2)))
    cells.columns = ["Nuclei_AreaShape_Center_Y", "Nuclei_AreaShape_Center_X"]
    gene = rng.integers(0, 107, len(cells))
    cells["gene_symbol"] = np.where(gene < 20, "nontargeting", "GENE" + pd.Series(gene.astype(str)))
    cells["barcode_0"] = cells["gene_symbol"] + "_1"
    cells.to_parquet(folder / "merge" / "P1-A1.parquet")
    seconds, peak = preprocess(folder, layout="scallops")
    crops = len(CropStore.open(folder.parent / "store"))
    shutil.rmtree(folder)
    return {
        "stitched_pixels": side * side,
        "stitched_channels": channels,
        "stitched_crops": crops,
        "stitched_peak_mib": round(peak, 1),
        "stitched_seconds": round(seconds, 1),
    }


def long_table(folder: Path, rows: int) -> dict[str, Any]:
    """Preprocess small tiles, one per well, with cell tables of many rows, of which a tenth is cut out.

    Eight times the rows are eight times the wells, as in real screens; the table is streamed by well.
    """
    figures: dict[str, Any] = {"table_rows": rows}
    for name, share in (("table_peak_mib_8th", 8), ("table_peak_mib", 1)):
        screen = write_long_table(folder / name, rows // share, rows // 40)
        margin = ("preprocess.crop_size=8", "preprocess.edge_margin=175", "preprocess.pixel_type=uint8")
        seconds, peak = preprocess(screen, *margin)
        figures[name] = round(peak, 1)
        figures[name.replace("peak_mib", "seconds")] = round(seconds, 1)
    figures["table_crops"] = len(CropStore.open(folder / "store"))
    figures["table_peak_ratio_8x"] = round(figures["table_peak_mib"] / figures["table_peak_mib_8th"], 3)
    shutil.rmtree(folder)
    return figures


def write_long_table(folder: Path, rows: int, rows_of_well: int) -> Path:
    """Write a tile of noise for each well, and a table with so many cells of each."""
    rng = np.random.default_rng(0)
    (folder / "tiles").mkdir(parents=True)
    wells = [f"{'ABCDEFGH'[n // 5]}{n % 5 + 1}" for n in range(rows // rows_of_well)]
    writer: pq.ParquetWriter | None = None
    for well in wells:
        noise = rng.integers(100, 4000, (512, 512), dtype=np.uint16)
        tifffile.imwrite(folder / "tiles" / f"{well}_1.tif", noise, photometric="minisblack")
        gene = pd.Series(rng.integers(0, 5000, rows_of_well).astype(str))
        cells = pd.DataFrame(rng.uniform(0, 511, (rows_of_well, 2)), columns=["y", "x"])
        cells = cells.assign(plate="P1", well=well, tile=1, gene_symbol="GENE" + gene, sgRNA="guide" + gene)
        cells.loc[: rows_of_well // 20, ["gene_symbol", "sgRNA"]] = ["nontargeting", "nontargeting_1"]
        table = pa.Table.from_pandas(cells, preserve_index=False)
        writer = writer or pq.ParquetWriter(folder / "cells.parquet", table.schema)
        writer.write_table(table)
    assert writer
    writer.close()
    text = "cells: cells.parquet\ntiles: tiles/{well}_{tile}.tif\nchannels: [DNA]\n"
    (folder / "screen.yaml").write_text(text)
    return folder


def flat_fields(quick: bool) -> dict[str, Any]:
    """Compare the estimated field with the rule evaluated at every pixel, on simulated and on real fields."""
    rng = np.random.default_rng(0)
    size = 320 if quick else SIZE
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    light = (1 - 0.3 * (y**2 + x**2) / 2) * (1 + 0.1 * x)
    cells = [ndimage.gaussian_filter((rng.random((size, size)) < 3e-4) * 4e5, 6) for _ in range(32)]
    tiles = np.stack([rng.poisson((300 + cell) * light) for cell in cells])[:, None].astype(np.uint16)
    found = {"simulated": compare(tiles)}
    fields = DATA / "sbs_fields"
    figures: dict[str, Any] = {}
    if fields.is_dir():
        images = np.load(fields / "fields.npz")["images"]
        found["real"] = compare(images[:, :1, :320, :320] if quick else images)
        figures = sampled_percentiles(images)
    for kind, values in found.items():
        figures |= {f"{name}_{kind}": value for name, value in values.items()}
    figures["flatfield_max_deviation"] = max(values["flatfield_max_deviation"] for values in found.values())
    figures["flatfield_speedup"] = min(values["flatfield_speedup"] for values in found.values())
    return figures


def compare(tiles: np.ndarray) -> dict[str, float]:
    """Time and deviation of the estimated field of tiles (T, C, H, W), against the median over the disk everywhere.

    The whole median is skimage.filters.median, timed on a stripe of the picture and multiplied, since it takes
    hours. ``flatfield_speedup_histogram`` is against skimage.filters.rank.median, a sliding histogram of 12 bits.
    """
    shape = tiles.shape[2:]
    radius = median_radius(*shape)
    mean = tiles.mean(axis=0, dtype=float)
    down, across = lattice(*shape)
    sparse = tiles[:, :, down, across]
    halves = sparse[::2].mean(axis=0), sparse[1::2].mean(axis=0)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        field = estimate_field(sparse.mean(axis=0), halves, shape, 2.0, FlatFieldSettings().steps_per_radius, 0.0)
        seconds.append(time.perf_counter() - start)
    ours = min(seconds)

    stripe = mean[0, : 2 * radius + 1, : 2 * radius + 33]
    start = time.perf_counter()
    median(stripe[:8], disk(radius))
    whole = (time.perf_counter() - start) * mean.size / stripe[:8].size

    exact, taken = [], 0.0
    for channel in mean:
        # 12 bits are the most that the histogram takes well; what is brighter than any median may be cut off.
        top = np.quantile(channel, 0.97)
        steps = np.minimum(np.round(4095 * channel / top), 4095).astype(np.uint16)
        start = time.perf_counter()
        exact.append(rank.median(steps, disk(radius)).astype(float))
        taken += time.perf_counter() - start
    deviations = []
    for channel, middle in zip(field.at(np.arange(shape[0]), np.arange(shape[1])), exact, strict=True):
        deviations.append(np.abs(channel / np.maximum(middle / np.percentile(middle, 2), 1) - 1))
    return {
        "flatfield_speedup": round(whole / ours, 1),
        "flatfield_speedup_histogram": round(taken / ours, 1),
        "flatfield_seconds": round(ours, 3),
        "flatfield_max_deviation": round(float(np.max(deviations)), 5),
        "flatfield_mean_deviation": round(float(np.mean(deviations)), 5),
    }


def sampled_percentiles(images: np.ndarray) -> dict[str, float]:
    """Deviation of the percentiles of the counted pixels from those of all pixels, as a share of the range."""
    found = []
    for stride in (count_stride(images.shape[0] * images.shape[2] * images.shape[3]), (1, 1)):
        counts = np.zeros((images.shape[1], BINS), np.int64)
        for position, image in enumerate(images):
            sample = image[:, *counted(position, stride, *image.shape[1:])]
            count_into(counts, np.ascontiguousarray(sample).astype(np.float32), 255)
        found.append(percentiles(counts, 255, (0.1, 99.9)).astype(float))
    sampled, exact = found
    span = exact[:, 1:] - exact[:, :1]
    return {"real_percentile_deviation": round(float(np.max(np.abs(sampled - exact) / span)), 6)}


if __name__ == "__main__":
    main()
