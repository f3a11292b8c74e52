"""What report and explorer share: computed once, kept with the run."""

from grape_ops.cells.store import CropStore
from grape_ops.report import kept as module
from grape_ops.report.kept import kept
from grape_ops.report.plates import well_table, wells_of


def test_a_result_is_computed_once_and_anew_where_its_facts_differ(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return [len(calls)]

    assert [kept(tmp_path, "some", ["facts"], compute) for _ in range(2)] == [[1], [1]]
    assert kept(tmp_path, "some", ["others"], compute) == [2]
    (tmp_path / "pages" / "some.json").write_text("{damaged")
    assert kept(tmp_path, "some", ["others"], compute) == [3]


def test_a_run_that_cannot_be_written_is_shown_nevertheless(tmp_path):
    (tmp_path / "pages").write_text("a file where the folder would be")
    assert kept(tmp_path, "some", [], lambda: [7]) == [7]


def test_wells_are_the_same_when_read_back(full_run, tiny_store: CropStore, monkeypatch):
    first = wells_of(full_run, tiny_store)
    monkeypatch.setattr("grape_ops.report.plates.well_table", lambda *_: 1 / 0)
    again = wells_of(full_run, tiny_store)
    assert first.equals(again) and module.PAGES_DIR in {path.name for path in full_run.path.iterdir()}
    monkeypatch.undo()
    own = well_table(tiny_store, full_run.config.seed)
    assert first["effect"].equals(own["effect"]) and list(first["well"]) == list(own["well"])
