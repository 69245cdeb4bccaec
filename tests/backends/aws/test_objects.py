"""The object store in S3: uploads in parts, downloads that break off, links."""

from __future__ import annotations

import asyncio
import random
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.response import StreamingBody

import kon
from kon.backends.aws.failures import CallRefused
from kon.backends.aws.objects import PARTS_AT_ONCE, SignedLink, parse_link
from kon.backends.emulator import Emulator
from kon.core.errors import BackendUnavailable, ConfigurationError, StoreError
from tests.backends.aws.given import Bucket, Make, Reply, bucket

MIB: Final = 1 << 20
PART_BYTES: Final = 5 * MIB  # the least that S3 takes
LARGE: Final = random.Random(1).randbytes(5 * PART_BYTES + 1)

Test = Callable[[Bucket, Path], Coroutine[Any, Any, None]]


def on_a_bucket(body: Test) -> Callable[[Emulator, Path], None]:
    """Makes a test of a coroutine function: on a bucket and in a folder of its own."""

    def test(on_ministack: Emulator, tmp_path: Path) -> None:
        async def whole() -> None:
            async with bucket() as place:
                await body(place, tmp_path)

        asyncio.run(whole())

    test.__name__ = body.__name__
    test.__doc__ = body.__doc__
    return test


def file(folder: Path, content: bytes = LARGE) -> Path:
    path = folder / "given"
    path.write_bytes(content)
    return path


# --- uploads --------------------------------------------------------------------------------------------


@on_a_bucket
async def test_a_large_file_travels_in_parts(place: Bucket, folder: Path) -> None:
    objects = place.objects(part_bytes=PART_BYTES)
    under_way = most = 0

    async def watch(operation: str, _parameters: dict[str, Any], make: Make) -> Reply:
        nonlocal under_way, most
        under_way += operation == "UploadPart"
        most = max(most, under_way)
        try:
            return await make()
        finally:
            under_way -= operation == "UploadPart"

    place.calls.fault = watch
    await objects.put("video.mp4", file(folder))
    assert place.calls.operations.count("UploadPart") == 6
    assert 2 <= most <= PARTS_AT_ONCE
    await objects.get("video.mp4", folder / "copy")
    assert (folder / "copy").read_bytes() == LARGE
    head = await place.calls.call("s3", "HeadObject", Bucket=place.name, Key="objects/video.mp4")
    assert head["ContentType"] == "video/mp4"


@on_a_bucket
async def test_an_upload_that_fails_leaves_nothing(place: Bucket, folder: Path) -> None:
    sent, failed = [], asyncio.Event()

    async def fail(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        if operation == "UploadPart":
            if parameters["PartNumber"] == 2:
                failed.set()
                raise BackendUnavailable("down")
            await failed.wait()
            sent.append(parameters["PartNumber"])
        return await make()

    place.calls.fault = fail
    with pytest.raises(BackendUnavailable, match="down"):
        await place.objects(part_bytes=PART_BYTES).put("key", file(folder))
    place.calls.fault = None
    assert await place.uploads() == []
    assert await place.names() == []
    assert sorted(sent) == [1, 3, 4]  # nothing more was begun


@on_a_bucket
async def test_an_upload_that_is_cancelled_leaves_nothing(place: Bucket, folder: Path) -> None:
    """Parts on their way are waited for, as they could come after the abort, whoever is in a hurry."""
    on_the_way, go_on, log = asyncio.Event(), asyncio.Event(), []

    async def slow(operation: str, _parameters: dict[str, Any], make: Make) -> Reply:
        if operation == "UploadPart":
            on_the_way.set()
            await go_on.wait()
        reply = await make()
        log.append(operation)
        return reply

    place.calls.fault = slow
    put = asyncio.create_task(place.objects(part_bytes=PART_BYTES).put("key", file(folder)))
    await on_the_way.wait()
    for _ in range(2):
        put.cancel()
        for _ in range(20):  # until it has come to its clean-up
            await asyncio.sleep(0)
    assert not put.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await put
    place.calls.fault = None
    assert log[-1] == "AbortMultipartUpload"
    assert 1 <= log.count("UploadPart") <= PARTS_AT_ONCE
    assert await place.uploads() == []
    assert await place.names() == []


@on_a_bucket
async def test_a_file_that_shrinks_meanwhile_is_not_stored(place: Bucket, folder: Path) -> None:
    given = file(folder)

    async def shrink(operation: str, _parameters: dict[str, Any], make: Make) -> Reply:
        if operation == "CreateMultipartUpload":
            given.write_bytes(LARGE[: 2 * MIB])
        return await make()

    place.calls.fault = shrink
    with pytest.raises(StoreError, match="became shorter"):
        await place.objects(part_bytes=PART_BYTES).put("key", given)
    place.calls.fault = None
    assert await place.uploads() == []
    assert await place.names() == []


async def begin(place: Bucket, name: str) -> None:
    """What a worker leaves that is killed while it uploads."""
    about = {"Bucket": place.name, "Key": f"objects/{name}"}
    begun = await place.calls.call("s3", "CreateMultipartUpload", **about)
    await place.calls.call(
        "s3", "UploadPart", **about, UploadId=begun["UploadId"], PartNumber=1, Body=LARGE[:PART_BYTES]
    )


@on_a_bucket
async def test_what_a_killed_worker_began_is_aborted_by_the_one_who_does_the_job_next(
    place: Bucket, folder: Path
) -> None:
    for name in ("key", "key", "key-of-another"):
        await begin(place, name)
    await place.objects(part_bytes=PART_BYTES).put("key", file(folder))
    assert await place.uploads() == ["objects/key-of-another"]
    assert await place.names() == ["objects/key"]


@on_a_bucket
async def test_two_that_upload_the_same_both_come_to_an_end(place: Bucket, folder: Path) -> None:
    """A worker that is taken for killed, and was only slow."""
    first, both = asyncio.Event(), asyncio.Event()
    begun = 0

    async def together(operation: str, _parameters: dict[str, Any], make: Make) -> Reply:
        nonlocal begun
        if operation == "UploadPart" and begun < 2:
            await both.wait()
        reply = await make()
        if operation == "CreateMultipartUpload":
            begun += 1
            (first if begun == 1 else both).set()
        return reply

    given, objects = file(folder), place.objects(part_bytes=PART_BYTES)
    place.calls.fault = together
    slow = asyncio.create_task(objects.put("key", given))
    await first.wait()
    await objects.put("key", given)
    await slow
    place.calls.fault = None
    assert begun == 3
    assert await place.uploads() == []
    await objects.get("key", folder / "copy")
    assert (folder / "copy").read_bytes() == LARGE


@on_a_bucket
async def test_who_may_not_list_uploads_uploads_all_the_same(place: Bucket, folder: Path) -> None:
    async def denied(operation: str, _parameters: dict[str, Any], make: Make) -> Reply:
        if operation == "ListMultipartUploads":
            raise CallRefused("may not", code="AccessDenied", status=403, response={})
        return await make()

    place.calls.fault = denied
    await place.objects(part_bytes=PART_BYTES).put("key", file(folder))
    place.calls.fault = None
    assert await place.names() == ["objects/key"]


# --- downloads ------------------------------------------------------------------------------------------


class CutBody:
    """Breaks off after the first chunk."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def iter_chunks(self, size: int) -> Iterator[bytes]:
        yield next(self._body.iter_chunks(size))
        raise ReadTimeoutError(endpoint_url="http://s3")

    def close(self) -> None:
        self._body.close()


class CutClient:
    """A client whose first `cuts` downloads break off. asked: for what. then: called after each cut."""

    def __init__(self, client: Any, cuts: int) -> None:
        self.client = client
        self.cuts = cuts
        self.asked: list[dict[str, Any]] = []
        self.then: Callable[[], None] = lambda: None

    def get_object(self, **parameters: Any) -> Any:
        self.asked.append(parameters)
        reply = self.client.get_object(**parameters)
        if len(self.asked) <= self.cuts:
            reply["Body"] = CutBody(reply["Body"])
            self.then()
        return reply


def cut(place: Bucket, cuts: int, replace_by: bytes | None = None) -> list[CutClient]:
    """Has downloads break off; returns the client, once there is one."""
    made: list[CutClient] = []

    def wrap(client: Any) -> Any:
        if not made:
            made.append(CutClient(client, cuts))
            if replace_by is not None:
                about = {"Bucket": place.name, "Key": "objects/key"}
                made[0].then = lambda: client.put_object(**about, Body=replace_by)
        return made[0]

    place.calls.wrap = wrap
    return made


@on_a_bucket
async def test_a_download_that_breaks_off_goes_on_where_it_was(place: Bucket, folder: Path) -> None:
    await place.objects().put("key", file(folder, LARGE[: 5 * MIB]))
    made = cut(place, 2)
    await place.objects().get("key", folder / "copy")
    assert (folder / "copy").read_bytes() == LARGE[: 5 * MIB]
    assert [each.get("Range") for each in made[0].asked] == [None, f"bytes={MIB}-", f"bytes={2 * MIB}-"]


@on_a_bucket
async def test_a_download_of_an_object_that_was_replaced_meanwhile_starts_anew(
    place: Bucket, folder: Path
) -> None:
    await place.objects().put("key", file(folder, LARGE[: 5 * MIB]))
    cut(place, 1, replace_by=LARGE[5 * MIB : 8 * MIB])
    await place.objects().get("key", folder / "copy")
    assert (folder / "copy").read_bytes() == LARGE[5 * MIB : 8 * MIB]


@on_a_bucket
async def test_a_download_that_fails_leaves_what_was_there(place: Bucket, folder: Path) -> None:
    await place.objects().put("key", file(folder, LARGE[: 9 * MIB]))
    target = folder / "target"
    target.write_bytes(b"before")
    cut(place, 100)
    with pytest.raises(BackendUnavailable, match="does not answer"):
        await place.objects().get("key", target)
    assert target.read_bytes() == b"before"
    assert sorted(path.name for path in folder.iterdir()) == ["given", "target"]


@on_a_bucket
async def test_a_file_that_cant_be_written_is_no_fault_of_the_network(place: Bucket, folder: Path) -> None:
    await place.objects().put("key", file(folder, b"content"))
    closed: list[StreamingBody] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StreamingBody, "close", lambda body: closed.append(body))
        with pytest.raises(FileNotFoundError):
            await place.objects().get("key", folder / "nowhere" / "target")
    assert len(closed) == 1, "else its connection is lost to others"
    closed[0]._raw_stream.close()


def test_what_is_read_of_an_object_is_closed_in_all_cases() -> None:
    """The connection of a body that was not read to its end, and not closed, is lost to the others."""
    sources = [file.read_text(encoding="utf-8") for file in Path(kon.__file__).parent.rglob("*.py")]
    lines = [line.strip() for text in sources for line in text.splitlines()]
    reads = [line for line in lines if re.search(r'(reply|\))\["Body"\]', line)]
    assert len(reads) >= 4, "the pattern finds them"
    assert [line for line in reads if not line.startswith("with closing(")] == []


# --- links ----------------------------------------------------------------------------------------------


def opened(url: str) -> bytes:
    with urllib.request.urlopen(url) as reply:
        content: bytes = reply.read()
    return content


def first_refusal(url: str) -> int:
    """Opens the link until it does not open any more; the status that it then has."""
    while True:
        try:
            opened(url)
        except urllib.error.HTTPError as error:
            with error:  # it holds the connection
                return error.code
        time.sleep(0.1)


@on_a_bucket
async def test_a_link_opens_until_it_expires_and_is_then_renewed(place: Bucket, folder: Path) -> None:
    objects = place.objects()
    await objects.put("a/ü 1.txt", file(folder, b"content"))
    url = await objects.url("a/ü 1.txt", 1.0)
    link = parse_link(url, place.name)
    assert link is not None
    assert link.key == "objects/a/ü 1.txt"
    assert await asyncio.to_thread(first_refusal, url) == 403
    assert await asyncio.to_thread(opened, await objects.renewed(url, 600.0)) == b"content"


@on_a_bucket
async def test_a_link_is_good_for_as_long_as_asked(place: Bucket, folder: Path) -> None:
    await place.objects().put("key", file(folder, b""))
    assert "X-Amz-Expires=604800&" in await place.objects().url("key", 7 * 86_400)
    for refused_s in (7 * 86_400 + 1, 0.5, float("nan")):
        with pytest.raises(ConfigurationError, match="7 days"):
            await place.objects().url("key", refused_s)


@pytest.mark.parametrize("days", [0.1, 30.0])
def test_a_link_dies_with_the_credentials_that_signed_it(
    on_ministack: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: float
) -> None:
    """Those of a role, as instances have them, and as tools for logins put them into the environment."""
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)

    async def body() -> None:
        async with bucket() as place:
            objects = place.objects()
            await objects.put("key", file(tmp_path, b"x"))
            asked_s = 86_400.0
            url, until_s = await objects.signed("key", asked_s)
            assert "X-Amz-Security-Token=" in url
            assert until_s is not None
            assert until_s == pytest.approx(min(ends.timestamp(), time.time() + asked_s), abs=30)

    monkeypatch.setenv("AWS_SESSION_TOKEN", "passing")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", ends.isoformat())
    asyncio.run(body())


@on_a_bucket
async def test_a_link_of_another_store_is_not_renewed(place: Bucket, folder: Path) -> None:
    for url in (
        "https://example.org/x",
        f"https://{place.name}.s3.amazonaws.com/other/key?X-Amz-Date=20260102T030405Z&X-Amz-Expires=60",
    ):
        with pytest.raises(ConfigurationError, match="not a link to an object of"):
            await place.objects().renewed(url, 60.0)
    gone = f"https://{place.name}.s3.amazonaws.com/objects/key?X-Amz-Date=20260102T030405Z&X-Amz-Expires=60"
    with pytest.raises(KeyError):
        await place.objects().renewed(gone, 60.0)


@pytest.mark.parametrize(
    "place",
    ["https://b.s3.eu-north-1.amazonaws.com/", "https://s3.amazonaws.com/b/", "http://127.0.0.1:1/b/"],
)
def test_what_a_link_says_of_itself(place: str) -> None:
    url = f"{place}a%20b/c%23?X-Amz-Date=20260102T030405Z&X-Amz-Expires=60&X-Amz-Signature=x"
    assert parse_link(url, "b") == SignedLink("a b/c#", 1_767_323_105.0)
    assert parse_link(url, "c") is None
    assert parse_link(f"{place}key", "b") is None
    assert parse_link(f"{place}key?X-Amz-Date=today&X-Amz-Expires=60", "b") is None


@on_a_bucket
async def test_a_key_too_long_for_s3_is_refused(place: Bucket, folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="1,024"):
        await place.objects().put("ü" * 510, file(folder, b""))
