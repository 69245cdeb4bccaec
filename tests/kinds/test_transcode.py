"""The kind `transcode`: what ffmpeg makes of objects, and what it must not be led to."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import av
import pytest

from kon.backends.memory.backend import MemoryObjects
from kon.core.errors import ConfigurationError, KindError
from kon.kinds.transcode import Transcode
from tests.kinds.running import attempt, nothing_left

with_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="no ffmpeg here: `make browser-tools`"
)

SMALL = {"to": "mkv", "args": "-c:v mpeg4 -vf scale=32:-2"}


@pytest.fixture(autouse=True)
def _no_folder_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    yield
    assert list((tmp_path / "tmp").iterdir()) == []


def video(path: Path, frames: int = 20) -> bytes:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([number]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def made(folder: Path, data: bytes, options: dict[str, Any] = SMALL, key: str = "in/a b.mp4") -> Any:
    """The result; the object that it names is in the folder as `got`."""

    async def main() -> Any:
        objects = MemoryObjects()
        kind = Transcode(options)
        kind.check(key)
        await kind.open(objects)
        try:
            (folder / "given").write_bytes(data)
            await objects.put(key, folder / "given")
            result = await kind.execute(key, attempt(index=3))
            await objects.get(result["key"], folder / "got")
            return result
        finally:
            await kind.close()

    with nothing_left():
        return asyncio.run(main())


@with_ffmpeg
@pytest.mark.parametrize("key", ["in/a b.mp4", "-i", "concat:a|b", "in/http:__x.m3u8", "plain"])
def test_a_video_is_made_of_a_video_whatever_its_key_is(tmp_path: Path, key: str) -> None:
    data = video(tmp_path / "video.mp4")
    result = made(tmp_path, data, key=key)
    assert result["key"] == "transcode/a-run/000003.mkv"
    assert (result["from"], result["input_bytes"]) == (key, len(data))
    assert result["size_bytes"] == (tmp_path / "got").stat().st_size
    with av.open(str(tmp_path / "got"), "r") as container:
        frames = list(container.decode(video=0))
        assert (container.format.name, len(frames), frames[0].width) == ("matroska,webm", 20, 32)


@with_ffmpeg
def test_arguments_and_keys_are_templates(tmp_path: Path) -> None:
    options = {"to": "mkv", "args": ["-c", "copy", "-metadata", "title={/.}"], "key": "out/{/.}.mkv"}
    result = made(tmp_path, video(tmp_path / "video.mp4"), {**options, "input_args": ["-t", 1]})
    assert result["key"] == "out/a b.mkv"
    with av.open(str(tmp_path / "got"), "r") as container:
        assert {name.lower(): value for name, value in container.metadata.items()}["title"] == "a b"
        assert container.duration is not None
        assert container.duration < 1_500_000


@with_ffmpeg
@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{secret}'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    ],
)
def test_a_playlist_leads_ffmpeg_to_no_other_file(tmp_path: Path, playlist: str) -> None:
    video(tmp_path / "secret.mp4")
    data = playlist.format(secret=tmp_path / "secret.mp4").encode()
    with pytest.raises(KindError, match=r"ffmpeg could not transcode .*, exit"):
        made(tmp_path, data, key="in/list.m3u8")


@with_ffmpeg
def test_what_ffmpeg_can_not_read_fails_with_what_it_says(tmp_path: Path) -> None:
    data = video(tmp_path / "video.mp4")
    for bad in (b"no video at all", data[: len(data) // 2]):
        with pytest.raises(KindError, match=r'could not transcode "in/a b.mp4", exit \d+: .*\w') as raised:
            made(tmp_path, bad)
        assert str(tmp_path) not in str(raised.value)
        assert raised.value.result["stderr"]
    with pytest.raises(KindError, match=r"Unrecognized option 'nonsense'|not found"):
        made(tmp_path, data, {"to": "mkv", "args": ["-nonsense", "1"]})


@with_ffmpeg
def test_a_cancelled_transcode_leaves_nothing(tmp_path: Path) -> None:
    data = video(tmp_path / "video.mp4")

    async def main() -> None:
        objects = MemoryObjects()
        (tmp_path / "given").write_bytes(data)
        await objects.put("a", tmp_path / "given")
        # in real time, so that it takes 2 s unless it is stopped
        kind = Transcode({**SMALL, "input_args": "-re -stream_loop -1"})
        await kind.open(objects)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await kind.execute("a", attempt())
        assert list((tmp_path / "tmp").iterdir()) == []
        await kind.close()

    with nothing_left():
        asyncio.run(main())


def test_without_ffmpeg_workers_say_what_mends_it() -> None:
    kind = Transcode({"to": "mp4", "ffmpeg": "no-such-ffmpeg"})
    with pytest.raises(
        ConfigurationError, match=r'needs "no-such-ffmpeg", .* not? .*PATH \(.*\)\. Install ffmpeg'
    ):
        asyncio.run(kind.open(MemoryObjects()))


def test_an_object_that_is_too_large_or_not_there(tmp_path: Path) -> None:
    options = {**SMALL, "max_bytes": 10, "ffmpeg": "true"}
    with pytest.raises(KindError, match="has 11 bytes, and the option max_bytes allows 10"):
        made(tmp_path, b"x" * 11, options)
    with pytest.raises(KindError, match=r'made nothing of "in/a b\.mp4"'):
        made(tmp_path, b"x" * 10, options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, 'needs the option "to"'),
        ({"to": "../x"}, "expected a suffix such as mp4"),
        ({"to": "mp4", "args": "-c 'copy"}, "args"),
        ({"to": "mp4", "formats": ["a,b"]}, "expected names of demuxers"),
        ({"to": "mp4", "formats": []}, "expected names of demuxers"),
        ({"to": "mp4", "key": "one"}, "the same for all tasks"),
        (
            {"to": "mp4", "max_bytes": 0},
            '"max_bytes" of kind transcode: expected a whole number of at least 1',
        ),
    ],
)
def test_options_that_can_not_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Transcode(options)
