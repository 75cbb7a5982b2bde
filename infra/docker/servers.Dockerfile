# syntax=docker/dockerfile:1
# Prefect's server, its workers for Kubernetes and ECS, and MLflow with its login: one image, no torch, 0.8 GB of packages.
# It replaces Prefect's and MLflow's own images: the first installs the newest FastAPI, and the server does not start with
# 0.155 and later; the second has no drivers for PostgreSQL and S3.
#   docker build --file infra/docker/servers.Dockerfile --tag "$UMGCLIP_SERVERS_IMAGE" .

FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d AS packages
ARG UV_VERSION=0.13.9
RUN pip install --no-cache-dir "uv==${UV_VERSION}"
WORKDIR /build
COPY infra/docker/servers.lock ./
RUN uv venv /opt/servers \
    && VIRTUAL_ENV=/opt/servers uv pip sync --require-hashes --compile-bytecode --no-cache servers.lock

FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d
# Debian does not keep old versions; the base image's tag determines the release
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 servers \
    && useradd --uid 10001 --gid 10001 --create-home servers
COPY --from=packages /opt/servers /opt/servers
# Prefect unpacks its pages next to its code by default; a volume inherits the owner of the folder where it is mounted
RUN install --directory --owner=servers --group=servers /srv/prefect-ui /srv/prefect
COPY infra/docker/mlflow-auth.ini /etc/mlflow/auth.ini
COPY infra/docker/prefect_app.py infra/docker/lost_runs.py /srv/umgclip/
ENV PATH=/opt/servers/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PREFECT_UI_STATIC_DIRECTORY=/srv/prefect-ui \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_AUTH_CONFIG_PATH=/etc/mlflow/auth.ini
USER 10001:10001
WORKDIR /home/servers
ENTRYPOINT ["tini", "--"]
CMD ["prefect", "version"]
