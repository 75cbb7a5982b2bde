"""moto's S3 server with access control: it accepts only loopback host names, no web pages, and only one key.

`python -m infra.s3_server --host 127.0.0.1 --port 9000`; the key is in `UMGCLIP_S3_KEY`. Signatures are not checked:
the key's id is the secret, which only the owner of the state folder knows.
"""

from __future__ import annotations

import argparse
import hmac
import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.sansio.utils import host_is_trusted
from werkzeug.serving import run_simple
from werkzeug.wrappers import Request, Response

KEY_VARIABLE = "UMGCLIP_S3_KEY"
_CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 .*?Credential=([^/,\s]+)/")

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def guarded(app: Wsgi, key: str, hosts: tuple[str, ...]) -> Wsgi:
    """Wrap an application with checks of the host name, the origin and the access key.

    Args:
        app: the application.
        key: the id of the only access key.
        hosts: accepted host names, without ports.
    """

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        refused = _refusal(Request(environ), key, hosts)
        return app(environ, start) if refused is None else Response(refused, 403)(environ, start)

    return answer


def _refusal(request: Request, key: str, hosts: tuple[str, ...]) -> str | None:
    if not host_is_trusted(request.environ.get("HTTP_HOST"), hosts):
        return "Host: expected this server's own name\n"
    if "Origin" in request.headers:
        return "Origin: expected none, this server answers no web page\n"
    given = _CREDENTIAL.match(request.headers.get("Authorization", ""))
    # a signed URL has the key in its query, under the name of signature version 4 or 2
    signed = request.args.get("X-Amz-Credential", "").partition("/")[0] or request.args.get("AWSAccessKeyId", "")
    claimed = given[1] if given else signed
    if not hmac.compare_digest(claimed.encode(), key.encode()):
        return "Authorization: expected the access key of this server (AWS_ACCESS_KEY_ID)\n"
    return None


def main() -> None:
    """Serve until the process is asked to stop."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--host", required=True)
    options.add_argument("--port", type=int, required=True)
    given = options.parse_args()
    os.environ["MOTO_PORT"] = str(given.port)
    app = guarded(DomainDispatcherApplication(create_backend_app), os.environ[KEY_VARIABLE], (given.host, "localhost"))
    run_simple(given.host, given.port, app, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main()
