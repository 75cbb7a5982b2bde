"""What every test may rely on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # the hook that checks shapes wants to be there before the package is imported
    from umgclip.io.storage import Location


def pytest_configure() -> None:
    """Let Ctrl-C reach tests and what they start, also where a shell's `&` has made this process ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A server on loopback that speaks S3, for this process and others."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Location:
    """An empty bucket, which the environment leads to."""
    import boto3
    import httpx

    from umgclip.io.storage import Location

    variables = {
        "AWS_ENDPOINT_URL": s3_endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    httpx.post(f"{s3_endpoint}/moto-api/reset").raise_for_status()
    boto3.Session().client("s3").create_bucket(Bucket="bucket")
    return Location("bucket", "")
