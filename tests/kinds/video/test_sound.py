"""Sound: as long as the video, begun again or faded out, and read from one file alone."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any, Final

import av
import msgspec
import numpy as np
import pytest

from kon.core.errors import KindError
from kon.kinds import transcode
from kon.kinds.video import sound
from kon.kinds.video.job import make_encoder
from tests.kinds.video.filming import filmed, pictures, times, tone
from tests.kinds.video.given import SMALL, encoded, photo, watch


@pytest.mark.parametrize("seconds", [0.7, 1.5, 9.0])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_sound_is_made_as_long_as_the_video(tmp_path: Path, seconds: float, container: Any) -> None:
    film = msgspec.structs.replace(SMALL, format=container)
    path = filmed(tmp_path, film, pictures(film, 3), tone(seconds))
    assert watch(path).duration_s == pytest.approx(1.5, abs=0.03)
    with av.open(str(path), "r") as file:
        frames = list(file.decode(audio=0))
        samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        assert (frames[0].sample_rate, frames[0].layout.name) == (48_000, "stereo")
    assert len(samples) == pytest.approx(72_000, abs=2_048)
    loud = np.abs(samples) > 0.02
    assert np.flatnonzero(loud)[-1] / 48_000 == pytest.approx(min(seconds, 1.5), abs=0.06)


def heard(path: Path) -> Any:
    with av.open(str(path), "r") as file:
        return np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])


def test_a_short_sound_may_begin_again(tmp_path: Path) -> None:
    film = msgspec.structs.replace(SMALL, audio_loop=True)
    samples = heard(filmed(tmp_path, film, pictures(film, 3), tone(0.4)))
    assert len(samples) == pytest.approx(72_000, abs=2_048)
    loud = np.abs(samples) > 0.02
    assert all(loud[start : start + 4_800].mean() > 0.5 for start in range(4_800, 67_200, 4_800))


def test_a_sound_with_nothing_to_hear_does_not_begin_again_for_ever(tmp_path: Path) -> None:
    film = msgspec.structs.replace(SMALL, audio_loop=True)
    assert np.abs(heard(filmed(tmp_path, film, pictures(film, 1), tone(0.0)))).max() < 0.01


def test_a_sound_may_fade_out_at_the_end(tmp_path: Path) -> None:
    film = msgspec.structs.replace(SMALL, audio_fade_s=1.0)
    samples = np.abs(heard(filmed(tmp_path, film, pictures(film, 4), tone(9.0))))
    before, middle, last = (samples[start : start + 4_800].max() for start in (36_000, 69_600, 90_000))
    assert middle == pytest.approx(before / 2, rel=0.25)
    assert last < before / 5


def test_what_is_no_sound_fails_the_job(tmp_path: Path) -> None:
    for data in (b"no sound at all", encoded(photo())):
        with pytest.raises(KindError, match="the audio"):
            filmed(tmp_path, SMALL, pictures(SMALL, 1), data)


PLAYLISTS: Final = {
    "ffconcat": "ffconcat version 1.0\nfile '{file}'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{file}\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
    '<AdaptationSet mimeType="audio/wav"><Representation id="1" bandwidth="1"><BaseURL>file://{file}'
    "</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "m3u": "#EXTM3U\n{file}\n",
    "imf": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"/>',
}


@pytest.mark.parametrize("form", PLAYLISTS)
def test_a_playlist_opens_nothing_else(tmp_path: Path, form: str) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(tone(1.0))
    with pytest.raises(KindError, match=r"the audio .*sound is taken as one of aac, aiff"):
        filmed(tmp_path, SMALL, pictures(SMALL, 1), PLAYLISTS[form].format(file=other).encode())


def test_without_the_whitelist_a_playlist_would_open_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.wav").write_bytes(tone(1.0))
    playlist = PLAYLISTS["ffconcat"].format(file="other.wav").encode()
    with av.open(io.BytesIO(playlist), "r", options={"protocol_whitelist": "file"}) as opened:
        assert sum(frame.samples for frame in opened.decode(audio=0)) == 22_050
    with pytest.raises(KindError, match="sound is taken as one of"):
        filmed(tmp_path, SMALL, pictures(SMALL, 1), playlist)


def test_formats_of_sound_read_one_file_alone() -> None:
    assert set(sound.FORMATS) <= {*transcode.FORMATS, "webm", "mp4"}


def mp3(seconds: float) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp3") as file, av.open(io.BytesIO(tone(seconds)), "r") as source:
        stream = file.add_stream("libmp3lame", rate=44_100, layout="stereo")
        resampler = av.AudioResampler("s16p", "stereo", 44_100)
        for frame in source.decode(audio=0):
            for each in resampler.resample(frame):
                each.pts = None
                file.mux(stream.encode(each))
        file.mux(stream.encode(None))
    return out.getvalue()


def test_a_damaged_stretch_is_silent_and_the_rest_is_heard(tmp_path: Path) -> None:
    whole = mp3(3.0)
    third = len(whole) // 3
    noise = random.Random(1).randbytes(4_000)
    video = tmp_path / "v.mp4"
    encoder = make_encoder(video, SMALL, times(SMALL, 5))
    for number, frame in enumerate(pictures(SMALL, 5)):
        encoder.add(encoder.prepare(frame), number)
    encoder.finish(whole[:third] + noise + whole[third + len(noise) :])
    encoder.close()
    assert 0.02 < encoder.damaged_s < 0.3
    with av.open(str(video), "r") as file:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    loud = np.flatnonzero(np.abs(samples) > 0.02)
    assert (loud[0] / 48_000, loud[-1] / 48_000) == pytest.approx((0, 2.5), abs=0.1)
