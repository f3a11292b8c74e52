"""The configuration tree: presets, overrides, and refusals in words."""

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from grape_ops.config import Config, dump_config, flatten, load_config, preset_names, read_yaml
from grape_ops.errors import GrapeOpsError


def test_the_papers_preset_is_the_defaults_but_for_the_margin():
    assert load_config("paper.yaml") == load_config(overrides=["preprocess.edge_margin=50"])


def test_the_papers_numbers():
    config = load_config("paper.yaml")
    assert (config.train.batch_size, config.train.steps) == (256, 100_000)
    assert (config.train.optimizer.beta1, config.train.optimizer.beta2) == (0.0, 0.99)
    assert (config.train.optimizer.learning_rate, config.train.optimizer.weight_decay) == (1e-4, 1e-4)
    assert (config.train.ema.every, config.train.ema.decay) == (2500, 0.5)
    assert (config.train.loss.cycle, config.train.loss.style, config.train.loss.r1) == (1, 1, 1)
    assert (config.model.embedding_dim, config.preprocess.crop_size) == (500, 96)


def test_large_has_the_papers_networks_but_for_how_it_restyles():
    """It is for the same cells: only D, which looks through the initialisation's classifier, is another."""
    large, paper = load_config("large.yaml"), load_config("paper.yaml")
    assert large.preprocess == paper.preprocess
    assert large.model.style_encoder == paper.model.style_encoder
    restyling = {"paints": "cell", "gain": False, "warp": 0, "upsampling": "nearest"}
    assert large.model.generator.model_copy(update=restyling) == paper.model.generator
    assert large.train.batch_size == paper.train.batch_size
    assert large.seen_through is not None


def test_there_is_a_preset_for_every_size():
    assert preset_names() == ["large.yaml", "paper.yaml", "recommended.yaml", "small.yaml"]


@pytest.mark.parametrize("name", preset_names())
def test_presets_hold_only_keys_that_exist(name: str):
    load_config(name)


def test_what_is_dumped_reads_back(tmp_path: Path):
    config = load_config("small.yaml", ["train.steps=7"])
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    assert load_config(str(file)) == config


def test_every_setting_carries_a_sentence():
    stack: list[type[BaseModel]] = [Config]
    while stack:
        for name, field in stack.pop().model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                stack.append(field.annotation)
            else:
                assert field.description, name
                assert field.description.endswith("."), name


def test_what_no_result_depends_on_is_known_by_its_field():
    config = Config()
    decisive = flatten(config.decisive()).keys()
    assert {name for name in flatten(config.model_dump(mode="json")) if name not in decisive} == {
        "calibrate.keep_stores",
        "features.cache",
        "features.scheduler",
        "features.workers",
        "preprocess.most_lost",
        "preprocess.on_problem",
        "preprocess.shrink",  # at 1, where crops are what they were before there was a choice
        "preprocess.workers",
        "train.accelerator",
        "train.accumulate",
        "train.activation_checkpointing",
        "train.checkpoint_every",
        "train.compile",
        "train.devices",
        "train.evaluate_every",
        "train.keep_checkpoints",
        "train.keep_every",
        "train.log_every",
        "train.nodes",
        "train.resident",
        "train.tensorboard",
        "train.threads",
    }


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Config().seed = 3


def test_overrides_reach_any_depth_and_win(tmp_path: Path):
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump({"train": {"steps": 5, "loss": {"r1": 2}}}))
    config = load_config(str(file), ["train.loss.r1=3", "preprocess.batch_columns=[plate]"])
    assert (config.train.steps, config.train.loss.r1) == (5, 3)
    assert config.preprocess.batch_columns == ("plate",)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "train.stepz=1",
            r"train\.stepz: there is no setting of this name here \(did you mean steps\?\); there are: .*steps",
        ),
        ("train.steps", "key=value"),
        ("train.steps=0", r"train\.steps: must be more than 0; it is 0"),
        ("train.steps=many", r"train\.steps: must be a whole number; it is many"),
        ("seed.x=1", "seed"),
        ("train.steps=[1", "not valid YAML"),
        ("preprocess.intensity={lower: 60, upper: 40}", "below upper"),
    ],
)
def test_wrong_settings_are_named(override: str, words: str):
    with pytest.raises(GrapeOpsError, match=words):
        load_config(overrides=[override])


def test_wrong_files_are_named(tmp_path: Path):
    with pytest.raises(GrapeOpsError, match=r"There is no file .*paper.yaml"):
        read_yaml(tmp_path / "nothing.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(GrapeOpsError, match="keys and values"):
        read_yaml(tmp_path / "list.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(GrapeOpsError, match="not valid YAML"):
        read_yaml(tmp_path / "bad.yaml")
