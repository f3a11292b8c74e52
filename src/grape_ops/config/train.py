"""Settings of the objectives (section 3.4) and of training (section 3.5)."""

from typing import Literal

from pydantic import Field

from grape_ops.config.base import ADDITION, HOW_ONLY, NonNegative, Positive, Settings, Share


class LossSettings(Settings):
    """Weights of the objectives (section 3.4)."""

    adversarial: NonNegative = Field(1.0, description="Weight of the adversarial loss (Eq. 1) for M, F and G.")
    cycle: NonNegative = Field(1.0, description="Weight of the cycle loss (Eq. 2); 0 leaves it out.")
    style: NonNegative = Field(1.0, description="Weight of the style reconstruction loss (Eq. 3); 0 leaves it out.")
    r1: NonNegative = Field(1.0, description="Gamma of the R1 penalty on real crops; 0 leaves it out.")
    r1_every: Positive = Field(
        1, description="Steps between two penalties, each as many times as strong: 16 is the lazy R1 of StyleGAN2."
    )
    match: NonNegative = Field(
        0.0,
        description="Weight of matching mean changes to gene effects in the classifier's layers; 0 leaves it out.",
        json_schema_extra=ADDITION,
    )
    match_shape: NonNegative = Field(
        0.0,
        description="Weight of matching mean changes to gene effects in the size and elongation of each channel's "
        "light; 0 leaves it out.",
        json_schema_extra=ADDITION,
    )
    detach_style: bool = Field(True, description="Stop gradients as Eq. 3 prints them, so that it trains E only.")

    @property
    def matches_means(self) -> bool:
        """Whether a loss teaches the mean change of the cells of a target."""
        return self.match > 0 or self.match_shape > 0


class OptimizerSettings(Settings):
    """Adam (section 3.5), with one rate for every module unless a module has its own."""

    learning_rate: float = Field(1e-4, gt=0, description="Learning rate of every module.")
    weight_decay: NonNegative = Field(1e-4, description="L2 penalty of every module, inside Adam.")
    beta1: float = Field(0.0, ge=0, lt=1, description="Adam's first decay.")
    beta2: float = Field(0.99, ge=0, lt=1, description="Adam's second decay.")
    falling: Share = Field(
        0.0,
        description="Share of the steps, at the end, over which all rates fall to 0; the paper's never fall.",
        json_schema_extra=ADDITION,
    )
    embedding_learning_rate: NonNegative | None = Field(
        None, description="Learning rate of M, if it has its own; 0 keeps M as initialised."
    )
    embedding_weight_decay: NonNegative | None = Field(None, description="L2 penalty of M, if it has its own.")


class EmaSettings(Settings):
    """The filter of section 5.3: average <- decay * average + (1 - decay) * weights, every so many steps."""

    enabled: bool = Field(True, description="Keep a filtered copy of M, F, G and E beside the trained ones.")
    every: Positive = Field(2500, description="Steps between two updates.")
    decay: Share = Field(0.5, description="Weight of the old average.")


class ClassifierSettings(Settings):
    """A convolutional network that learns to classify perturbations (train/fit_classifier.py)."""

    width: Positive = Field(32, description="Channels of the first layer.")
    max_width: Positive = Field(128, description="Channels double after each halving but the last, up to this.")
    blocks: Positive | None = Field(None, description="Halvings of the crop; if unset, until 4 to 7 pixels are left.")
    steps: Positive = Field(4000, description="Most iterations.")
    holdout: Share = Field(0.1, description="Share of cells set aside for early stopping; 0 does all steps.")
    batch_size: Positive = Field(64, description="Crops per iteration, equally many of each perturbation.")
    learning_rate: float = Field(3e-3, gt=0, description="AdamW's rate; averaging the weights removes its noise.")
    weight_decay: NonNegative = Field(1e-2, description="AdamW's weight decay.")
    label_smoothing: Share = Field(0.1, description="Share of the label spread evenly over all perturbations.")
    augment: bool = Field(True, description="Rotate by quarter turns and mirror each crop at random.")
    jitter: NonNegative = Field(0.1, description="Spread of a random gain and offset of each crop's channels.")


class InitSettings(Settings):
    """How M is initialised: with noise, as in the paper, or with gene effects from a weakly supervised network."""

    kind: Literal["noise", "classifier"] = Field(
        "noise", description="Initial rows of M: noise, or gene effects in a classifier's layers."
    )
    spread: float = Field(1.0, gt=0, description="Root mean square of the entries of M that a classifier initialises.")
    networks: Positive = Field(
        1, description="Classifiers, each with its own seed; gene effects are read from their layers side by side."
    )
    cells_per_network: int = Field(
        0,
        ge=0,
        description="Cells of the median perturbation that each classifier must have for itself: classifiers share no "
        "cells, and fewer are trained where cells are few. 0: every classifier learns from all cells.",
    )
    gene_specific_fraction: float = Field(
        0.4,
        ge=0,
        lt=1,
        description="Share of directions with gene-specific variance only; less if complexes are many and small.",
    )
    classifier: ClassifierSettings = ClassifierSettings()


class ViewSettings(Settings):
    """How crops, real and restyled alike, are changed before D sees them (Zhao et al. 2020); off by default."""

    shift: int = Field(0, ge=0, description="Largest shift in px, along rows and along columns.")
    jitter: NonNegative = Field(0.0, description="Spread of a random gain and offset of each crop's channels.")


class TrainSettings(Settings):
    """Training (section 3.5), and how it is carried out."""

    unit: Literal["gene", "guide"] = Field(
        "gene", description="What a row of M stands for; with guides, evaluate whether those of one gene lie close."
    )
    steps: Positive = Field(100_000, description="Iterations.")
    batch_size: Positive = Field(256, description="Crops in an iteration.")
    sampling: Literal["balanced", "uniform"] = Field(
        "balanced", description="balanced: shuffled rounds over genes; uniform: over all cells."
    )
    together: Positive = Field(
        1,
        description="Cells of a batch that get the same target; loss.match and loss.match_shape compare their mean, "
        "and need several.",
        json_schema_extra=ADDITION,
    )
    augment: bool = Field(False, description="Rotate by quarter turns and mirror each crop at random.")
    views: ViewSettings = Field(ViewSettings(), json_schema_extra=ADDITION)
    init: InitSettings = Field(InitSettings(), json_schema_extra=ADDITION)
    loss: LossSettings = LossSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    ema: EmaSettings = EmaSettings()
    holdout: Share = Field(
        0.0, lt=0.9, description="Share of each perturbation's cells that training never sees, to see D overfit."
    )
    checkpoint_every: Positive = Field(2500, json_schema_extra=HOW_ONLY, description="Steps between checkpoints.")
    keep_checkpoints: Positive = Field(
        3, json_schema_extra=HOW_ONLY, description="Latest checkpoints that stay on disk."
    )
    keep_every: int = Field(
        0,
        ge=0,
        json_schema_extra=HOW_ONLY,
        description="Checkpoints at multiples of this many steps stay on disk too; 0: none.",
    )
    log_every: Positive = Field(
        100, json_schema_extra=HOW_ONLY, description="Steps between lines of metrics.jsonl, each a mean over them."
    )
    evaluate_every: int = Field(
        2500,
        ge=0,
        json_schema_extra=HOW_ONLY,
        description="Steps between checks of mAP and held-out cells; 0 for none.",
    )
    tensorboard: bool = Field(
        False, json_schema_extra=HOW_ONLY, description="Also write the metrics for TensorBoard (extra `tensorboard`)."
    )
    precision: Literal["32-true", "bf16-mixed"] = Field("32-true", description="Numerical precision of the networks.")
    accumulate: Positive = Field(
        1, json_schema_extra=HOW_ONLY, description="Parts of a batch, computed one after the other to save memory."
    )
    activation_checkpointing: bool = Field(
        False, json_schema_extra=HOW_ONLY, description="Compute the generator's activations twice: less memory."
    )
    compile: Literal["off", "inductor", "aot_eager"] = Field(
        "off",
        json_schema_extra=HOW_ONLY,
        description="torch.compile of the objectives; aot_eager traces without generating code, for checks.",
    )
    resident: Literal["auto", "always", "never"] = Field(
        "auto",
        json_schema_extra=HOW_ONLY,
        description="Keep all crops on the device; auto does so on a GPU with room for them.",
    )
    accelerator: Literal["auto", "cpu", "cuda"] = Field(
        "auto", json_schema_extra=HOW_ONLY, description="Device; auto takes a GPU if there is one."
    )
    devices: Positive = Field(1, json_schema_extra=HOW_ONLY, description="Processes per machine, one per device.")
    nodes: Positive = Field(
        1, json_schema_extra=HOW_ONLY, description="Machines; start the command on each with torchrun or SLURM."
    )
    threads: int = Field(
        0, ge=0, json_schema_extra=HOW_ONLY, description="CPU threads of the networks; 0 takes one per physical core."
    )
