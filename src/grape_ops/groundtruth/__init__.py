"""Known complexes and relations that a gene map is evaluated with."""

from grape_ops.groundtruth.truth import BUILT_IN, GroundTruth, load_truth, membership

__all__ = ["BUILT_IN", "GroundTruth", "load_truth", "membership"]
