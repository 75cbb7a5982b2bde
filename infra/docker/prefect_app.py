"""Prefect's server with a check of the host name, which it lacks.

    uvicorn --factory prefect_app:create_app

Prefect's login and list of origins do not stop a web page that resolves its own name to 127.0.0.1 and then counts as
the same origin (DNS rebinding). So the server accepts only the host names in `UMGCLIP_PREFECT_HOSTS`, separated by
commas, and the host of `PREFECT_UI_API_URL`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from fastapi import FastAPI

HOSTS_VARIABLE = "UMGCLIP_PREFECT_HOSTS"


def create_app() -> FastAPI:
    """Return the application of `prefect server start` behind the check of the host name.

    Raises:
        SystemExit: no login is configured.
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
    """Return the accepted host names in the environment, without ports."""
    listed = os.environ.get(HOSTS_VARIABLE, "127.0.0.1,localhost").split(",")
    public = urlsplit(os.environ.get("PREFECT_UI_API_URL", "")).hostname
    return sorted({name.strip() for name in (*listed, public or "") if name.strip()})
