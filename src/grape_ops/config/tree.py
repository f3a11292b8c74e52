"""The whole tree: everything a run depends on besides its input files."""

from pydantic import Field, model_validator

from grape_ops.config.base import Settings
from grape_ops.config.baselines import BaselineSettings
from grape_ops.config.calibrate import CalibrateSettings
from grape_ops.config.embed import EmbedSettings
from grape_ops.config.evaluate import CurateSettings, EvaluateSettings
from grape_ops.config.hits import HitsSettings
from grape_ops.config.model import ModelSettings
from grape_ops.config.outputs import ExploreSettings, ExportSettings, GenerateSettings
from grape_ops.config.preprocess import FeatureSettings, PreprocessSettings
from grape_ops.config.screen import ScreenSettings, SimulateSettings
from grape_ops.config.train import ClassifierSettings, TrainSettings


class Config(Settings):
    """Everything a run depends on besides its input files."""

    seed: int = Field(0, ge=0, description="Seed of every random draw of training, embedding and evaluation.")
    where: str = Field(
        "",
        description='Cells of a store to use, by columns of its cell table: plate in ["1", "2"] and gene != "XYZ"; all '
        "if empty. Conditions on gene and guide keep the controls, unless they exclude them by name.",
    )
    screen: ScreenSettings = ScreenSettings()
    simulate: SimulateSettings = SimulateSettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    features: FeatureSettings = FeatureSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    embed: EmbedSettings = EmbedSettings()
    baselines: BaselineSettings = BaselineSettings()
    hits: HitsSettings = HitsSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    curate: CurateSettings = CurateSettings()
    generate: GenerateSettings = GenerateSettings()
    calibrate: CalibrateSettings = CalibrateSettings()
    explore: ExploreSettings = ExploreSettings()
    export: ExportSettings = ExportSettings()

    @property
    def seen_through(self) -> ClassifierSettings | None:
        """The frozen classifier whose features D or a loss uses; None if neither does."""
        wanted = self.model.discriminator.judges == "features" or self.train.loss.match > 0
        return self.train.init.classifier if wanted else None

    @model_validator(mode="after")
    def _match_wants_cells_together(self) -> "Config":
        train = self.train
        processes = train.devices * train.nodes  # each takes every so manyth cell of a batch
        least, most = 2 * processes, train.batch_size // train.accumulate
        if train.loss.matches_means and not least <= train.together <= most:
            raise ValueError(
                f"train.loss.match and train.loss.match_shape compare the mean of several cells with one target: set "
                f"train.together to {least} or more (two for each of train.devices x train.nodes), and to at most "
                f"{most}, the crops computed at a time; it is {train.together}"
            )
        return self
