# grape-ops with the tested versions; PyTorch comes from conda-forge, for CPUs unless TORCH=gpu.
#
#   docker build -t grape-ops .
#   docker run --rm -v "$PWD:/data" grape-ops demo --out demo
#
# For NVIDIA GPUs (the host needs the driver and the NVIDIA Container Toolkit):
#
#   docker build -t grape-ops:gpu --build-arg TORCH=gpu .
#   docker run --rm --gpus all -v "$PWD:/data" grape-ops:gpu train store --out run --config large.yaml
#
# On a cluster without Docker: apptainer build grape-ops.sif docker-daemon://grape-ops:gpu
FROM mambaorg/micromamba:2-debian12-slim

# cpu or gpu; and the CUDA version for which a gpu build is resolved, since the machine that builds may have no GPU.
ARG TORCH=cpu
ARG CUDA=12.8
ARG MAMBA_DOCKERFILE_ACTIVATE=1

# The layer of gigabytes comes first: it is built once, whatever changes below. The compiler is for torch.compile, and
# for features without a wheel.
RUN if [ "$TORCH" = gpu ]; then export CONDA_OVERRIDE_CUDA="$CUDA"; fi \
    && micromamba install --yes --name base --channel conda-forge \
        python=3.12 pip gxx "pytorch-$TORCH>=2.6,<3" \
    && micromamba clean --all --yes

WORKDIR /tmp/grape-ops
COPY --chown=$MAMBA_USER:$MAMBA_USER constraints.txt pyproject.toml README.md LICENSE CHANGELOG.md CITATION.cff ./
COPY --chown=$MAMBA_USER:$MAMBA_USER src ./src
RUN grep -v '^torch==' constraints.txt > conda-has-torch.txt \
    && pip install --no-cache-dir -c conda-has-torch.txt '.[cluster,explore,features,leiden,lmdb,tensorboard,umap]' \
    && grape-ops --version

# Whoever runs the container may have no home in it (docker run --user).
ENV HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib NUMBA_CACHE_DIR=/tmp/numba
WORKDIR /data
ENTRYPOINT ["/usr/local/bin/_entrypoint.sh", "grape-ops"]
CMD ["--help"]
