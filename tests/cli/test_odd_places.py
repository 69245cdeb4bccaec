"""Places that can't be: a file, a link to nowhere, a link in a circle. Each is refused; nothing is run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.loaded import python

SMALL = "name: small\nworkload: {kind: sleep, count: 1, seconds: 0}\n"


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    (folder / "file").touch()
    (folder / "nowhere").symlink_to("/no/such/folder")
    (folder / "circle").symlink_to("circle")
    (folder / "small.yml").write_text(SMALL)
    return folder


@pytest.mark.parametrize("place", ["file/below", "nowhere", "circle"])
@pytest.mark.parametrize(
    "words",
    [
        *(["map", option, "PLACE", "touch ran", ":::", "a"] for option in ("--out", "--results", "--joblog")),
        *(
            ["map", option, "PLACE", "touch ran", ":::", "a"]
            for option in ("--tmpdir", "--workdir", "--stdin")
        ),
        ["map", "-a", "PLACE", "touch ran"],
        ["run", "small.yml", "--out", "PLACE"],
        ["submit", "small.yml", "--out", "PLACE"],
        ["validate", "PLACE"],
        ["init", "PLACE"],
        ["status", "PLACE"],
        ["runs", "PLACE"],
        ["generate", "sleep", "3", "--out", "PLACE"],
        ["doctor", "--root", "PLACE"],
    ],
    ids=lambda words: " ".join(each for each in words if each not in ("PLACE", "touch ran", ":::", "a")),
)
def test_an_odd_place_is_refused_in_a_line(odd: Path, words: list[str], place: str) -> None:
    ended = subprocess.run(
        [*python(), "-m", "kon", *(place if word == "PLACE" else word for word in words)],
        cwd=odd, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in ended.stderr, ended.stderr
    assert ended.returncode == 2, ended
    assert place in ended.stderr + ended.stdout
    assert not (odd / "ran").exists()
