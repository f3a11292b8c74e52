"""The names everything agrees on: table columns, AnnData keys, files of a store and of a run folder."""

# Columns of a cell table, one row per cell.
GENE = "gene_symbol"
GUIDE = "sgRNA"
PLATE = "plate"
WELL = "well"
TILE = "tile"
Y = "y"  # centre of the cell in tile pixels, rows downwards
X = "x"  # centre of the cell in tile pixels, columns to the right
CLASS = "class"  # of the cell, such as interphase or mitotic; not every table has it
IS_CONTROL = "is_control"  # True for cells with a non-targeting guide

# Columns a crop store adds.
BATCH = "batch"  # the values of the batch columns joined by "|"
SCREEN = "screen"  # of a store of several screens: the name of each cell's
SHARD = "shard"  # name of the shard file, without ending
ROW = "row"  # row of the crop in its shard

# The same as tools of CellProfiler's family name them; every other column of a cell gets the prefix too.
METADATA = "Metadata_"
METADATA_NAMES = {
    GENE: "Metadata_Gene",
    GUIDE: "Metadata_sgRNA",
    PLATE: "Metadata_Plate",
    WELL: "Metadata_Well",
    TILE: "Metadata_Site",
}
METADATA_OBJECT = "Metadata_ObjectNumber"  # of the cell in its site

# All non-targeting guides form one training label; it is the last row of the gene embedding.
CONTROL_LABEL = "nontargeting"

# Truth tables.
COMPLEX = "complex"

# AnnData of gene vectors: obs_names = gene symbols, X = vectors.
UNS_METHOD = "method"
UNS_MADE_BY = "made_by"
UNS_SIMULATED = "simulated"  # true, where `grape-ops simulate` made the screen; else not there
UNS_WHERE = "where"  # of a subset of a store: the expression that chose its cells
OBS_N_CELLS = "n_cells"
OBS_N_GUIDES = "n_guides"
OBS_IS_CONTROL = "is_control"
# What `grape-ops hits` found of each gene; missing for genes that were not tested.
OBS_HIT_EFFECT = "hit_effect"
OBS_HIT_P = "hit_p_value"
OBS_HIT_Q = "hit_q_value"
OBS_IS_HIT = "is_hit"
OBS_GUIDES_AGREE = "guides_agree"
VECTORS_FILE = "genes.h5ad"  # a pipeline's, and where the report looks for a run's

# Files of a simulated or generic screen folder.
SCREEN_FILE = "screen.yaml"
CELLS_FILE = "cells.parquet"
LIBRARY_FILE = "library.csv"
TRUTH_FILE = "truth.tsv"

# Files of a crop store.
STORE_FILE = "store.json"
SHARDS_DIR = "shards"
QUALITY_FILE = "quality.json"
QUALITY_TABLE = "quality.tsv"
UNFINISHED_DIR = "unfinished"  # only while preprocessing

# Files of a run folder.
RUN_CONFIG_FILE = "config.yaml"
RUN_FILE = "run.json"
METRICS_FILE = "metrics.jsonl"
INIT_FILE = "init.h5ad"
CHECKPOINTS_DIR = "checkpoints"

# Files of an evaluation.
SCORES_JSON = "scores.json"
SCORES_CSV = "scores.csv"

# Files of `grape-ops hits`, and the folder a pipeline writes them to.
HITS_DIR = "hits"
HITS_GENES = "genes.tsv"
HITS_GUIDES = "guides.tsv"
HITS_CHANNELS = "channels.tsv"
HITS_JSON = "hits.json"

# Files of `grape-ops trust`, and the folder a pipeline writes them to.
TRUST_DIR = "trust"
TRUST_MAPS = "reproducibility.tsv"
TRUST_GENES = "genes.tsv"
TRUST_JSON = "trust.json"

# Folder of a pipeline: the stamps of its steps.
STAMPS_DIR = ".grape-ops"
