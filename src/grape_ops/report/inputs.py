"""Everything the page shows, gathered from the run, its store, its scores and a truth; what is missing says why.

A piece that was asked for by an option must be there, or the call fails. A piece the page merely looks for may be
missing: the page then says so in a sentence, and which option brings it. Letters: P perturbations.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grape_ops.artifacts.damage import read_json
from grape_ops.cells.genes import BATCH_PREFIX
from grape_ops.cells.store import CropStore
from grape_ops.embed import embed, read_embedding, run_store
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.gene_places import GenePlaces, Place, read_gene_places
from grape_ops.evaluate.hits_results import Phenotypes, read_phenotypes
from grape_ops.evaluate.records import MethodScores
from grape_ops.evaluate.scores import read_scores
from grape_ops.groundtruth import GroundTruth, load_truth
from grape_ops.methods.grape import training_identity
from grape_ops.report.generation import PHENOTYPE_DIR, PhenotypeCheck, read_check
from grape_ops.schema import (
    HITS_DIR,
    METRICS_FILE,
    OBS_IS_CONTROL,
    QUALITY_FILE,
    SCORES_JSON,
    TRUST_DIR,
    UNS_METHOD,
    VECTORS_FILE,
)
from grape_ops.train.checkpoint import read_state
from grape_ops.train.log import read_metrics
from grape_ops.train.run_folder import Run, open_run

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class ReportInputs:
    """What a report is made of.

    Attributes
    ----------
    run : the run.
    step : steps behind the last checkpoint; 0 without one.
    averaged : whether vectors and pictures come from the filtered weights.
    metrics : lines of metrics.jsonl.
    vectors : gene vectors of the run: those written beside the report or the run, else by its own ``embed`` settings.
    own_method : name of these vectors in the scores; None if there are none, or the scores are known to be of others.
    store, quality : the crop store and its quality counts.
    truth : known complexes.
    scores : the records of a scores.json.
    check : what `grape-ops phenotype` found.
    phenotypes : what `grape-ops hits` found.
    places : what `grape-ops trust` found.
    missing : for each of "vectors", "store", "truth", "scores", "check", "hits" and "places" that is None, why.
    """

    run: Run
    step: int
    averaged: bool
    metrics: list[dict[str, Any]]
    vectors: "AnnData | None"
    own_method: str | None
    store: CropStore | None
    quality: dict[str, Any]
    truth: GroundTruth | None
    scores: list[MethodScores] | None
    check: PhenotypeCheck | None = None
    phenotypes: Phenotypes | None = None
    places: GenePlaces | None = None
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def genes(self) -> list[str]:
        """Gene symbols without the control row, in the order of the rows of M."""
        return self.run.genes.index[~self.run.genes[OBS_IS_CONTROL]].tolist()

    @property
    def batches(self) -> list[str]:
        """Names of the batches."""
        columns = [str(column) for column in self.run.genes.columns]
        return [name.removeprefix(BATCH_PREFIX) for name in columns if name.startswith(BATCH_PREFIX)]

    def batch_counts(self) -> np.ndarray:
        """Cells of each perturbation in each batch: (P, batches)."""
        return self.run.genes[[BATCH_PREFIX + batch for batch in self.batches]].to_numpy(np.int64)

    def is_hit(self, gene: str) -> bool | None:
        """Whether a gene has a phenotype; None if it was not tested."""
        if self.phenotypes is None or gene not in self.phenotypes.genes.index:
            return None
        return bool(self.phenotypes.genes.loc[gene, "is_hit"])

    def place_of(self, gene: str) -> Place | None:
        """Whether the gene's place in the run's own map repeats between halves of the cells; None if not compared."""
        if self.places is None or self.vectors is None:
            return None
        return self.places.place(str(self.vectors.uns[UNS_METHOD]), gene)

    def complexes_of(self, gene: str) -> list[str]:
        """Names of the complexes a gene belongs to; none without a truth."""
        return self.truth.complexes_of(gene) if self.truth is not None else []


def gather(
    run_path: Path,
    out: Path,
    *,
    store_path: Path | None,
    scores: Path | None,
    truth: str | None,
    phenotype: Path | None = None,
    hits: Path | None = None,
) -> ReportInputs:
    """Collect what a report shows.

    Raises
    ------
    GrapeOpsError : ``run_path`` is no run, or a store, scores or truth that was asked for cannot be used.
    """
    run = open_run(run_path)
    missing: dict[str, str] = {}

    def look(piece: str, asked: bool, find: Callable[[], Any]) -> Any:
        """Find a piece; one that was not asked for may be missing."""
        try:
            return find()
        except GrapeOpsError as error:
            if asked:
                raise
            missing[piece] = _without_folders(str(error), run)
            return None

    store = look("store", store_path is not None, lambda: run_store(run, store_path))
    latest = run.latest_checkpoint()
    state: dict[str, Any] = read_state(latest) if latest is not None else {"step": 0, "average_updates": None}
    file = run_path / METRICS_FILE
    known = look("truth", truth is not None, lambda: _truth(truth or run.truth))
    places = dict.fromkeys((out.parent, run_path.parent, run_path))
    written = (read_embedding(run, place / VECTORS_FILE) for place in places)
    vectors = next((adata for adata in written if adata is not None), None)
    if vectors is None:
        vectors = look("vectors", False, lambda: _vectors(run, store))
    scores_file = scores or next((place / SCORES_JSON for place in places if (place / SCORES_JSON).is_file()), None)
    asked, others = scores is not None, scores_file is not None and _holds_other_vectors(scores_file.parent, run)
    return ReportInputs(
        run=run,
        step=state["step"],
        # Before its first update the filter holds nothing, and the trained weights are taken.
        averaged=run.config.embed.ema and bool(state["average_updates"])
        if vectors is None
        else bool(vectors.uns["grape"]["ema"]),
        metrics=list(read_metrics(file)) if file.is_file() else [],
        vectors=vectors,
        own_method=None if vectors is None or others else str(vectors.uns[UNS_METHOD]),
        store=store,
        quality=_quality(store),
        truth=known,
        scores=look("scores", asked, lambda: _scores(scores_file, known, asked=asked, others=others)),
        check=look("check", phenotype is not None, lambda: _check(phenotype, out, run)),
        phenotypes=look("hits", hits is not None, lambda: _phenotypes(hits, out, run)),
        places=look("places", False, lambda: _places(out, run)),
        missing=missing,
    )


def _vectors(run: Run, store: CropStore | None) -> "AnnData":
    return embed(run.path, run.config.embed, store_path=store.path if store else None, seed=run.config.seed)


def _quality(store: CropStore | None) -> dict[str, Any]:
    if store is None or not (store.path / QUALITY_FILE).is_file():
        return {}
    return read_json(store.path / QUALITY_FILE, "what preprocessing kept and dropped")


def _truth(name: str | None) -> GroundTruth:
    if name is None:
        raise GrapeOpsError("No known complexes were given; `--truth NAME_OR_FILE` brings them.")
    return load_truth(name)


def _holds_other_vectors(folder: Path, run: Run) -> bool:
    """Whether a folder holds gene vectors, but of another run or checkpoint; its scores are of those vectors then."""
    file = folder / VECTORS_FILE
    return file.is_file() and read_embedding(run, file) is None


def _scores(file: Path | None, truth: GroundTruth | None, *, asked: bool, others: bool) -> list[MethodScores]:
    if file is None or not file.is_file():
        what = f"There are no scores at {file}" if asked else f"There is no {SCORES_JSON} beside the report or the run"
        raise GrapeOpsError(f"{what}; `grape-ops evaluate` makes it, and `--scores` says where it is.")
    if others and not asked:
        raise GrapeOpsError(
            f"{SCORES_JSON} lies beside the {VECTORS_FILE} of another run or checkpoint, so it is left out; "
            "`--scores` takes it nevertheless."
        )
    entries = read_scores(file)
    if not asked and truth is not None and entries[0].truth_sha256 != truth.sha256:
        raise GrapeOpsError(
            f"The scores in {file.name} beside the report or the run were computed with other complexes than those of "
            f"{truth.name}, so they are left out; `--scores` takes them nevertheless."
        )
    return entries


def _check(asked: Path | None, out: Path, run: Run) -> PhenotypeCheck:
    folder = _folder(asked, PHENOTYPE_DIR, "`grape-ops phenotype` makes it, and `--phenotype`", out, run)
    return read_check(folder, run.record["store_fingerprint"], (run.latest_checkpoint() or Path()).name)


def _phenotypes(asked: Path | None, out: Path, run: Run) -> Phenotypes:
    folder = _folder(asked, HITS_DIR, f"`grape-ops hits STORE --out {HITS_DIR}` makes it, and `--hits`", out, run)
    return read_phenotypes(folder, run.record["store_fingerprint"])


def _places(out: Path, run: Run) -> GenePlaces:
    places = [folder / TRUST_DIR for folder in (out.parent, run.path.parent, run.path)]
    folder = next((place for place in places if place.is_dir()), places[0])
    return read_gene_places(folder, run.record["store_fingerprint"], training_identity(run.config))


def _folder(asked: Path | None, name: str, who: str, out: Path, run: Run) -> Path:
    """Find the folder of a result: the one asked for, or one beside the report or the run."""
    places = [asked] if asked else [folder / name for folder in (out.parent, run.path.parent, run.path)]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        what = f"There is no folder {asked}" if asked else f"There is no folder {name} beside the report or the run"
        raise GrapeOpsError(f"{what}; {who} says where it is.")
    return found


def _without_folders(message: str, run: Run) -> str:
    """Shorten paths to their last part: pages are sent to others, whom our folders say nothing."""
    for path in (run.store_path, run.path.resolve(), run.path):
        if path.name:
            message = message.replace(str(path), path.name)
    return message
