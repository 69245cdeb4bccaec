"""The collections of collections/requirements.yml out of the PyPI package `ansible`, where Galaxy is not
reached: `python -m tests.lab.unpack_collections FOLDER`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

import yaml

WHEEL: Final = "ansible==12.3.0"
SHA256: Final = "cd156f82fa87f7a899212b0efa9f7ca3a24d609212de9f78428a572eb01e5414"

REQUIREMENTS: Final = Path(__file__).parents[2] / "collections/requirements.yml"


def wanted() -> dict[str, str]:
    """The version of each collection."""
    read = yaml.safe_load(REQUIREMENTS.read_text())
    return {each["name"]: each["version"] for each in read["collections"]}


def installed(folder: Path) -> dict[str, str]:
    """The same, of those that are there."""
    found = {}
    for name in wanted():
        manifest = folder / "ansible_collections" / name.replace(".", "/") / "MANIFEST.json"
        if manifest.exists():
            found[name] = json.loads(manifest.read_text())["collection_info"]["version"]
    return found


def unpack(folder: Path) -> None:
    """Raises CalledProcessError where PyPI does not give the wheel, ValueError where it holds others."""
    prefixes = tuple(f"ansible_collections/{name.replace('.', '/')}/" for name in wanted())
    with tempfile.TemporaryDirectory() as place:
        pinned = Path(place) / "pinned.txt"
        pinned.write_text(f"{WHEEL} --hash=sha256:{SHA256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        options = ["--no-deps", "--require-hashes", "--dest", place, "--requirement", str(pinned)]
        subprocess.run([*command, *options], check=True)
        [wheel] = Path(place).glob("ansible-*.whl")
        with zipfile.ZipFile(wheel) as whole:
            whole.extractall(folder, [name for name in whole.namelist() if name.startswith(prefixes)])
    if installed(folder) != wanted():
        raise ValueError(
            f"{WHEEL} has {installed(folder)}, and collections/requirements.yml names {wanted()}"
        )


def main() -> None:
    folder = Path(sys.argv[1])
    if installed(folder) != wanted():
        unpack(folder)


if __name__ == "__main__":
    main()
