# syntax=docker/dockerfile:1
# A worker with a GPU: every package of requirements.lock by its hash, git, DVC. torch's wheels include CUDA; the host
# provides the driver and NVIDIA's container toolkit. The image does not contain the code: a worker clones the deployment's
# commit.
#   docker build --file infra/docker/cuda.Dockerfile --tag "$UMGCLIP_CUDA_IMAGE" .

FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d AS packages
ARG UV_VERSION=0.13.9
RUN pip install --no-cache-dir "uv==${UV_VERSION}"
WORKDIR /build
COPY requirements.lock ./
# bytecode compiled here halves the start time of dvc and mlflow
RUN uv venv /opt/umgclip \
    && VIRTUAL_ENV=/opt/umgclip uv pip sync --require-hashes --compile-bytecode --no-cache requirements.lock

FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d
# Debian does not keep old versions; the base image's tag determines the release
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
# tini forwards SIGTERM and reaps orphans; the worker that starts the container sets the command
ENTRYPOINT ["tini", "--"]
CMD ["prefect", "version"]
