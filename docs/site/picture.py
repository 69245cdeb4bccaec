"""Draws docs/pictures/run.svg, what a terminal shows of the README's experiment, by running it.

The figures are those of this machine, at that moment; the words are kon's own. `python docs/site/picture.py`
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

PROJECT: Final = Path(__file__).parents[2]
PICTURE: Final = PROJECT / "docs" / "pictures" / "run.svg"
COLUMNS: Final = 112

EXPERIMENT: Final = """\
name: my-first
workload: {kind: sleep, count: 100, seconds: 0.01, per: worker}
strategies: [none, read_then_write, conditional_put, result_once, {name: lease, lease_s: 1}]
workers: [2]
visibility_s: 1
faults: {duplicate_rate: 0.05, kill_workers: 1}
"""
PAPER: Final = TerminalTheme(
    (250, 250, 250),
    (40, 40, 40),
    [
        (40, 40, 40),
        (180, 60, 40),
        (20, 120, 60),
        (150, 110, 0),
        (0, 90, 160),
        (140, 60, 140),
        (0, 120, 130),
        (90, 90, 90),
    ],
)


def terminal(folder: Path) -> Text:
    """The commands, and what they print."""
    shown = Text()
    for command in ("cat my-first.yml", "kon run my-first.yml --quiet"):
        shown.append("$ ", style="bold blue").append(f"{command}\n", style="bold")
        ended = subprocess.run(
            ["sh", "-c", command],
            cwd=folder,
            env={
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
                "COLUMNS": str(COLUMNS),
                "HOME": str(folder),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,  # 1: conditional_put loses what the killed worker held
        )
        shown.append(f"{ended.stdout}\n")
    shown.rstrip()
    return shown


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "my-first.yml").write_text(EXPERIMENT)
        console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
        console.print(terminal(folder), highlight=False)
    drawn = console.export_svg(title="kon", theme=PAPER, unique_id="kon")
    # rich has the font come from a CDN: a picture fetches nothing
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.S)
    drawn = drawn.replace("font-family: Fira Code, monospace", "font-family: monospace")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(drawn)
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
