"""The HTTP interface: `/predict`, `/health`, `/metrics`, the page at `/` and the API reference at `/docs`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from umgclip import __version__
from umgclip.pages.style import style_sheet
from umgclip.serve import schema
from umgclip.serve.batching import Batcher
from umgclip.serve.connections import LoopErrorHandler
from umgclip.serve.current import Current
from umgclip.serve.guard import RequestMonitor, is_known, key_of
from umgclip.serve.metrics import Metrics
from umgclip.serve.predict import Predictor
from umgclip.serve.settings import API_KEY, ServeSettings

STATIC = Path(__file__).with_name("static")
_DESCRIPTION = """The registered model: scores of images and regions, embeddings, tags and similarity maps.

Errors are JSON, `{"detail": "..."}`. The text names the field, the expected value and the value received."""
_ERRORS = {
    400: "the body is not JSON",
    401: "the API key is missing or wrong",
    408: "the body did not arrive in time",
    413: "the request exceeds a limit",
    415: "the content type is not JSON",
    422: "a field is invalid",
    503: "the server is busy; the header `Retry-After` says after how many seconds to try again",
}


def create_app(settings: ServeSettings, current: Current, keys: tuple[str, ...] = ()) -> FastAPI:
    """Build the FastAPI application around a loaded model, which follows its alias while the server runs.

    Args:
        settings: the operator's settings.
        current: the model.
        keys: API keys, one of which `/predict` and `/metrics` require; without keys they are open.
    """
    metrics = Metrics()
    batcher = Batcher(settings.batching, metrics, lambda: predictor.images.taken)
    predictor = Predictor(settings, current, batcher, keyed=bool(keys))
    metrics.watch(current, predictor.images)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_exception_handler(LoopErrorHandler())
        await predictor.decoders.start()
        current.start()
        yield
        current.close()
        predictor.decoders.close()
        await asyncio.to_thread(batcher.close, settings.timeouts.answer_s)

    # FastAPI's own documentation pages load their scripts from a CDN
    app = FastAPI(
        title="umgclip", version=__version__, description=_DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.add_middleware(RequestMonitor, metrics=metrics)
    app.add_exception_handler(Exception, _internal_error)
    auth = [Depends(_key_check(keys))] if keys else []
    _add_predict(app, predictor, auth)
    _add_health(app, settings, current, batcher, predictor)
    app.get("/metrics", summary="Counters for Prometheus", dependencies=auth, response_class=Response)(
        lambda: Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
    )
    for path, name in (("/", "index.html"), ("/docs", "docs.html")):
        app.get(path, include_in_schema=False)(_page(name))
    style = Response(style_sheet(STATIC / "page.css"), media_type="text/css")
    app.get("/static/page.css", include_in_schema=False)(lambda: style)
    app.mount("/static", StaticFiles(directory=STATIC))
    app.openapi = lambda: _openapi(app, secured=bool(keys))  # type: ignore[method-assign] # FastAPI's documented way
    return app


def _add_predict(app: FastAPI, predictor: Predictor, auth: list[Any]) -> None:
    responses: dict[int | str, dict[str, Any]] = {
        code: {"model": schema.Error, "description": text} for code, text in _ERRORS.items()
    }
    responses[200] = {
        "model": schema.PredictAnswer | list[schema.PredictAnswer],
        "description": "an answer, or a list of answers in the order of the request",
        "headers": {
            "X-Model-Version": {"description": "version of the model that answered", "schema": {"type": "string"}}
        },
    }

    @app.post(
        "/predict",
        summary="Score one image or a list of images",
        response_class=JSONResponse,
        responses=responses,
        openapi_extra={"requestBody": schema.request_body()},
        dependencies=auth,
    )
    async def predict(request: Request) -> Response:
        return await predictor.respond(request)


def _add_health(
    app: FastAPI, settings: ServeSettings, current: Current, batcher: Batcher, predictor: Predictor
) -> None:
    @app.get(
        "/health",
        summary="Whether the server is ready, which model version answers, and any problem",
        responses={200: {"model": schema.Health}, 503: {"model": schema.Health, "description": "not ready"}},
    )
    async def health() -> Response:
        state = schema.health(settings, current, ready=batcher.alive, images=predictor.images.taken)
        return JSONResponse(state.model_dump(mode="json"), 200 if state.ready else 503)

    @app.get("/health/live", summary="Whether the process responds at all", response_model=dict[str, bool])
    async def live() -> Response:
        return JSONResponse({"live": True})


def _key_check(keys: tuple[str, ...]) -> Callable[..., None]:
    def check(
        x_api_key: Annotated[str | None, Header(include_in_schema=False)] = None,
        authorization: Annotated[str | None, Header(include_in_schema=False)] = None,
    ) -> None:
        key = key_of(x_api_key, authorization)
        if not is_known(key, keys):
            received = "a wrong one" if key else "none"
            raise HTTPException(
                401,
                f"X-API-Key: expected a key of this server ({API_KEY}), got {received}",
                headers={"WWW-Authenticate": "Bearer"},
            )

    return check


def _page(name: str) -> Callable[[], Response]:
    return lambda: FileResponse(STATIC / name)


async def _internal_error(_request: Request, _error: Exception) -> Response:
    """Answer an unexpected error without its traceback, which only the log gets."""
    return JSONResponse({"detail": "internal error; see the server's log for the reason"}, 500)


def _openapi(app: FastAPI, *, secured: bool) -> dict[str, Any]:
    if app.openapi_schema is None:
        described = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        parts = described.setdefault("components", {})
        parts.setdefault("schemas", {}).update(schema.request_schemas())
        if secured:
            parts["securitySchemes"] = {"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
            for path, method in (("/predict", "post"), ("/metrics", "get")):
                described["paths"][path][method]["security"] = [{"key": []}]
        app.openapi_schema = described
    return app.openapi_schema
