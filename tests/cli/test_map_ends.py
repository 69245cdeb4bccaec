"""How commands and runs of `kon map` end: failures, limits, halts, what runs short."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.mapping import KON, kon_map, running

pytestmark = pytest.mark.usefixtures("temporary")


class TestEnds:
    def test_one_that_fails(self) -> None:
        ended = kon_map("-k", "--attempts", "2", "echo {} $KON_ATTEMPT; exit {}", "0", "3")
        assert (ended.code, ended.out) == (1, b"0 1\n3 2\n")
        assert ended.err == "kon: task 2 (3): exit 3\nkon: of 2 tasks 1 failed\n"

    def test_one_that_takes_too_long(self) -> None:
        ended = kon_map("-q", "--timeout", "0.2", "sleep", ":::", "60")
        assert (ended.code, ended.err) == (1, "kon: task 1 (60): timed out after 0.2 s\n")

    def test_json(self) -> None:
        ended = kon_map("--json", "-j2", "exit", ":::", "0", "1")
        answer = json.loads(ended.out)
        [row] = answer["runs"]
        assert (answer["schema"], answer["experiment"]) == (1, "exit")
        assert (row["tasks"], row["done"], row["failed"], row["duplicate_starts"]) == (2, 1, 1, 0)
        assert row["workers"] * row["slots"] == 2
        assert ended.code == 1

    def test_slots_are_a_limit(self, tmp_path: Path) -> None:
        command = "mkdir r{#}; set -- r*; test $# -le 3 || touch more; sleep 0.05; rmdir r{#}; test ! -e more"
        assert kon_map("-j3", command, *map(str, range(15)), cwd=tmp_path).code == 0

    @pytest.mark.parametrize(("words", "at_once"), [((), False), (("--halt", "soon"), True)])
    def test_what_may_halt_a_run_is_answered_at_once(
        self, words: tuple[str, ...], at_once: bool, tmp_path: Path
    ) -> None:
        """Of commands of 2 ms, some 40 more began after the failure: outcomes were gathered for 50 ms."""
        assert kon_map(*words, "--out", "kept", "true", ":::", "a", cwd=tmp_path).code == 0
        spec = json.loads((tmp_path / "kept/true/run.json").read_text())["spec"]
        assert (spec.get("flush_s") == 0, spec.get("prefetch") == 0) == (at_once, at_once)

    @pytest.mark.parametrize("halt", ["soon", "now"])
    def test_halt(self, tmp_path: Path, halt: str) -> None:
        # the first waits for two others to have begun, and fails; the others wait for "go"
        command = (
            "case {} in 1) until test -e 2 -a -e 3; do sleep 0.01; done; exit 1;; esac; "
            "touch {}; until test -e go; do sleep 0.01; done; sleep 0.{}; echo {}"
        )
        line = [*KON, "--halt", halt, "-j3", command, *map(str, range(1, 10))]
        with running(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, cwd=tmp_path
        ) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == b"kon: task 1 (1): exit 1\n"
            if halt == "soon":
                (tmp_path / "go").touch()
            out, err = process.communicate(timeout=60)
        assert process.returncode == 1
        begun = {path.name for path in tmp_path.glob("[0-9]")}
        assert set(out.decode().split()) == (begun if halt == "soon" else set()), "each ends in its own time"
        told = re.fullmatch(rb"kon: of 9 tasks 1 failed, (\d+) cancelled\n", err)
        assert told, err
        assert int(told[1]) == 8 - len(out.split())

    def test_nobody_reads_it_any_more(self, tmp_path: Path) -> None:
        command = [*KON, "-j1", "echo {}; echo {} >> ran; sleep 0.5", *map(str, range(1, 50))]
        with running(command, stdout=subprocess.PIPE, cwd=tmp_path) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"1\n"
            process.stdout.close()
            assert process.wait(60) == 141
        assert len((tmp_path / "ran").read_text().split()) < 49


class TestShortage:
    def test_file_descriptors_are_no_fault_of_the_tasks(self) -> None:
        """Fewer run at once, and that is said."""
        line = 'ulimit -n 200; exec "$@"'
        ended = subprocess.run(
            ["bash", "-c", line, "bash", *KON, "-j100", "sleep 0.2; echo {}", ":::", *map(str, range(100))],
            capture_output=True, check=False, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert (ended.returncode, len(ended.stdout.split())) == (0, 100), ended.stderr
        assert "need more open files than this system allows (ulimit -Hn)" in ended.stderr

    def test_nothing_is_begun_where_not_even_one_command_could_run(self, tmp_path: Path) -> None:
        for most, code in ((31, 2), (32, 0)):
            line = f'ulimit -n {most}; exec "$@" --out kept -j2 "echo {{}}" ::: a b'
            ended = subprocess.run(
                ["bash", "-c", line, "bash", *KON],
                capture_output=True, check=False, text=True, stdin=subprocess.DEVNULL, cwd=tmp_path,
            )  # fmt: skip
            assert ended.returncode == code, ended.stderr
            assert (tmp_path / "kept").exists() is not code
            if code:
                assert ended.stderr.startswith(
                    "kon: this system allows 31 open files (ulimit -Hn), and kon needs 32"
                )

    def test_the_soft_limit_is_raised(self) -> None:
        line = 'ulimit -Sn 128; exec "$@"'
        ended = subprocess.run(
            ["bash", "-c", line, "bash", *KON, "-j100", "sleep 0.2; echo {}", ":::", *map(str, range(100))],
            capture_output=True, check=False, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert (ended.returncode, len(ended.stdout.split()), ended.stderr) == (0, 100, "")
