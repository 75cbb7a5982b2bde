"""Objects in S3, or in what speaks its protocol: list, read, stream, download, upload, delete.

Endpoint, region and credentials are the environment's: `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`,
`AWS_DEFAULT_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_PROFILE` and the rest that boto3 reads. Requests are tried again by
boto3; large objects go in parts.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from umgclip.errors import DataError, InputError, StorageError, TooLargeError
from umgclip.io.atomic import atomic_file
from umgclip.safe_text import without_secrets

_ATTEMPTS, _CONNECT_S, _READ_S = 5, 10, 60
_PAUSE_S = 0.1  # before the second try to read on; it doubles with each
_PIECE = 1 << 20
_MISSING = ("404", "NoSuchKey", "NoSuchBucket", "NotFound", "412", "PreconditionFailed")
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
    """An object as listed: where, its size in bytes, and the store's mark of its content."""

    location: Location
    bytes: int
    etag: str = ""


def locate(url: str) -> Location:
    """Split `s3://bucket/some/key` into bucket and key.

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
                    yield StoredObject(Location(prefix.bucket, entry["Key"]), entry["Size"], entry.get("ETag", ""))

    def read(self, source: Location, limit: int) -> bytes:
        """Return the bytes of a small object.

        Args:
            source: where.
            limit: most bytes that it may have.

        Raises:
            DataError: there is no such object.
            TooLargeError: it is larger.
            InputError, StorageError: as for `list`.
        """
        with self.open(source) as stream:
            if stream.size > limit:
                raise TooLargeError(f"{source}: expected at most {limit} bytes, got {stream.size}")
            return stream.read()

    def open(self, source: Location) -> ObjectStream:
        """Open an object as a stream from first to last byte; a broken connection resumes where it broke.

        Raises:
            DataError: there is no such object, or another took its place while it was read.
            InputError, StorageError: as for `list`; reading raises them too.
        """
        return ObjectStream(self._client, source)

    def seekable(self, source: Location) -> io.BufferedReader:
        """Open an object as a file whose parts are read by range, in any order.

        Raises:
            DataError: there is no such object, or another took its place while it was read.
            InputError, StorageError: as for `list`; reading raises them too.
        """
        return io.BufferedReader(_Ranges(self._client, source), _PIECE)

    def exists(self, where: Location) -> bool:
        """Return whether an object of exactly this key exists.

        Raises:
            InputError, StorageError: as for `list`.
        """
        return self.size(where) is not None

    def size(self, where: Location) -> int | None:
        """Bytes of the object of exactly this key; None: there is none.

        Raises:
            InputError, StorageError: as for `list`.
        """
        try:
            with _explained(where):
                return int(self._client.head_object(Bucket=where.bucket, Key=where.key)["ContentLength"])
        except DataError:
            return None

    def delete(self, where: Location) -> None:
        """Take an object away; nothing happens where there is none.

        Raises:
            InputError, StorageError: as for `list`.
        """
        with _explained(where):
            self._client.delete_object(Bucket=where.bucket, Key=where.key)

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
        """Upload a local file as an object.

        Raises:
            DataError: there is no such bucket.
            InputError, StorageError: as for `list`.
        """
        with _explained(target):
            self._client.upload_file(str(path), target.bucket, target.key)

    def swap(self, where: Location, data: bytes, etag: str | None) -> str | None:
        """Write a small object if nobody else wrote it meanwhile.

        Args:
            where: of the object.
            data: its new content.
            etag: the mark of the content that it takes the place of; None: there has to be none.

        Returns:
            The mark of the new content; None: something else is there, or nothing is, and the object stays as it is.

        Raises:
            InputError, StorageError: as for `list`.
        """
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        try:
            with _explained(where):
                stored = self._client.put_object(Bucket=where.bucket, Key=where.key, Body=data, **condition)
        except DataError:
            return None
        return str(stored["ETag"])

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - boto3 makes the class at run time
        import boto3
        from botocore.config import Config

        retries = {"mode": "standard", "total_max_attempts": _ATTEMPTS}
        config = Config(retries=retries, connect_timeout=_CONNECT_S, read_timeout=_READ_S)
        try:
            return boto3.Session().client("s3", config=config)
        except ValueError as error:  # its text is the whole address
            raise InputError(
                f"AWS_ENDPOINT_URL: expected http://HOST:PORT, got another text: {without_secrets(str(error))}"
            ) from error


class ObjectStream:
    """The bytes of one object, front to back; `size` of them, and `etag` is the mark of its content."""

    def __init__(self, client: Any, source: Location) -> None:  # noqa: ANN401 - boto3 makes the class at run time
        self._client, self._source = client, source
        self._position, self.etag = 0, ""
        self._body: Any = None
        self._connect()

    def __enter__(self) -> ObjectStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int = -1, /) -> bytes:
        """Read at most `size` bytes, all that are left if negative; nothing at the end."""
        parts: list[bytes] = []
        while size and (part := self._part(size)):
            parts.append(part)
            size = size - len(part) if size > 0 else size
        return b"".join(parts)

    def close(self) -> None:
        """Return the connection to its pool."""
        if self._body is not None:
            self._body.close()

    def _part(self, size: int) -> bytes:
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        for attempt in range(1, _ATTEMPTS + 1):
            if self._position >= self.size:
                return b""
            try:
                if self._body is None:
                    self._connect()
                part: bytes = self._body.read(min(size, _PIECE) if size > 0 else _PIECE)
                if not part:
                    raise ConnectionError(f"expected {self.size} bytes, got {self._position}")
            except (BotoCoreError, HTTPError, OSError) as error:
                self._body = None
                if attempt == _ATTEMPTS:
                    raise StorageError(
                        f"{self._source}: the object store does not answer: {without_secrets(str(error))}"
                    ) from error
                time.sleep(_PAUSE_S * 2**attempt)
            else:
                self._position += len(part)
                return part
        return b""

    def _connect(self) -> None:
        request = {"Bucket": self._source.bucket, "Key": self._source.key}
        if self._position:
            request |= {"Range": f"bytes={self._position}-", "IfMatch": self.etag}
        with _explained(self._source):
            answer = self._client.get_object(**request)
        if not self._position:
            self.size, self.etag = int(answer["ContentLength"]), answer["ETag"]
        self._body = answer["Body"]


class _Ranges(io.RawIOBase):
    """An object as a raw file: each read is a request for a range of bytes."""

    def __init__(self, client: Any, source: Location) -> None:  # noqa: ANN401 - boto3 makes the class at run time
        super().__init__()
        self._client, self._source, self._position = client, source, 0
        with _explained(source):
            about = client.head_object(Bucket=source.bucket, Key=source.key)
        self._size, self._etag = int(about["ContentLength"]), about["ETag"]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - as in the base class
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        last = min(self._position + len(buffer), self._size) - 1
        if last < self._position:
            return 0
        request = {"Bucket": self._source.bucket, "Key": self._source.key, "IfMatch": self._etag}
        for attempt in range(1, _ATTEMPTS + 1):
            with _explained(self._source):
                answer = self._client.get_object(**request, Range=f"bytes={self._position}-{last}")
            try:
                part = answer["Body"].read()
                break
            except (BotoCoreError, HTTPError, OSError) as error:
                if attempt == _ATTEMPTS:
                    raise StorageError(
                        f"{self._source}: the object store does not answer: {without_secrets(str(error))}"
                    ) from error
                time.sleep(_PAUSE_S * 2**attempt)
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)


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
        raise StorageError(f"{where}: {without_secrets(str(error))}") from error
    except (NoCredentialsError, NoRegionError) as error:
        raise InputError(f"{where}: expected credentials and a region in AWS_* variables: {error}") from error
    except (BotoCoreError, Boto3Error) as error:
        raise StorageError(f"{where}: the object store does not answer: {without_secrets(str(error))}") from error
