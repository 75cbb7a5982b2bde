"""moto behind its three questions: which host, which page, which key."""

from collections.abc import Iterator

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
from werkzeug.test import Client

from infra.s3_server import guarded

HOSTS = ("127.0.0.1", "localhost")
SIGNED = "AWS4-HMAC-SHA256 Credential=our-key_1/20261129/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


@pytest.fixture(scope="module")
def client() -> Client:
    return Client(guarded(DomainDispatcherApplication(create_backend_app), "our-key_1", HOSTS))


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "localhost"])
def test_our_key_is_answered(client: Client, host: str):
    answer = client.get("/", headers={"Host": host, "Authorization": SIGNED})
    assert answer.status_code == 200
    assert "ListAllMyBucketsResult" in answer.text


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"Host": "evil.example"}, "Host"),
        ({"Host": "127.0.0.1.evil.example"}, "Host"),
        ({"Host": "s3.amazonaws.com"}, "Host"),
        ({"Host": "127.0.0.1", "Origin": "http://127.0.0.1:9000"}, "Origin"),
        ({"Host": "127.0.0.1", "Origin": "null"}, "Origin"),
        ({"Host": "127.0.0.1", "Authorization": SIGNED.replace("our-key_1", "our-key_")}, "Authorization"),
        ({"Host": "127.0.0.1", "Authorization": SIGNED.replace("our-key_1", "\xfc")}, "Authorization"),
        ({"Host": "127.0.0.1", "Authorization": "Basic our-key_1"}, "Authorization"),
        ({"Host": "127.0.0.1", "Authorization": ""}, "Authorization"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/moto-api/reset"), ("OPTIONS", "/umgclip/x")])
def test_everything_else_is_refused_before_moto_sees_it(
    client: Client, method: str, path: str, headers: dict[str, str], named: str
):
    answer = client.open(path, method=method, headers={"Authorization": SIGNED, **headers})
    assert answer.status_code == 403
    assert answer.text.startswith(f"{named}: expected")


def test_without_a_key_nobody_is_answered(client: Client):
    assert client.get("/", headers={"Host": "localhost"}).status_code == 403


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from threading import Thread

    app = guarded(DomainDispatcherApplication(create_backend_app), "our-key_1", HOSTS)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    server.server_close()


def test_boto_is_answered_with_our_key_and_by_signed_addresses(endpoint: str):
    import httpx

    def store(key: str):
        return boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key="x"
        )

    ours = store("our-key_1")
    ours.create_bucket(Bucket="bucket")
    ours.put_object(Bucket="bucket", Key="b", Body=b"hello")
    signed = ours.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "b"})
    assert httpx.get(signed, trust_env=False).content == b"hello"
    with pytest.raises(ClientError, match="403"):
        store("test").list_buckets()
