"""grape-ops: from the images of an optical pooled CRISPR screen to a map of gene function."""

__version__ = "0.1.0"
