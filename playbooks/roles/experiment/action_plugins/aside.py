"""aside: moves a folder of records to another place, where it holds records alone and no client is at work.

`mv` would take along whatever `-e out=...` names, and the folder in which a client has its run.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from kon.core.errors import KonError
from kon.core.lock import client_lock
from kon.engine.records.records import RunFolder

_NOTHING = "Nothing was moved"


class ActionModule(ActionBase):  # type: ignore[misc]
    """folder: of the records. to: the place that it gets; folders above it are made."""

    supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        path = {"type": "path", "required": True}
        _, args = self.validate_argument_spec({"folder": path, "to": path})
        # not resolved: a link is moved, and its records stay where it leads to
        folder, to = Path(os.path.abspath(args["folder"])), Path(args["to"])  # noqa: PTH100
        if why := other_than_records(folder):
            result.update(
                failed=True, msg=f"-e out={folder} -e fresh=true would move the whole folder: {why}"
            )
            return result
        try:
            if not self._task.check_mode:
                asyncio.run(move(folder, to))
            elif client_lock(folder).is_held():
                result.update(failed=True, msg=f"{folder} has a client at work. {_NOTHING}")
                return result
        except (KonError, OSError) as error:
            result.update(failed=True, msg=f"{folder} can't be moved: {error}. {_NOTHING}")
            return result
        result.update(changed=True)
        return result


def other_than_records(folder: Path) -> str:
    """What is there besides runs; empty where there is nothing."""
    if not folder.is_dir():
        return f"it is a file. {_NOTHING}; name a folder of records"
    strange = [
        each.name
        for each in sorted(folder.iterdir())
        if not each.name.startswith(".") and not RunFolder(each).exists and not RunFolder(each).is_blank
    ]
    if not strange:
        return ""
    return f'it holds "{strange[0]}", which is not a run of kon\'s. {_NOTHING}; name a folder of records'


async def move(folder: Path, to: Path) -> None:
    """Raises ConfigurationError where a client is at work, and OSError."""
    async with client_lock(folder):
        await asyncio.to_thread(_rename, folder, to)


def _rename(folder: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(to)
