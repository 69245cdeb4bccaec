""".ci/run, with a `make` and a lab that only say that they were called."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CI = Path(__file__).parents[2] / ".ci/run"

PYTHONS = ["lab", "test-python SUITE=trixie", "lab", "test-python SUITE=forky"]
"""Every Python that the package names and this machine's may lack."""

MAKE = """\
#!/bin/sh
case $1 in --version) echo make; exit 0 ;; esac
echo "$*" >>called
case $1 in check) exit {check} ;; test-python) exit {python} ;; test-fleet) exit {fleet} ;; esac
"""


class Checkout:
    """check, python, fleet: how `make check` and the other two end. can: what the lab says, and how."""

    def __init__(
        self, folder: Path, check: int = 0, python: int = 0, fleet: int = 0, can: tuple[str, int] = ("", 0)
    ) -> None:
        self.folder = folder
        said, exit_code = can
        self._write("bin/make", MAKE.format(check=check, python=python, fleet=fleet))
        self._write(".venv/bin/python", f"#!/bin/sh\necho lab >>called\necho '{said}'\nexit {exit_code}\n")
        (folder / ".ci").mkdir()
        shutil.copy(CI, folder / ".ci/run")

    def _write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
        file.chmod(0o755)

    def run(self) -> tuple[int, str, list[str]]:
        """Its exit code, what it said, and what it has called."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        ended = subprocess.run(
            [self.folder / ".ci/run"], env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, text=True
        )
        return ended.returncode, ended.stdout, (self.folder / "called").read_text().splitlines()


@pytest.mark.parametrize("fleet", [0, 3])
def test_where_the_lab_can_run_the_fleet_is_tested_and_counts(tmp_path: Path, fleet: int) -> None:
    exit_code, _, called = Checkout(tmp_path, fleet=fleet).run()
    assert (exit_code, called) == (fleet, ["check", *PYTHONS, "lab", "test-fleet"])


def test_another_python_on_which_tests_fail_is_the_end(tmp_path: Path) -> None:
    exit_code, _, called = Checkout(tmp_path, python=1).run()
    assert (exit_code, called) == (1, ["check", *PYTHONS[:2]])


def test_where_it_can_not_that_is_said_and_no_failure(tmp_path: Path) -> None:
    exit_code, said, called = Checkout(tmp_path, can=("it needs root", 2)).run()
    assert (exit_code, called) == (0, ["check", "lab", "lab", "lab"])
    for suite in ("trixie", "forky"):
        assert f"make test-python SUITE={suite} was left out: it needs root\n" in said
    assert said.endswith("make test-fleet was left out: it needs root\n")


def test_a_check_that_fails_is_the_end(tmp_path: Path) -> None:
    exit_code, _, called = Checkout(tmp_path, check=2).run()
    assert (exit_code, called) == (2, ["check"])


def test_a_lab_that_can_not_say_is_a_failure(tmp_path: Path) -> None:
    exit_code, _, called = Checkout(tmp_path, can=("", 1)).run()
    assert (exit_code, called) == (1, ["check", "lab"])
