"""Guides as perturbations."""

from pathlib import Path

import pandas as pd
import pytest
from anndata import read_h5ad

from grape_ops.cells.store import CropStore
from grape_ops.config import Config
from grape_ops.embed import write_embedding
from grape_ops.errors import GrapeOpsError
from grape_ops.evaluate.evaluate_files import named_maps, score_maps
from grape_ops.groundtruth import load_truth
from grape_ops.train.loop import train


def test_a_run_by_guide_has_one_row_per_guide_and_the_truth_to_evaluate_it_with(
    tiny_store: CropStore, tiny_config: Config, tmp_path: Path
) -> None:
    settings = tiny_config.train.model_copy(update={"unit": "guide", "steps": 4})
    config = tiny_config.model_copy(update={"train": settings})
    by_guide = CropStore.open(tiny_store.path, "guide")
    guides = sorted(set(tiny_store.cells.loc[~tiny_store.cells["is_control"], "sgRNA"]))
    assert by_guide.perturbations == (*guides, "nontargeting")
    run = train(tiny_store.path, tmp_path / "run", config)
    assert list(run.genes.index) == [*guides, "nontargeting"]
    for position in (1, 3):
        write_embedding(tmp_path / "run", tmp_path / "guides.h5ad", position=position)
        assert list(read_h5ad(tmp_path / "guides.h5ad").obs_names) == [*guides, "nontargeting"]
    groups = pd.read_csv(tmp_path / "run" / "guides.tsv", sep="\t")
    assert dict(zip(groups["gene_symbol"], groups["complex"], strict=True)) == dict(
        tiny_store.cells.loc[~tiny_store.cells["is_control"], ["sgRNA", "gene_symbol"]].to_numpy().tolist()
    )
    truth = load_truth(tmp_path / "run" / "guides.tsv")
    evaluation = config.evaluate.model_copy(update={"permutations": 20, "kmeans_runs": 2, "sweep_max": 0})
    (scores,) = score_maps(named_maps([tmp_path / "guides.h5ad"]), truth, evaluation, 0)
    assert scores.map.n_queries == len(guides)


def test_a_truth_of_genes_is_refused_for_guides(tiny_store: CropStore, tiny_config: Config, tmp_path: Path) -> None:
    train_settings = tiny_config.train.model_copy(update={"unit": "guide"})
    config = tiny_config.model_copy(update={"train": train_settings})
    with pytest.raises(GrapeOpsError, match=r"Leave it out.*guides\.tsv"):
        train(tiny_store.path, tmp_path / "run", config, truth="complexes-14x106")
