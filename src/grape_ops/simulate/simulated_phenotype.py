"""What a simulated cell looks like, in traits a biologist can name, and how a knock-out shifts them.

Every trait is log-normal over cells: ``value = typical * exp(spread * z)`` with z ~ N(0, 1) in an unperturbed
cell. A knock-out adds a fixed vector to z, so one unit of effect is one standard deviation of the natural
variation of that trait.
"""

from dataclasses import dataclass

import numpy as np

# Length of a gene's full shift at effect_size 1. Spread over a few traits it moves each by about one natural
# standard deviation, while a cell's natural deviation has length sqrt(number of traits), about 4.
EFFECT_LENGTH = 3.0

# Beyond this many standard deviations a nucleus would outgrow its cell.
LARGEST_DEVIATION = 3.5


@dataclass(frozen=True)
class SimulatedTrait:
    """One trait: its typical value and the standard deviation of its logarithm over cells."""

    typical: float
    spread: float


TRAITS: dict[str, SimulatedTrait] = {
    "nucleus_size": SimulatedTrait(0.56, 0.10),  # diameter, in cell diameters
    "nucleus_aspect": SimulatedTrait(1.25, 0.11),  # long over short axis
    "nucleus_bumps": SimulatedTrait(0.025, 0.45),  # relative depth of dents in the outline
    "dna_intensity": SimulatedTrait(1.0, 0.22),
    "dna_texture": SimulatedTrait(0.15, 0.32),  # contrast of the chromatin
    "foci_number": SimulatedTrait(5.0, 0.50),  # expected foci in a nucleus
    "foci_brightness": SimulatedTrait(1.0, 0.40),
    "damage_haze": SimulatedTrait(1.0, 0.28),  # gammaH2AX spread over the nucleus
    "tubulin_intensity": SimulatedTrait(1.0, 0.25),
    "tubulin_spread": SimulatedTrait(0.9, 0.35),  # reach around the nucleus, in nuclear radii
    "tubulin_asymmetry": SimulatedTrait(0.3, 0.45),  # share that lies to one side
    "actin_cortex": SimulatedTrait(1.0, 0.40),
    "actin_fibres": SimulatedTrait(1.0, 0.50),
    "cell_size": SimulatedTrait(1.0, 0.11),  # diameter, in cell diameters
    "cell_aspect": SimulatedTrait(1.35, 0.16),  # long over short axis
}
TRAIT_NAMES = tuple(TRAITS)

# Large cells have large nuclei, and a nucleus with doubled DNA is larger.
_COUPLINGS = (("cell_size", "nucleus_size", 0.5), ("dna_intensity", "nucleus_size", 0.3))


_ROUNDED = {
    "cell_size": 0.62,
    "cell_aspect": 0.75,
    "nucleus_size": 0.75,
    "dna_intensity": 3.2,
    "dna_texture": 1.6,
    "foci_brightness": 1.8,
    "damage_haze": 5.5,
    "tubulin_intensity": 1.1,
    "actin_cortex": 3.0,
}


def natural_deviations(n_cells: int, rng: np.random.Generator) -> np.ndarray:
    """Draw how far unperturbed cells lie from the typical cell: -> (n_cells, traits), each column N(0, 1)."""
    deviations = rng.standard_normal((n_cells, len(TRAITS)))
    for cause, follower, correlation in _COUPLINGS:
        i, j = TRAIT_NAMES.index(cause), TRAIT_NAMES.index(follower)
        deviations[:, j] = correlation * deviations[:, i] + np.sqrt(1 - correlation**2) * deviations[:, j]
    return deviations


def trait_values(deviations: np.ndarray) -> np.ndarray:
    """Turn deviations into trait values: (n, traits) -> (n, traits), columns in the order of TRAIT_NAMES."""
    typical = np.array([trait.typical for trait in TRAITS.values()])
    spread = np.array([trait.spread for trait in TRAITS.values()])
    return typical * np.exp(spread * np.clip(deviations, -LARGEST_DEVIATION, LARGEST_DEVIATION))


def round_up(traits: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Let a share of the cells divide or die, whatever their guide: (n, traits) -> (n, traits).

    They are small, round and bright, and set the upper percentiles of a tile as they do in real screens.
    """
    factors = np.ones(len(TRAITS))
    for name, factor in _ROUNDED.items():
        factors[TRAIT_NAMES.index(name)] = factor
    rounded = rng.uniform(size=len(traits)) < share
    return np.where(rounded[:, None], traits * factors, traits)


def separated_directions(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw unit vectors over the traits that are as far apart as the room allows: -> (n, traits).

    Up to one direction a trait they are orthogonal. Heavy tails make each rest on a few traits, so that a
    complex can be described in words. Beyond, further orthogonal sets are drawn.
    """
    sets = []
    for _ in range(-(-n // len(TRAITS))):
        draw = rng.standard_normal((len(TRAITS), len(TRAITS)))
        basis, _ = np.linalg.qr(np.sign(draw) * np.abs(draw) ** 3)
        sets.append(basis.T * rng.choice([-1.0, 1.0], size=(len(TRAITS), 1)))
    return np.concatenate(sets)[:n]


def gene_shifts(
    complexes: int, genes_per_complex: int, lone_genes: int, private_share: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw the full shift of every gene at effect_size 1: -> (genes, traits), complex by complex, lone genes last.

    ``private_share`` is the share of the squared length of a member's shift that points away from its
    complex, so that two members have a cosine of about ``1 - private_share``.
    """
    shared = separated_directions(complexes, rng).repeat(genes_per_complex, axis=0)
    own = rng.standard_normal(shared.shape)
    own -= (own * shared).sum(1, keepdims=True) * shared
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    members = np.sqrt(1 - private_share) * shared + np.sqrt(private_share) * own
    lone = rng.standard_normal((lone_genes, len(TRAITS)))
    lone /= np.linalg.norm(lone, axis=1, keepdims=True)
    directions = np.concatenate([members, lone])
    strength = EFFECT_LENGTH * np.exp(0.15 * rng.standard_normal((len(directions), 1)))
    return strength * directions
