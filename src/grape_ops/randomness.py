"""The register of random streams: what is drawn from a seed, and under which number.

A generator is made of a seed, the number of a stream and, where a stream has parts, the number of the part: a step, a
gene, a batch. The same seed, stream and part give the same draws, whatever was drawn before. No two streams of a class
share their draws; streams of two classes may, for unrelated ends, where their docstrings say so. To numpy (seed),
(seed, 0) and (seed, 0, 0) are the same, so stream 0 is also that of the bare seed.

Not listed are torch generators, which initialise networks, and draws numbered by a gene or a size alone, such as those
of ``embed.read_back_styles``.
"""

from enum import IntEnum, unique

import numpy as np


@unique
class TrainingStream(IntEnum):
    """What a training draws: the sampler, the loader, and the networks of other methods."""

    ROUNDS = 0  # order of the perturbations; part: round
    CELLS = 1  # order of the cells; parts: gene, round
    TARGETS = 2  # order of the targets; part: round
    AUGMENT = 3  # turns and mirrors of crops; part: step
    NOISE = 4  # of IMPA's generator; part: step
    HOLDOUT = 5  # which cells are held out; part: perturbation
    VIEWS = 6  # how D is shown each crop; part: step
    PAIRS = 7  # groups compared across batches; part: step


@unique
class InitializationStream(IntEnum):
    """What is drawn before training; its number is also that of AUGMENT in training."""

    DEALT_CELLS = 3  # cells dealt out to classifiers; part: perturbation


@unique
class ImpaStream(IntEnum):
    """What the method impa draws besides training; the numbers are also TARGETS and AUGMENT of training."""

    GIVEN_VECTORS = 2  # vectors of genes that stand in for M
    ENCODED_CELLS = 3  # cells whose style codes are averaged


@unique
class EvaluationStream(IntEnum):
    """What the metrics draw; the same for all methods."""

    PERMUTATIONS = 0  # of labels
    KMEANS = 1  # first centres; part: k
    REFERENCE = 2  # random maps; part: k
    BOOTSTRAP = 3  # complexes
    LEIDEN = 4  # order of the genes
    SHUFFLES = 5  # genes of communities
    NUISANCE = 6  # genes against batch, plate and number of cells
    ARMS = 7  # complexes dealt out among chromosome arms


@unique
class HitsStream(IntEnum):
    """What ``grape-ops hits`` draws."""

    FOLDS = 0  # of genes
    HALVES = 1  # of cells, each read by the classifier of the other
    PSEUDO_GENES = 2  # of control guides
    CONTROL_CELLS = 3  # with which cells are compared


@unique
class RestylingStream(IntEnum):
    """What restyling draws, in commands, the report and the page in a browser."""

    PERMUTED_FEATURES = 0  # of a forest that separates knock-out from control cells
    SOURCE = 1  # cells that are restyled; part: perturbation
    KNOCKOUT = 2  # cells they are compared with; part: perturbation
    UNSEEN = 3  # cells that training has not seen; part: perturbation
    CONTROL_HALVES = 8  # what is learnt from, and what is evaluated
    GENE_HALVES = 9  # the same of knock-out cells; part: gene
    DISTANCES = 10  # bootstraps, and sets of one size; part: gene


@unique
class ExploreStream(IntEnum):
    """What the page in a browser draws besides restyled cells; it draws no UNSEEN ones, whose number GUIDES has."""

    KNOCKOUT = 2  # cells of each guide; part: gene
    GUIDES = 3  # cells whose effects are measured; part: gene
    LIMITS = 4  # cells behind black and white points


@unique
class ReportStream(IntEnum):
    """What the report draws besides restyled cells."""

    WELLS = 5  # cells of wells and of their controls
    PROFILES = 6  # cells of genes, and control cells


@unique
class PlantingStream(IntEnum):
    """What a planted screen draws."""

    EFFECTS = 0  # what each pseudo-gene changes
    BATCHES = 1  # how many cells of each batch a pseudo-gene gets
    CELLS = 2  # which cells those are
    SPOTS = 3  # details of a cell's phenotype; part: cell
    COUNTERFACTUAL_CELLS = 4  # cells that are restyled
    COUNTERFACTUAL_SPOTS = 5  # details of their phenotypes; parts: pseudo-gene, cell


@unique
class RecoveryStream(IntEnum):
    """What is drawn to score maps of planted screens; the numbers are also those of planting, for other draws."""

    KMEANS = 0  # first centres
    DECOYS = 1  # decoy complexes


@unique
class RestylingScoreStream(IntEnum):
    """What is drawn to score restyling against counterfactuals; the numbers are also those of planting."""

    SIDE_EFFECT = 0  # bootstraps; part: gene
    CODES = 1  # cells whose style codes are averaged; part: perturbation


@unique
class SimulationStream(IntEnum):
    """What the simulated screen draws; spawned from its seed, so that it shares no draws with any other."""

    EFFECTS = 0  # what each gene changes
    LIBRARY = 1  # guides
    CELLS = 2  # places and phenotypes of cells
    CAMERA = 3  # illumination and shifts of channels
    TILES = 4  # pixels; part: tile


def generator(seed: int, stream: IntEnum, *part: int) -> np.random.Generator:
    """Start a stream of a seed, or one of its parts."""
    return np.random.default_rng([seed, int(stream), *part])
