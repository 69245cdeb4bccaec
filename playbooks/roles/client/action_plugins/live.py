"""live: runs a program on the controller and shows the lines it writes as they come.

`ansible.builtin.command` shows them when the program has ended, which for an experiment may be an hour.
"""

from __future__ import annotations

import os
import subprocess
import textwrap
import threading
from collections.abc import Iterable
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]
    """argv: the program and its arguments. chdir: the folder to run it in.

    instead: what is said in check mode, in which nothing is run.

    Shows stderr line by line, and returns `rc`, `stdout` and `stdout_lines`, `stderr_lines`. It runs in the
    process group of the task, so that an interrupted play interrupts it.
    """

    supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            {
                "argv": {"type": "list", "elements": "str", "required": True},
                "chdir": {"type": "path", "required": True},
                "instead": {"type": "str", "required": True},
            }
        )
        if self._task.check_mode:
            display.display(f"  {args['instead']}")
            result.update(skipped=True, msg=args["instead"])
            return result
        process = subprocess.Popen(
            args["argv"],
            cwd=args["chdir"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="backslashreplace",
        )
        talk: list[str] = []
        assert process.stdout is not None
        assert process.stderr is not None
        reader = threading.Thread(target=_show, args=(process.stderr, talk))
        reader.start()
        stdout = process.stdout.read()
        reader.join()
        result.update(
            rc=process.wait(),
            stdout=stdout,
            stdout_lines=stdout.splitlines(),
            stderr_lines=talk,
            changed=True,
        )
        return result


def _show(lines: Iterable[str], into: list[str]) -> None:
    for line in lines:
        into.append(line.rstrip("\n"))
        for part in _parts(into[-1]):
            display.display(f"  {part}")


def _parts(line: str) -> list[str]:
    """A line as lines that fit the width that tables have to fit, where there is one."""
    width = os.environ.get("KON_TABLE_WIDTH", "")
    if not width.isdigit():
        return [line]
    fit = textwrap.TextWrapper(int(width) - 2, subsequent_indent="  ", break_on_hyphens=False)
    return fit.wrap(line) or [line]
