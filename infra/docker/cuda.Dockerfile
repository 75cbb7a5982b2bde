# syntax=docker/dockerfile:1
# A worker with a GPU: every package of requirements.lock by its hash, git, DVC. torch's wheels bring CUDA along; the host
# brings the driver and NVIDIA's container toolkit. The code is not in it: a worker clones the deployment's commit.
#   docker build --file infra/docker/cuda.Dockerfile --tag "$UMGCLIP_CUDA_IMAGE" .

FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d AS packages
ARG UV_VERSION=0.13.9
RUN pip install --no-cache-dir "uv==${UV_VERSION}"
WORKDIR /build
COPY requirements.lock ./
# bytecode made here halves every later start of dvc and mlflow
RUN uv venv /opt/umgclip \
    && VIRTUAL_ENV=/opt/umgclip uv pip sync --require-hashes --compile-bytecode --no-cache requirements.lock

FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d
# Debian keeps no old versions; the base image's tag says which release they come from
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git openssh-client tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 umgclip \
    && useradd --uid 10001 --gid 10001 --create-home umgclip \
    && install --directory --owner=umgclip --group=umgclip /srv/umgclip
COPY --from=packages /opt/umgclip /opt/umgclip
COPY --chmod=755 infra/docker/umgclip /usr/local/bin/umgclip
COPY --chmod=755 infra/docker/umgclip-node /usr/local/bin/umgclip-node
ENV PATH=/opt/umgclip/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    UMGCLIP_WORKER_DIR=/srv/umgclip/worker \
    GX_ANALYTICS_ENABLED=false \
    MLFLOW_DISABLE_TELEMETRY=true \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /srv/umgclip
# tini hands SIGTERM on and takes the exit codes of orphans; what to run comes from the worker that starts the container
ENTRYPOINT ["tini", "--"]
CMD ["prefect", "version"]
