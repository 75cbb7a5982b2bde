"""Objects in S3, or in what speaks its protocol: list, read, download, upload.

Endpoint, region and credentials are the environment's: `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`,
`AWS_DEFAULT_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_PROFILE` and the rest that boto3 reads. Requests are tried again by
boto3; large objects go in parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from umgclip.errors import DataError, InputError, StorageError
from umgclip.io.atomic import atomic_file

_ATTEMPTS, _CONNECT_S, _READ_S = 5, 10, 60
_MISSING = ("404", "NoSuchKey", "NoSuchBucket", "NotFound")
_REFUSED = ("401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")


@dataclass(frozen=True)
class Location:
    """A bucket and a key, or the beginning of keys."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def __truediv__(self, name: str) -> Location:
        return Location(self.bucket, f"{self.key.rstrip('/')}/{name}".lstrip("/"))


@dataclass(frozen=True)
class StoredObject:
    """An object as listed: where, and its size in bytes."""

    location: Location
    bytes: int


def locate(url: str) -> Location:
    """`s3://bucket/some/key` as its parts.

    Raises:
        InputError: it is no such URL.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise InputError(f"expected s3://BUCKET/KEY, got {url!r}")
    return Location(parts.netloc, parts.path.lstrip("/"))


class Storage:
    """A client of the object store that the environment names; made at the first request."""

    def list(self, prefix: Location) -> Iterator[StoredObject]:
        """Objects whose keys begin with the prefix, in the order of their keys.

        Raises:
            DataError: there is no such bucket.
            InputError: the credentials are missing or not enough.
            StorageError: the store does not answer.
        """
        with _explained(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.key)
            for page in pages:
                for entry in page.get("Contents", []):
                    yield StoredObject(Location(prefix.bucket, entry["Key"]), entry["Size"])

    def read(self, source: Location, limit: int) -> bytes:
        """The bytes of a small object.

        Args:
            source: where.
            limit: most bytes that it may have.

        Raises:
            DataError: there is no such object, or it is larger.
            InputError, StorageError: as for `list`.
        """
        with _explained(source):
            answer = self._client.get_object(Bucket=source.bucket, Key=source.key)
            if answer["ContentLength"] > limit:
                raise DataError(f"{source}: expected at most {limit} bytes, got {answer['ContentLength']}")
            content: bytes = answer["Body"].read()
        return content

    def get(self, source: Location, path: Path) -> None:
        """Download an object to a file, which appears whole or not at all.

        Raises:
            DataError: there is no such object.
            OutputError: the file cannot be written.
            InputError, StorageError: as for `list`.
        """
        with atomic_file(path) as temporary, _explained(source):
            self._client.download_file(source.bucket, source.key, str(temporary))

    def put(self, path: Path, target: Location) -> None:
        """Upload a file.

        Raises:
            DataError: there is no such bucket.
            InputError, StorageError: as for `list`.
        """
        with _explained(target):
            self._client.upload_file(str(path), target.bucket, target.key)

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - boto3 makes the class at run time
        import boto3
        from botocore.config import Config

        retries = {"mode": "standard", "total_max_attempts": _ATTEMPTS}
        config = Config(retries=retries, connect_timeout=_CONNECT_S, read_timeout=_READ_S)
        return boto3.Session().client("s3", config=config)


@contextmanager
def _explained(where: Location) -> Iterator[None]:
    """Turn what boto3 raises into our errors, with the place."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _MISSING:
            raise DataError(f"{where}: expected an object there, found none ({code})") from error
        if code in _REFUSED:
            raise InputError(f"{where}: expected credentials (AWS_*) that may do this, got {code}") from error
        raise StorageError(f"{where}: {error}") from error
    except (NoCredentialsError, NoRegionError) as error:
        raise InputError(f"{where}: expected credentials and a region in AWS_* variables: {error}") from error
    except (BotoCoreError, Boto3Error) as error:
        raise StorageError(f"{where}: the object store does not answer: {error}") from error
