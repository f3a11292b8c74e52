#!/bin/bash
# Train on the GPUs of SLURM machines, then write the gene vectors.
#   sbatch examples/slurm_train.sh STORE RUN [CONFIG]
# Stopped by the time limit? Submit the same line again: --resume goes on to the same result.
#SBATCH --job-name=grape-train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=24:00:00
set -euo pipefail

store=$1 run=$2 config=${3:-large.yaml}

source "${GRAPE_ENV:-.venv}/bin/activate"

# More than one GPU: set --ntasks-per-node and --gpus-per-node above to as many; srun starts one process for each.
srun grape-ops train "$store" --out "$run" --config "$config" --resume \
  --set train.devices="${SLURM_NTASKS_PER_NODE:-1}" --set train.nodes="$SLURM_NNODES"

grape-ops embed "$run" --out "$run.h5ad"
