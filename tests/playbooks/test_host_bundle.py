"""What hosts unpack: a lock's lines for their Python and processor, and what is said where that fails."""

from __future__ import annotations

import fcntl
import importlib.util
import re
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.playbooks.plays import PROJECT

LOCK = """\
click==8.5.1 \\
    --hash=sha256:aa
contourpy==1.3.3 ; python_full_version < '3.12' \\
    --hash=sha256:bb
contourpy==1.4.0 ; python_full_version >= '3.12' \\
    --hash=sha256:cc
cryptography==48.0.1 ; platform_machine == 'x86_64' and sys_platform == 'darwin' \\
    --hash=sha256:dd
not-installed-here==1 \\
    --hash=sha256:ff
tabulate==0.10.0 \\
    --hash=sha256:ee
"""

ABOUT = """\
[project]
name = "kon"
dependencies = ["click>=8", "contourpy", "cryptography"]
[project.optional-dependencies]
tables = ["tabulate>=0.9"]
absent = ["not-installed-here"]
traces = ["opentelemetry-sdk>=1", "tabulate"]
"""


@pytest.fixture
def bundle() -> ModuleType:
    file = PROJECT / "playbooks/roles/machine/library/host_bundle.py"
    spec = importlib.util.spec_from_file_location("host_bundle", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "requirements-dev.lock").write_text(LOCK)
    (tmp_path / "pyproject.toml").write_text(ABOUT)
    return tmp_path


@pytest.mark.parametrize(
    ("target", "taken"), [("3.11 x86_64", "contourpy==1.3.3"), ("3.12 x86_64", "contourpy==1.4.0")]
)
def test_conditions_are_judged_by_the_host_not_by_this_machine(
    bundle: ModuleType, project: Path, target: str, taken: str
) -> None:
    lines = bundle.host_lock(project, [], target)
    named = [line.split()[0] for line in lines.splitlines()]
    assert named == ["click==8.5.1", taken], "no others, and no condition that pip would judge here"
    assert "tabulate==0.10.0" in bundle.host_lock(project, ["tables"], target)


def test_an_extra_that_kon_has_not_is_told(bundle: ModuleType, project: Path) -> None:
    with pytest.raises(ValueError, match='kon has no extra "tabels" \\(tables, absent, traces\\)'):
        bundle.host_lock(project, ["tabels"], "3.11 x86_64")


def test_an_extra_that_the_lock_has_not_is_told(bundle: ModuleType, project: Path) -> None:
    with pytest.raises(ValueError, match='has no opentelemetry-sdk, which the extra "traces" needs'):
        bundle.host_lock(project, ["traces"], "3.11 x86_64")


def test_an_extra_whose_needs_are_not_known_here_is_told(bundle: ModuleType, project: Path) -> None:
    with pytest.raises(ValueError, match=r"needs not-installed-here, which this machine lacks.*make setup"):
        bundle.host_lock(project, ["absent"], "3.11 x86_64")


@pytest.mark.parametrize("extra", ["animoto", "mirror", "image", "metrics", "opentelemetry"])
def test_hosts_can_be_given_what_kinds_and_metrics_need(bundle: ModuleType, extra: str) -> None:
    assert bundle.host_lock(PROJECT, [extra], "3.11 x86_64")


def test_another_python_or_source_makes_another_bundle(bundle: ModuleType, project: Path) -> None:
    (project / "kon").mkdir()
    (project / "kon/a.py").write_text("1")
    (project / "README.md").touch()
    (project / "LICENSE").touch()
    (project / "kon/strategies").mkdir()
    one = bundle.digest_of(project, {"target": "3.11 x86_64"})
    assert bundle.digest_of(project, {"target": "3.12 x86_64"}) != one
    (project / "kon/a.py").write_text("2")
    assert bundle.digest_of(project, {"target": "3.11 x86_64"}) != one


def test_a_wheel_that_does_not_install_is_named_and_leaves_no_bundle(
    bundle: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    folder = tmp_path / "bundles"
    builder = bundle.Builder(PROJECT, sys.executable, "3.11 x86_64", folder)
    with pytest.raises(bundle.Unfit, match=r"pip, for Python 3\.11 on x86_64: ERROR: .*click==8\.5\.1"):
        builder.bundle(LOCK.split("contourpy")[0], {}, folder / "kon-x.tgz")
    assert list(folder.iterdir()) == []


def test_what_another_call_has_put_together_meanwhile_is_not_put_together_again(
    bundle: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "kon-x.tgz"

    def waits(opened: int, how: int) -> None:
        assert how == fcntl.LOCK_EX
        made.write_text("another's")

    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(bundle.fcntl, "flock", waits)
    bundle.Builder(PROJECT, sys.executable, "3.11 x86_64", tmp_path).bundle(LOCK, {}, made)
    assert made.read_text() == "another's"


def test_what_workers_are_told_is_for_root_alone(bundle: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "worker.env").write_text("TOKEN=hush")
    (tmp_path / "other").write_text("-")
    bundle.add(tmp_path, tmp_path.parent / "all.tar")
    with tarfile.open(tmp_path.parent / "all.tar") as tar:
        modes = {each.name: (each.mode, each.uid) for each in tar.getmembers()}
    assert modes == {"worker.env": (0o600, 0), "other": (0o644, 0)}
    roles = PROJECT / "playbooks/roles/machine"
    assert "install -m 600 worker.env" in (roles / "templates/install.sh.j2").read_text()
    unit = (roles / "templates/kon-worker@.service.j2").read_text()
    assert "machine_environment" not in unit, "anyone can read a unit"


def test_a_unit_that_fails_again_and_again_is_started_ever_later() -> None:
    """Each start asks the backend for what it refused before. systemd.service(5) has the keys."""
    roles = PROJECT / "playbooks/roles/machine"
    unit = (roles / "templates/kon-worker@.service.j2").read_text()
    keys = dict(line.split("=", 1) for line in unit.splitlines() if re.match(r"[A-Z]\w+=", line))
    assert keys["Restart"] == "on-failure"
    assert int(keys["RestartSteps"]) > 0, "else the pause does not grow"
    assert int(keys["RestartSec"]) < 10 < int(keys["RestartMaxDelaySec"])
