#!/usr/bin/python
"""host_bundle: all of kon that hosts need, installed once, here, for the Python that they have."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

DOCUMENTATION = """
module: host_bundle
short_description: Makes one file with all of kon that a host needs
description:
  - The project, the part of requirements-dev.lock that a worker needs, both installed for the hosts' Python
    and processor, and further files. A host unpacks it, and needs neither pip nor a way to a package index.
  - Its name says what is in it, so that nothing is made twice.
options:
  project:
    description: The folder of the project.
    type: path
    required: true
  python:
    description: The interpreter that has pip and the project's build tools.
    type: path
    required: true
  extras:
    description: Of kon's own, such as C(animoto).
    type: list
    elements: str
    default: []
  files:
    description: Further files, text by name.
    type: dict
    required: true
  targets:
    description: What hosts there are, as C(3.11 x86_64).
    type: list
    elements: str
    required: true
  folder:
    description: Where it is put.
    type: path
    required: true
author: kon contributors
"""

EXAMPLES = """
- name: Put together what hosts need
  host_bundle:
    project: /src/kon
    python: /src/kon/.venv/bin/python
    files: {install.sh: "#!/bin/sh"}
    targets: ["3.11 x86_64"]
    folder: /src/kon/.cache/bundles
"""

RETURN = """
bundles:
  description: For each target, the file as C(path), and as C(digest) what tells it from others.
  type: dict
  returned: always
"""

SOURCES = ("kon", "kon/strategies", "pyproject.toml", "README.md", "LICENSE")

# What a distribution that has Python 3.11 can load.
GLIBCS = ("manylinux2014", *(f"manylinux_2_{minor}" for minor in (28, 27, 26, 24, 17, 12)))


class Unfit(Exception):
    """What stands in the way, for people."""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "path", "required": True},
            "python": {"type": "path", "required": True},
            "extras": {"type": "list", "elements": "str", "default": []},
            "files": {"type": "dict", "required": True, "no_log": True},  # of what workers are told, one
            "targets": {"type": "list", "elements": "str", "required": True},
            "folder": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    folder, bundles, changed = Path(given["folder"]), {}, False
    try:
        for target in sorted(set(given["targets"])):
            builder = Builder(Path(given["project"]), given["python"], target, folder)
            lock = host_lock(builder.project, given["extras"], target)
            digest = digest_of(builder.project, {**given["files"], "target": target, "lock": lock})
            bundle = folder / f"kon-{digest}.tgz"
            if not bundle.exists():
                changed = True
                if not module.check_mode:
                    builder.bundle(lock, given["files"], bundle)
            bundles[target] = {"path": str(bundle), "digest": digest}
    except (OSError, ValueError, Unfit) as error:
        module.fail_json(msg=f"what hosts need can't be put together: {error}. No host was changed")
    module.exit_json(changed=changed, bundles=bundles)


class Builder:
    """target: as C(3.11 x86_64)."""

    def __init__(self, project: Path, python: str, target: str, folder: Path) -> None:
        self.project = project
        self.target = target
        self._folder = folder
        self._python = python
        self._version, self._machine = target.split()
        # else hosts do it themselves, when they install
        self.compiles = self._version == f"{sys.version_info[0]}.{sys.version_info[1]}"

    def bundle(self, lock: str, files: dict[str, str], bundle: Path) -> None:
        """Whole or not at all; once, where two calls want the same."""
        libraries = self._folder / f"libraries-{sha(f'{self.target} {self.compiles} {lock}'.encode())}.tar"
        self._folder.mkdir(parents=True, exist_ok=True)
        with alone_in(self._folder), tempfile.TemporaryDirectory(dir=self._folder) as place:
            if bundle.exists():
                return
            fresh, tree = Path(place) / "fresh", Path(place) / "tree"
            if not libraries.exists():
                self._install_libraries(lock, Path(place) / "host.lock", tree / "site")
                add(tree, fresh)
                fresh.replace(libraries)
                shutil.rmtree(tree)
            shutil.copyfile(libraries, fresh)
            self._install_kon(Path(place), tree / "site")
            for name, text in files.items():
                (tree / name).write_text(text)
            add(tree, fresh)
            packed = Path(place) / "packed"
            with fresh.open("rb") as plain_tar, gzip.open(packed, "wb", compresslevel=3) as stream:
                shutil.copyfileobj(plain_tar, stream)
            packed.chmod(0o600)  # it holds what workers find in their environment
            packed.replace(bundle)

    def _install_libraries(self, lock: str, locked: Path, site: Path) -> None:
        locked.write_text(lock)
        platforms = [f"--platform={each}_{self._machine}" for each in (*GLIBCS, "linux")]
        wheels = [
            "--only-binary=:all:",
            f"--python-version={self._version}",
            "--implementation=cp",
            *platforms,
        ]
        self._pip("install", *self._into(site), *wheels, "--require-hashes", "-r", str(locked))

    def _install_kon(self, place: Path, site: Path) -> None:
        copy, built = place / "copy", place / "built"
        for path in sources(self.project):  # setuptools leaves things where it builds
            target = copy / path.relative_to(self.project)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        self._pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built), str(copy))
        self._pip("install", *self._into(site), "--no-index", *map(str, built.iterdir()))

    def _into(self, tree: Path) -> list[str]:
        return ["--no-deps", "--target", str(tree), "--compile" if self.compiles else "--no-compile"]

    def _pip(self, *words: str) -> None:
        command = [self._python, "-m", "pip", words[0], "--quiet", "--disable-pip-version-check", *words[1:]]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if ended.returncode != 0:
            lines = ended.stdout.strip().splitlines()
            said = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
            raise Unfit(f"pip, for Python {self._version} on {self._machine}: {' '.join(said)}")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Waits until no other call is in there."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def add(tree: Path, tar_file: Path) -> None:
    """To a tar file, made if need be."""
    with tarfile.open(tar_file, "a") as tar:
        for path in sorted(tree.rglob("*")):
            tar.add(path, str(path.relative_to(tree)), recursive=False, filter=of_root)


def of_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o600 if info.name.endswith(".env") else 0o644
    return info


def sources(project: Path) -> list[Path]:
    """The files that the wheel is built from."""
    found: list[Path] = []
    for name in SOURCES:
        place = project / name
        found += sorted(place.rglob("*")) if place.is_dir() else [place]
    return [path for path in found if path.is_file() and "__pycache__" not in path.parts]


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


def digest_of(project: Path, texts: dict[str, str]) -> str:
    body = b"".join(
        f"{path.relative_to(project)}\0".encode() + path.read_bytes() for path in sources(project)
    )
    return sha(body + "".join(f"{name}\0{text}" for name, text in sorted(texts.items())).encode())


def host_lock(project: Path, extras: list[str], target: str) -> str:
    """The lines of requirements-dev.lock, which has every extra, for what a worker needs and what that needs.

    Conditions are left out, as pip would judge these by this machine.

    Raises ValueError for an extra that kon does not have, or that is not locked or not installed here.
    """
    host = environment(target)
    lines: dict[str, str] = {}
    locked: set[str] = set()  # whatever the condition
    for line in (project / "requirements-dev.lock").read_text().replace("\\\n", "").splitlines():
        if not line or line.startswith("#"):
            continue
        pinned, *hashes = line.split("--hash=")
        requirement = Requirement(pinned)
        locked.add(name_of(requirement))
        if requirement.marker is None or requirement.marker.evaluate(host):
            requirement.marker = None
            lines[name_of(requirement)] = " ".join(
                [str(requirement), *(f"--hash={each.strip()}" for each in hashes)]
            )
    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    asked = [Requirement(each) for each in about["dependencies"]]
    for extra in extras:
        if extra not in about["optional-dependencies"]:
            raise ValueError(f'kon has no extra "{extra}" ({", ".join(about["optional-dependencies"])})')
        more = [Requirement(each) for each in about["optional-dependencies"][extra]]
        if missing := {name_of(each) for each in more} - locked:
            raise ValueError(
                f'requirements-dev.lock has no {", ".join(sorted(missing))}, which the extra "{extra}" '
                "needs, so that hosts can't be given it: `make lock`"
            )
        # what a package needs is known where it is installed only; a host must get all of it
        if absent := sorted({name_of(each) for each in more if not is_installed(name_of(each))}):
            raise ValueError(
                f'the extra "{extra}" needs {", ".join(absent)}, which this machine lacks, so that what '
                f"hosts need for it is not known here: `make setup`, or pip install -e '.[{extra}]'"
            )
        asked += more
    wanted: dict[str, str] = {}
    while asked:
        requirement = asked.pop()
        name = name_of(requirement)
        # of other systems, or of Pythons that the lock is not for, there is no line
        if name not in wanted and name in lines:
            wanted[name] = lines[name]
            asked += needs(name, requirement.extras, host)
    return "".join(f"{wanted[name]}\n" for name in sorted(wanted))


def needs(name: str, extras: set[str], host: dict[str, str]) -> list[Requirement]:
    """What an installed package needs on a host; nothing where it is not installed here."""
    try:
        required = [Requirement(each) for each in metadata.requires(name) or []]
    except metadata.PackageNotFoundError:
        return []
    worlds = [{**host, "extra": extra} for extra in ("", *extras)]
    return [
        each
        for each in required
        if each.marker is None or any(each.marker.evaluate(world) for world in worlds)
    ]


def is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def name_of(requirement: Requirement) -> str:
    return str(canonicalize_name(requirement.name))


def environment(target: str) -> dict[str, str]:
    """What a condition of the lock finds on a host."""
    version, machine = target.split()
    return {
        "python_version": version,
        "python_full_version": f"{version}.0",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "implementation_name": "cpython",
        "sys_platform": "linux",
        "os_name": "posix",
    }


if __name__ == "__main__":
    main()
