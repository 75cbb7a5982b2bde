# syntax=docker/dockerfile:1
# A worker without a GPU: the packages of requirements.lock, with CPU builds of torch and torchvision, which saves about
# 5 GB. The builds come from an index that you name, because the default one has none for Linux. The image does not contain
# the code: a worker clones the deployment's commit.
#   docker build --file infra/docker/cpu.Dockerfile --build-arg TORCH_INDEX=URL --tag "$UMGCLIP_CPU_IMAGE" .

FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d AS packages
ARG UV_VERSION=0.13.9
ARG TORCH_INDEX
RUN pip install --no-cache-dir "uv==${UV_VERSION}"
WORKDIR /build
COPY requirements.lock infra/docker/without_torch.py ./
# both builds come from one index, because torch's CPU build does not load with a different torchvision
RUN python without_torch.py requirements.lock common.lock torch.txt \
    && uv venv /opt/umgclip \
    && VIRTUAL_ENV=/opt/umgclip uv pip sync --require-hashes --compile-bytecode --no-cache common.lock \
    && VIRTUAL_ENV=/opt/umgclip uv pip install --no-deps --compile-bytecode --no-cache \
       --index-url "${TORCH_INDEX:?expected an index of CPU builds of torch: --build-arg TORCH_INDEX=URL}" \
       --requirement torch.txt

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
    MLFLOW_DISABLE_TELEMETRY=true
USER 10001:10001
WORKDIR /srv/umgclip
# tini forwards SIGTERM and reaps orphans; the worker that starts the container sets the command
ENTRYPOINT ["tini", "--"]
CMD ["prefect", "version"]
