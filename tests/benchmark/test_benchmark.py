"""The benchmark and the ablations, end to end on a tiny store; jobs that are done, fail or change."""

import json
import signal
import sys
import threading
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from grape_ops.benchmark import ablation_names, run_ablations, run_benchmark
from grape_ops.benchmark.ablations import read_ablation
from grape_ops.benchmark.run_benchmark import chosen_methods, named_files
from grape_ops.benchmark.tables import WIDTH
from grape_ops.cli import app, main
from grape_ops.config import Config, FeatureSettings, dump_config, flatten, load_config, parse_config
from grape_ops.errors import GrapeOpsError, Interrupted
from grape_ops.methods import METHODS, check_methods
from grape_ops.runner import processes
from grape_ops.runner.jobs import mean_cost, total_cost
from grape_ops.runner.processes import do_jobs, one_gpu
from grape_ops.runner.worker import work


@pytest.fixture(scope="module")
def config(tiny_config) -> Config:
    tree = tiny_config.model_dump()
    quick = {"permutations": 50, "kmeans_runs": 5, "bootstrap": 50, "sweep_max": 4, "leiden_runs": 2, "shuffles": 5}
    changes = {"train": tree["train"] | {"steps": 3}, "embed": {"cells_per_gene": 4}, "evaluate": quick}
    return parse_config(tree | changes, "test")


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("truth") / "truth.tsv"
    file.write_text("gene_symbol\tcomplex\nAAA\tone\nCCC\tone\nBBB\ttwo\nDDD\ttwo\nAAA\tthree\nBBB\tthree\n")
    return str(file)


def widest(table: str) -> int:
    return max(len(line) for line in table.splitlines())


def test_a_benchmark_is_run_evaluated_and_gone_on_with(tiny_store, config, truth, tmp_path, job_of):
    own = anndata.AnnData(np.eye(3, dtype=np.float32), obs=pd.DataFrame(index=["AAA", "BBB", "CCC"]))
    own.write_h5ad(tmp_path / "own.h5ad")
    out, maps = tmp_path / "out", {"my model": tmp_path / "own.h5ad"}
    methods = ("random", "grape")
    table = run_benchmark(tiny_store.path, truth, out, config, methods=methods, maps=maps, seeds=1, at_a_time=1)

    scores = {entry["method"]: entry for entry in json.loads((out / "scores.json").read_text())}
    assert next(iter(scores)) == "GRAPE M" and {"random", "GRAPE E, no EMA"} < set(scores)
    cost = scores["GRAPE F(M)"]["cost"]
    assert cost["wall_s"] > 0 and cost["cpu_s"] > 0 and cost["peak_mib"] > 100 and cost["gpu_s"] == 0
    assert widest(table) <= WIDTH and "mAP, GRAPE M minus" in table
    assert (out / "table.txt").read_text() == table and (out / "evaluation/sweep.tsv").is_file()
    # A map without all genes is evaluated beside the others on the genes they share.
    assert (
        "my model" not in scores
        and "my model lack some genes of the truth that others have. On the genes that all" in table
    )
    common = json.loads((out / "common/scores.json").read_text())
    assert {e["n_genes"] for e in common} == {3} and len(common) == len(scores) + 1

    done = {file: file.stat().st_mtime_ns for file in out.glob("work/*/done.json")}
    assert len(done) == 2
    longer = config.model_copy(update={"train": config.train.model_copy(update={"steps": 4})})
    own[:2].write_h5ad(tmp_path / "few.h5ad")
    few = {"few genes": tmp_path / "few.h5ad"}
    table = run_benchmark(tiny_store.path, truth, out, longer, methods=("random",), maps=few, seeds=1, at_a_time=1)
    assert "few genes lack some genes of the truth that others have. The genes that" in table
    assert "cannot be evaluated" in table and widest(table) <= WIDTH
    again = {file: file.stat().st_mtime_ns for file in out.glob("work/*/done.json")}
    assert again == done  # only GRAPE's settings changed; nothing was done again or lost
    grape = [job_of("grape", settings, tiny_store, out / "work") for settings in (config, longer)]
    assert grape[0].done and not grape[1].done


def test_ablations_share_the_references_training(tiny_store, config, truth, tmp_path):
    mine = tmp_path / "half_cycle.yaml"
    mine.write_text("# half the cycle loss\ntrain: {loss: {cycle: 0.5}}\n")
    same = tmp_path / "same.yaml"
    same.write_text("train: {augment: true, log_every: 7}\n")  # the lines of a log decide nothing
    out = tmp_path / "out"
    names = ["position_2", str(mine), str(same), "init_noise"]
    table = run_ablations(tiny_store.path, truth, out, config, ablations=names, seeds=1, at_a_time=2)
    assert len(list(out.glob("work/*/done.json"))) == 2
    scores = {entry["method"]: entry for entry in json.loads((out / "scores.json").read_text())}
    assert list(scores) == ["reference", "position_2", "half_cycle"] and scores["half_cycle"]["cost"]["cpu_s"] > 0
    assert "half_cycle: half the cycle loss" in table and "it: same, init_noise" in " ".join(table.split())
    assert widest(table) <= WIDTH
    with pytest.raises(GrapeOpsError, match="those of init_noise already: there is nothing to compare"):
        run_ablations(tiny_store.path, truth, out, config, ablations=["init_noise"])
    with pytest.raises(GrapeOpsError, match="the same name among reference, no_ema, no_ema"):
        run_ablations(tiny_store.path, truth, out, config, ablations=["no_ema", "no_ema"])


@pytest.mark.parametrize("number", [1, 3])
def test_as_many_jobs_are_done_beside_each_other_as_the_option_says(
    tiny_store, config, truth, tmp_path, monkeypatch, number
):
    running, counts, one_at_work, all_there = [], [], threading.Lock(), threading.Barrier(number, timeout=60)

    def run(_, job, __):
        running.append(job)
        all_there.wait()
        counts.append(len(running))
        all_there.wait()
        running.remove(job)
        with one_at_work:
            work(job.folder)
        return ""

    monkeypatch.setattr(processes, "room", lambda: 2)
    monkeypatch.setattr(processes._Processes, "_run", run)
    (tmp_path / "c.yaml").write_text(dump_config(config))
    call = ["benchmark", str(tiny_store.path), "--truth", truth, "--out", str(tmp_path / "out"), "--methods", "random"]
    call += ["--seeds", "3", "--jobs", str(number), "--config", str(tmp_path / "c.yaml")]
    answer = CliRunner().invoke(app, call)
    assert answer.exit_code == 0, answer.exception
    assert counts == [number] * 3


@pytest.mark.parametrize(
    ("call", "module"),
    [
        (("ablate", "--ablation", "no_cycle"), "benchmark.ablations"),
        (("trust", "--methods", "random"), "power.split_half"),
        (("trust", "--cells", "--methods", "random"), "power.cells_per_gene"),
    ],
)
def test_the_option_jobs_reaches_what_does_the_jobs(two_phenotypes, tmp_path, monkeypatch, call, module):
    def do_jobs(jobs, label, at_a_time=0):
        raise GrapeOpsError(f"{at_a_time} at a time")

    monkeypatch.setattr(f"grape_ops.{module}.do_jobs", do_jobs)
    truth = tmp_path / "truth.tsv"
    truth.write_text("gene_symbol\tcomplex\nSPOT1\tspot\nSPOT2\tspot\nSTRIPE1\tstripe\nSTRIPE2\tstripe\n")
    where = [str(two_phenotypes.path), "--truth", str(truth), "--out", str(tmp_path / "out")]
    answer = CliRunner().invoke(app, [*call, *where, "--jobs", "3"])
    assert str(answer.exception) == "3 at a time", answer.output


def test_stopped_ablations_go_on(tiny_store, config, truth, tmp_path, monkeypatch, capsys, signal_when, job_of):
    endless = config.model_copy(update={"train": config.train.model_copy(update={"steps": 100_000})})
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(dump_config(endless))
    options = ["--truth", truth, "--config", "config.yaml", "--seeds", "1", "--ablation", "position_2"]
    monkeypatch.setattr(sys, "argv", ["grape-ops", "ablate", str(tiny_store.path), "--out", "out", *options])
    with signal_when(lambda: saved_steps(Path("out")) > 0, signal.SIGINT), pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr().err
    assert stopped.value.code == 130 and "The same command goes on where it stopped" in said
    assert "Note: Trainings: 1 of 100,000 steps" in said  # the ablation of the read-out shares it
    # The same command would start a worker on the same job; what that does is done here.
    folder = job_of("grape", endless, tiny_store, Path("out/work")).folder
    before = saved_steps(folder)
    with signal_when(lambda: saved_steps(folder) > before, signal.SIGTERM), pytest.raises(Interrupted):
        work(folder)
    assert [file.name for file in Path("out/work").iterdir()] == [folder.name]
    assert len((folder / "costs.jsonl").read_text().splitlines()) == 2
    assert not (folder / "done.json").exists()
    steps = [json.loads(line)["step"] for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))  # no step was done twice


def saved_steps(folder: Path) -> int:
    """Steps behind the last checkpoint under a folder."""
    return max((int(path.name[5:]) for path in folder.rglob("checkpoints/step_*")), default=0)


def test_jobs_see_one_of_the_gpus_there_are_in_turns():
    shown = [one_gpu(slot, ["2", "5"])["CUDA_VISIBLE_DEVICES"] for slot in range(4)]
    assert shown == ["2", "5", "2", "5"]  # never one that is not there: the job would go on without
    assert one_gpu(0, ["0"]) == one_gpu(0, []) == {}


def test_somebody_elses_folder_is_left_alone(tiny_store, config, truth, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    for act in (run_benchmark, run_ablations):
        with pytest.raises(GrapeOpsError, match="holds other things.*thesis.tex"):
            act(tiny_store.path, truth, tmp_path, config)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_job_that_fails_says_why_and_the_others_stay(tiny_store, config, tmp_path, job_of):
    jobs = [job_of(method, config, tiny_store, tmp_path) for method in ("gene2vec", "random")]
    with pytest.raises(GrapeOpsError, match="1 of 2 jobs failed; the others are done.*\n.*gene2vec.vectors=FILE"):
        do_jobs(jobs, "test", 1)
    assert not jobs[0].done and list(jobs[1].maps()) == ["random"]


def test_what_is_asked_for_is_checked_first(config, tiny_store):
    with pytest.raises(GrapeOpsError, match="--set baselines.gene2vec.vectors=FILE; there is none set"):
        check_methods([METHODS["random"], METHODS["gene2vec"]], tiny_store, config)
    blind = config.model_copy(update={"features": FeatureSettings(nucleus_channel="DAPI")})
    with pytest.raises(GrapeOpsError, match="no channel 'DAPI'"):
        check_methods([METHODS["engineered"]], tiny_store, blind)
    check_methods([METHODS["random"], METHODS["engineered"]], tiny_store, config)
    assert "gene2vec" not in chosen_methods((), config) and "engineered" in chosen_methods((), config)
    with pytest.raises(GrapeOpsError, match="no method grap; there are: random"):
        chosen_methods(["grap"], config)
    with pytest.raises(GrapeOpsError, match="the name GRAPE M is taken"):
        named_files(["GRAPE M=x.h5ad"])
    with pytest.raises(GrapeOpsError, match="needs NAME=FILE.h5ad"):
        named_files(["x.h5ad"])
    with pytest.raises(GrapeOpsError, match="no ablation nothing; there are: attention"):
        read_ablation("nothing", config)


def test_a_truth_that_covers_no_genes_is_reported_before_any_job(tiny_store, config, tmp_path):
    other = tmp_path / "truth.tsv"
    other.write_text("gene_symbol\tcomplex\nA1BG\tx\nA2M\tx\n")
    for run in (run_benchmark, run_ablations):
        with pytest.raises(GrapeOpsError, match="is in the truth"):
            run(tiny_store.path, str(other), tmp_path / run.__name__, config)
        assert not (tmp_path / run.__name__ / "work").exists()


@pytest.mark.parametrize("name", ablation_names())
def test_every_shipped_ablation_changes_a_preset(name):
    for preset in ("paper.yaml", "recommended.yaml"):
        ablation = read_ablation(name, load_config(preset))
        assert ablation.meaning and ablation.meaning != name
    assert f"| `{name}` |" in (Path(__file__).parents[2] / "docs" / "baselines.md").read_text()
    # The paper trains without augmentation and from noise.
    assert ablation.config != load_config("recommended.yaml")


def test_every_change_that_recommended_makes_is_ablated():
    """What an ablation sets back is what small.yaml has: one key at a time, or together where one makes no sense."""
    small, recommended = (
        flatten(load_config(name).model_dump(mode="json")) for name in ("small.yaml", "recommended.yaml")
    )
    changed = {key for key in small if small[key] != recommended[key] and not key.startswith("baselines.")}
    shipped = [
        flatten(read_ablation(name, load_config("recommended.yaml")).config.model_dump(mode="json"))
        for name in ablation_names()
    ]
    assert changed <= {key for settings in shipped for key in settings if settings[key] != recommended[key]}


def test_costs_of_attempts_add_up_and_of_runs_are_averaged(tmp_path):
    log = tmp_path / "costs.jsonl"
    line = {"wall_s": 2.0, "cpu_s": 3.0, "gpu_s": 0.0, "peak_mib": 100.0, "gpu_peak_mib": 0.0}
    log.write_text("\n".join(json.dumps(part) for part in (line, line | {"peak_mib": 50.0})))
    assert total_cost(log) == line | {"wall_s": 4.0, "cpu_s": 6.0}
    assert mean_cost([line, line | {"cpu_s": 5.0, "peak_mib": 300.0}]) == line | {"cpu_s": 4.0, "peak_mib": 300.0}
