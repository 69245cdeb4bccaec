"""live: runs a program on the controller and shows the lines it writes as they come.

`ansible.builtin.command` shows them when the program has ended, which for an experiment may be an hour.
"""

from __future__ import annotations

import codecs
import os
import selectors
import signal
import subprocess
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

LOOK_S = 0.5
"""How long a Ctrl-C, or the end of ansible-playbook, may go unseen. A signal wakes a system call only in the
thread that the kernel gives it to, so that a wait without an end may sleep through it."""

READ_BYTES = 1 << 16


class Orphaned(AnsibleError):  # type: ignore[misc]
    """ansible-playbook has ended, and was not able to say so: a second Ctrl-C, or SIGKILL."""


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
        result.update(changed=True, **follow(args["argv"], args["chdir"], _show))
        return result


def follow(argv: Sequence[str], folder: str, show: Callable[[str], None]) -> dict[str, Any]:
    """Run a program, and give each line of its stderr to `show` as it comes. Returns its exit code and what
    it wrote. Raises Orphaned, once the program was interrupted and has ended."""
    parent = os.getppid()
    process = subprocess.Popen(
        argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = (codecs.getincrementaldecoder("utf-8")("backslashreplace") for _ in range(2))
    stdout, begun, talk, orphaned = [], "", [], False
    with selectors.DefaultSelector() as pipes, process.stdout, process.stderr:
        pipes.register(process.stdout, selectors.EVENT_READ)
        pipes.register(process.stderr, selectors.EVENT_READ)
        while pipes.get_map():
            for key, _ in pipes.select(LOOK_S):
                data = os.read(key.fd, READ_BYTES)
                if not data:
                    pipes.unregister(key.fileobj)
                if key.fileobj is process.stdout:
                    stdout.append(out.decode(data, final=not data))
                    continue
                *lines, begun = (begun + err.decode(data, final=not data)).split("\n")
                if begun and not data:
                    lines.append(begun)
                talk += lines
                for line in lines if not orphaned else ():  # nobody would read it: the pipe would fill up
                    show(line)
            if not orphaned and os.getppid() != parent:
                orphaned = True
                process.send_signal(signal.SIGTERM)  # SIGINT is ignored by what a script starts with `&`
    code = process.wait()
    if orphaned:
        raise Orphaned("ansible-playbook has ended, and so has what it ran")
    text = "".join(stdout)
    return {"rc": code, "stdout": text, "stdout_lines": text.splitlines(), "stderr_lines": talk}


def _show(line: str) -> None:
    for part in _parts(line):
        display.display(f"  {part}")


def _parts(line: str) -> list[str]:
    """A line as lines that fit the width that tables have to fit, where there is one."""
    width = os.environ.get("KON_TABLE_WIDTH", "")
    if not width.isdecimal():
        return [line]
    fit = textwrap.TextWrapper(int(width) - 2, subsequent_indent="  ", break_on_hyphens=False)
    return fit.wrap(line) or [line]
