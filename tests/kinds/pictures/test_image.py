"""The kind `image`: its options and bodies, and runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner

from kon.backends.emulator import Emulator
from kon.cli.group import kon
from kon.core.errors import ConfigurationError
from kon.experiment import load
from kon.kinds import image as image_kind
from kon.kinds.pictures import header
from tests.kinds.video.given import encoded, photo


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "say what to do"),
        ({"resize": "big"}, '"resize" of kind image: expected WIDTHxHEIGHT'),
        ({"resize": "x"}, '"resize" of kind image: expected WIDTHxHEIGHT'),
        ({"thumbnail": "100x"}, '"thumbnail" of kind image: expected WIDTHxHEIGHT such as 256x256'),
        ({"resize": "1x1", "thumbnail": "1x1"}, "leave out one of them"),
        ({"equalize": "local"}, "equalize"),
        ({"equalize": "clahe", "clip": 0.5}, '"clip" of kind image: expected a number of at least 1'),
        ({"equalize": "clahe", "tiles": [0, 8]}, '"tiles" of kind image: expected two numbers'),
        ({"format": "png", "quality": 101}, '"quality" of kind image: expected a whole number from 1 to 100'),
        (
            {"format": "png", "max_megapixels": 500},
            '"max_megapixels" of kind image: expected a number from 0.001 to 89',
        ),
        ({"format": "png", "key": "one"}, "the same for all tasks"),
    ],
)
def test_options_that_can_not_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        image_kind.Image(options)


@pytest.mark.parametrize(
    ("body", "key", "says"),
    [
        (7, None, "expected the key of an object"),
        ("", None, "expected the key of an object"),
        ("../a", None, "not a relative path"),
        ("a/../../b", "out/{}", "not a relative path"),
        ("a", "{//}/{}", "not a relative path"),  # the folder of "a" is "."
        ("a.png", "{}", "would replace its input"),
    ],
)
def test_bodies_that_no_attempt_could_take(body: Any, key: str | None, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        image_kind.Image({"format": "png", "key": key}).check(body)


COPIES = """\
name: copies
backend: {backend}
workload: {{kind: mirror, images: {images}, prefix: in, items: ["{{1..2}}.jpg"]}}
---
"""
SMALL = """\
name: small
backend: {backend}
workload:
  kind: image
  items: ["in/{{1..2}}.jpg"]
  thumbnail: 64x64
  key: "small/{{/.}}.jpg"
"""


def _run(file: Path) -> None:
    ended = CliRunner().invoke(
        kon, ["run", str(file), "--out", str(file.parent / "runs"), "--quiet"], prog_name="kon"
    )
    assert ended.exit_code == 0, ended.output


def test_a_run_takes_up_what_another_has_stored(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in (1, 2):
        (tmp_path / "images" / f"{number}.jpg").write_bytes(encoded(photo(200, 100, number)))
    file = tmp_path / "exp.yml"
    backend = f"{{name: sqlite, objects: {tmp_path}/kept}}"
    file.write_text((COPIES + SMALL).format(backend=backend, images=tmp_path / "images"))
    assert [each.workload.count(1) for each in load(file)] == [2, 2]
    _run(file)
    small = {each.name: each for each in (tmp_path / "kept" / "small").iterdir()}
    assert sorted(small) == ["1.jpg", "2.jpg"]
    assert [header.read_header(each.read_bytes()).width for each in small.values()] == [64, 64]


@pytest.mark.long
def test_on_amazons_services(tmp_path: Path, on_ministack: Emulator) -> None:
    """In a bucket of the user's own."""
    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="my-pictures")
    for number in (1, 2):
        body = encoded(photo(200, 100, number))
        s3.put_object(Bucket="my-pictures", Key=f"all/in/{number}.jpg", Body=body)
    file = tmp_path / "exp.yml"
    place = "prefix: pictures, region: us-east-1, depth_lag_s: 1, objects: s3://my-pictures/all"
    file.write_text(SMALL.format(backend=f"{{name: aws, {place}}}"))
    _run(file)
    listed = {each["Key"] for each in s3.list_objects_v2(Bucket="my-pictures")["Contents"]}
    assert listed == {f"all/{folder}/{name}.jpg" for folder in ("in", "small") for name in (1, 2)}
    got = s3.get_object(Bucket="my-pictures", Key="all/small/1.jpg")["Body"]
    assert header.read_header(got.read()).width == 64
    s3.close()
