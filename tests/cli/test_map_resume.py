"""Runs of `kon map` that are interrupted, and taken up again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.mapping import KON, Ended, kon_map, running

pytestmark = pytest.mark.usefixtures("temporary")


INTERRUPTED_AT = """
import signal, sys

left = int(sys.argv.pop(1))
WATCHED = ("map_run.py", "map_output.py", "joblog.py", "reader.py", "tally.py")

def trace(frame, event, arg):
    global left
    if not frame.f_code.co_filename.endswith(WATCHED) or not is_following(frame):
        return None
    if event == "line":
        left -= 1
        if not left:
            sys.settrace(None)
            signal.raise_signal(signal.SIGINT)
    return trace

def is_following(frame):
    while frame is not None and frame.f_code.co_name != "_follow":
        frame = frame.f_back
    return frame is not None

from kon.cli import main
sys.settrace(trace)
main()
"""
"""A program `kon` that is sent SIGINT at the given line of those that take the answers, as they run."""

INTERRUPTED_WHEN_ALL_ENDED = """
import signal
from kon.cli import main
from kon.cli.map_run import ProgressLine

ProgressLine.update = lambda line, tally: tally.left or signal.raise_signal(signal.SIGINT)
main()
"""


class TestResume:
    COMMAND = "echo {}; echo {} >> ran; test -e may || test {} != b"

    def test_records(self, tmp_path: Path) -> None:
        words = ["-k", "--out", "records", self.COMMAND, "a", "b", "c"]
        first = kon_map(*words, cwd=tmp_path)
        assert (first.code, first.out) == (1, b"a\nb\nc\n")
        assert "(kon results" in first.err
        refused = kon_map(*words, cwd=tmp_path)
        assert refused.code == 2
        assert (
            "--out records holds a run echo already; nothing was run. Go on with it by --resume"
            in refused.err
        )
        assert kon_map("--resume", *words, cwd=tmp_path)[:2] == (1, b"")
        (tmp_path / "may").touch()
        assert kon_map("--resume-failed", *words, cwd=tmp_path)[:2] == (0, b"b\n")
        assert sorted((tmp_path / "ran").read_text().split()) == ["a", "b", "b", "c"]
        other = kon_map("--resume", *words[:-1], "d", cwd=tmp_path)
        assert (other.code, "differs in its items" in other.err) == (2, True)

    def test_job_log(self, tmp_path: Path) -> None:
        words = ["-k", "--joblog", "log", self.COMMAND, "a", "b", "c"]
        assert kon_map(*words, cwd=tmp_path).code == 1
        log = (tmp_path / "log").read_text().splitlines()
        lines = sorted(log[1:])
        assert [line.split("\t")[6] for line in lines] == ["0", "1", "0"]
        # as if it had been killed before the third
        (tmp_path / "log").write_text("\n".join([log[0], *lines[:2], ""]))
        resumed = kon_map("--resume", *words, cwd=tmp_path)
        assert resumed[:2] == (1, b"c\n")
        (tmp_path / "may").touch()
        assert kon_map("--resume-failed", *words, cwd=tmp_path)[:2] == (0, b"b\n")
        columns = [line.split("\t") for line in (tmp_path / "log").read_text().splitlines()]
        assert [(line[0], line[6]) for line in columns[1:]] == [
            ("1", "0"),
            ("2", "1"),
            ("3", "0"),
            ("2", "0"),
        ]
        assert sorted((tmp_path / "ran").read_text().split()) == ["a", "b", "b", "c", "c"]


class TestJobLogFile:
    def test_one_run_at_a_time(self, tmp_path: Path) -> None:
        """Another would write over it; with --resume it would run again what runs."""
        words = ["--joblog", "log", "until test -e may; do sleep 0.02; done; echo {} >> ran", ":::", "a", "b"]
        with running([*KON, *words], stdin=subprocess.DEVNULL, cwd=tmp_path) as process:
            while not (tmp_path / "log").exists() or not (tmp_path / "log").read_bytes():
                time.sleep(0.01)
            for more in ([], ["--resume"]):
                second = kon_map(*more, *words, cwd=tmp_path)
                assert second.code == 2
                assert "--joblog log: another `kon map` logs in it; nothing was run" in second.err
            (tmp_path / "may").touch()
            assert process.wait(60) == 0
        assert len((tmp_path / "log").read_text().splitlines()) == 3
        assert kon_map("--resume", *words, cwd=tmp_path) == (0, b"", "")
        assert sorted((tmp_path / "ran").read_text().split()) == ["a", "b"]
        assert kon_map(*words, cwd=tmp_path).code == 0, "a new log takes the place of the old one"
        assert len((tmp_path / "log").read_text().splitlines()) == 3

    def test_a_pipe(self, tmp_path: Path) -> None:
        ended = kon_map("-k", "--joblog", "/dev/stdout", "true", ":::", "a", "b", cwd=tmp_path)
        assert (ended.code, ended.out.count(b"\n"), ended.err) == (0, 3, "")


def waiting(folder: Path) -> str:
    """A command that names its folder, by which its processes are told from all others."""
    return f"touch {{}}.begun; until test -e {folder}/{{}}.may; do sleep 0.05; done; echo {{}}"


def waits(folder: Path) -> bool:
    """Whether such a command runs: a shell of it, and no `kon map` that names it too."""
    listed = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True)
    lines = listed.stdout.splitlines()
    return any(f"until test -e {folder}/" in line and "kon.cli" not in line for line in lines)


class TestInterrupt:
    def interrupted(self, folder: Path, *words: str, by: int = signal.SIGINT) -> Ended:
        """`kon map` with two commands at once, told to stop once both run."""
        line = [*KON, "-k", *words, "-j2", waiting(folder), "a", "b", "c"]
        with running(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder) as process:
            while not ((folder / "a.begun").exists() and (folder / "b.begun").exists()):
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
            assert waits(folder)
            process.send_signal(by)
            out, err = process.communicate(timeout=60)
            return Ended(process.returncode, out, err.decode())

    @pytest.mark.parametrize(
        ("words", "by"),
        [((), signal.SIGINT), ((), signal.SIGTERM), (("--halt", "soon"), signal.SIGINT)],
    )
    def test_without_records_all_is_stopped(
        self, tmp_path: Path, temporary: Path, words: tuple[str, ...], by: int
    ) -> None:
        ended = self.interrupted(tmp_path, *words, by=by)
        assert (ended.code, ended.out) == (130, b"")
        assert (
            "interrupted with 0 of 3 tasks ended; those that ran were stopped, and of the others" in ended.err
        )
        assert list(temporary.iterdir()) == []
        assert not waits(tmp_path)

    def test_what_had_ended_is_in_the_job_log(self, tmp_path: Path) -> None:
        """Only what ran at that moment runs again."""
        line = ["--joblog", "log", "-j2", "echo {} >> ran", ":::", *map(str, range(1_000))]
        with running(
            [*KON, *line], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=tmp_path
        ) as process:
            while not (tmp_path / "ran").exists() or (tmp_path / "ran").stat().st_size < 400:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
            assert process.returncode == 130
        logged = (tmp_path / "log").read_text().count("\n") - 1
        assert f"interrupted with {logged} of 1,000 tasks ended" in err.decode()
        assert kon_map("--resume", *line, cwd=tmp_path).code == 0
        ran = (tmp_path / "ran").read_text().split()
        assert set(ran) == set(map(str, range(1_000)))
        assert len(ran) <= 1_002

    @pytest.mark.parametrize(
        "places", [range(200, 1_400, 400), pytest.param(range(1, 2_000, 9), marks=pytest.mark.slow)]
    )
    def test_a_signal_at_any_line_loses_nothing(self, tmp_path: Path, places: range) -> None:
        """Between an answer that is read and its line in the log there are many lines of code."""
        line = ["--joblog", "log", "-j2", "echo {}; echo {} >> ran", ":::", *map(str, range(12))]
        interrupted = 0
        for place in places:
            folder = tmp_path / str(place)
            folder.mkdir()
            first = subprocess.run(
                [sys.executable, "-c", INTERRUPTED_AT, str(place), "map", *line],
                stdin=subprocess.DEVNULL, capture_output=True, cwd=folder, timeout=60, check=False,
            )  # fmt: skip
            assert first.returncode in (0, 130), first.stderr
            interrupted += first.returncode == 130
            logged = {row.split(b"\t")[0] for row in (folder / "log").read_bytes().splitlines()[1:]}
            assert {str(int(said) + 1).encode() for said in first.stdout.split()} == logged
            again = kon_map("--resume", *line, cwd=folder)
            assert again.code == 0, again.err
            ran = (folder / "ran").read_text().split()
            assert set(ran) == set(map(str, range(12)))
            assert len(ran) <= 14, place  # two ran at that moment
        assert interrupted >= len(places) // 2

    @pytest.mark.parametrize("kept", [[], ["--joblog", "log"], ["--out", "records"]], ids=str)
    def test_when_all_have_ended_nothing_is_left(self, tmp_path: Path, kept: list[str]) -> None:
        ended = subprocess.run(
            [sys.executable, "-c", INTERRUPTED_WHEN_ALL_ENDED, "map", *kept, "echo {}", ":::", "a", "b"],
            stdin=subprocess.DEVNULL, capture_output=True, cwd=tmp_path, timeout=60, check=False,
        )  # fmt: skip
        assert (ended.returncode, sorted(ended.stdout.split())) == (130, [b"a", b"b"])
        said = ended.stderr.decode().splitlines()[-1]
        assert said == "kon: interrupted with 2 of 2 tasks ended: nothing is left to run"

    def test_with_records_it_goes_on(self, tmp_path: Path) -> None:
        ended = self.interrupted(tmp_path, "--out", "records")
        assert ended.code == 130
        assert "the others go on in the background. To see them end: kon " in ended.err
        for name in "abc":
            (tmp_path / f"{name}.may").touch()
        words = ["--resume", "--out", "records", "-j2", waiting(tmp_path), "a", "b", "c"]
        resumed = kon_map("-k", *words, cwd=tmp_path)
        assert resumed == (0, b"a\nb\nc\n", "")
