#!/bin/bash
# Preprocess a screen on several machines of a SLURM cluster: a Dask scheduler, Dask workers, and grape-ops.
#   sbatch examples/slurm_preprocess.sh SCREEN STORE [CONFIG]
# Screen and store must lie on a disk that all machines see. Stopped by the time limit? Submit the same line again.
#SBATCH --job-name=grape-preprocess
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=12:00:00
set -euo pipefail

screen=$1 store=$2 config=${3:-recommended.yaml}
export OMP_NUM_THREADS=1 # one thread for each worker process

source "${GRAPE_ENV:-.venv}/bin/activate"

address=tcp://$(hostname):8786
dask scheduler --port 8786 --no-dashboard &
trap 'kill $(jobs -p) 2>/dev/null' EXIT
# One process per core: the work is in Python and in small arrays, where threads would wait for each other.
srun dask worker "$address" --nworkers "$SLURM_CPUS_PER_TASK" --nthreads 1 --no-dashboard --local-directory "${TMPDIR:-/tmp}" &

grape-ops preprocess "$screen" --out "$store" --config "$config" --scheduler "$address" --resume
