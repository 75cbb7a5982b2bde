"""Prefect's server, which has a login and a list of origins, with the list of host names that it lacks.

    uvicorn --factory prefect_app:create_app

A web page can have its own name lead to 127.0.0.1 and then counts as of the same origin (DNS rebinding): so requests
are answered for these names only: `UMGCLIP_PREFECT_HOSTS`, separated by commas, and the host of `PREFECT_UI_API_URL`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from fastapi import FastAPI

HOSTS_VARIABLE = "UMGCLIP_PREFECT_HOSTS"


def create_app() -> FastAPI:
    """The application that `prefect server start` runs, behind the list of host names.

    Raises:
        SystemExit: there is no login.
    """
    from prefect.server.api import server
    from prefect.settings import get_current_settings
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    if get_current_settings().server.api.auth_string is None:
        raise SystemExit("PREFECT_SERVER_API_AUTH_STRING: expected user:password, got none")
    app = server.create_app(final=True)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts(), www_redirect=False)
    return app


def allowed_hosts() -> list[str]:
    """Host names, without ports, that the environment lists."""
    listed = os.environ.get(HOSTS_VARIABLE, "127.0.0.1,localhost").split(",")
    public = urlsplit(os.environ.get("PREFECT_UI_API_URL", "")).hostname
    return sorted({name.strip() for name in (*listed, public or "") if name.strip()})
