"""Compare simulated crops with ten real cells of the paper's screen, by statistics only.

Both went through the same rescaling: 0.1 and 99.9 percentile of each (plate, well) and channel to [0, 1]. Prints how
much of each statistic of the simulation lies in the range of the ten real cells, and draws the curves. No pixel of a
real cell is drawn. The real cells are looked for in ``$GRAPE_OPS_DATA/funk2022/cells`` (default ``../shared/data``).
"""

import argparse
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from grape_ops.cells.store import CropStore
from grape_ops.config import PreprocessSettings, ScreenSettings, SimulateSettings
from grape_ops.preprocess.pipeline import preprocess
from grape_ops.screen.layouts import open_screen
from grape_ops.simulate.write_screen import simulate_screen
from real_data import real_data
from record import write_record

ROOT = Path(__file__).resolve().parents[1]
FIGURE = ROOT / "docs" / "images" / "simulation_vs_real.png"
CHANNELS = ("DNA", "gammaH2AX", "tubulin", "actin")
REAL_ORDER = (2, 0, 3, 1)  # the real files hold gammaH2AX, F-actin, DNA, tubulin
SIZE = 96
QUANTILES = np.array([0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99])
RINGS = np.arange(0, 49, 4)
SLOPE_FROM, SLOPE_TO = 3, 24  # cycles a crop: from the size of a nucleus down to where noise begins
INK = {"real": "#1f77b4", "simulated": "#d95f02"}


def real_cells() -> np.ndarray:
    """Read the real cells: -> (n, 4, 96, 96) in [0, 1], channels as in ``CHANNELS``."""
    files = sorted(real_data("funk2022/cells").glob("*.npy"))
    return np.stack([np.load(file)[list(REAL_ORDER)] for file in files])


def simulated_cells(quick: bool, seed: int) -> np.ndarray:
    """Simulate and preprocess control cells at the paper's crop size: -> (n, 4, 96, 96) in [0, 1]."""
    settings = SimulateSettings(
        complexes=1,
        genes_per_complex=1,
        guides_per_gene=1,
        cells_per_gene=1,
        control_cells=300 if quick else 1800,
        plates=1,
        wells_per_plate=1 if quick else 2,
        tile_size=720,
        cell_diameter=84.0,
        confluence=0.89,
        effect_size=0.0,
        vignetting=0.0,
        seed=seed,
    )
    cut = PreprocessSettings(crop_size=SIZE, flat_field={"enabled": False}, workers=1)
    with tempfile.TemporaryDirectory() as folder:
        simulate_screen(Path(folder) / "screen", settings)
        preprocess(open_screen(Path(folder) / "screen", ScreenSettings()), Path(folder) / "store", cut)
        store = CropStore.open(Path(folder) / "store")
        return store.read(np.arange(len(store))).astype(np.float32) / store.pixel_max


def quantiles(cells: np.ndarray) -> np.ndarray:
    """Intensity quantiles of each cell: (n, C, S, S) -> (n, C, quantiles)."""
    return np.moveaxis(np.quantile(cells, QUANTILES, axis=(2, 3)), 0, -1)


def radial_profile(cells: np.ndarray) -> np.ndarray:
    """Mean over rings around the centre: (n, C, S, S) -> (n, C, rings)."""
    axis = np.arange(SIZE) - (SIZE - 1) / 2
    ring = np.digitize(np.hypot(axis[:, None], axis), RINGS) - 1
    return np.stack([cells[:, :, ring == r].mean(-1) for r in range(len(RINGS) - 1)], axis=-1)


def power_spectrum(cells: np.ndarray) -> np.ndarray:
    """Log10 power, averaged over directions, 1 to 47 cycles a crop: (n, C, S, S) -> (n, C, 47)."""
    window = np.hanning(SIZE)[:, None] * np.hanning(SIZE)
    spectrum = np.fft.fft2((cells - cells.mean((2, 3), keepdims=True)) * window)
    frequency = np.fft.fftfreq(SIZE) * SIZE
    radius = np.hypot(frequency[:, None], frequency).round().astype(int)
    power = np.abs(spectrum) ** 2
    return np.log10(np.stack([power[:, :, radius == k].mean(-1) for k in range(1, SIZE // 2)], axis=-1))


def slope(spectrum: np.ndarray) -> np.ndarray:
    """Slope of the mean spectrum in log-log: (n, C, 47) -> (C,)."""
    cycles = np.log10(np.arange(SLOPE_FROM, SLOPE_TO + 1))
    mean = spectrum.mean(axis=0)[:, SLOPE_FROM - 1 : SLOPE_TO]
    return np.array([np.polyfit(cycles, channel, 1)[0] for channel in mean])


def share_in_range(simulated: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Share of points at which the median simulated cell lies between the extremes of the real ones: -> (C,)."""
    middle = np.median(simulated, axis=0)
    return ((middle >= real.min(axis=0)) & (middle <= real.max(axis=0))).mean(axis=-1)


def compare(simulated: np.ndarray, real: np.ndarray) -> dict[str, dict[str, float]]:
    """All figures, by channel."""
    pairs = {"quantiles": quantiles, "radial": radial_profile, "spectrum": power_spectrum}
    shares = {f"{name}_in_range": share_in_range(f(simulated), f(real)) for name, f in pairs.items()}
    inner = (QUANTILES >= 0.25) & (QUANTILES <= 0.99)
    ours, theirs = (quantiles(cells).mean(axis=0)[:, inner] for cells in (simulated, real))
    figures = {
        **shares,
        "worst_quantile_factor": np.exp(np.abs(np.log(ours / theirs)).max(axis=1)),
        "slope_simulated": slope(power_spectrum(simulated)),
        "slope_real": slope(power_spectrum(real)),
    }
    return {
        channel: {name: round(float(values[c]), 3) for name, values in figures.items()}
        for c, channel in enumerate(CHANNELS)
    }


def draw(simulated: np.ndarray, real: np.ndarray) -> None:
    """Histograms, radial profiles and spectra as curves, above some simulated crops."""
    figure = plt.figure(figsize=(13, 11.5), layout="constrained")
    rows = figure.subplots(4, 4)
    ring_centres = (RINGS[:-1] + RINGS[1:]) / 2
    for c, channel in enumerate(CHANNELS):
        for name, cells in (("real", real), ("simulated", simulated)):
            bins = np.linspace(0, 1, 61)
            counts = np.histogram(cells[:, c], bins=bins, density=True)[0]
            rows[0, c].plot((bins[:-1] + bins[1:]) / 2, np.maximum(counts, 1e-3), color=INK[name], label=name)
            for row, x, values in (
                (1, ring_centres, radial_profile(cells)[:, c]),
                (2, np.arange(1, SIZE // 2), power_spectrum(cells)[:, c]),
            ):
                low, middle, high = np.quantile(values, [0.1, 0.5, 0.9], axis=0)
                rows[row, c].fill_between(x, low, high, color=INK[name], alpha=0.2, linewidth=0)
                rows[row, c].plot(x, middle, color=INK[name])
        rows[0, c].set(title=channel, yscale="log", xlabel="intensity")
        rows[1, c].set(xlabel="distance from the centre [px]", ylim=(0, None))
        rows[2, c].set(xlabel="cycles per crop", xscale="log")
        tiles = np.concatenate([np.concatenate(simulated[i : i + 3, c], axis=1) for i in (0, 3)], axis=0)
        rows[3, c].imshow(tiles, cmap="gray", vmin=0, vmax=np.quantile(tiles, 0.998))
        rows[3, c].set(xticks=[], yticks=[], xlabel="simulated crops")
    for row, label in enumerate(("density", "mean intensity", "log10 power")):
        rows[row, 0].set_ylabel(label)
    rows[0, 0].legend(frameon=False)
    figure.suptitle(f"Simulation ({len(simulated)} cells) beside {len(real)} real cells: median and 10-90 % range")
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=80, metadata={"Software": ""})


def main() -> None:
    """Run, print, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="fewer simulated cells, no figure; a few bright cells then set the scale"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "simulation_realism.json")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation")
    arguments = parser.parse_args()
    real, simulated = real_cells(), simulated_cells(arguments.quick, arguments.seed)
    figures = compare(simulated, real)
    names = list(figures[CHANNELS[0]])
    print("channel".ljust(12) + "".join(name.rjust(24) for name in names))
    for channel, values in figures.items():
        print(channel.ljust(12) + "".join(f"{values[name]:24.3f}" for name in names))
    if not arguments.quick and arguments.seed == 0:
        draw(simulated, real)
    cells = {"cells_real": len(real), "cells_simulated": len(simulated)}
    write_record(arguments.out, "simulation_realism", {**cells, **figures})


if __name__ == "__main__":
    main()
