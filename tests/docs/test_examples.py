"""Examples in Python on pages run.

The ```python blocks of a page make one script, but for those that are a whole one themselves. Those that are
files by name (`# mine.py`) are for the page's commands, which test_commands.py runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, blocks


def python_blocks(page: Path) -> list[str]:
    return [block.text for block in blocks(page) if block.language == "python" and block.file is None]


def scripts(blocks: list[str]) -> list[str]:
    whole = [block for block in blocks if '__name__ == "__main__"' in block]
    rest = [block for block in blocks if block not in whole]
    return [*whole, "\n".join(rest)] if rest else whole


with_python = [page for page in PAGES if python_blocks(page)]


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=[pytest.mark.long] if page.name == "python-api.md" else [])
        for page in with_python
    ],
)
def test_python(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(scripts(python_blocks(page))):
        script = tmp_path / f"script_{number}.py"
        script.write_text(text)
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"
        ended = subprocess.run(
            [sys.executable, script.name],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**kept, "PATH": path, "PYTHONWARNINGS": "error"},
            timeout=100,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, ""), text


def test_there_are_examples() -> None:
    """A fence that is written in another way would have them all pass."""
    assert {"README.md", "python-api.md"} <= {page.name for page in with_python}
