"""`umgclip serve`: its options, each of which can also be set by an environment variable."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from umgclip.errors import InputError
from umgclip.serve.settings import MIB, Batching, Capacity, ModelSelection, RequestLimits, ServeSettings, Timeouts

_MODEL, _BATCHES, _TIMES = "Model", "Batching", "Timeouts"
_LIMITS, _ALL = "Limits per request", "Limits for all requests together"


def _option(name: str, panel: str, text: str, **checks: Any) -> Any:  # noqa: ANN401 - Typer's own
    # not UMGCLIP_SERVE_PORT, which Kubernetes sets to an address for a service named umgclip-serve
    variable = f"UMGCLIP_SERVING_{name.upper().replace('-', '_')}"
    return typer.Option(
        f"--{name}", envvar=variable, show_envvar=False, help=text, rich_help_panel=panel, callback=_finite, **checks
    )


def _finite(value: Any) -> Any:  # noqa: ANN401 - the value of any option
    """Return an option's value, unless it is no number that can be compared: every bound lets NaN pass."""
    if isinstance(value, float) and not math.isfinite(value):
        raise typer.BadParameter(f"expected a finite number, got {value}")
    return value


def serve(
    host: Annotated[
        str, _option("host", "Address", "address to listen on; 0.0.0.0 for all networks, with UMGCLIP_API_KEY set")
    ] = "127.0.0.1",
    port: Annotated[
        int, _option("port", "Address", "port to listen on; 0 chooses a free one and logs it", min=0, max=65535)
    ] = 8000,
    model: Annotated[str, _option("model", _MODEL, "name of the model in the registry")] = ModelSelection.name,
    alias: Annotated[
        str, _option("alias", _MODEL, "alias to serve; the server follows it when it moves")
    ] = ModelSelection.alias,
    version: Annotated[
        int | None, _option("version", _MODEL, "fixed version to serve instead of the alias", min=1)
    ] = None,
    poll_s: Annotated[
        float, _option("poll-s", _MODEL, "seconds between checks of the alias", min=0.1)
    ] = ModelSelection.poll_s,
    max_batch: Annotated[
        int, _option("max-batch", _BATCHES, "images per forward pass; use 64 or more on a GPU", min=1)
    ] = Batching.max_images,
    max_wait_ms: Annotated[
        float, _option("max-wait-ms", _BATCHES, "milliseconds that the first image of a batch waits for others", min=0)
    ] = Batching.max_wait_ms,
    queue: Annotated[
        int, _option("queue", _BATCHES, "images that may wait for an answer; more get status 503", min=1)
    ] = Batching.queue_images,
    decoders: Annotated[
        int,
        _option(
            "decoders",
            _BATCHES,
            "processes that decode images, 0 for one per core; half as many again decode large images",
            min=0,
        ),
    ] = Batching.decoders,
    max_body_mib: Annotated[
        float, _option("max-body-mib", _LIMITS, "MiB of a request body, base64 included", min=0.001)
    ] = RequestLimits.body_bytes / MIB,
    max_images: Annotated[int, _option("max-images", _LIMITS, "images in one request", min=1)] = RequestLimits.images,
    max_megapixels: Annotated[
        float, _option("max-megapixels", _LIMITS, "megapixels of a decoded image", min=0.001, max=178)
    ] = RequestLimits.pixels / 1e6,
    max_labels: Annotated[
        int,
        _option("max-labels", _LIMITS, "labels per image, and concepts of a request's own vocabulary", min=1),
    ] = RequestLimits.texts,
    max_label_chars: Annotated[
        int, _option("max-label-chars", _LIMITS, "characters per label", min=1)
    ] = RequestLimits.text_chars,
    max_regions: Annotated[
        int, _option("max-regions", _LIMITS, "boxes and masks per image, together", min=1)
    ] = RequestLimits.regions,
    max_total_megapixels: Annotated[
        float,
        _option(
            "max-total-megapixels", _LIMITS, "megapixels of all images; each mask counts as its image again", min=0.001
        ),
    ] = RequestLimits.total_pixels / 1e6,
    max_total_labels: Annotated[
        int, _option("max-total-labels", _LIMITS, "distinct labels and concepts of all images together", min=1)
    ] = RequestLimits.total_texts,
    max_answer_numbers: Annotated[
        int, _option("max-answer-numbers", _LIMITS, "numbers in an answer: scores, embeddings and maps", min=1)
    ] = RequestLimits.answer_numbers,
    max_connections: Annotated[
        int, _option("max-connections", _ALL, "open connections; a single client gets at most half", min=1)
    ] = Capacity.connections,
    max_bodies_mib: Annotated[
        float,
        _option("max-bodies-mib", _ALL, "MiB of request bodies that are read or wait to be decoded", min=0.001),
    ] = Capacity.bodies_bytes / MIB,
    head_timeout_s: Annotated[
        float,
        _option("head-timeout-s", _TIMES, "seconds for a request's head to arrive, and between two requests", min=0.1),
    ] = Timeouts.head_s,
    send_timeout_s: Annotated[
        float,
        _option("send-timeout-s", _TIMES, "seconds in which a client reads nothing before it is cut off", min=0.1),
    ] = Timeouts.send_s,
    max_new_labels: Annotated[
        int, _option("max-new-labels", _ALL, "new labels and concepts that may wait to be encoded", min=1)
    ] = Capacity.texts,
    body_timeout_s: Annotated[
        float, _option("body-timeout-s", _TIMES, "seconds for a body to arrive; then status 408", min=0.1)
    ] = Timeouts.body_s,
    answer_timeout_s: Annotated[
        float, _option("answer-timeout-s", _TIMES, "seconds for an answer; then status 503", min=0.1)
    ] = Timeouts.answer_s,
    shutdown_s: Annotated[
        float, _option("shutdown-s", _TIMES, "seconds to finish open requests after a request to stop", min=0)
    ] = Timeouts.shutdown_s,
) -> None:
    """Answer requests over HTTP with the model that the registry's alias names.

    The registry is the one that MLFLOW_TRACKING_URI names, by default
    mlflow.db in the current folder. When the alias moves (umgclip promote,
    umgclip rollback), the server loads the new version while the old one keeps
    answering, then switches between two forward passes: no request is dropped.
    The command needs the extra "serve" of the package.

    / is a page to try the model, /docs describes requests, /health is for
    probes, /metrics for Prometheus.

    Every option can be set by an environment variable: --max-batch is
    UMGCLIP_SERVING_MAX_BATCH. The API key has a variable only: if
    UMGCLIP_API_KEY is set, /predict and /metrics require it as X-API-Key or as
    a bearer token. It may hold several keys separated by commas, each of which
    is accepted.

    Example: umgclip serve --port 8080, then curl -s localhost:8080/health
    """
    settings = ServeSettings(
        host=host,
        port=port,
        selection=ModelSelection(model, alias, None if version is None else str(version), poll_s),
        batching=Batching(max_batch, max_wait_ms, queue, decoders),
        limits=RequestLimits(
            body_bytes=round(max_body_mib * MIB),
            images=max_images,
            pixels=round(max_megapixels * 1e6),
            texts=max_labels,
            text_chars=max_label_chars,
            regions=max_regions,
            total_pixels=round(max_total_megapixels * 1e6),
            total_texts=max_total_labels,
            answer_numbers=max_answer_numbers,
        ),
        timeouts=Timeouts(body_timeout_s, answer_timeout_s, shutdown_s, head_timeout_s, send_timeout_s),
        capacity=Capacity(max_connections, round(max_bodies_mib * MIB), max_new_labels),
    )
    _check(settings)
    from umgclip.serve import launch

    launch.run(settings, Path.cwd())


def _check(settings: ServeSettings) -> None:
    """Refuse a limit for all requests together that is below the limit for a single request."""
    limits, capacity = settings.limits, settings.capacity
    for one, most, all_of_them, room in (
        ("--max-images", limits.images, "--queue", settings.batching.queue_images),
        ("--max-labels", limits.texts, "--max-total-labels", limits.total_texts),
        ("--max-total-labels", limits.total_texts, "--max-new-labels", capacity.texts),
        ("--max-body-mib", limits.body_bytes / MIB, "--max-bodies-mib", capacity.bodies_bytes / MIB),
    ):
        if room < most:
            raise InputError(
                f"{all_of_them}: expected at least {one}, which is {most:g}, got {room:g}; raise one or lower the other"
            )
