"""The object store in S3: uploads in parts, and downloads that break off."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.response import StreamingBody

import kon
from kon.backends.aws.failures import CallRefused
from kon.backends.aws.objects import PARTS_AT_ONCE
from kon.core.errors import BackendUnavailable, StoreError
from tests.backends.aws.given import Bucket, Make, Reply
from tests.backends.aws.objects_bed import LARGE, MIB, PART_BYTES, file, on_a_bucket

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
