"""Writes the table of the playbooks' variables into docs/first-fleet.md: `python docs/site/variables.py`"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

PROJECT: Final = Path(__file__).parents[2]
PAGE: Final = PROJECT / "docs/first-fleet.md"
BEGIN: Final = "<!-- written by `python docs/site/variables.py` -->\n"
END: Final = "<!-- up to here -->"


def table() -> str:
    """A row for each variable: its name, type and bounds, default, and meaning."""
    specs = yaml.safe_load((PROJECT / "playbooks/vars/variables.yml").read_text(encoding="utf-8"))
    defaults = yaml.safe_load((PROJECT / "inventory/group_vars/all.yml").read_text(encoding="utf-8"))
    rows = ["| variable | type | default | meaning |", "|---|---|---|---|"]
    for name, spec in specs.items():
        cells = [f"`{name}`", _values(spec), _default(defaults.get(name)), spec["means"]]
        rows.append(f"| {' | '.join(each.replace('|', '&#124;') for each in cells)} |")
    return "\n".join(rows) + "\n"


def _values(spec: Mapping[str, Any]) -> str:
    if "choices" in spec:
        return " or ".join(f"`{each}`" for each in spec["choices"])
    name: str = {"str": "text", "int": "number", "float": "number", "dict": "mapping"}.get(
        spec["type"], spec["type"]
    )
    if "most" not in spec:
        return name
    return (
        f"{spec['least']}..{spec['most']}" if "least" in spec else f"above {spec['above']}, to {spec['most']}"
    )


def _default(value: Any) -> str:
    """As it stands in group_vars. A template is not worked out: the meaning says what comes of it."""
    if value is None or (isinstance(value, str) and "{{" in value):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict | str) and not value:
        return "empty"
    return f"`{' '.join(map(str, value))}`" if isinstance(value, list) else f"`{value}`"


def page(text: str) -> str:
    """The page with its table."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
