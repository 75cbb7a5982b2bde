# syntax=docker/dockerfile:1
# A worker without a GPU: the packages of requirements.lock, but torch and torchvision as CPU builds, which saves about
# 5 GB. They come from an index that you name, as the usual one has none for Linux. The code is not in it: a worker clones
# the deployment's commit.
#   docker build --file infra/docker/cpu.Dockerfile --build-arg TORCH_INDEX=URL --tag "$UMGCLIP_CPU_IMAGE" .

FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d AS packages
ARG UV_VERSION=0.13.9
ARG TORCH_INDEX
RUN pip install --no-cache-dir "uv==${UV_VERSION}"
WORKDIR /build
COPY requirements.lock infra/docker/without_torch.py ./
# both builds from one index: torch's CPU build does not load with another torchvision
RUN python without_torch.py requirements.lock common.lock torch.txt \
    && uv venv /opt/umgclip \
    && VIRTUAL_ENV=/opt/umgclip uv pip sync --require-hashes --compile-bytecode --no-cache common.lock \
    && VIRTUAL_ENV=/opt/umgclip uv pip install --no-deps --compile-bytecode --no-cache \
       --index-url "${TORCH_INDEX:?expected an index of CPU builds of torch: --build-arg TORCH_INDEX=URL}" \
       --requirement torch.txt

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
    MLFLOW_DISABLE_TELEMETRY=true
USER 10001:10001
WORKDIR /srv/umgclip
# tini hands SIGTERM on and takes the exit codes of orphans; what to run comes from the worker that starts the container
ENTRYPOINT ["tini", "--"]
CMD ["prefect", "version"]
