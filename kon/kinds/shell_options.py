"""The options of the kind `shell`, and the gate that they set: when a task may start.

That is a while after the one before, or while the machine has room for it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from kon.core.errors import ConfigurationError
from kon.core.options import Given, OptionError, Options, read_options
from kon.kinds.command import DEFAULT_SHELL
from kon.kinds.live import Mode


class Here(msgspec.Struct, frozen=True, kw_only=True):
    """For a client on the same machine, which reads what commands write from files.

    keep: the folder where output is kept whole, byte for byte, that is longer than `max_output_bytes`, or
        not UTF-8; None for nowhere.
    live: the folder where output is shown as it comes; None for nowhere. mode: how.
    tag: whether each line shown begins with the item and a tab.
    """

    keep: str | None = None
    live: str | None = None
    mode: Mode = "lines"
    tag: bool = False


class ShellOptions(Options, frozen=True, kw_only=True):
    """Options of `shell`.

    command: a template for the item (see kon.kinds.command): a string for the shell, or a list of
        words. Without one each task's body is its command: a string for the shell, or a list.
    shell: the program that runs string commands, with `-c`.
    env: variables that are added to the environment of the worker.
    cwd: the folder to run in; null for the worker's own.
    stdin: what the command reads; null for nothing. stdin_file: the file that it reads.
    stdin_item: whether it reads the item, with a line end, and does not get it as a word where `command` has
        no placeholder.
    positions: whether a task's body may be a list of items, with `{1}`, `{2}`, ..., `{%}` as placeholders.
    max_output_bytes: how much is kept of stdout, and of stderr: of longer output the beginning and the end.
    exact_output: whether a command fails whose output can't be kept byte for byte: where it is longer than
        `max_output_bytes`, or is not UTF-8.
    ok_exit_codes: exit codes that count as done.
    kill_grace_s: seconds between SIGTERM and SIGKILL for a command that is stopped.
    inputs: objects of the store that the command finds as files in a folder of its own (see
        kon.kinds.staging).
    outputs: files of that folder that are stored.
    delay_s: seconds between two starts in one worker.
    max_load: no command is started while the machine's load average is higher.
    min_free_bytes: no command is started while less memory is free.
    here: for a client on the same machine, which sets it.
    """

    command: str | list[str | int] | None = None
    shell: str = DEFAULT_SHELL
    env: Mapping[str, str | int] = msgspec.field(default_factory=dict)
    cwd: Given | None = None
    stdin: str | None = None
    stdin_file: Given | None = None
    stdin_item: bool = False
    positions: bool = False
    max_output_bytes: Annotated[int, msgspec.Meta(ge=0)] = 65_536
    exact_output: bool = False
    ok_exit_codes: frozenset[int] = frozenset({0})
    kill_grace_s: Annotated[float, msgspec.Meta(ge=0)] = 2.0
    inputs: Mapping[str, str] | list[str] = msgspec.field(default_factory=dict)
    outputs: Mapping[str, str] | list[str] = msgspec.field(default_factory=list)
    delay_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    max_load: float | None = None
    min_free_bytes: int | None = None
    here: Here | None = None


def read(name: str, options: Mapping[str, Any]) -> ShellOptions:
    """The options of the kind `name`. Raises ConfigurationError for a value that can't be used."""
    checked = read_options(f"kind {name}", options, ShellOptions)
    for variable in checked.env:
        if not variable or "=" in variable:
            raise OptionError(
                f'option "env" of kind shell: "{variable}" is no name of a variable', "env", variable
            )
    texts = [checked.shell, checked.cwd or "", *checked.env, *map(str, checked.env.values())]
    command = checked.command
    texts += [command] if isinstance(command, str) else map(str, command or ())
    if any("\0" in text for text in texts):
        raise ConfigurationError("the options of kind shell: no text may hold a NUL character")
    if not checked.shell:
        raise OptionError('option "shell" of kind shell: expected the path of a shell, found ""', "shell")
    if sum((checked.stdin is not None, checked.stdin_file is not None, checked.stdin_item)) > 1:
        raise OptionError(
            "the options of kind shell: stdin, stdin_file and stdin_item: a command reads one thing; leave "
            "the others out",
            "stdin",
        )
    return checked


LOAD_LOOK_S: Final = 0.5
"""Between two looks at the load or the memory, which the system itself updates every few seconds."""

_SETTLE_S: Final = 1.0
"""Between two starts while the load or the memory is watched: what has just started does not show yet."""


class Gate:
    """Lets tasks start one by one."""

    def __init__(
        self,
        delay_s: float = 0.0,
        max_load: float | None = None,
        min_free_bytes: int | None = None,
        load: Callable[[], float] = lambda: os.getloadavg()[0],
        free_bytes: Callable[[], int] = lambda: free_memory_bytes(),
    ) -> None:
        """delay_s: seconds between two starts. max_load: none starts while the load average of the last
        minute is higher. min_free_bytes: none starts while less memory is available.
        """
        self._delay_s = delay_s
        self._max_load = max_load
        self._min_free_bytes = min_free_bytes
        self._load = load
        self._free_bytes = free_bytes
        self._turn = asyncio.Lock()
        self._last_s: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing was asked of it."""
        return not self._delay_s and self._max_load is None and self._min_free_bytes is None

    async def wait(self) -> None:
        """Return when the next task may start. Tasks pass one at a time."""
        now_s = asyncio.get_running_loop().time
        async with self._turn:
            if self._last_s is not None:
                await asyncio.sleep(max(0.0, self._last_s + self._pause_s() - now_s()))
            while self._is_busy():  # noqa: ASYNC110 - nothing but a look tells
                await asyncio.sleep(LOAD_LOOK_S)
            self._last_s = now_s()

    def _pause_s(self) -> float:
        watched = self._max_load is not None or self._min_free_bytes is not None
        return max(self._delay_s, _SETTLE_S) if watched and self._near() else self._delay_s

    def _near(self) -> bool:
        """Whether one more task might be too many."""
        return (self._max_load is not None and self._load() + 1 > self._max_load) or (
            self._min_free_bytes is not None and self._free_bytes() < 2 * self._min_free_bytes
        )

    def _is_busy(self) -> bool:
        return (self._max_load is not None and self._load() > self._max_load) or (
            self._min_free_bytes is not None and self._free_bytes() < self._min_free_bytes
        )


def free_memory_bytes() -> int:
    """Memory that programs can have without any swapping, as Linux estimates it.

    Raises OSError where this system does not say.
    """
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    raise OSError("/proc/meminfo has no MemAvailable")
