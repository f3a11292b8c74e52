"""One typed, frozen configuration tree; unknown keys are refused and every field carries a sentence.

A configuration file holds only the keys it changes; ``load_config`` lays it over the defaults, then the
``--set a.b=c`` overrides. The defaults of the model and of training are the paper's (sections 3.2 to 3.5).
"""

from grape_ops.config.base import Settings
from grape_ops.config.baselines import (
    BaselineSettings,
    ConsistencySettings,
    EngineeredSettings,
    Gene2vecSettings,
    ImpaSettings,
    ProfilesSettings,
)
from grape_ops.config.calibrate import CalibrateSettings
from grape_ops.config.embed import EmbedSettings
from grape_ops.config.evaluate import CurateSettings, EvaluateSettings
from grape_ops.config.hits import HitsSettings
from grape_ops.config.loading import (
    dump_config,
    flatten,
    lay_over,
    load_config,
    merged,
    misfits,
    parse_config,
    preset_names,
    read_yaml,
)
from grape_ops.config.model import DiscriminatorSettings, GeneratorSettings, ModelSettings, TrunkSettings
from grape_ops.config.outputs import ExploreSettings, ExportSettings, GenerateSettings
from grape_ops.config.preprocess import FeatureSettings, FlatFieldSettings, IntensitySettings, PreprocessSettings
from grape_ops.config.screen import ScreenSettings, SimulateSettings
from grape_ops.config.train import (
    ClassifierSettings,
    EmaSettings,
    InitSettings,
    LossSettings,
    OptimizerSettings,
    TrainSettings,
    ViewSettings,
)
from grape_ops.config.tree import Config

__all__ = [
    "BaselineSettings",
    "CalibrateSettings",
    "ClassifierSettings",
    "Config",
    "ConsistencySettings",
    "CurateSettings",
    "DiscriminatorSettings",
    "EmaSettings",
    "EmbedSettings",
    "EngineeredSettings",
    "EvaluateSettings",
    "ExploreSettings",
    "ExportSettings",
    "FeatureSettings",
    "FlatFieldSettings",
    "Gene2vecSettings",
    "GenerateSettings",
    "GeneratorSettings",
    "HitsSettings",
    "ImpaSettings",
    "InitSettings",
    "IntensitySettings",
    "LossSettings",
    "ModelSettings",
    "OptimizerSettings",
    "PreprocessSettings",
    "ProfilesSettings",
    "ScreenSettings",
    "Settings",
    "SimulateSettings",
    "TrainSettings",
    "TrunkSettings",
    "ViewSettings",
    "dump_config",
    "flatten",
    "lay_over",
    "load_config",
    "merged",
    "misfits",
    "parse_config",
    "preset_names",
    "read_yaml",
]
