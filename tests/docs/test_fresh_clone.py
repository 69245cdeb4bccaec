"""The commands of docs/quickstart.md do what they should in a fresh clone of what is committed.

`make soak` runs them as they stand, installation and all; `make test` one `make run`, on a small experiment
and with a virtualenv that has this one's packages, and what looks at its results.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
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
    "glob: [../kon/**/*.py, ../strategies/*.py, ../tests/**/*.py]": "glob: [../strategies/*.py]",
    "count: 200": "count: 10",
    "workers: [1, 2, 4]": "workers: [4]",
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
def test_the_quickstart_runs_in_a_fresh_clone(clone: Path) -> None:
    borrow_packages(clone)
    experiment = clone / "workloads" / "quickstart.yml"
    text = experiment.read_text()
    for said, smaller in SMALLER.items():
        assert said in text, said
        text = text.replace(said, smaller)
    experiment.write_text(text)
    first, *rest = commands(clone)
    printed = run(clone, [first, *(each for each in rest if not each.startswith(AGAIN))], 280)
    assert "quickstart-lease-w4-r1" in printed
    assert "files have the SHA-256 that was recorded for them" in printed
    assert (clone / "quickstart.html").stat().st_size > 10_000


@pytest.mark.slow
def test_the_quickstart_runs_as_it_stands(clone: Path) -> None:
    """With locked dependencies from the package index, as a newcomer has it."""
    printed = run(clone, commands(clone), 1_800)
    assert "installing requirements.lock" in printed
    assert "result_once" in printed
    assert (clone / "results" / "earlier").is_dir()
