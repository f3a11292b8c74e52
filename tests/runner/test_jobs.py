"""Jobs end with whoever started them, belong to one process at a time, and are found again by all that decides them."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from grape_ops.artifacts.locks import locked
from grape_ops.config import load_config, parse_config
from grape_ops.errors import GrapeOpsError
from grape_ops.runner.jobs import Job
from grape_ops.runner.processes import do_jobs

# Says in a pipe which processes there are, and then waits for ever, as does the process it has started.
ENDLESS = """
import os, signal, subprocess, sys

def endless(task):
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    signal.signal(signal.SIGTERM, signal.SIG_IGN if os.environ["DEAF"] else signal.SIG_DFL)
    with open(os.environ["TOLD"], "w") as told:
        told.write(f"{os.getpid()} {child.pid}")
    signal.pause()
"""
PATIENCE = 60  # seconds until a process that should have ended counts as living on


@pytest.fixture
def endless(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "endless.py").write_text(ENDLESS)
    os.mkfifo(tmp_path / "told")
    return "endless:endless"


@pytest.mark.parametrize(("number", "deaf"), [(signal.SIGKILL, ""), (signal.SIGTERM, ""), (signal.SIGKILL, "deaf")])
def test_workers_and_what_they_started_end_with_the_command(endless, tiny_store, tmp_path, number, deaf):
    (tmp_path / "truth.tsv").write_text("gene_symbol\tcomplex\nAAA\tone\nCCC\tone\nBBB\ttwo\nDDD\ttwo\n")
    call = [sys.executable, "-c", "from grape_ops.cli import main; main()", "benchmark", str(tiny_store.path)]
    call += ["--truth", "truth.tsv", "--method", endless, "--seeds", "1"]
    environment = os.environ | {"TOLD": "told", "DEAF": deaf, "PYTHONPATH": ":".join(filter(None, sys.path))}
    with subprocess.Popen(call, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as command:
        pids = [int(pid) for pid in Path("told").read_text().split()]  # waits until the worker is at work
        assert len(pids) == 2
        handles = [os.pidfd_open(pid) for pid in pids]
        command.send_signal(number)
        for handle in handles:
            ended, _, _ = select.select([handle], [], [], PATIENCE)
            os.close(handle)
            assert ended, "a process lives on"
        command.communicate(timeout=PATIENCE)
    assert command.returncode == (-number if number == signal.SIGKILL else 128 + number)


@pytest.mark.usefixtures("jobs_in_this_process")
def test_a_job_is_found_again_by_all_that_decides_it(tiny_store, tmp_path, job_of):
    do_jobs([job_of("random", load_config(), tiny_store, tmp_path)], "test", 1)
    assert job_of("random", load_config(None, ["train.steps=7"]), tiny_store, tmp_path).finished
    other = Job.of("random", 0, load_config(), tiny_store.path, "other cells", tmp_path)
    assert not other.finished and not Job.of("random", 1, load_config(), tiny_store.path, "x", tmp_path).finished


def test_a_file_that_a_method_reads_counts(tiny_store, tmp_path, job_of):
    file = tmp_path / "vectors.txt"
    file.write_text("AAA 1 2\nBBB 2 1\n")
    config = parse_config({"baselines": {"gene2vec": {"vectors": str(file)}}}, "test")
    before = job_of("gene2vec", config, tiny_store, tmp_path).identity
    file.write_text("AAA 1 2\nBBB 2 1\nCCC 0 0\n")
    assert job_of("gene2vec", config, tiny_store, tmp_path).identity != before


@pytest.mark.usefixtures("jobs_in_this_process")
@pytest.mark.parametrize("torn", ["", "null", '{"identity": ', "[1]"])
def test_a_torn_note_of_what_is_done_means_not_done(tiny_store, tmp_path, torn, job_of):
    job = job_of("random", load_config(), tiny_store, tmp_path)
    job.folder.mkdir()
    (job.folder / "done.json").write_text(torn)
    assert not job.finished
    do_jobs([job], "test", 1)
    assert list(job.maps()) == ["random"]


def test_a_job_that_another_process_does_is_said_to_be(tiny_store, tmp_path, job_of):
    job = job_of("random", load_config(), tiny_store, tmp_path)
    with locked(job.folder, "a test"), pytest.raises(GrapeOpsError, match=rf"written by process {os.getpid()} on"):
        do_jobs([job], "test", 1)
    do_jobs([job], "test", 1)
    assert job.finished


@pytest.mark.usefixtures("jobs_in_this_process")
def test_maps_that_the_settings_ask_for_come_main_one_first(tiny_store, tiny_config, tmp_path, job_of):
    tree = tiny_config.model_dump()
    start = {"kind": "classifier", "classifier": {"steps": 3, "width": 4, "max_width": 8, "batch_size": 8}}
    changes = {"train": tree["train"] | {"steps": 2, "init": start}, "embed": {"cells_per_gene": 4, "position": 2}}
    config = parse_config(tree | changes, "test")
    job = job_of("grape", config, tiny_store, tmp_path)
    do_jobs([job], "test", 1)
    assert list(job.maps_asked_for()) == ["GRAPE F(M)", "GRAPE M", "GRAPE E", "GRAPE initialisation"]
    last = config.model_copy(update={"embed": config.embed.model_copy(update={"ema": False, "position": 1})})
    same = job_of("grape", last, tiny_store, tmp_path)  # the same training, read out otherwise
    assert same.folder == job.folder and next(iter(same.maps_asked_for())) == "GRAPE M, no EMA"
    asked = job.maps_asked_for()
    assert asked["GRAPE F(M)"].uns["grape"]["position"] == 2
    assert asked["GRAPE initialisation"].shape == asked["GRAPE M"].shape
