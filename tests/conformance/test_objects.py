"""What every object store keeps."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kon.core.errors import ConfigurationError
from tests.conformance.bed import Bed, case

CONTENT = bytes(range(256)) * 1_000


def file(bed: Bed, content: bytes = CONTENT) -> Path:
    path = bed.folder / "given"
    path.write_bytes(content)
    return path


@case()
async def test_an_object_is_got_as_it_was_put(bed: Bed) -> None:
    objects, copy = bed.channel.objects, bed.folder / "copy"
    for key in ("plain", "a/b/c.txt", "grüße 世界?#%.mp4"):
        await objects.put(key, file(bed))
        await objects.get(key, copy)
        assert copy.read_bytes() == CONTENT
        assert await objects.size_bytes(key) == len(CONTENT)
        copy.unlink()


@case()
async def test_a_put_replaces(bed: Bed) -> None:
    objects, copy = bed.channel.objects, bed.folder / "copy"
    await objects.put("key", file(bed))
    await objects.put("key", file(bed, b""))
    await objects.get("key", copy)
    assert copy.read_bytes() == b""
    assert await objects.size_bytes("key") == 0


@case()
async def test_what_is_not_there_is_a_key_error(bed: Bed) -> None:
    copy = bed.folder / "copy"
    await bed.channel.objects.put("folder/key", file(bed))
    for key in ("other", "folder", "folder/key2"):
        with pytest.raises(KeyError):
            await bed.channel.objects.get(key, copy)
        with pytest.raises(KeyError):
            await bed.channel.objects.url(key, 60.0)
        with pytest.raises(KeyError):
            await bed.channel.objects.size_bytes(key)
    assert not copy.exists()


@case()
async def test_an_object_has_a_link(bed: Bed) -> None:
    await bed.channel.objects.put("a/b", file(bed))
    assert ":" in await bed.channel.objects.url("a/b", 60.0)


@case()
async def test_no_key_leads_out_of_the_store(bed: Bed) -> None:
    for key in ("", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", "a\0b"):
        with pytest.raises(ConfigurationError, match="relative path"):
            await bed.channel.objects.put(key, file(bed))


@case()
async def test_a_file_that_is_not_there_is_put_nowhere(bed: Bed) -> None:
    with pytest.raises(FileNotFoundError):
        await bed.channel.objects.put("key", bed.folder / "nothing")
    with pytest.raises(KeyError):
        await bed.channel.objects.url("key", 60.0)


@case()
async def test_puts_of_one_key_at_once_leave_one_of_them_whole(bed: Bed) -> None:
    contents = [bytes([number]) * 100_000 for number in range(6)]
    files = [bed.folder / f"given-{number}" for number in range(6)]
    for path, content in zip(files, contents, strict=True):
        path.write_bytes(content)
    await asyncio.gather(*[bed.channel.objects.put("key", path) for path in files])
    await bed.channel.objects.get("key", bed.folder / "copy")
    assert (bed.folder / "copy").read_bytes() in contents
