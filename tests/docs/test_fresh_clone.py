"""The commands of docs/quickstart.md do what they should in a fresh clone of what is committed.

`make soak` runs them as they stand, installation and all; `make test` one `make run`, on a small experiment
and with a virtualenv that has this one's packages, and what looks at its results.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import sysconfig
import termios
from pathlib import Path
from typing import Final

import pytest

from tests.docs.blocks import PROJECT, bare, blocks, steps

TO_CLONE: Final = ["git clone <this project> kon", "cd kon"]
"""What the page begins with; the fixture does it."""

AGAIN: Final = "make run"
"""Each costs the start of two playbooks. After the first only the long test has time for it; tests/playbooks
has the same variables."""

SMALLER: Final = {
    "glob: [../kon/**/*.py, ../strategies/*.py]": "glob: [../strategies/*.py]",
    "count: 200": "count: 10",
    "  - none\n": "",
    "  - {name: read_then_write, record: after}\n": "",
    "  - {name: read_then_write, record: before}\n": "",
    "  - conditional_put\n": "",
    "  - result_once\n": "",
}
"""What the small experiment has in place of what stands in workloads/quickstart.yml."""

ENVIRONMENT: Final = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    if shutil.which("git") is None or not (PROJECT / ".git").exists():
        pytest.skip("git, or the repository, is missing: there is nothing to clone")
    folder = tmp_path / "kon"
    subprocess.run(["git", "clone", "--quiet", PROJECT, folder], check=True, timeout=100)
    return folder


def commands(clone: Path) -> list[str]:
    page = clone / "docs" / "quickstart.md"
    found = [bare(step.command) for block in blocks(page) for step in steps(block)]
    assert found[:2] == TO_CLONE
    return found[2:]


def on_terminal(clone: Path, command: str, columns: int) -> list[str]:
    """The lines that a command has written to a terminal of that width, without those it drew over."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(
        ["sh", "-ec", command],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        cwd=clone,
        env={**ENVIRONMENT, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "NO_COLOR": "1"},
        start_new_session=True,
    ) as shell:
        os.close(theirs)
        found = b""
        try:
            while part := os.read(ours, 65_536):
                found += part
        except OSError:  # how a terminal ends whose processes have gone
            pass
        os.close(ours)
    assert shell.returncode == 0, found.decode()
    return [line.rpartition("\r")[2] for line in found.decode().replace("\r\n", "\n").splitlines()]


def run(clone: Path, commands: list[str], timeout_s: float) -> str:
    """As one shell would; what they print. Leaves nothing running."""
    with subprocess.Popen(
        ["sh", "-ec", "\n".join(commands)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=clone,
        env={**ENVIRONMENT, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        start_new_session=True,
    ) as shell:
        try:
            printed, _ = shell.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGTERM)  # Ansible and kon end what they have started
            raise
    assert shell.returncode == 0, printed
    return printed


def borrow_packages(clone: Path) -> None:
    """A virtualenv in the clone: the packages that the tests run on, and before them the clone itself."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / ".venv"], check=True, timeout=100)
    ours, theirs = Path(sys.executable).parent, clone / ".venv" / "bin"
    (packages,) = (clone / ".venv" / "lib").glob("python*/site-packages")
    packages.joinpath("borrowed.pth").write_text(f"{clone}\n{sysconfig.get_path('purelib')}\n")
    for program in (ours / "kon", *ours.glob("ansible*")):
        text = program.read_text().replace(str(ours), str(theirs))
        (theirs / program.name).write_text(text)
        (theirs / program.name).chmod(0o755)
    (clone / ".venv" / ".runtime-installed").touch()


@pytest.mark.timeout(300)
@pytest.mark.long
def test_the_quickstart_runs_in_a_fresh_clone(clone: Path) -> None:
    borrow_packages(clone)
    experiment = clone / "workloads" / "quickstart.yml"
    text = experiment.read_text()
    for said, smaller in SMALLER.items():
        assert said in text, said
        text = text.replace(said, smaller)
    experiment.write_text(text)
    first, *rest = commands(clone)
    printed = on_terminal(clone, first, 80)
    steps_, tables, after = (" ".join(printed[at:]) for at in _sections(printed))
    assert [line for line in printed if len(line) > 80] == []
    assert re.search(r"\d\.\d s  Run it", steps_), "each step, and how long it took"
    assert "quickstart-lease-w4-r1" in tables
    assert "files have the SHA-256 that was recorded for them" in tables
    assert "PLAY" not in steps_
    assert after.count("  kon ") == 3, "three next steps, at the end"
    run(clone, [each for each in rest if not each.startswith(AGAIN)], 280)
    assert (clone / "quickstart.html").stat().st_size > 10_000


def _sections(printed: list[str]) -> list[int]:
    """Where steps, tables and next steps begin."""
    return [
        next(at for at, line in enumerate(printed) if word in line) for word in (" s  ", "x shell", "Next")
    ]


@pytest.mark.slow
def test_the_quickstart_runs_as_it_stands(clone: Path) -> None:
    """With locked dependencies from the package index, as a newcomer has it."""
    printed = run(clone, commands(clone), 1_800)
    assert "installing requirements.lock" in printed
    assert "result_once" in printed
    assert (clone / "results" / "earlier").is_dir()
