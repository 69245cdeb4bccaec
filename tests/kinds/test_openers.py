"""What links and keys lead to is opened in one place for each kind of medium, and never followed further.

A list of other files or addresses (HLS, DASH, concat, SDP, M3U, PLS, XSPF, IMF) is refused in each field that
takes a medium.
"""

from __future__ import annotations

import ast
import asyncio
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from kon.backends.memory.backend import MemoryObjects
from kon.core.errors import KindError
from kon.kinds.animoto import Animoto
from kon.kinds.image import Image
from kon.kinds.transcode import Transcode
from tests.kinds.running import attempt
from tests.kinds.video.given import encoded, plain, run, site

ROOT: Final = Path(__file__).parents[2]

OPENERS: Final = {
    "Image.open": {"kon/kinds/pictures/opened.py": 1},  # by the format that the first bytes say, and no other
    "av.open": {"kon/kinds/video/sound.py": 1},  # with whitelists of formats and protocols
    # decoders of one coded picture: they open nothing
    "av.CodecContext.create": {"kon/kinds/video/decode.py": 1, "kon/kinds/video/tiles.py": 1},
    "ImageCms.ImageCmsProfile": {"kon/kinds/video/decode.py": 1},  # of bytes
    "ImageFont.truetype": {"kon/kinds/video/fonts.py": 2},  # the option caption_font, and fonts of the host
}
"""Calls that have a library read a medium, with the files that make them, and how often."""


def opens() -> Iterator[tuple[str, str]]:
    """Each call in kon/ that may have a library read a medium: its name and its file."""
    for file in sorted((ROOT / "kon").rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if not _NAMED.search(text):
            continue  # most files: to parse them all takes longer than to read them
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and not _writes(node):
                name = ast.unparse(node.func)
                first = name.partition(".")[0]
                if name in OPENERS or (first in _LIBRARIES and name.rpartition(".")[2].lower() in _OPENING):
                    yield name, file.relative_to(ROOT).as_posix()


def _writes(call: ast.Call) -> bool:
    """Whether it makes a file or an encoder: its mode is written next to it."""
    return any(isinstance(each, ast.Constant) and each.value == "w" for each in call.args[1:])


_LIBRARIES: Final = frozenset(
    {"av", "Image", "PIL", "pi_heif", "ImageFile", "ImageFont", "ImageCms", "cv2", "imageio"}
)
_NAMED: Final = re.compile(rf"\b({'|'.join(sorted(_LIBRARIES))})\.")
_OPENING: Final = frozenset(
    {"open", "open_heif", "read_heif", "imread", "parser", "truetype", "load", "getopenprofile", "create"}
)


def test_there_is_one_place_that_opens_each_kind_of_medium() -> None:
    found: dict[str, Counter[str]] = {}
    for name, file in opens():
        found.setdefault(name, Counter())[file] += 1
    assert found == OPENERS, "a medium is opened elsewhere: go through the place that has the whitelists"


def test_the_places_name_what_they_take() -> None:
    opened = (ROOT / "kon/kinds/pictures/opened.py").read_text()
    assert "formats=[_FORMATS[header.type]]" in opened
    sound = (ROOT / "kon/kinds/video/sound.py").read_text()
    assert '"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"' in sound
    ffmpeg = (ROOT / "kon/kinds/transcode.py").read_text()
    assert '("-protocol_whitelist", "file", "-format_whitelist"' in ffmpeg


LISTS: Final = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{link}\n#EXT-X-ENDLIST\n",
    "m3u": "{link}\n",
    "pls": "[playlist]\nFile1={link}\nNumberOfEntries=1\n",
    "xspf": '<?xml version="1.0"?><playlist xmlns="http://xspf.org/ns/0/"><trackList><track>'
    "<location>{link}</location></track></trackList></playlist>",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
    '<AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>{link}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "ffconcat": "ffconcat version 1.0\nfile '{link}'\n",
    "concat": "file '{link}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
    "imf": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"/>',
    "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{link}"/></svg>',
    "eps": "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({link}) (r) file\n",
}

FIELDS: Final = ("animoto: links", "animoto: audio", "image", "transcode")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("form", LISTS)
def test_a_list_of_other_places_is_refused_in_each_field(tmp_path: Path, form: str, field: str) -> None:
    if field == "transcode" and shutil.which("ffmpeg") is None:
        pytest.skip("there is no ffmpeg")

    async def main() -> None:
        async with site() as place:
            place.pages["good"] = encoded(plain("red", 64, 36))
            data = LISTS[form].format(link=place.url("secret")).encode()
            place.pages["list"] = data
            objects = MemoryObjects()
            (tmp_path / "list").write_bytes(data)
            await objects.put(f"in/list.{form}", tmp_path / "list")
            kind, body = given(field, place.url("good"), place.url("list"), f"in/list.{form}")
            await kind.open(objects)
            try:
                with pytest.raises(KindError) as raised:
                    await kind.execute(body, attempt())
            finally:
                await kind.close()
            assert "secret" not in place.asked, raised.value

    run(main())


def given(field: str, good: str, listed: str, key: str) -> tuple[Any, Any]:
    """The kind, and a body whose field is the list."""
    small = {"allow": ["loopback"], "size": "64x36", "fps": 5}
    match field:
        case "animoto: links":
            return Animoto(small), [listed]
        case "animoto: audio":
            return Animoto(small), {"links": [good], "audio": listed}
        case "image":
            return Image({"format": "png"}), key
        case "transcode":
            return Transcode({"to": "wav"}), key
    raise AssertionError(field)


def test_no_field_that_takes_a_medium_is_forgotten() -> None:
    """A job's links and audio, and objects of `image` and `transcode`; `mirror` copies, and opens nothing."""
    from kon.kinds.video.jobfile import VideoJob

    taken = {name for name in VideoJob.__struct_fields__ if "link" in name or "audio" in name}
    assert {f"animoto: {name}" for name in taken} | {"image", "transcode"} == set(FIELDS)


def test_lists_are_refused_soon(tmp_path: Path) -> None:
    """A session's description would have a decoder listen for ever."""

    async def main() -> None:
        async with site() as place, asyncio.timeout(10):
            place.pages.update({"good": encoded(plain("red", 64, 36)), "list": LISTS["sdp"].encode()})
            kind, body = given("animoto: audio", place.url("good"), place.url("list"), "")
            await kind.open(MemoryObjects())
            try:
                with pytest.raises(KindError, match="the audio can't be decoded"):
                    await kind.execute(body, attempt())
            finally:
                await kind.close()

    run(main())
