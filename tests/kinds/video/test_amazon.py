"""Videos in S3, on MiniStack: links that expire, jobs that are not done twice, uploads that are cut off."""

from __future__ import annotations

import asyncio
import json
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner

from kon.backends.emulator import Emulator
from kon.cli.group import kon
from kon.kinds.video.jobfile import VideoJob
from tests.backends.aws.given import Make, Reply, bucket
from tests.kinds.video.given import encoded, photo, site, watch
from tests.kinds.video.studio import studio

EXPIRES_S = 3
PREFIX = "films"


def invoked(*args: str) -> str:
    ended = CliRunner().invoke(kon, list(args), prog_name="kon")
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def experiment(folder: Path, name: str, **backend: Any) -> Path:
    file = folder / f"{name}.yml"
    workload = {
        "kind": "animoto",
        "items": [["0.jpg", "1.jpg"], ["1.jpg", "0.jpg", "1.jpg"]],
        "images": str(folder / "photos"),
        "size": "320x180",
        "fps": 10,
        "url_expires_s": EXPIRES_S,
    }
    said = {"name": name, "backend": {"name": "aws", "prefix": PREFIX, **backend}, "workload": workload}
    file.write_text(json.dumps({**said, "strategies": ["lease"]}))
    return file


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(2):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(encoded(photo(300, 200, number)))
    return tmp_path


def links(run: str) -> list[str]:
    return [line.split("\t")[1] for line in invoked("results", run, "--links").splitlines()]


def opened(url: str) -> bytes | int:
    """What it leads to, or the status that refuses it."""
    try:
        with urllib.request.urlopen(url) as reply:
            content: bytes = reply.read()
            return content
    except urllib.error.HTTPError as error:
        with error:  # it holds the connection
            return error.code


def plays(content: bytes, folder: Path, images: int) -> None:
    (folder / "linked.mp4").write_bytes(content)
    assert len(watch(folder / "linked.mp4").luma) == 10 * images


def test_links_open_until_they_expire_and_kon_results_makes_new_ones(
    on_ministack: Emulator, photos: Path
) -> None:
    invoked("run", str(experiment(photos, "expiring")), "--quiet", "--set", "workers=1")
    old: list[str] = []
    url: str
    content: bytes | int
    for images in (2, 3):
        url, content = "", 403
        while content == 403:  # on a machine that is very busy a link has expired before it is opened
            url = links("expiring-lease-w1-r1")[images - 2]
            content = opened(url)
        assert isinstance(content, bytes), content
        plays(content, photos, images)
        old.append(url)
    for url in old:
        while not isinstance(opened(url), int):
            pass  # it is still good
        assert opened(url) == 403
    fresh = links("expiring-lease-w1-r1")
    assert set(fresh).isdisjoint(old)
    # the object is the same one: only its signature is another
    assert [url.partition("?")[0] for url in fresh] == [url.partition("?")[0] for url in old]


@pytest.mark.long
def test_a_second_run_on_the_same_store_uploads_nothing(on_ministack: Emulator, photos: Path) -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="films-of-mine")

    def stored() -> dict[str, tuple[str, Any]]:
        found = s3.list_objects_v2(Bucket="films-of-mine", Prefix="v/").get("Contents", [])
        return {each["Key"]: (each["ETag"], each["LastModified"]) for each in found}

    told = []
    for name in ("first", "second"):
        file = experiment(photos, name, objects="s3://films-of-mine/v")
        invoked("run", str(file), "--quiet", "--set", "workers=1")
        lines = invoked("results", f"{name}-lease-w1-r1", "--json").splitlines()
        told.append(([json.loads(line)["result"] for line in lines], stored()))
    (first, before), (second, after) = told
    assert [each["uploaded"] for each in first] == [True, True]
    assert [each["uploaded"] for each in second] == [False, False]
    assert [each["key"] for each in first] == [each["key"] for each in second]
    assert len(before) == 4  # two videos, and what is known of each
    assert before == after


def test_a_job_that_is_cut_off_while_it_uploads_leaves_no_part_behind(
    on_ministack: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    image = encoded(photo(320, 180))

    async def main() -> None:
        begun, stays = asyncio.Event(), asyncio.Event()

        async def slow(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
            reply = await make()
            if operation == "UploadPart":
                begun.set()
                await stays.wait()
            return reply

        async with bucket() as place, site() as images:
            place.calls.fault = slow
            images.pages["a"] = image
            async with studio(place.objects(part_bytes=4_096)) as works:
                job = asyncio.create_task(works.make(VideoJob((images.url("a"),))))
                await begun.wait()
                assert len(await place.uploads()) == 1
                job.cancel()
                await asyncio.sleep(0)
                stays.set()
                with pytest.raises(asyncio.CancelledError):
                    await job
            place.calls.fault = None
            assert await place.uploads() == []
            assert await place.names() == []

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == []
