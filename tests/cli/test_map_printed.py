"""What `kon map` has recorded or logged as done has been printed, or is printed by `--resume`: wherever it is
interrupted, killed, or finds no room."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.mapping import KON, Ended, kon_map, running
from tests.loaded import python

pytestmark = pytest.mark.usefixtures("temporary")

STRUCK = """
import errno, os, signal, sys, threading

how, left = sys.argv.pop(1), int(sys.argv.pop(1))
MAIN = threading.main_thread()
WRITERS = {"write", "flush", "open", "sendfile", "copy_file_range"}

def is_following(frame):
    while frame is not None and frame.f_code.co_name != "_follow":
        if "/kon/report/" in frame.f_code.co_filename:  # which only reads
            return False
        frame = frame.f_back
    return frame is not None

def trace(frame, event, arg):
    global left
    if not frame.f_code.co_filename.endswith(("map_run.py", "map_output.py", "joblog.py")):
        return None
    if event == "line" and is_following(frame):
        left -= 1
        if not left:
            sys.settrace(None)
            os.kill(os.getpid(), signal.Signals[how])
    return trace

def profile(frame, event, arg):
    global left
    if event == "c_call" and arg.__name__ in WRITERS and is_following(frame):
        left -= 1
        if not left:
            sys.setprofile(None)
            print("struck", file=sys.stderr)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

from kon.cli import main
if how == "full":
    sys.setprofile(profile)
else:
    sys.settrace(trace)
main()
"""
"""A program `kon` that is sent a signal at the given line of those that take the answers, or finds the disk
full at the given write of those."""

ITEMS = [str(number) for number in range(1, 9)]
MANY = 4_000
COMMAND = f"echo {{}}; test {{}} != 5 || head -c {MANY} /dev/zero | tr '\\0' 5; test {{}} != 1 || sleep 0.3"
KEPT = ["--joblog", "--out"]


def struck(how: str, place: int, *words: str, cwd: Path) -> Ended:
    ended = subprocess.run(
        [*python(), "-c", STRUCK, how, str(place), "map", *words],
        stdin=subprocess.DEVNULL, capture_output=True, cwd=cwd, timeout=60, check=False,
    )  # fmt: skip
    return Ended(ended.returncode, ended.stdout, ended.stderr.decode())


def is_whole(out: bytes) -> bool:
    """Whether the output of each item is there."""
    return all(f"{item}\n".encode() in out for item in ITEMS) and b"5" * MANY in out


@pytest.mark.parametrize("order", [[], pytest.param(["-k"], marks=pytest.mark.long)], ids=["", "k"])
@pytest.mark.parametrize("kept", KEPT)
class TestNothingIsLost:
    """Output may come twice where kon is killed or can't write. It comes at least once."""

    def one(self, folder: Path, how: str, place: int, words: list[str]) -> Ended:
        folder.mkdir()
        first = struck(how, place, *words, cwd=folder)
        again = kon_map("--resume", *words, cwd=folder)
        assert again.code == 0, (place, first, again)
        assert is_whole(first.out + again.out), (place, first, again)
        return first

    @pytest.mark.parametrize("how", [pytest.param("SIGINT", marks=pytest.mark.long), "SIGKILL"])
    @pytest.mark.parametrize(
        "places", [range(90, 300, 70), pytest.param(range(1, 500, 7), marks=pytest.mark.slow)], ids=len
    )
    def test_at_any_line(self, tmp_path: Path, places: range, how: str, kept: str, order: list[str]) -> None:
        words = [kept, "records", *order, "-j2", COMMAND, ":::", *ITEMS]
        codes = [self.one(tmp_path / str(place), how, place, words).code for place in places]
        assert sum(code != 0 for code in codes) >= len(codes) // 2

    def test_on_a_full_disk(self, tmp_path: Path, kept: str, order: list[str]) -> None:
        words = [kept, "records", "--results", "each", *order, "-j2", COMMAND, ":::", *ITEMS]
        place = 1
        while "struck" in (first := self.one(tmp_path / str(place), "full", place, words)).err:
            said = first.err.splitlines()[-1]
            assert first.code == 2
            assert "No space left" in said
            assert "--resume" in said, said
            for item in ITEMS:
                assert (tmp_path / str(place) / "each" / item / "stdout").stat().st_size >= 2
            place += 8  # at 17 it is noted what was printed
        assert place > 30


def test_what_waits_for_its_turn_is_printed_by_who_takes_it_up(tmp_path: Path) -> None:
    """The first holds up all others, which are recorded and not printed."""
    command = "test {} != 1 || while ! test -e may; do sleep 0.05; done; echo {}; touch {}.ended"
    words = ["-k", "-j2", "--out", "records", command, ":::", *ITEMS[:4]]
    with running([*KON, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                 cwd=tmp_path) as process:  # fmt: skip
        while b'"4\\n"' not in b"".join(
            each.read_bytes() for each in tmp_path.glob("records/*/results.jsonl")
        ):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b""), err
    (tmp_path / "may").touch()
    assert kon_map("--resume", *words, cwd=tmp_path) == (0, b"1\n2\n3\n4\n", "")
    assert kon_map("--resume", *words, cwd=tmp_path) == (0, b"", "")


def test_what_was_shown_as_it_came_is_not_shown_again(tmp_path: Path) -> None:
    command = "echo {}; test {} != 1 || while ! test -e may; do sleep 0.05; done; echo {} ended"
    words = ["--line-buffer", "-j2", "--out", "records", command, ":::", "1", "2"]
    with running([*KON, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                 cwd=tmp_path) as process:  # fmt: skip
        assert process.stdout is not None
        first = b"".join(process.stdout.readline() for _ in range(3))
        shown = len(b"1\n2\n2 ended\n")
        while not any(
            b":%d" % shown in each.read_bytes() for each in tmp_path.glob("records/*/printed.jsonl")
        ):
            time.sleep(0.02)  # until it is noted: an interrupt before that has it shown again
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert sorted(first.splitlines()) == [b"1", b"2", b"2 ended"]
    (tmp_path / "may").touch()
    assert kon_map("--resume", *words, cwd=tmp_path) == (0, b"1 ended\n", "")


def test_records_from_before_this_was_noted_count_as_printed(tmp_path: Path) -> None:
    words = ["--out", "records", "echo {}", ":::", "a", "b"]
    assert kon_map(*words, cwd=tmp_path).code == 0
    [noted] = tmp_path.glob("records/*/printed.jsonl")
    noted.unlink()
    assert kon_map("--resume", *words, cwd=tmp_path) == (0, b"", "")
