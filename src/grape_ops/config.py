"""One typed, frozen configuration tree; unknown keys are refused and every field carries a sentence.

A configuration file holds only the keys it changes; ``load_config`` lays it over the defaults, then the
``--set a.b=c`` overrides. The defaults of the model and of training are the paper's (sections 3.2 to 3.5).
"""

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from grape_ops.errors import GrapeOpsError
from grape_ops.schema import PLATE, WELL

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    """A frozen branch of the tree."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


# ---------------------------------------------------------------------------------------------- screen


class SimulateSettings(Settings):
    """A simulated screen with planted complexes."""

    complexes: Positive = Field(6, description="Planted complexes.")
    genes_per_complex: Positive = Field(4, description="Genes in each complex.")
    lone_genes: int = Field(0, ge=0, description="Genes with a phenotype of their own, in no complex.")
    guides_per_gene: Positive = Field(4, description="Guides against each gene.")
    control_guides: Positive = Field(12, description="Non-targeting guides.")
    cells_per_gene: Positive = Field(400, description="Cells of each gene, on average.")
    control_cells: Positive = Field(1200, description="Cells with a non-targeting guide.")
    unidentified_share: Share = Field(0.1, description="Cells in the images that no barcode was read for.")
    plates: Positive = Field(2, description="Plates.")
    wells_per_plate: Positive = Field(2, description="Wells on each plate.")
    tile_size: Positive = Field(512, description="Height and width of a tile, in pixels.")
    cell_diameter: float = Field(26.0, gt=4, description="Typical diameter of a cell, in pixels.")
    confluence: float = Field(0.45, gt=0, lt=0.9, description="Share of the tile covered by cells.")
    effect_size: NonNegative = Field(1.5, description="Strength of the planted phenotypes, 0 for none.")
    private_share: Share = Field(0.3, description="Share of a gene's phenotype that is not its complex's.")
    penetrance: Share = Field(0.8, description="Share of the cells of a working guide that show the effect.")
    dud_guides: Share = Field(0.15, description="Share of targeting guides without any effect.")
    confounding: float = Field(
        2.0, gt=0, description="Dirichlet concentration of a gene over wells: small values confound gene and batch."
    )
    vignetting: Share = Field(0.35, description="Loss of light at the tile's corners.")
    batch_gain_sd: NonNegative = Field(0.15, description="Spread of log gain over (plate, well) and channel.")
    read_noise: NonNegative = Field(12.0, description="Standard deviation of the camera's noise, in counts.")
    seed: int = Field(0, ge=0, description="Seed of everything drawn.")


class ScreenSettings(Settings):
    """How a screen folder is read."""

    layout: str = Field("table", description="Name of the reader of the screen's folder: table.")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Column of the user's table for each of ours (gene_symbol, sgRNA, plate, well, tile, y, x).",
    )
    control_pattern: str = Field(
        r"^(non[-_ ]?target.*|NTCs?(?![a-z]).*|neg(ative)?[-_ ]?(control|ctrl).*|safe.*|intergenic.*)$",
        description="Gene symbols that match, in any case, are non-targeting controls.",
    )


# ------------------------------------------------------------------------------------------ preprocess


class FlatFieldSettings(Settings):
    """Retrospective flat-field correction (section 3.2, step 1)."""

    enabled: bool = Field(True, description="Correct uneven illumination.")
    columns: tuple[str, ...] = Field((PLATE, WELL), description="Table columns over which one field is taken.")
    steps_per_radius: Positive = Field(
        20, description="The median is evaluated this often along its radius, and interpolated between."
    )
    percentile: float = Field(2.0, ge=0, le=50, description="Robust minimum the field is divided by.")
    min_agreement: Share = Field(
        0.5,
        description="Share of a field's variance that two halves of the tiles must agree on for it to be applied; "
        "0 applies it always.",
    )


class IntensitySettings(Settings):
    """Rescaling between two percentiles to [0, 1] (section 3.2, step 2)."""

    lower: float = Field(0.1, ge=0, lt=100, description="Lower percentile, mapped to 0.")
    upper: float = Field(99.9, gt=0, le=100, description="Upper percentile, mapped to 1.")
    columns: tuple[str, ...] = Field((PLATE, WELL), description="Table columns over which percentiles are taken.")

    @model_validator(mode="after")
    def _ordered(self) -> "IntensitySettings":
        if self.lower >= self.upper:
            raise ValueError(f"lower ({self.lower}) must be below upper ({self.upper})")
        return self


class PreprocessSettings(Settings):
    """From tiles to a crop store (section 3.2)."""

    crop_size: Positive = Field(96, description="Height and width of a crop, in pixels.")
    edge: Literal["drop", "reflect", "zero"] = Field(
        "drop", description="Cells whose crop leaves the tile: dropped, or padded by reflection or zeros."
    )
    edge_margin: int | None = Field(
        None, ge=0, description="With edge=drop: least distance of a centre from the tile's edge; half a crop if unset."
    )
    batch_columns: tuple[str, ...] = Field(
        (PLATE, WELL), min_length=1, description="Table columns that make a batch; each batch needs controls."
    )
    flat_field: FlatFieldSettings = FlatFieldSettings()
    intensity: IntensitySettings = IntensitySettings()
    pixel_type: Literal["uint16", "uint8"] = Field("uint16", description="Integer type of the stored crops.")
    on_problem: Literal["stop", "drop"] = Field(
        "stop", description="Batch without controls, missing or unreadable tile, cell outside its tile: stop or drop."
    )
    workers: int = Field(0, ge=0, description="Worker processes; 0 takes one per core.")


# ----------------------------------------------------------------------------------------------- model


class GeneratorSettings(Settings):
    """The generator G (section 3.3)."""

    width: Positive = Field(64, description="Channels of the first layer.")
    max_width: Positive = Field(512, description="Channels double at each halving up to this.")
    down_blocks: Positive = Field(3, description="Halvings of the encoder, and doublings of the decoder.")
    middle_blocks: Positive = Field(2, description="Blocks at the lowest resolution, in encoder and decoder each.")


class TrunkSettings(Settings):
    """The convolutional trunk and tail of the discriminator D or the style encoder E (section 3.3)."""

    width: Positive = Field(64, description="Channels of the first layer.")
    max_width: Positive = Field(512, description="Channels double at each halving up to this.")
    blocks: Positive = Field(5, description="Residual blocks, each halving the image.")
    tail: Literal["valid", "mean"] = Field(
        "valid", description="Last map to a vector: one unpadded convolution as large as the map, or 3x3 and mean."
    )


class ModelSettings(Settings):
    """The five networks M, F, G, D and E (section 3.3)."""

    embedding_dim: Positive = Field(500, description="Length of a gene's vector, a row of M.")
    embedding_scale: float = Field(1.0, gt=0, description="Standard deviation of M at the start.")
    style_dim: Positive = Field(64, description="Length of a style code.")
    mapping_layers: Positive = Field(3, description="Linear layers of F.")
    mapping_width: Positive = Field(512, description="Width of F's hidden layers.")
    attention: bool = Field(False, description="Ablation: one self-attention block over genes before F.")
    attention_heads: Positive = Field(4, description="Heads of that block; must divide embedding_dim.")
    noise_dim: int = Field(0, ge=0, description="Length of the noise beside a row of M, before F; GRAPE has none.")
    generator: GeneratorSettings = GeneratorSettings()
    discriminator: TrunkSettings = TrunkSettings()
    style_encoder: TrunkSettings = TrunkSettings()
    fused_resampling: bool = Field(
        True, description="Convolve and resample in one step: the same mathematics at 4/9 of the work."
    )


# ----------------------------------------------------------------------------------------------- train


class LossSettings(Settings):
    """Weights of the objectives (section 3.4)."""

    cycle: NonNegative = Field(1.0, description="Weight of the cycle loss (Eq. 2); 0 leaves it out.")
    style: NonNegative = Field(1.0, description="Weight of the style reconstruction loss (Eq. 3); 0 leaves it out.")
    r1: NonNegative = Field(1.0, description="Gamma of the R1 penalty on real crops; 0 leaves it out.")
    diversity: NonNegative = Field(
        0.0, description="Weight of the diversity loss, which GRAPE has not; it wants model.noise_dim."
    )
    detach_style: bool = Field(True, description="Stop gradients as Eq. 3 prints them, so that it trains E only.")


class OptimizerSettings(Settings):
    """Adam (section 3.5), with one rate for every module unless a module has its own."""

    learning_rate: float = Field(1e-4, gt=0, description="Learning rate of every module.")
    weight_decay: NonNegative = Field(1e-4, description="L2 penalty of every module, inside Adam.")
    beta1: float = Field(0.0, ge=0, lt=1, description="Adam's first decay.")
    beta2: float = Field(0.99, ge=0, lt=1, description="Adam's second decay.")
    embedding_learning_rate: float | None = Field(None, gt=0, description="Learning rate of M, if it has its own.")
    embedding_weight_decay: NonNegative | None = Field(None, description="L2 penalty of M, if it has its own.")


class EmaSettings(Settings):
    """The filter of section 5.3: average <- decay * average + (1 - decay) * weights, every so many steps."""

    enabled: bool = Field(True, description="Keep a filtered copy of M, F, G and E beside the trained ones.")
    every: Positive = Field(2500, description="Steps between two updates.")
    decay: Share = Field(0.5, description="Weight of the old average.")


class TrainSettings(Settings):
    """Training (section 3.5), and how it is carried out."""

    steps: Positive = Field(100_000, description="Iterations.")
    batch_size: Positive = Field(256, description="Crops in an iteration.")
    sampling: Literal["balanced", "uniform"] = Field(
        "balanced", description="Shuffled rounds over genes, or over cells as they come."
    )
    augment: bool = Field(False, description="Rotate by quarter turns and mirror each crop at random.")
    loss: LossSettings = LossSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    ema: EmaSettings = EmaSettings()
    holdout: Share = Field(
        0.0, lt=0.9, description="Share of each perturbation's cells that training never sees, to watch D memorise."
    )
    checkpoint_every: Positive = Field(2500, description="Steps between checkpoints.")
    keep_checkpoints: Positive = Field(3, description="Latest checkpoints that stay on disk.")
    keep_every: int = Field(
        0, ge=0, description="Checkpoints at multiples of this many steps stay on disk too; 0: none."
    )
    log_every: Positive = Field(100, description="Steps between two lines of metrics.jsonl, each a mean over them.")
    evaluate_every: int = Field(2500, ge=0, description="Steps between looks at mAP and held-out cells; 0 for none.")
    tensorboard: bool = Field(False, description="Write the metrics for TensorBoard too (extra `tensorboard`).")
    precision: Literal["32-true", "bf16-mixed"] = Field("32-true", description="Arithmetic of the networks.")
    accumulate: Positive = Field(1, description="Parts a batch is computed in, one after the other: less memory.")
    activation_checkpointing: bool = Field(False, description="Compute the generator's activations twice: less memory.")
    compile: Literal["off", "inductor", "aot_eager"] = Field(
        "off", description="torch.compile of the objectives; aot_eager traces without generating code, for checks."
    )
    resident: Literal["auto", "always", "never"] = Field(
        "auto", description="Keep all crops on the device; auto does so on a GPU with room for them."
    )
    accelerator: Literal["auto", "cpu", "cuda"] = Field("auto", description="Device; auto takes a GPU if there is one.")
    devices: Positive = Field(1, description="Processes on a machine, one a device.")
    nodes: Positive = Field(1, description="Machines; start the command on each by torchrun or SLURM.")
    threads: int = Field(0, ge=0, description="CPU threads of the networks; 0 takes one per physical core.")


# -------------------------------------------------------------------------------------- embed, evaluate


class EmbedSettings(Settings):
    """Gene vectors from a checkpoint (section 5.2)."""

    position: Literal[1, 2, 3] = Field(1, description="1: rows of M; 2: F(M); 3: codes E reads from restyled cells.")
    ema: bool = Field(True, description="Take the filtered weights, if the run kept them.")
    cells_per_gene: Positive = Field(500, description="Position 3: cells restyled to each gene.")
    batch_size: Positive = Field(256, description="Position 3: cells in a batch.")


class EvaluateSettings(Settings):
    """Judging a gene map (section 3.7)."""

    permutations: Positive = Field(10_000, description="Label permutations behind a p-value.")
    kmeans_runs: Positive = Field(100, description="Random initialisations of k-means.")
    k: int | None = Field(None, gt=1, description="Clusters of k-means; the number of true complexes if unset.")
    sweep_min: int = Field(5, gt=1, description="Smallest k of the sweep over the number of clusters.")
    sweep_max: int = Field(30, ge=0, description="Largest k of the sweep; below sweep_min there is no sweep.")
    bootstrap: Positive = Field(2000, description="Draws of complexes behind an interval.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Coverage of the intervals.")
    neighbours: Positive = Field(10, description="Nearest genes in graphs and nuisance scores; fewer on small maps.")
    leiden_resolutions: tuple[float, ...] = Field(
        (0.5, 1.0, 2.0), description="Resolutions at which Leiden clusters are scored; never chosen by the truth."
    )
    leiden_runs: Positive = Field(10, description="Seeds of Leiden at each resolution.")
    recall_tails: tuple[Annotated[float, Field(gt=0, lt=0.5)], ...] = Field(
        (0.05, 0.1), description="Tails of all pairwise similarities in which known pairs are counted."
    )
    shuffles: Positive = Field(200, description="Shuffled controls of enrichment and of the nuisance scores.")


class CurateSettings(Settings):
    """Choosing the complexes of a source that a screen can be judged by (section 3.7)."""

    least_screened: Positive = Field(3, description="Coverage: screened genes a complex needs.")
    least_share: Share = Field(2 / 3, description="Coverage: share of its members that must be screened.")
    most_shared_pairs: Share = Field(
        0.1, description="Overlap: share of the smaller complex's gene pairs above which the larger is dropped."
    )
    least_genes: Positive = Field(5, description="Choice: screened genes a complex needs to be chosen.")
    most_genes: Positive = Field(10, description="Choice: larger complexes are cut to this by a draw.")
    disjoint: bool = Field(True, description="Choice: no gene in two complexes; larger complexes come first.")
    seed: int = Field(0, description="Seed of the draw that cuts large complexes.")


class Config(Settings):
    """Everything a run depends on besides its input files."""

    seed: int = Field(0, ge=0, description="Seed of every random draw of training, embedding and evaluation.")
    screen: ScreenSettings = ScreenSettings()
    simulate: SimulateSettings = SimulateSettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    embed: EmbedSettings = EmbedSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    curate: CurateSettings = CurateSettings()

    @model_validator(mode="after")
    def _diversity_wants_noise(self) -> "Config":
        if self.train.loss.diversity > 0 and not self.model.noise_dim:
            raise ValueError("train.loss.diversity wants noise to differ by: set model.noise_dim, for example to 16")
        return self


# --------------------------------------------------------------------------------------------- loading


def load_config(path: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Read a configuration file over the defaults and lay ``a.b=c`` overrides over it.

    Parameters
    ----------
    path : a YAML file, or the name of a preset that ships with the package (``paper.yaml``, ``small.yaml``).
    overrides : strings ``a.b=c``; the value is read as YAML.

    Raises
    ------
    GrapeOpsError : the file is missing or not YAML, a key is unknown, or a value does not fit.
    """
    tree: dict[str, Any] = read_yaml(path) if path is not None else {}
    sources = [str(path)] if path is not None else []
    for override in overrides:
        lay_over(tree, override)
        sources.append(f"--set {override}")
    return parse_config(tree, source=" and ".join(sources) or "the defaults")


def parse_config(tree: Mapping[str, Any], source: str) -> Config:
    """Make a configuration from nested mappings; errors name ``source`` and the key."""
    try:
        return Config.model_validate(dict(tree))
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc']))}: {_plain(e)}" for e in error.errors()]
        raise GrapeOpsError(f"The settings in {source} do not fit:\n" + "\n".join(lines)) from None


def _plain(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return f"there is no setting of this name here; there are: {', '.join(_known_keys(error['loc'][:-1]))}"
    return f"{error['msg']} (was {error['input']!r})"


def _known_keys(branch: Iterable[Any]) -> list[str]:
    model: type[BaseModel] = Config
    for part in branch:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return sorted(model.model_fields)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping from a file, or from the presets that ship with the package."""
    file = Path(path)
    preset = resources.files("grape_ops") / "configs" / str(path)
    if not file.is_file() and preset.is_file():
        text = preset.read_text()
    elif file.is_file():
        text = file.read_text()
    else:
        raise GrapeOpsError(f"There is no configuration file {path}; presets: {', '.join(preset_names())}.")
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise GrapeOpsError(f"{path} is not valid YAML: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise GrapeOpsError(f"{path} must hold keys and values at its top, not a {type(tree).__name__}.")
    return tree


def preset_names() -> list[str]:
    """Names of the configuration files that ship with the package."""
    folder = resources.files("grape_ops") / "configs"
    return sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def lay_over(tree: dict[str, Any], override: str) -> None:
    """Set one ``a.b=c`` in a tree of mappings, in place."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise GrapeOpsError(
            f"--set wants key=value with dots between levels, for example train.steps=500; got {override!r}."
        )
    *branch, leaf = key.strip().split(".")
    node = tree
    for part in branch:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise GrapeOpsError(f"--set {override}: {part} is a value, not a group of settings.")
        node = child
    try:
        node[leaf] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise GrapeOpsError(f"--set {override}: the value is not valid YAML: {error}") from None


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name: {"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def dump_config(config: Config) -> str:
    """Write the resolved tree as YAML."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
