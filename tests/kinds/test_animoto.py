"""The kind animoto: its options, what it takes, and a run of it from the file to the videos."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kon.backends.memory.backend import MemoryObjects
from kon.cli.group import kon
from kon.cli.links import link_lines
from kon.core.distribution import install
from kon.core.errors import ConfigurationError
from kon.core.options import OptionError
from kon.core.task import Outcome, State
from kon.engine.records.records import RunFolder
from kon.experiment import load
from kon.kinds import generate
from kon.kinds.animoto import Animoto
from kon.kinds.pictures.header import read_header
from kon.kinds.video import demo, jobfile
from kon.kinds.video.jobfile import VideoJob, demo_names, parse_job, read_job
from kon.report.read.reader import Standing
from tests.kinds.running import attempt, nothing_left
from tests.kinds.video.given import encoded, photo, watch

SMALL = {"size": "320x180", "fps": 10, "seconds": 0.5}


def made(options: dict[str, Any], body: Any, objects: MemoryObjects | None = None) -> Any:
    async def main() -> Any:
        kind = Animoto(options)
        try:
            await kind.open(objects or MemoryObjects())
            return await kind.execute(body, attempt())
        finally:
            await kind.close()

    return asyncio.run(main())


def test_a_folder_of_images_is_served_to_jobs_and_nothing_is_left(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"photo {number}.jpg").write_bytes(encoded(photo(400, 300, number)))
    (tmp_path.parent / "outside.jpg").write_bytes(encoded(photo()))
    links = [f"photo {number}.jpg" for number in range(3)]
    with nothing_left():
        result = made({**SMALL, "images": str(tmp_path)}, [*links, "../outside.jpg", "%2e%2e/outside.jpg"])
    assert (result["images"], result["duration_s"]) == (3, 1.5)
    assert [each["reason"] for each in result["skipped"]] == ["its server answers 404 Not Found"] * 2
    assert result["url_expires_s"] == 600


def test_folders_with_the_same_names_make_videos_of_their_own(tmp_path: Path) -> None:
    objects, keys = MemoryObjects(), []
    for part in range(2):
        folder = tmp_path / f"album-{part}"
        folder.mkdir()
        (folder / "1.jpg").write_bytes(encoded(photo(400, 300, part)))
        results = [made({**SMALL, "images": str(folder)}, ["1.jpg"], objects) for _ in range(2)]
        assert [result["uploaded"] for result in results] == [True, False]
        keys.append(results[0]["key"])
    assert len(set(keys)) == 2


def test_a_file_that_changed_in_its_folder_makes_another_video(tmp_path: Path) -> None:
    objects, keys = MemoryObjects(), []
    for part in range(2):
        (tmp_path / "1.jpg").write_bytes(encoded(photo(400, 300, part)))
        keys.append(made({**SMALL, "images": str(tmp_path)}, ["1.jpg"], objects)["key"])
    assert len(set(keys)) == 2


def test_other_servers_of_this_machine_stay_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(photo()))
    result = made(
        {**SMALL, "images": str(tmp_path)}, ["a.jpg", "http://127.0.0.1:9/a.jpg", "http://localhost:9/"]
    )
    assert result["images"] == 1
    assert all("a loopback address, which is refused" in each["reason"] for each in result["skipped"])


def test_a_file_is_taken_where_that_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(photo()))
    objects = MemoryObjects()
    result = made({**SMALL, "allow": ["file"], "format": "mkv"}, {"links": [path.as_uri()]}, objects)
    asyncio.run(objects.get(result["key"], tmp_path / "v.mkv"))
    assert len(watch(tmp_path / "v.mkv").luma) == 5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": "1080p"}, '"size" of kind animoto: expected WIDTHxHEIGHT such as 1920x1080, found "1080p"'),
        ({"size": "1921x1080"}, '"size" of kind animoto: expected a width that is an even number'),
        ({"seconds": 0.33}, "no whole number of frames"),
        ({"repeat": "skip", "zoom": 1.2}, "say repeat: encode"),
        ({"repeat": "copy"}, "repeat"),
        ({"min_images": 0}, '"min_images" of kind animoto: expected a whole number of at least 1'),
        ({"url_expires_s": 10**6}, "a week"),
        ({"allow": ["everything"]}, "allow"),
        ({"crossfade": 1}, 'did you mean "crossfade_s"'),
    ],
)
def test_options_that_can_not_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Animoto(options)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no folder"):
        made({"images": str(tmp_path / "none")}, ["a.jpg"])


def test_without_the_extra_the_command_that_mends_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("av", "PIL") else find_spec(name)
    )
    with pytest.raises(ConfigurationError, match=f"needs av, pillow, .* {re.escape(install('animoto'))}"):
        Animoto({})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (7, "expected a list of links"),
        ([], "expected 1 to 3,600 links, got 0"),
        (["a", 7], "links of image 2: expected text, found 7"),
        (["a", " "], "link 2: expected a link, got an empty one"),
        (["a" * 10_000], "link 1: expected a link, got one of 10,000 characters"),
        ({"links": ["a"], "captions": ["x", "y"]}, "as many captions as links, got 2 and 1"),
        ({"links": ["a"], "sound": "s"}, "sound"),
        ({"links": ["a", "b"], "seconds": [1]}, "as many seconds as links, got 1 and 2"),
        ({"links": ["a"], "seconds": [1], "beats": [1]}, "seconds or beats, got both"),
        ({"links": ["a", "b"], "beats": [2, 1]}, "beats that grow"),
        ({"links": ["a"], "beats": [0]}, "beats that grow"),
        ({"links": ["a"], "seconds": [0.01]}, "image 1 would be on screen for 0 s"),
    ],
)
def test_bodies_that_no_attempt_could_film(body: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Animoto({}).check(body)


@pytest.mark.parametrize("name", jobfile._OWN)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, {}])
def test_no_key_of_a_job_takes_what_is_no_number_and_no_text(name: str, value: Any) -> None:
    for given in ([value, value], [[value, value]] * 2):
        with pytest.raises(OptionError, match=f'^(option "{name}"|{name}) of (image 1|the job): expected '):
            parse_job({"links": ["a", "b"], name: given})


def test_so_many_jobs_are_of_the_made_up_pictures_each_in_an_order_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "exp.yml"
    file.write_text("name: x\nbackend: memory\nworkload: {kind: animoto, count: 5, images: demo}\n")
    for _ in range(2):
        [experiment] = load(file)
        jobs = list(experiment.workload.bodies(1))
        assert len({tuple(job) for job in jobs}) == 5
        assert all(sorted(job) == demo_names() for job in jobs)


def test_job_files(tmp_path: Path) -> None:
    path = tmp_path / "job.txt"
    path.write_text("# a day\nhttp://a/1.jpg\n\n  http://a/2.jpg \t At the sea \naudio: http://a/s.mp3\n")
    body = read_job(path)
    assert body == {
        "links": ["http://a/1.jpg", "http://a/2.jpg"],
        "captions": ["", "At the sea"],
        "audio": "http://a/s.mp3",
    }
    assert parse_job(body) == VideoJob(
        ("http://a/1.jpg", "http://a/2.jpg"), ("", "At the sea"), "http://a/s.mp3"
    )
    path.write_text("http://a/1.jpg\nhttp://a/2.jpg\nbeats: 1.5, 4\n")
    assert read_job(path) == {"links": ["http://a/1.jpg", "http://a/2.jpg"], "beats": [1.5, 4.0]}
    path.write_text("http://a/1.jpg\nbeats: soon\n")
    with pytest.raises(ConfigurationError, match="beats: expected times in seconds, such as"):
        read_job(path)
    path.write_text("http://a/1.jpg\n")
    assert read_job(path) == {"links": ["http://a/1.jpg"]}
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        read_job(path)


def test_generated_jobs_are_the_same_each_time_and_use_all_links_evenly(tmp_path: Path) -> None:
    links = [f"http://a/{number}.jpg" for number in range(10)]
    drawn = list(generate.draw_jobs(links, 3, 25, seed=1))
    assert drawn == list(generate.draw_jobs(links, 3, 25, seed=1)) != list(generate.draw_jobs(links, 3, 25))
    assert [len(job) for job in drawn] == [25] * 3
    assert all(2 <= job.count(link) <= 3 for job in drawn for link in links)


def test_kon_generate_animoto(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("b c.jpg", "a.PNG", "notes.txt"):
        (tmp_path / "photos" / name).touch()
    out = tmp_path / "jobs"
    args = ["generate", "animoto", "--jobs", "2", "--images", "3", "--out", str(out)]
    ended = CliRunner().invoke(
        kon, [*args, "--from", str(tmp_path / "photos"), "--base", "http://h/"], prog_name="kon"
    )
    assert ended.exit_code == 0, ended.output
    assert sorted(each.name for each in out.iterdir()) == ["job-001.txt", "job-002.txt"]
    assert set((out / "job-001.txt").read_text().split()) == {"http://h/a.PNG", "http://h/b%20c.jpg"}
    (tmp_path / "links.txt").write_text("# mine\nhttp://h/1.jpg\n\nhttp://h/2.jpg\n")
    ended = CliRunner().invoke(
        kon, [*args[:-1], str(tmp_path / "linked"), "--from", str(tmp_path / "links.txt")], prog_name="kon"
    )
    assert ended.exit_code == 0, ended.output
    linked = (tmp_path / "linked" / "job-001.txt").read_text().split()
    assert set(linked) == {"http://h/1.jpg", "http://h/2.jpg"}
    assert generate.names_in(str(tmp_path / "links.txt")) == ["http://h/1.jpg", "http://h/2.jpg"]
    with pytest.raises(ConfigurationError, match="is there already"):
        generate.write_jobs(out, [])
    with pytest.raises(ConfigurationError, match="no image in it"):
        generate.names_in(str(out.parent / "jobs"))


def test_a_run_from_job_files_to_videos_and_a_bad_job_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(encoded(photo(300, 200, number)))
    for job in range(2):
        (tmp_path / f"job-{job}.txt").write_text("".join(f"{(job + n) % 3}.jpg\n" for n in range(3)))
    file = tmp_path / "exp.yml"
    file.write_text(
        f"""
        name: films
        backend: sqlite
        workload:
          {{kind: animoto, glob: "job-*.txt", images: {tmp_path}/photos,
            size: 320x180, fps: 10, seconds: 0.5}}
        strategies: [lease]
        """
    )
    ended = CliRunner().invoke(
        kon, ["run", str(file), "--out", str(tmp_path / "runs"), "--quiet"], prog_name="kon"
    )
    assert ended.exit_code == 0, ended.output
    videos = sorted((tmp_path / "runs").glob("films-*/objects/animoto/*.mp4"))
    assert len(videos) == 2
    assert all(len(watch(video).luma) == 15 for video in videos)
    [folder] = (tmp_path / "runs").glob("films-*")
    links = CliRunner().invoke(kon, ["results", str(folder), "--links"], prog_name="kon").output.split()
    assert sorted(links[1::2]) == [video.as_uri() for video in videos]
    (tmp_path / "job-2.txt").write_text("# nothing\n")
    with pytest.raises(ConfigurationError, match=r"job-2\.txt: expected 1 to 3,600 links, got 0"):
        load(file)


def test_the_made_up_pictures_are_the_same_everywhere() -> None:
    first = demo.picture(7)
    header = read_header(first)
    assert (header.width, header.height) == demo.SIZES[7 % 5]
    demo.picture.cache_clear()
    assert demo.picture(7) == first
    assert 100_000 < len(first) < 700_000


def test_the_log_of_links_says_until_when_each_is_good(tmp_path: Path) -> None:
    results = [
        {"url": "https://h/a.mp4?sig", "url_expires_s": 600},
        {"url": "file:///a.mp4", "url_expires_s": 600},
    ]
    given = [
        Standing("w1", Outcome(n, 1, State.DONE, result, None, 0.0, 1_700_000_000.0))
        for n, result in enumerate([*results, {"exit": 0}])
    ]
    assert list(link_lines(RunFolder(tmp_path / "a-run"), given, lambda: 1_700_000_000.0)) == [
        "a-run/0\thttps://h/a.mp4?sig\t2023-11-14 22:23:20+00:00",
        "a-run/1\tfile:///a.mp4",
    ]
