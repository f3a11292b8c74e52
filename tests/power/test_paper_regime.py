"""The recipes of the paper's regime, and how long they are trained."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


def test_a_recipe_makes_as_many_passes_as_asked_for() -> None:
    from paper_regime import regime

    for name in ("paper_recipe", "recommended"):
        settings = regime(name, ["train.batch_size=64"], 3, 50, 40_000).train
        assert settings.steps * settings.batch_size == 50 * 40_000


def test_recipes_are_what_they_are_called() -> None:
    from paper_regime import regime

    recipes = {name: regime(name, [], 0, 50, 40_000) for name in ("paper_recipe", "paper_rates", "no_cycle")}
    for config in recipes.values():
        assert config.train.init.kind == "noise" and not config.train.augment
    assert recipes["no_cycle"].train.loss.cycle == 0 < recipes["paper_recipe"].train.loss.cycle
    rates = recipes["paper_rates"].train
    assert rates.optimizer.embedding_learning_rate == rates.optimizer.learning_rate == 1e-4
    assert rates.steps / rates.ema.every == pytest.approx(40, rel=0.01)
    assert regime("recommended", [], 0, 50, 40_000).train.init.kind == "classifier"


def test_curves_are_averaged_over_seeds_and_lack_what_a_run_lacks() -> None:
    from paper_regime import mean_curve

    runs = [{"passes": [1.0, 2.0], "map": [0.1, low], "map_ema": [None, None]} for low in (0.2, 0.4)]
    assert mean_curve(runs) == {"passes": [1.0, 2.0], "map": [0.1, 0.3]}
