"""A full disk is said in words, what was there stays whole, and nothing half-written takes its place."""

import errno
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from grape_ops.artifacts.atomic import draft_folder_of, drafts_of, write_text
from grape_ops.artifacts.hdf5 import new_hdf5
from grape_ops.artifacts.ownership import check_file, check_folder
from grape_ops.cells.genes import gene_anndata, gene_table, write_gene_vectors
from grape_ops.errors import GrapeOpsError
from grape_ops.nn.grape import build_grape
from grape_ops.train.checkpoint import TrainingState, restore, save_checkpoint
from grape_ops.train.loop import train
from grape_ops.train.optimizers import make_optimizers

FULL = "The disk is full"


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk wants the right to mount one")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def full(monkeypatch):
    """A disk that is found to be full when a file is forced to it."""

    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)


def test_what_was_there_stays_whole(tmp_path, monkeypatch):
    write_text(tmp_path / "a.txt", "first")
    with monkeypatch.context() as change:
        change.setattr(os, "fsync", lambda _: os.write(-1, b""))  # a bad descriptor, as a disk that has gone
        with pytest.raises(GrapeOpsError, match=r"a\.txt could not be written"):
            write_text(tmp_path / "a.txt", "second")
    assert (tmp_path / "a.txt").read_text() == "first" and os.listdir(tmp_path) == ["a.txt"]


def test_several_files_take_their_places_together(tmp_path):
    files = [tmp_path / "a.tsv", tmp_path / "b.json"]
    with drafts_of(*files) as drafts:
        for draft in drafts:
            draft.write_text("first")

    def fail():
        with drafts_of(*files) as drafts:
            drafts[0].write_text("second")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(GrapeOpsError, match=FULL):
        fail()
    assert [file.read_text() for file in files] == ["first", "first"] and len(os.listdir(tmp_path)) == 2


def test_a_folder_takes_its_place_as_a_whole(tmp_path):
    for content in ("first", "second"):
        with draft_folder_of(tmp_path / "page") as draft:
            (draft / "index.html").write_text(content)

    def fail():
        with draft_folder_of(tmp_path / "page") as draft:
            (draft / "index.html").write_text("third")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(GrapeOpsError, match=FULL):
        fail()
    assert (tmp_path / "page" / "index.html").read_text() == "second" and os.listdir(tmp_path) == ["page"]


@pytest.mark.parametrize("made_again", [False, True], ids=["stumbles", "made again"])
def test_a_folder_removed_while_it_is_filled_is_told(tmp_path, made_again):
    def fill():
        with draft_folder_of(tmp_path / "out" / "cells.zarr") as draft:
            (draft / "first").write_text("1")
            shutil.rmtree(tmp_path / "out")
            if not made_again:
                raise KeyError("first")  # as zarr does
            draft.mkdir(parents=True)
            (draft / "second").write_text("2")

    with pytest.raises(GrapeOpsError, match=r"cells\.zarr could not be written: its folder .* was removed meanwhile"):
        fill()
    assert not list(tmp_path.rglob("*.zarr"))


def test_a_missing_input_is_no_error_of_the_output(tmp_path):
    with pytest.raises(FileNotFoundError), drafts_of(tmp_path / "out" / "a"):
        (tmp_path / "in").read_text()


@pytest.mark.usefixtures("full")
def test_gene_vectors_and_runs_say_it(tiny_store, tiny_config, tmp_path):
    vectors = gene_anndata(np.ones((5, 3)), gene_table(tiny_store), "one")
    with pytest.raises(GrapeOpsError, match=rf"{FULL}: .*genes\.h5ad"):
        write_gene_vectors(vectors, tmp_path / "genes.h5ad")
    with pytest.raises(GrapeOpsError, match=rf"{FULL}: .*run"):
        train(tiny_store.path, tmp_path / "run", tiny_config)
    assert not list(tmp_path.rglob("*.*"))


def test_a_full_disk_leaves_the_last_checkpoint(tiny_config, tmp_path, request):
    rng = torch.Generator().manual_seed(0)
    nets = build_grape(tiny_config.model, n_perturbations=5, channels=2, image_size=32, rng=rng)
    state = TrainingState(nets, None, make_optimizers(nets, tiny_config.train.optimizer), step=1)
    first = save_checkpoint(tmp_path, state, keep=1)
    weights = {name: weight.clone() for name, weight in nets.state_dict().items()}
    with torch.no_grad():
        for weight in nets.parameters():
            weight += 1
    state.step = 2
    request.getfixturevalue("full")
    with pytest.raises(GrapeOpsError, match=rf"{FULL}: .*step_00000002"):
        save_checkpoint(tmp_path, state, keep=1)
    assert os.listdir(first.parent) == ["step_00000001"]
    restore(first, state)
    assert state.step == 1
    torch.testing.assert_close(nets.state_dict(), weights, rtol=0, atol=0)


def test_a_training_on_a_full_disk_leaves_no_half_written_checkpoint(tiny_store, tiny_config, small_disk):
    with pytest.raises(GrapeOpsError, match=rf"{FULL}: .*step_00000004"):
        train(tiny_store.path, small_disk / "run", tiny_config)
    assert not list((small_disk / "run" / "checkpoints").iterdir())


def test_hdf5_outlives_a_full_disk(small_disk):
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from grape_ops.artifacts.atomic import draft_of\n"
        "from grape_ops.artifacts.hdf5 import new_hdf5\n"
        "from grape_ops.errors import GrapeOpsError\n"
        "try:\n"
        f"    with draft_of(Path({str(small_disk / 'x.h5')!r})) as draft, new_hdf5(draft) as (file, check):\n"
        "        images = file.create_dataset('x', (500, 1000), 'f4', chunks=(1, 1000))\n"
        "        for row in range(500):\n"
        "            images[row] = np.random.default_rng(row).random(1000)\n"
        "            check()\n"
        "except GrapeOpsError as error: sys.exit(str(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith(FULL), done.stderr  # and no signal
    assert not list(small_disk.iterdir())


def test_hdf5_reads_back(tmp_path):
    import h5py

    with new_hdf5(tmp_path / "x.h5") as (file, _):
        file["a"] = np.arange(1000)
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["a"][:].tolist() == list(range(1000))


def test_a_place_one_may_not_write_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(GrapeOpsError, match="may not write into"):
        check_file(tmp_path / "new" / "genes.h5ad", "gene vectors", example="genes.h5ad", is_ours=lambda _: True)
    with pytest.raises(GrapeOpsError, match="may not write into"):
        check_folder(tmp_path / "run", "a run")
