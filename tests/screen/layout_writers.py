"""One screen written in every layout, with the file names, axes, frames and columns that the field's software uses."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
import yaml
import zarr

CHANNELS = ("DNA", "gammaH2AX", "tubulin", "actin")
SIZE, FRAME = 128, 12  # of a tile, and of its rim without any light
GRID = 2  # tiles of a stitched well, a side
CROP = 32


@dataclass(frozen=True)
class Plain:
    """A screen in memory: cells in our columns, and the pixels of each (plate, well, tile)."""

    cells: pd.DataFrame
    tiles: dict[tuple[str, str, str], np.ndarray]

    def wells(self) -> list[tuple[str, str]]:
        """Every (plate, well)."""
        return sorted({key[:2] for key in self.tiles})

    def stitched(self, plate: str, well: str) -> np.ndarray:
        """Lay the tiles of a well side by side: (C, H, W)."""
        rows = [
            np.concatenate([self.tiles[plate, well, str(row * GRID + column)] for column in range(GRID)], axis=2)
            for row in range(GRID)
        ]
        return np.concatenate(rows, axis=1)

    def in_wells(self) -> pd.DataFrame:
        """Return the cells in the pixels of their stitched wells."""
        tile = self.cells.tile.astype(int)
        return self.cells.assign(y=self.cells.y + tile // GRID * SIZE, x=self.cells.x + tile % GRID * SIZE)


def draw_screen(plates: tuple[str, ...] = ("P1",), channels: int = 4, seed: int = 0) -> Plain:
    """Draw a screen of two wells of four tiles: blobs of genes' own brightness, dark towards the rim."""
    rng = np.random.default_rng(seed)
    genes = ["KRAS", "NONO", "TP53", "nontargeting"]
    rows, tiles = [], {}
    inner = slice(FRAME, SIZE - FRAME)
    for plate in plates:
        for well in ("A1", "A2"):
            for tile in range(GRID * GRID):
                image = np.zeros((channels, SIZE, SIZE))
                image[:, inner, inner] = rng.integers(300, 500, (channels, SIZE - 2 * FRAME, SIZE - 2 * FRAME))
                for n in range(8):
                    y, x = rng.uniform(CROP // 2 + FRAME + 2, SIZE - CROP // 2 - FRAME - 2, 2).round(1)
                    gene = genes[n % 4]
                    distance = ((np.mgrid[:SIZE, :SIZE] - np.array([y, x])[:, None, None]) ** 2).sum(0)
                    light = rng.uniform(2000, 9000, (channels, 1, 1)) * np.exp(-distance / 40)
                    image[:, inner, inner] += light[:, inner, inner]
                    guide = "ACGT"[n % 4] * 10 + "ACGT"[n // 4] * 10
                    rows.append((gene, guide, plate, well, str(tile), float(y), float(x)))
                tiles[plate, well, str(tile)] = image.astype(np.uint16)
    names = ["gene_symbol", "sgRNA", "plate", "well", "tile", "y", "x"]
    return Plain(pd.DataFrame(rows, columns=names), tiles)


def write_tiff(path: Path, image: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, image, photometric="minisblack", **options)


def z_stack(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Spread an image over four planes whose maximum it is: (..., H, W) -> (4, ..., H, W)."""
    sharpest = rng.integers(0, 4, image.shape)
    blurred = (image * 0.7).astype(image.dtype)
    return np.where(np.arange(4).reshape(-1, *[1] * image.ndim) == sharpest, image, blurred)


def write_table(root: Path, screen: Plain) -> None:
    """Write the generic layout: one multi-channel TIFF a tile."""
    for (plate, well, tile), image in screen.tiles.items():
        write_tiff(root / f"tiles/{plate}/{well}_{tile}.tif", image)
    screen.cells.to_parquet(root / "cells.parquet", index=False)
    description = {"cells": "cells.parquet", "tiles": "tiles/{plate}/{well}_{tile}.tif", "channels": list(CHANNELS)}
    (root / "screen.yaml").write_text(yaml.safe_dump(description))


def write_funk2022(root: Path, screen: Plain) -> None:
    """Write S-BIAD394's tree and Dataverse's folder of parquet files: z-stacks, one plate with a second folder."""
    rng = np.random.default_rng(1)
    for (plate, well, tile), (dna, damage, tubulin, actin) in screen.tiles.items():
        images = root / f"screenA/{plate}/phenotype/images/input"
        stacks = {"DAPI-GFP": np.stack([dna, tubulin]), "A594": damage, "AF750": actin}
        for stain, image in stacks.items():
            apart = plate != "P1" and stain != "DAPI-GFP"
            folder = "A594-AF750" if apart else "DAPI-GFP-A594-AF750"
            stack = z_stack(image, rng)
            axes = "ZCYX" if stack.ndim == 4 else "CYX"  # the lab's software calls the planes of one stain channels
            imagej = {"imagej": True, "metadata": {"axes": axes}} if well == "A1" else {}
            write_tiff(images / folder / f"20X_{folder}_{well}_{stain}_Site-{tile}.tif", stack, **imagej)
    table = screen.cells.rename(columns={"gene_symbol": "gene_symbol_0", "y": "cell_i", "x": "cell_j"})
    table = table.rename(columns={"sgRNA": "sgRNA_0"}).astype({"tile": int})
    table["gene_id_0"] = np.where(table.gene_symbol_0 == "nontargeting", "-1", "1")
    table["class_predict_1"] = 1
    table["nucleus_dapi_mean"] = 0.5
    folder = root / "interphase-reclassified_cp_phenotype_normalized.parquet"
    folder.mkdir(parents=True)
    half = len(table) // 2
    for number, part in enumerate((table[:half], table[half:])):
        part.set_index("sgRNA_0").to_parquet(folder / f"part.{number}.parquet")


def write_brieflow(root: Path, screen: Plain) -> None:
    """Write brieflow's aligned images, filtered tables a well and class, and config.yml."""
    for (plate, well, tile), image in screen.tiles.items():
        write_tiff(root / f"phenotype/images/P-{plate}_W-{well}_T-{tile}__aligned.tiff", image)
    table = screen.cells.rename(columns={"gene_symbol": "gene_symbol_0", "sgRNA": "cell_barcode_0"})
    table = table.rename(columns={"y": "i_0", "x": "j_0"}).astype({"tile": int})
    table = table.assign(cell_0=range(len(table)), i_1=0.0, j_1=0.0, gene_id_0=7, mapped_single_gene=True)
    table = table.assign(cell_barcode_count_0=5, Q_min_0=0.9, confidence=0.99)
    table["class"] = "Interphase"
    for place, own in table.groupby(["plate", "well"]):
        name = f"P-{place[0]}_W-{place[1]}"
        for classes, combination in (("all", "DAPI_GFP"), ("Interphase", "DAPI_GFP"), ("all", "DAPI")):
            file = root / f"aggregate/parquets/{name}_CeCl-{classes}_ChCo-{combination}__filtered.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            own.to_parquet(file, index=False)
    config = {
        "phenotype": {"channel_names": list(CHANNELS)},
        "aggregate": {
            "perturbation_name_col": "gene_symbol_0",
            "perturbation_id_col": "cell_barcode_0",
            "control_key": "nontargeting",
            "batch_cols": ["plate", "well"],
        },
    }
    (root / "config.yml").write_text(yaml.safe_dump(config))


def write_image(group: zarr.Group, image: np.ndarray, axes: str, version: str) -> None:
    """Write an OME-Zarr image with its channels' names into a group."""
    shape = (1,) * (len(axes) - image.ndim) + image.shape
    if axes == "TCZYX":
        shape = (1, image.shape[0], 1, *image.shape[1:])
    group.create_array("0", data=image.reshape(shape), chunks=(*shape[:-2], 64, 64))
    scales = [{"axes": [{"name": axis} for axis in axes], "datasets": [{"path": "0"}]}]
    omero = {"channels": [{"label": name} for name in CHANNELS]}
    if version == "0.5":
        named = [{"name": name, "index": n, "channel_type": "fluorescence"} for n, name in enumerate(CHANNELS)]
        group.attrs["ome"] = {"version": "0.5", "multiscales": scales, "omero": omero}
        group.attrs["channels_metadata"] = named
    else:
        group.attrs.update({"multiscales": scales, "omero": omero})


def write_ops_standard(root: Path, screen: Plain, stitched: bool = False) -> None:
    """Write an aggregation of the OPS Data Standard; stitched, as published data deviate: a field a well, floats."""
    home = root / "screen_1"
    cells = screen.in_wells() if stitched else screen.cells
    table = pd.DataFrame(
        {
            "plate": cells.plate,
            "well_row": cells.well.str[0],
            "well_col": cells.well.str[1:].astype(int),
            "tile": cells.tile.astype(int) + 1 if stitched else cells.tile.astype(int),
            "x": cells.x,
            "y": cells.y,
            "barcode": cells.sgRNA,
            "perturbation_id": "pert_" + cells.sgRNA,
        }
    )
    if stitched:
        box = zip(cells.y - 5, cells.x - 5, cells.y + 5, cells.x + 5, strict=True)
        table["bounding_box"] = [str(tuple(map(float, corners))) for corners in box]
    home.mkdir(parents=True)
    table.to_parquet(home / "cell_data.parquet", index=False)
    control = cells.gene_symbol == "nontargeting"
    library = pd.DataFrame(
        {
            "perturbation_id": "pert_" + cells.sgRNA,
            "gene_id": np.where(control, "non-targeting", "ENSG00000133703"),
            "gene_symbol": cells.gene_symbol.where(~control, "non-targeting"),
            "barcode": cells.sgRNA,
            "role": np.where(control, "control", "targeting"),
            "control_type": np.where(control, "non-targeting", ""),
        }
    ).drop_duplicates()
    (home / "metadata").mkdir()
    # The same guide twice, as real libraries have it: no cell may come twice.
    pd.concat([library, library]).to_csv(home / "metadata/perturbation_library.csv", index=False)
    plate = zarr.create_group(home / "screen_1.zarr", zarr_format=3)
    if stitched:
        for name, well in screen.wells():
            group = plate.create_group(f"{well[0]}/{well[1:]}/0")
            write_image(group, screen.stitched(name, well).astype(np.float32), "TCZYX", "0.5")
    else:
        for (_, well, tile), image in screen.tiles.items():
            write_image(plate.create_group(f"{well[0]}/{well[1:]}/{tile}"), image, "TCZYX", "0.5")


def write_scallops(root: Path, screen: Plain) -> None:
    """Write SCALLOPS' merged tables and one registered image a well."""
    cells = screen.in_wells()
    images = zarr.create_group(root / "pheno-registered.zarr", zarr_format=2)
    for plate, well in screen.wells():
        write_image(images.create_group(f"{plate}-{well}"), screen.stitched(plate, well), "cyx", "0.4")
        own = cells[(cells.plate == plate) & (cells.well == well)]
        table = pd.DataFrame(
            {
                "gene_symbol": own.gene_symbol,
                "barcode_0": own.sgRNA,
                "barcode_Q_mean_0": 0.8,
                "barcode_Q_mean": 0.8,
                "Nuclei_AreaShape_Center_Y": own.y,
                "Nuclei_AreaShape_Center_X": own.x,
                "Nuclei_Correlation_PearsonBox_ISS_PHENO": 0.95,
            }
        )
        poor = table.iloc[:2].assign(barcode_Q_mean_0=[0.4, 0.8], Nuclei_Correlation_PearsonBox_ISS_PHENO=[0.95, 0.5])
        poor["Nuclei_AreaShape_Center_Y"] += 3
        (root / "merge").mkdir(parents=True, exist_ok=True)
        pd.concat([table, poor]).to_parquet(root / f"merge/{plate}-{well}.parquet")


PERISCOPE_CHANNELS = ("DNA", "ER", "Mito", "Phalloidin")
PERISCOPE_SHIFTS = {"DAPI_Painting": (2, -3), "ConA": (-4, 1), "Mito": (0, 5), "Phalloidin": (3, 3), "WGA": (0, 0)}


def write_periscope(root: Path, screen: Plain) -> None:
    """Write cpg0021's images, each channel shifted as its round was, and one table a guide and gene."""
    shift_of = dict(zip(("DNA", "ER", "Mito", "Phalloidin", "WGA"), PERISCOPE_SHIFTS.items(), strict=True))
    for (plate, well, tile), image in screen.tiles.items():
        folder = root / f"images/20210422_6W_CP257/images_corrected_cropped/{plate}_{well}"
        planes = dict(zip(PERISCOPE_CHANNELS, image, strict=True)) | {"WGA": image[0]}
        for channel, plane in planes.items():
            # A cell at (y, x) lies at (y + shift, x + shift) in the file.
            moved = np.roll(plane, shift_of[channel][1], axis=(0, 1))
            write_tiff(folder / f"Corr{channel}/Corr{channel}_Site_{tile}.tiff", moved, compression="lzw")
    table = pd.DataFrame(
        {
            "Metadata_Foci_plate": screen.cells.plate,
            "Metadata_Foci_well": screen.cells.well,
            "Metadata_Foci_site_location": screen.cells.tile,
            "Metadata_Foci_Barcode_MatchedTo_Barcode": screen.cells.sgRNA,
            "Metadata_Foci_Barcode_MatchedTo_GeneCode": screen.cells.gene_symbol,
            "Metadata_Foci_Cell_Quality": np.where(np.arange(len(screen.cells)) % 2, "Perfect", "Great"),
            "Nuclei_AreaShape_Center_X": 0.0,
            "Nuclei_AreaShape_Center_Y": 0.0,
            "Cells_AreaShape_Center_X": screen.cells.x,
            "Cells_AreaShape_Center_Y": screen.cells.y,
        }
    )
    for name, (down, right) in PERISCOPE_SHIFTS.items():
        table[f"Align_Xshift_{name}"], table[f"Align_Yshift_{name}"] = float(right), float(down)
    bad = table.iloc[:1].assign(Metadata_Foci_Cell_Quality="Bad")
    tables = root / "workspace/single_cell_by_guide"
    tables.mkdir(parents=True)
    guides = ["Metadata_Foci_Barcode_MatchedTo_Barcode", "Metadata_Foci_Barcode_MatchedTo_GeneCode"]
    for (guide, gene), own in pd.concat([table, bad]).groupby(guides):
        name = f"20210422_6W_CP257_single_cell_normalized_ALLBATCHES__{guide}_{gene}.csv.gz"
        own.to_csv(tables / name, index=False)


def cut_crops(screen: Plain) -> np.ndarray:
    """Cut the crops of all cells as preprocessing places them: (N, C, S, S)."""
    crops = []
    for _, cell in screen.cells.iterrows():
        top, left = (int(np.floor(centre + 0.5)) - CROP // 2 for centre in (cell.y, cell.x))
        crops.append(screen.tiles[cell.plate, cell.well, cell.tile][:, top : top + CROP, left : left + CROP])
    return np.stack(crops)
