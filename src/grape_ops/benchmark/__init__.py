"""All methods on the same cells, evaluated alike: the paper's Table 1, Fig. 4 and Table 2 for the user's own screen."""

from grape_ops.benchmark.ablations import ablation_names, run_ablations
from grape_ops.benchmark.run_benchmark import run_benchmark

__all__ = ["ablation_names", "run_ablations", "run_benchmark"]
