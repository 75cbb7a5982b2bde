"""An S3 server that outlives kill -9: moto's, whose objects are written to a log before they are stored.

    python durable_s3.py PORT LOG [ADDRESS]     # on loopback, unless an address is given

A request that changes something is appended to LOG, whole, before moto sees it, and LOG is read back at the start. A
body that does not arrive whole is neither kept nor stored, as S3 does it. Uploads in parts have random names and cannot
be read back: for objects below 8 MB only.
"""

import base64
import io
import json
import sys
import threading
from pathlib import Path

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
from werkzeug.test import Client


class Durable:
    """The WSGI application that keeps the log."""

    def __init__(self, app, log: Path) -> None:
        self._app, self._lock = app, threading.Lock()
        client = Client(app)
        whole = 0
        for line in log.read_bytes().splitlines(keepends=True) if log.is_file() else []:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            entry = json.loads(line)
            client.open(
                entry["path"], method=entry["method"], query_string=entry["query"], headers=entry["headers"],
                data=base64.b64decode(entry["body"]),
            )  # fmt: skip
        self._log = log.open("ab")
        self._log.truncate(whole)

    def __call__(self, environ, start_response):
        if environ["REQUEST_METHOD"] in ("PUT", "POST", "DELETE"):
            size = int(environ.get("CONTENT_LENGTH") or 0)
            body = environ["wsgi.input"].read(size)
            if len(body) != size:
                start_response("400 Incomplete body", [])
                return []
            self._keep(environ, body)
            environ["wsgi.input"] = io.BytesIO(body)
        return self._app(environ, start_response)

    def _keep(self, environ, body: bytes) -> None:
        names = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
        if environ.get("CONTENT_TYPE"):
            names["Content-Type"] = environ["CONTENT_TYPE"]
        entry = {
            "method": environ["REQUEST_METHOD"],
            "path": environ["PATH_INFO"],
            "query": environ["QUERY_STRING"],
            "headers": names,
            "body": base64.b64encode(body).decode(),
        }
        with self._lock:
            self._log.write(json.dumps(entry).encode() + b"\n")
            self._log.flush()


if __name__ == "__main__":
    served = Durable(DomainDispatcherApplication(create_backend_app), Path(sys.argv[2]))
    address = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"
    run_simple(address, int(sys.argv[1]), served, threaded=True)
