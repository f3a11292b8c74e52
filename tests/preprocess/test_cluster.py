"""The same store from a cluster of two workers, one of which is killed on the way."""

import signal

import pytest
from tiny_screen import contents, make_screen, reads, signalling

from grape_ops.config import PreprocessSettings
from grape_ops.errors import GrapeOpsError
from grape_ops.preprocess.pipeline import preprocess

TILES = 9


@pytest.mark.parametrize("at_read", [3, 1 + TILES + 2])
def test_a_killed_worker_of_a_cluster_changes_nothing(cluster, tmp_path, at_read):
    settings = PreprocessSettings(crop_size=32, edge="reflect", workers=1)
    plain = make_screen(tmp_path / "plain" / "screen")  # a store names its screen's folder
    preprocess(plain, tmp_path / "one", settings)
    screen = make_screen(tmp_path / "screen")
    deadly = signalling(screen, 0, signal.SIGKILL, at_read)
    preprocess(deadly, tmp_path / "many", settings, scheduler=cluster.scheduler_address)
    assert contents(tmp_path / "one") == contents(tmp_path / "many")
    processes = {line.split()[0] for line in reads(screen.root)}
    assert len(processes) >= 2 and len(reads(screen.root)) > 1 + 2 * TILES - 1


def test_nobody_at_the_address_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("grape_ops.workers.WAIT_SECONDS", 1)
    with pytest.raises(GrapeOpsError, match="No Dask scheduler with workers answers at tcp://127.0.0.1:9: "):
        preprocess(
            make_screen(tmp_path / "s"),
            tmp_path / "store",
            PreprocessSettings(crop_size=32),
            scheduler="tcp://127.0.0.1:9",
        )
