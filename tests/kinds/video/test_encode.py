"""The files: their frames, times, colours, sound; and that a skipped frame is the one before it."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import av
import msgspec
import numpy as np
import pytest
from PIL import Image

from kon.core.errors import ConfigurationError, KindError
from kon.core.options import read_options
from kon.kinds import transcode
from kon.kinds.pictures.header import read_header
from kon.kinds.video import alone, skip, sound
from kon.kinds.video.alone import Alone
from kon.kinds.video.bits import START, slice_of
from kon.kinds.video.decode import Decoder
from kon.kinds.video.encode import FrameEncoder, intra
from kon.kinds.video.film import Film
from kon.kinds.video.jobfile import VideoJob
from kon.kinds.video.planes import frame_of, planes_of
from kon.kinds.video.skip import SkipEncoder
from kon.kinds.video.times import Times
from kon.kinds.video.ways import make_encoder
from tests.kinds.video.given import SMALL, encoded, luma_of, photo, ssim, watch


def pictures(film: Film, count: int) -> list[av.VideoFrame]:
    decoder = Decoder(film)
    found = []
    for part in range(count):
        data = encoded(photo(700 + 90 * part, 800 - 70 * part, part))
        found.append(decoder.decode(data, read_header(data)))
    return found


def times(film: Film, images: int = 1, **given: Any) -> Times:
    return Times(film, VideoJob(tuple(map(str, range(images))), **given))


def filmed(
    folder: Path,
    film: Film,
    frames: list[av.VideoFrame],
    sound: bytes | None = None,
    taken: Sequence[int] | None = None,
    **given: Any,
) -> Path:
    """taken: the images that are in the video, by their places; None for all."""
    path = folder / f"video.{film.format}"
    encoder = make_encoder(path, film, times(film, len(frames), **given))
    try:
        for number in range(len(frames)) if taken is None else taken:
            encoder.add(encoder.prepare(frames[number]), number)
        encoder.finish(sound)
    finally:
        encoder.close()
    return path


FULL = Film()


@pytest.mark.parametrize(
    "film",
    [
        SMALL,
        msgspec.structs.replace(SMALL, format="mkv"),
        msgspec.structs.replace(SMALL, repeat="encode"),
        msgspec.structs.replace(SMALL, repeat="encode", format="mkv"),
        msgspec.structs.replace(SMALL, fps=25, seconds=1.0),
        msgspec.structs.replace(SMALL, fps=30, seconds=2.5),
        msgspec.structs.replace(SMALL, fps=10, seconds=0.1),
        msgspec.structs.replace(SMALL, size="854x480"),
        msgspec.structs.replace(SMALL, preset="ultrafast"),
        msgspec.structs.replace(SMALL, preset="medium", crf=30),
        FULL,
    ],
    ids=lambda film: f"{film.way}-{film.format}-{film.width}-{film.fps}x{film.seconds}-{film.preset}",
)
def test_every_image_is_on_screen_for_exactly_its_time(tmp_path: Path, film: Film) -> None:
    frames = pictures(film, 3)
    video = watch(filmed(tmp_path, film, frames))
    count = 3 * film.frames(film.seconds)
    assert len(video.luma) == count
    assert video.times == pytest.approx([float(number / film.rate) for number in range(count)], abs=6e-4)
    assert video.duration_s == pytest.approx(3 * film.seconds, abs=1e-6)
    assert video.stream["codec"] == "h264"
    assert video.stream["rate"] == film.fps
    for number, luma in enumerate(video.luma):
        apart = [np.abs(luma[::3, ::3].astype(int) - luma_of(each)[::3, ::3]).mean() for each in frames]
        assert apart.index(min(apart)) == number // film.frames(film.seconds)
        assert min(apart) < 4
    colours = ("colorspace", "color_range", "color_primaries", "color_trc")
    assert [video.stream[name] for name in colours] == [1, 1, 1, 1]  # BT.709, limited


def test_a_skipped_frame_is_exactly_the_one_before_it(tmp_path: Path) -> None:
    film = msgspec.structs.replace(SMALL, fps=25, seconds=2.0)  # more than the 16 that frame numbers count to
    video = watch(filmed(tmp_path, film, pictures(film, 2)))
    for first in (0, 50):
        for number in range(first + 1, first + 50):
            assert np.array_equal(video.luma[number], video.luma[first])
            assert all(map(np.array_equal, video.chroma[number], video.chroma[first]))


def test_the_default_is_as_good_as_it_should_be(tmp_path: Path) -> None:
    frames = pictures(FULL, 4)
    video = watch(filmed(tmp_path, FULL, frames))
    scores = [ssim(video.luma[25 * number + 12], luma_of(each)) for number, each in enumerate(frames)]
    assert sum(scores) / 4 >= 0.975
    assert min(scores) >= 0.95


def test_skipped_frames_cost_nothing(tmp_path: Path) -> None:
    frames = pictures(FULL, 2)
    path = filmed(tmp_path, FULL, frames)
    with av.open(str(path), "r") as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    keys = [packet.size for packet in packets if packet.is_keyframe]
    rest = [packet.size for packet in packets if not packet.is_keyframe]
    assert (len(keys), len(rest)) == (2, 48)
    assert max(rest) < 150


def switches(path: Path) -> list[float]:
    """When each image but the first begins, in seconds."""
    luma = watch(path).luma
    changed = [n for n in range(1, len(luma)) if np.abs(luma[n].astype(int) - luma[n - 1]).mean() > 3]
    return [number / float(SMALL.rate) for number in changed]


@pytest.mark.parametrize("repeat", ["skip", "encode"])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_each_image_may_have_a_time_of_its_own(tmp_path: Path, repeat: Any, container: Any) -> None:
    film = msgspec.structs.replace(SMALL, repeat=repeat, format=container)
    path = filmed(tmp_path, film, pictures(film, 4), seconds=(0.5, 1.2, 0.2, 0.6))
    assert switches(path) == pytest.approx([0.5, 1.7, 1.9])
    assert len(watch(path).luma) == 25


@pytest.mark.parametrize("repeat", ["skip", "encode"])
@pytest.mark.parametrize(
    ("taken", "wanted"),
    [([0, 1, 2, 3], [0.4, 1.0, 1.8]), ([0, 2, 3], [1.0, 1.8]), ([1, 3], [1.8]), ([0, 1], [0.4])],
    ids=["all", "the second left out", "the first and third left out", "the last two left out"],
)
def test_images_give_way_on_the_beat_whatever_is_left_out(
    tmp_path: Path, repeat: Any, taken: list[int], wanted: list[float]
) -> None:
    film = msgspec.structs.replace(SMALL, repeat=repeat)
    path = filmed(tmp_path, film, pictures(film, 4), taken=taken, beats=(0.4, 1.0, 1.8, 3.0))
    assert switches(path) == pytest.approx(wanted)
    assert len(watch(path).luma) == 30


def test_what_is_cut_off_times_never_adds_up() -> None:
    given = times(SMALL, 300, seconds=(1 / 3,) * 300)
    assert sum(given.frames(number, number + 1, first=number == 0) for number in range(300)) == 1_000


def test_an_image_with_no_frame_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"image 2 would be on screen for 0 s; the least is 0.1 s"):
        times(SMALL, 2, seconds=(1.0, 0.01))
    fading = msgspec.structs.replace(SMALL, crossfade_s=0.3)
    with pytest.raises(ConfigurationError, match=r"image 1 would be on screen for 0.2 s; the least is 0.3"):
        times(fading, 2, beats=(0.2, 2.0))


def test_an_image_is_coded_the_same_whatever_else_is_in_the_video(tmp_path: Path) -> None:
    frames = pictures(SMALL, 3)
    one, other = (SkipEncoder(tmp_path / name, SMALL, times(SMALL)) for name in ("1.mp4", "2.mp4"))
    assert [one.prepare(each) for each in frames] == [other.prepare(each) for each in reversed(frames)][::-1]
    one.close()
    other.close()


def test_a_picture_is_coded_alone_as_it_would_be_with_others_after_it(tmp_path: Path) -> None:
    """So that the file's parameters are those that it is decoded by, bit for bit."""
    for film in (
        SMALL,
        FULL,
        msgspec.structs.replace(SMALL, preset="slow"),
        msgspec.structs.replace(SMALL, fps=60),
    ):
        for frame in pictures(film, 2):
            followed = alone.encoder_of(film, film.frames(film.seconds), parameters="qp=23")
            packets = [*followed.encode(intra(frame, 0)), *followed.encode(None)]
            assert Alone(film).with_qp(frame, 23) == START + slice_of(bytes(packets[0])), film


@pytest.mark.parametrize("film", [SMALL, FULL, msgspec.structs.replace(SMALL, preset="slow", crf=1)])
def test_an_encoder_that_is_used_again_codes_each_picture_as_a_fresh_one(film: Film) -> None:
    again = Alone(film)
    for frame in pictures(film, 5):
        assert again.coded(frame) == Alone(film).coded(frame)


def test_skipped_frames_are_those_that_x264_makes_of_whole_pictures() -> None:
    """Sizes that are no whole number of macroblocks, and more frames than their numbers count to."""
    for size in ("1920x1080", "1280x720", "854x480", "322x178", "16x16"):
        film = msgspec.structs.replace(SMALL, size=size)
        assert list(skip._skipped_frames(film, 20)) == skip._followers(film, 20)


def test_a_picture_that_would_be_coded_otherwise_alone_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = alone.skip_options

    def sharper(interval: int, parameters: str = "") -> dict[str, str]:
        said = options(interval, parameters)
        return {**said, "x264-params": said["x264-params"] + (":8x8dct=1" if interval == 1 else "")}

    monkeypatch.setattr(alone, "skip_options", sharper)
    with pytest.raises(KindError, match=r"another picture where it is the only one.*say repeat: encode"):
        SkipEncoder(tmp_path / "1.mp4", film := msgspec.structs.replace(SMALL, crf=23), times(film))


def test_the_index_of_an_mp4_stands_first(tmp_path: Path) -> None:
    data = filmed(tmp_path, SMALL, pictures(SMALL, 2)).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_frames_that_would_not_be_skips_are_not_copied(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def coded(unit: bytes, macroblocks: int) -> bytes:
        raise ValueError

    for wrong in (coded, lambda unit, macroblocks: unit):
        monkeypatch.setattr(skip, "skipping", wrong)
        with pytest.raises(KindError, match=r"where nothing moves.*say repeat: encode"):
            SkipEncoder(tmp_path / "1.mp4", film := msgspec.structs.replace(SMALL, crf=24), times(film))


def test_a_crossfade_is_on_its_way_from_one_image_to_the_next(tmp_path: Path) -> None:
    film = msgspec.structs.replace(SMALL, seconds=1.0, crossfade_s=0.4)
    [planes] = map(planes_of, pictures(film, 1))
    dark, bright = (frame_of(planes._replace(y=Image.new("L", planes.y.size, level))) for level in (40, 200))
    video = watch(filmed(tmp_path, film, [dark, bright]))
    means = [float(luma.mean()) for luma in video.luma]
    assert len(means) == 20
    assert means[:6] == pytest.approx([40] * 6, abs=3)
    assert means[6:10] == pytest.approx([72, 104, 136, 168], abs=4)
    assert means[10:] == pytest.approx([200] * 10, abs=3)


def test_an_image_grows(tmp_path: Path) -> None:
    film = msgspec.structs.replace(SMALL, seconds=1.0, zoom=1.5, background="black")
    frames = pictures(film, 1)
    bars = [int((luma.mean(0) < 24).sum()) for luma in watch(filmed(tmp_path, film, frames)).luma]
    assert bars[0] > bars[5] > bars[9]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"repeat": "skip", "zoom": 1.1}, "zoom has them grow"),
        ({"repeat": "skip", "fps": 10, "seconds": 0.1}, "one frame for each image"),
        ({"fps": 24, "seconds": 0.3}, "no whole number of frames"),
        ({"size": "641x360"}, "even number"),
        ({"size": "640x8000"}, "even number from 16 to 4096"),
        ({"crf": 0}, '"crf" of a look: expected a number from 1 to 51, found 0'),
        ({"preset": "superfats"}, 'expected "ultrafast", "superfast", .* did you mean "superfast"'),
        ({"crossfade_s": 2.0}, '"crossfade_s" of a look: expected a number from 0 to 1'),
        ({"zoom": float("nan")}, '"zoom" of a look: expected'),
    ],
)
def test_looks_that_can_not_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_options("a look", options, Film)


def test_what_moves_is_encoded_frame_by_frame_unless_one_asks_for_the_other() -> None:
    assert Film().way == "skip"
    assert Film(zoom=1.1).way == "encode"
    assert Film(repeat="encode").way == "encode"


def tone(seconds: float, rate: int = 22_050) -> bytes:
    """A WAV file: one channel of a square wave."""
    samples = bytes([64, 192] * round(seconds * rate / 2))
    head = b"RIFF" + (36 + len(samples)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    form = b"".join(
        n.to_bytes(size, "little") for n, size in ((1, 2), (1, 2), (rate, 4), (rate, 4), (1, 2), (8, 2))
    )
    return head + form + b"data" + len(samples).to_bytes(4, "little") + samples


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


def test_an_encoder_that_is_stopped_ends_soon(tmp_path: Path) -> None:
    film = msgspec.structs.replace(SMALL, repeat="encode", seconds=60.0)
    encoder = FrameEncoder(tmp_path / "1.mp4", film, times(film, 2))
    frames = pictures(film, 2)
    encoder.stop()
    for number, each in enumerate(frames):
        encoder.add(encoder.prepare(each), number)
    assert encoder.frames_made == 0
    encoder.close()


needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None,
    reason="there is no ffmpeg on this machine; `make browser-tools` installs it, as root",
)


@needs_ffmpeg
@pytest.mark.parametrize(
    "film",
    [SMALL, FULL, msgspec.structs.replace(SMALL, format="mkv"), msgspec.structs.replace(SMALL, zoom=1.1)],
    ids=["small", "full", "mkv", "zoom"],
)
def test_ffmpeg_plays_it_without_a_warning(tmp_path: Path, film: Film) -> None:
    path = filmed(tmp_path, film, pictures(film, 2), tone(1.0))
    ended = subprocess.run(
        ["ffmpeg", "-v", "warning", "-xerror", "-i", str(path), "-f", "null", "-"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_video_can_be_read_from_its_beginning_on(tmp_path: Path) -> None:
    """As a browser does: what has come so far is enough for the pictures so far."""
    data = filmed(tmp_path, FULL, pictures(FULL, 4)).read_bytes()
    with av.open(io.BytesIO(data[: len(data) * 2 // 3]), "r", format="mp4") as container:
        assert next(iter(container.decode(video=0))).width == 1920
