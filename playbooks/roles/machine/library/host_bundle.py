#!/usr/bin/python
"""host_bundle: one file with all of kon that a host needs: its wheel, what that depends on, its units."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: host_bundle
short_description: Makes one file with all of kon that a host needs
description:
  - The wheel of the project, the part of requirements.lock that a worker needs, and further files.
  - Its name says what is in it, so that nothing is made twice.
options:
  project:
    description: The folder of the project.
    type: path
    required: true
  python:
    description: The interpreter that has the project's build tools.
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
    folder: /src/kon/.cache/bundles
"""

RETURN = """
path:
  description: Of the file.
  type: str
  returned: always
digest:
  description: What tells it from others.
  type: str
  returned: always
"""

SOURCES = ("kon", "strategies", "pyproject.toml", "README.md", "LICENSE")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "path", "required": True},
            "python": {"type": "path", "required": True},
            "extras": {"type": "list", "elements": "str", "default": []},
            "files": {"type": "dict", "required": True},
            "folder": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    project, folder = Path(given["project"]), Path(given["folder"])
    try:
        lock = host_lock(project, given["extras"])
        digest = digest_of(project, {**given["files"], "host.lock": lock})
        bundle = folder / f"kon-{digest}.tar"
        changed = not bundle.exists()
        if changed and not module.check_mode:
            make(project, given["python"], {**given["files"], "host.lock": lock}, bundle)
    except subprocess.CalledProcessError as error:
        module.fail_json(msg=f"kon's wheel can't be built: {error.stdout.strip().splitlines()[-1:]}")
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"the bundle for hosts can't be made: {error}")
    module.exit_json(changed=changed, path=str(bundle), digest=digest)


def sources(project: Path) -> list[Path]:
    """The files that the wheel is built from."""
    found: list[Path] = []
    for name in SOURCES:
        place = project / name
        found += sorted(place.rglob("*")) if place.is_dir() else [place]
    return [path for path in found if path.is_file() and "__pycache__" not in path.parts]


def digest_of(project: Path, files: dict[str, str]) -> str:
    sha = hashlib.sha256()
    for path in sources(project):
        sha.update(f"{path.relative_to(project)}\0".encode() + path.read_bytes())
    for name, text in sorted(files.items()):
        sha.update(f"{name}\0{text}".encode())
    return sha.hexdigest()[:16]


def make(project: Path, python: str, files: dict[str, str], bundle: Path) -> None:
    """Whole or not at all."""
    with tempfile.TemporaryDirectory() as place:
        copy, built = Path(place) / "copy", Path(place) / "built"
        for path in sources(project):  # setuptools leaves things where it builds
            target = copy / path.relative_to(project)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        command = [python, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run(
            [*command, "--no-build-isolation", "--wheel-dir", str(built), str(copy)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        bundle.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(place) / "bundle.tar"
        with tarfile.open(fresh, "w") as tar:
            for wheel in built.iterdir():
                tar.add(wheel, wheel.name)
            for name, text in sorted(files.items()):
                body = text.encode()
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(body), 0o755 if body.startswith(b"#!") else 0o644
                tar.addfile(info, io.BytesIO(body))
        beside = bundle.with_suffix(f".{os.getpid()}")
        shutil.copyfile(fresh, beside)
        beside.replace(bundle)


def host_lock(project: Path, extras: list[str]) -> str:
    """The lines of requirements.lock for what a worker needs, and what that needs, and so on.

    Raises ValueError for a package that the lock does not name.
    """
    blocks = {}
    for block in re.split(r"\n(?=\S)", (project / "requirements.lock").read_text()):
        if (named := re.match(r"([A-Za-z0-9._-]+)==", block)) is not None:
            blocks[plain(named[1])] = block.rstrip()
    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    asked = [*about["dependencies"]]
    for extra in extras:
        if extra not in about["optional-dependencies"]:
            raise ValueError(f'kon has no extra "{extra}" ({", ".join(about["optional-dependencies"])})')
        asked += about["optional-dependencies"][extra]
    wanted: dict[str, str] = {}
    while asked:
        name = plain(re.split(r"[^A-Za-z0-9._-]", asked.pop().strip(), maxsplit=1)[0])
        if name in wanted:
            continue
        if name not in blocks:
            continue  # of other systems, or of Pythons that the lock is not for
        wanted[name] = blocks[name]
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            needed = []
        asked += [each for each in needed if not re.search(r"\bextra\b", each.partition(";")[2])]
    return "\n".join(wanted[name] for name in sorted(wanted)) + "\n"


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
