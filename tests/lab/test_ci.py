""".ci/run and `make check`, with programs that only say that they were called."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
CI = PROJECT / ".ci/run"

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


QUICK, LONG = "-n auto --dist worksteal", "-n auto --dist worksteal -m long and not slow and not fleet"
AGAIN = "-n 0 -m not slow and not fleet --last-failed --last-failed-no-failures none"

PYTEST = """\
#!/bin/sh
echo "$*" >>called
{ read code; cat >rest; } <codes; mv rest codes; exit "$code"
"""


@pytest.mark.parametrize(
    ("codes", "called", "is_well", "options"),
    [
        ((0, 0), [QUICK, LONG], True, ""),
        ((1, 0, 0), [QUICK, LONG, AGAIN], True, ""),
        ((0, 1, 0), [QUICK, LONG, AGAIN], True, ""),
        ((0, 1, 1), [QUICK, LONG, AGAIN], False, ""),
        ((2,), [QUICK], False, ""),  # interrupted
        ((0, 2), [QUICK, LONG], False, ""),
        ((0, 5), [QUICK, LONG], False, ""),  # no long test is there any more
        ((0, 5), [f"{QUICK} -x", f"{LONG} -x"], True, "-x"),
        ((5,), [f"{QUICK} -x"], False, "-x"),
    ],
)
def test_check_runs_the_long_tests_too_and_what_fails_once_more(
    tmp_path: Path, codes: tuple[int, ...], called: list[str], is_well: bool, options: str
) -> None:
    (tmp_path / "Makefile").symlink_to(PROJECT / "Makefile")
    for name in ("pyproject.toml", "requirements.lock", "requirements-dev.lock", "collections", "tests"):
        (tmp_path / name).symlink_to(PROJECT / name)
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    for name in ("mypy", "ruff", "yamllint", "ansible-lint", "pytest"):
        (programs / name).write_text(PYTEST if name == "pytest" else "#!/bin/sh\n")
        (programs / name).chmod(0o755)
    (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
    for done in (".venv/.dev-installed", ".venv/.runtime-installed", ".cache/collections/.there"):
        (tmp_path / done).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / done).touch()
    # of a make that runs these tests: what was said to it, such as PYTEST, would count here too
    apart = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS")}
    words = ["make", "check", f"ARGS={options}"]
    ended = subprocess.run(words, cwd=tmp_path, env=apart, capture_output=True, text=True)
    assert (tmp_path / "called").read_text().splitlines() == called, ended
    assert (ended.returncode == 0) == is_well, ended
