"""An object store in S3: its objects, links to them, and uploads that nobody ends."""

from __future__ import annotations

import asyncio
import mimetypes
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from io import FileIO
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from kon.backends.aws.calls import Calls
from kon.backends.aws.failures import CallRefused
from kon.core.errors import BackendUnavailable, ConfigurationError, StoreError
from kon.core.objects import ObjectStore, check_key

PART_BYTES: Final = 8 << 20
"""Files that are larger travel in parts of this size, or of a larger one where these were too many."""

MAX_PARTS: Final = 10_000
PARTS_AT_ONCE: Final = 4
"""Parts under way at a time, and so in memory, for each file."""

LONGEST_LINK_S: Final = 7 * 86_400
"""That a signature may be good for (Signature Version 4)."""

_UPLOAD_TRIES: Final = 5
"""The most for one file. Each worker aborts the uploads of others once at most, before its own."""

_GET_TRIES: Final = 5
_COPY_BYTES: Final = 1 << 20
_MAX_KEY_BYTES: Final = 1_024

_numbers = count()  # of this process: with its id, they make the names of unfinished files


class S3Objects(ObjectStore):
    """Objects under a prefix of a bucket.

    prefix: empty, or ends with a slash. part_bytes: see `PART_BYTES`; S3 takes no less than 5 MiB.
    """

    def __init__(self, calls: Calls, bucket: str, prefix: str = "", part_bytes: int = PART_BYTES) -> None:
        self._calls = calls
        self._bucket = bucket
        self._prefix = prefix
        self._part_bytes = part_bytes

    async def put(self, key: str, file: Path) -> None:
        """Raises StoreError when the file shrinks meanwhile, OSError when it can't be read."""
        name = self._name(key)
        size_bytes = (await asyncio.to_thread(file.stat)).st_size
        about = {"Bucket": self._bucket, "Key": name}
        kind = {"ContentType": mimetypes.guess_type(key)[0] or "application/octet-stream"}
        if size_bytes > self._part_bytes:
            await self._put_parts(about, kind, file, size_bytes)
        else:
            body = await asyncio.to_thread(_read, file, 0, size_bytes)
            await self._calls.call("s3", "PutObject", **about, **kind, Body=body)

    async def get(self, key: str, file: Path) -> None:
        """Beside the file first, then in its place: whole or not at all.

        Raises OSError when the file can't be written.
        """
        name = self._name(key)
        beside = file.with_name(f".get-{os.getpid()}-{next(_numbers)}")
        try:
            await self._get(key, name, beside)
            await asyncio.to_thread(beside.replace, file)
        finally:
            await asyncio.to_thread(beside.unlink, missing_ok=True)

    async def size_bytes(self, key: str) -> int:
        return int((await self._head(key))["ContentLength"])

    async def url(self, key: str, expires_s: float) -> str:
        """A signed link. Raises ConfigurationError for more than 7 days, or less than a second.

        The link of a role's passing credentials, an instance's for one, ends with these at the latest.
        """
        return (await self.signed(key, expires_s))[0]

    async def signed(self, key: str, expires_s: float) -> tuple[str, float | None]:
        """A link, and when it dies: with the credentials that signed it, where these end sooner."""
        if not 1 <= expires_s <= LONGEST_LINK_S:
            raise ConfigurationError(
                f"a link can be good for 1 to {LONGEST_LINK_S:,} seconds (7 days), not {expires_s:g}. "
                "Ask for a new one when it has expired; the object stays"
            )
        about = {"Bucket": self._bucket, "Key": self._name(key)}
        await self._head(key)

        def sign(client: Any) -> tuple[str, float | None]:
            url = str(client.generate_presigned_url("get_object", Params=about, ExpiresIn=int(expires_s)))
            ends = (expiry_of(url), _credentials_end_s(client))
            return url, min((end_s for end_s in ends if end_s is not None), default=None)

        return await self._calls.run("s3", sign, self._bucket)

    def link(self, url: str) -> SignedLink | None:
        """What an earlier link of this store says of itself, with its key as here; None for others."""
        link = parse_link(url, self._bucket)
        if link is None or not link.key.startswith(self._prefix):
            return None
        return SignedLink(link.key[len(self._prefix) :], link.expires_at_s)

    async def renewed(self, url: str, expires_s: float) -> str:
        """A new link to what an earlier link of this store points to, expired or not.

        Raises ConfigurationError for a link of another store, KeyError where the object is gone.
        """
        link = self.link(url)
        if link is None:
            raise ConfigurationError(f"{url} is not a link to an object of {self._bucket}/{self._prefix}")
        return await self.url(link.key, expires_s)

    # --- in parts ------------------------------------------------------------------------------------

    async def _put_parts(
        self, about: dict[str, str], kind: dict[str, str], file: Path, size_bytes: int
    ) -> None:
        """Begins again where another worker, which took this one for killed, has aborted its upload."""
        # what a worker began that was killed with this very task
        await abort_uploads(self._calls.call, about["Bucket"], about["Key"], only=about["Key"])
        for tries in range(1, _UPLOAD_TRIES + 1):
            try:
                await self._upload(about, kind, file, size_bytes)
                return
            except CallRefused as error:
                if error.code != "NoSuchUpload" or tries == _UPLOAD_TRIES:
                    raise

    async def _upload(self, about: dict[str, str], kind: dict[str, str], file: Path, size_bytes: int) -> None:
        begun = await self._calls.call("s3", "CreateMultipartUpload", **about, **kind)
        upload = {**about, "UploadId": begun["UploadId"]}
        part_bytes = max(self._part_bytes, -(-size_bytes // MAX_PARTS))
        begins = iter(enumerate(range(0, size_bytes, part_bytes), start=1))
        parts: dict[int, str] = {}

        async def send() -> None:
            for number, begin in begins:  # shared by the senders
                body = await asyncio.to_thread(_read, file, begin, min(part_bytes, size_bytes - begin))
                reply = await self._calls.call("s3", "UploadPart", **upload, PartNumber=number, Body=body)
                parts[number] = reply["ETag"]

        senders = [asyncio.create_task(send()) for _ in range(PARTS_AT_ONCE)]
        try:
            # the first error ends the wait, not the others
            await asyncio.gather(*map(asyncio.shield, senders))
            listed = [{"PartNumber": number, "ETag": parts[number]} for number in sorted(parts)]
            await self._calls.call(
                "s3", "CompleteMultipartUpload", **upload, MultipartUpload={"Parts": listed}
            )
        except BaseException:
            for _ in begins:
                pass  # nothing more is sent
            await _to_its_end(self._abort(upload, senders))
            raise

    async def _abort(self, upload: dict[str, str], senders: Sequence[asyncio.Task[None]]) -> None:
        """Have S3 forget the parts, which are paid for until then. A part that is on its way when the
        upload is aborted may stay behind, so that those are waited for."""
        await asyncio.wait(senders)
        for sender in senders:
            if not sender.cancelled():
                sender.exception()  # looked at; the first is being raised
        try:
            await self._calls.call("s3", "AbortMultipartUpload", **upload)
        except (CallRefused, BackendUnavailable):
            pass  # the bucket's lifecycle rule clears it away; what is being raised says more

    # --- to a file -----------------------------------------------------------------------------------

    async def _get(self, key: str, name: str, beside: Path) -> None:
        """Goes on where it broke off, as long as the object is the same."""
        etag: list[str] = []

        def get(client: Any) -> None:
            done = beside.stat().st_size if etag else 0
            rest = {"Range": f"bytes={done}-", "IfMatch": etag[0]} if done else {}
            reply = client.get_object(Bucket=self._bucket, Key=name, **rest)
            with closing(reply["Body"]) as body:
                with _FileTrouble.told():
                    copy = beside.open("ab" if rest else "wb", buffering=0)
                etag[:] = [reply["ETag"]]
                with copy:
                    for chunk in body.iter_chunks(_COPY_BYTES):
                        with _FileTrouble.told():
                            _write(copy, chunk)

        for tries in range(1, _GET_TRIES + 1):
            try:
                await self._calls.run("s3", get, self._bucket)
                return
            except _FileTrouble as trouble:
                raise trouble.error from None
            except BackendUnavailable:
                if tries == _GET_TRIES:
                    raise
            except CallRefused as error:
                if not etag or error.status not in (412, 416):
                    raise self._missing(key, error) from error
                etag.clear()  # another object stands there now
        raise BackendUnavailable(f"the object {key} changed {_GET_TRIES} times while it was being read")

    async def _head(self, key: str) -> Mapping[str, Any]:
        try:
            return await self._calls.call("s3", "HeadObject", Bucket=self._bucket, Key=self._name(key))
        except CallRefused as error:
            raise self._missing(key, error) from error

    def _missing(self, key: str, error: CallRefused) -> Exception:
        """KeyError for an object that is not there; the error itself for anything else."""
        not_there = error.code == "NoSuchKey" or (error.status == 404 and not error.not_there)
        return KeyError(key) if not_there else error

    def _name(self, key: str) -> str:
        name = self._prefix + check_key(key)
        if len(name.encode()) > _MAX_KEY_BYTES:
            raise ConfigurationError(
                f"the object key {key[:60]!r}... has {len(name.encode()):,} bytes with its prefix, and S3 "
                f"takes {_MAX_KEY_BYTES:,}; nothing was stored or read"
            )
        return name


def _credentials_end_s(client: Any) -> float | None:
    """When the credentials of a client end, in seconds since the epoch; None for never, or where they do not
    say. botocore keeps it to itself."""
    credentials = client._request_signer._credentials
    ends = getattr(credentials, "_expiry_time", None)
    return ends.timestamp() if isinstance(ends, datetime) else None


class _FileTrouble(Exception):
    """An OSError of a file here, which is not to be taken for one of the network."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error

    @classmethod
    @contextmanager
    def told(cls) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise cls(error) from error


def _write(file: FileIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


def _read(file: Path, begin: int, size_bytes: int) -> bytes:
    with file.open("rb") as source:
        source.seek(begin)
        body = source.read(size_bytes)
    if len(body) < size_bytes:
        raise StoreError(f"{file} became shorter while it was being stored; nothing of it was kept")
    return body


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Waits until it is done, even while it is being cancelled."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue


Call = Callable[..., Awaitable[dict[str, Any]]]
"""One call: service, operation, and its parameters by name."""


async def abort_uploads(call: Call, bucket: str, prefix: str, only: str | None = None) -> None:
    """Abort the unfinished uploads to keys that begin with `prefix`; with `only`, those to this key alone.

    Who may not list or abort them leaves them to the bucket's lifecycle rule, which clears them away after
    a day.
    """
    after: dict[str, str] = {}
    with suppress(CallRefused):
        while True:
            page = await call("s3", "ListMultipartUploads", Bucket=bucket, Prefix=prefix, **after)
            for upload in page.get("Uploads", ()):
                if only in (None, upload["Key"]):
                    about = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
                    with suppress(CallRefused):  # it has been ended or aborted meanwhile
                        await call("s3", "AbortMultipartUpload", Bucket=bucket, **about)
            if not page.get("IsTruncated"):
                return
            after = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


class SignedLink(msgspec.Struct, frozen=True):
    """A signed link. expires_at_s: in seconds since the epoch.

    The link of a role's passing credentials ends with these, which may be sooner.
    """

    key: str
    expires_at_s: float


def parse_link(url: str, bucket: str) -> SignedLink | None:
    """What a link says of itself; None for one that is not a signed link to an object of this bucket."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if (parts.hostname or "").startswith(f"{bucket}."):
        key = path.removeprefix("/")
    elif path.startswith(f"/{bucket}/"):
        key = path.removeprefix(f"/{bucket}/")
    else:
        return None
    expires_at_s = expiry_of(url)
    return None if expires_at_s is None else SignedLink(key, expires_at_s)


def expiry_of(url: str) -> float | None:
    """Until when a signed link is good, in seconds since the epoch; None for any other."""
    query = parse_qs(urlsplit(url).query)
    try:
        signed_at = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return signed_at.timestamp() + float(query["X-Amz-Expires"][0])
    except (KeyError, ValueError):
        return None
