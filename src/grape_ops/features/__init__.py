"""Single-cell features as CellProfiler measures them: of any crops, or of a whole store."""

from grape_ops.features.measure import crop_features
from grape_ops.features.regions import find_all_regions, find_regions, nucleus_channel
from grape_ops.features.table import FeatureTable, store_features

__all__ = [
    "FeatureTable",
    "crop_features",
    "find_all_regions",
    "find_regions",
    "nucleus_channel",
    "store_features",
]
