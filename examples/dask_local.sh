#!/bin/bash
# The same as slurm_preprocess.sh on one machine, to try it: a scheduler, two workers, and a small simulated screen.
#   examples/dask_local.sh DIR
set -euo pipefail

mkdir -p "$1"
cd "$1"
export OMP_NUM_THREADS=1

dask scheduler --host 127.0.0.1 --port 8786 --no-dashboard > scheduler.log 2>&1 &
trap 'kill $(jobs -p) 2>/dev/null' EXIT
dask worker tcp://127.0.0.1:8786 --nworkers 2 --nthreads 1 --no-dashboard --local-directory dask > workers.log 2>&1 &

grape-ops simulate --out screen --set 'simulate={complexes: 2, genes_per_complex: 3, cells_per_gene: 60, control_cells: 200}'
grape-ops preprocess screen --out store --config recommended.yaml --scheduler tcp://127.0.0.1:8786
