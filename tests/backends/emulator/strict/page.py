"""Writes the table of rules into docs/emulators.md: `python -m tests.backends.emulator.strict.page`"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from kon.backends.emulator.strict import RULES

PAGE: Final = Path(__file__).parents[4] / "docs" / "emulators.md"
_TABLE: Final = re.compile(r"(<!-- rules: [^\n]*-->\n).*?(<!-- end of rules -->)", re.S)


def page() -> str:
    """The page with the table that the rules make."""
    lines = ["| rule | calls | condition and answer | known from |", "|---|---|---|---|"]
    for rule in RULES.values():
        calls = ", ".join(f"`{each}`" for each in rule.on[:3])
        more = f" and {len(rule.on) - 3} more" if len(rule.on) > 3 else ""
        lines.append(f"| {rule.name} | {calls}{more} | {rule.says} | [source]({rule.source}) |")
    table = "\n".join(lines)
    return _TABLE.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", PAGE.read_text())


if __name__ == "__main__":
    PAGE.write_text(page())
