"""Cards before and after the images, and posters."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from kon.backends.memory.backend import MemoryObjects
from kon.core.errors import ConfigurationError
from kon.kinds.video.film import Film
from kon.kinds.video.jobfile import VideoJob
from kon.kinds.video.times import TITLE, Times
from tests.kinds.video.given import SMALL, Video, encoded, photo, plain, run, site
from tests.kinds.video.studio import Changing, studio
from tests.kinds.video.test_moves import stored

# --- cards and posters ------------------------------------------------------------------------------------


def carded(film: Film, **given: Any) -> tuple[dict[str, Any], Video, bytes]:
    """The result of a job of three images, of which the second is bad; its video, and its poster."""

    async def main() -> Any:
        objects = MemoryObjects()
        async with site() as place, studio(objects, film) as works:
            place.pages |= {"0": encoded(photo()), "1": b"no picture", "2": encoded(plain("red", 320, 180))}
            result = await works.make(VideoJob(tuple(place.url(name) for name in "012"), **given))
            poster = objects._objects[result["poster_key"]] if "poster_key" in result else b""
            return result, await stored(objects, result["key"]), poster

    return run(main())  # type: ignore[no-any-return]


@pytest.mark.parametrize("repeat", ["skip", "encode"])
def test_cards_stand_before_and_after_the_images(repeat: Any) -> None:
    film = msgspec.structs.replace(
        SMALL, repeat=repeat, title="Summer", title_s=0.7, end="Fin", end_s=0.4, end_background="#ffffff"
    )
    result, video, _ = carded(film)
    assert (result["images"], result["duration_s"], len(video.luma)) == (2, 2.1, 21)
    for number in range(7):  # white letters on black, in the middle and not at the edge
        assert (video.luma[number] > 200).any()
        assert (video.luma[number][:40] < 20).all()
    assert np.abs(video.luma[7].astype(int) - video.luma[6]).mean() > 10
    assert (video.luma[17][:40] > 225).all()
    assert (video.luma[20] < 60).any()  # the letters' edge


def test_a_card_may_stand_on_an_image_and_says_where_that_is_not_there() -> None:
    film = msgspec.structs.replace(
        SMALL, title="Summer", title_background="image 3", end="Fin", end_background="image 2"
    )
    result, video, _ = carded(film)
    red, last = video.chroma[0][1], video.luma[-1]
    assert red.mean() > 180
    assert (last[:40] < 20).all()
    assert set(result["card_warnings"]) == {"end"}
    assert result["card_warnings"]["end"].startswith("image 2 is not behind it: ")


def test_beats_count_from_the_beginning_of_the_video(tmp_path: Path) -> None:
    film = msgspec.structs.replace(SMALL, title="a", title_s=1.0, end="b", end_s=0.5)
    times = Times(film, VideoJob(("a", "b"), beats=(2.0, 4.0)))
    assert times.numbers == [TITLE, 0, 1, 2]
    assert [
        times.frames(number, after, number == TITLE) for number, after in ((-1, 0), (0, 1), (1, 2), (2, None))
    ] == [10, 10, 20, 5]
    assert times.frames(TITLE, 1, first=True) == 20, "the first image is left out"
    with pytest.raises(ConfigurationError, match="image 1 would be on screen"):
        Times(film, VideoJob(("a", "b"), beats=(0.5, 4.0)))


@pytest.mark.parametrize("form", ["jpeg", "png"])
@pytest.mark.parametrize("repeat", ["skip", "encode"])
def test_a_poster_is_the_first_picture(form: Any, repeat: Any) -> None:
    film = msgspec.structs.replace(SMALL, poster=form, fade_in_s=0.2, repeat=repeat)
    result, video, poster = carded(film, captions=("One", "", ""))
    assert result["poster_key"] == result["key"].replace(".mp4", ".jpg" if form == "jpeg" else ".png")
    assert result["poster_url"]
    with Image.open(io.BytesIO(poster)) as image:
        assert (image.format, image.size) == (form.upper(), (320, 180))
        shown = np.asarray(image.convert("L"), np.float64)
    luma = (video.luma[3].astype(float) - 16) * 255 / 219
    assert np.abs(shown - luma).mean() < 6


def test_a_poster_is_linked_again_with_its_video_and_made_again_where_it_is_gone() -> None:
    film = msgspec.structs.replace(SMALL, poster="png")

    async def main() -> None:
        objects = MemoryObjects()
        async with site() as place, studio(objects, film) as works:
            place.pages["0"] = Changing(encoded(photo()))
            job = VideoJob((place.url("0"),))
            first = await works.make(job)
            second = await works.make(job)
            assert second == {**first, "uploaded": False}
            del objects._objects[first["poster_key"]]
            await works.make(job)
            assert await objects.size_bytes(first["poster_key"])

    run(main())
