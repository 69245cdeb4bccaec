"""The tasks of `kon map`: from a command and items to a plan, and each task's command as people read it.

It does without the experiments' forms, which would take longer to load than all the rest: what there is to
check, the options of the command line have checked.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from kon.api.begin import Plan, run_name
from kon.api.feed import MOST_TASKS
from kon.api.items import Bodies, for_command
from kon.cli.map_incoming import Incoming
from kon.cli.map_sources import Item, refusal
from kon.core.errors import ConfigurationError, WorkloadError
from kon.core.kind import Kind
from kon.core.plugins import kind_class, strategy_class
from kon.core.spec import FLUSH_S, Plugin, RunSpec, processors
from kon.kinds.command import DEFAULT_SHELL, ShellProgram, Template
from kon.kinds.start import possible

_MOST_BAD: Final = 10

_SLOT_TEXT: Final = "{%}"
"""In a command that is shown: which slot runs it is not known."""


class Commands:
    """The command of each task, as one would type it into a shell."""

    def __init__(
        self, command: str, items: Sequence[Item], shell: str = DEFAULT_SHELL, *, appends: bool = True
    ) -> None:
        """`appends`: the item comes last where the command has no placeholder.

        Raises ConfigurationError for a command that can't be run.
        """
        self._shell = shell
        program = ShellProgram(shell, frozenset())
        self.template = Template(command, program, positions=True, appends=appends)
        self._items = items
        self._kind = kind_class("shell")({"command": command, "positions": True, "stdin_item": not appends})

    def body(self, item: Item) -> Any:
        """The body of a task. Raises ConfigurationError for an item that no command can take."""
        made = body_of(item)
        self._kind.check(made)
        return made

    def __getitem__(self, index: int) -> bytes:
        call = self.template.call(self._items[index], index + 1)
        if call.argv[0] != self._shell:
            return os.fsencode(
                " ".join(_SLOT_TEXT if word == _SLOT_TEXT else shlex.quote(word) for word in call.argv)
            )
        text = call.argv[-1].removeprefix(" ")
        for name, value in call.variables.items():
            # the expansion stands in quotes of its own, whatever is around it (see kon.kinds.quoting)
            text = text.replace(f'"${name}"', shlex.quote(value) if name != "KON_SLOT" else _SLOT_TEXT)
        return os.fsencode(text)


class ItemSource:
    """The bodies of the items, made whenever they are asked for."""

    def __init__(self, items: Sequence[Item], kind: Kind) -> None:
        """Raises WorkloadError for items that no command can take."""
        self._bodies = Bodies(items, body_of, "kon map")
        digest = hashlib.sha256()
        bad: list[str] = []
        for number, body in enumerate(self._bodies, start=1):
            try:
                kind.check(body)
            except ConfigurationError as error:
                bad.append(refusal(number, error))
                if len(bad) == _MOST_BAD:
                    break
            digest.update(msgspec.json.encode(body))
            digest.update(b"\n")
        if bad:
            raise WorkloadError("\n".join(bad))
        self.digest = digest.hexdigest()[:32]

    def bodies(self, workers: int) -> Iterable[Any]:
        return self._bodies

    def __len__(self) -> int:
        return len(self._bodies)


class Coming:
    """The source of items that come one by one (see kon.cli.map_incoming)."""

    digest = ""

    def bodies(self, workers: int) -> Iterable[Any]:
        return ()

    def __len__(self) -> int:
        return MOST_TASKS


def body_of(item: Item) -> Any:
    """The body of a task: its item, or a list of several."""
    return for_command(item) if isinstance(item, str) else [for_command(each) for each in item]


class Slots:
    """How many commands run at once, and in how many worker processes."""

    def __init__(self, wanted: int, *, in_one_process: bool) -> None:
        """`in_one_process`: what they share, such as the numbers of slots, one process alone can keep."""
        self.wanted = wanted
        self.workers = 1 if in_one_process else share(wanted, processors())
        self.each = possible(wanted // self.workers)
        self.all = self.workers * self.each


def make_plan(
    command: str,
    items: Sequence[Item],
    options: dict[str, Any],
    *,
    slots: Slots,
    strategy: str,
    attempts: int,
    timeout_s: float | None,
    drain_s: float,
    halts: bool,
    out: Path | None,
    rerun_failed: bool,
) -> Plan:
    """Raises ConfigurationError for a command or a strategy that can't be, WorkloadError for items.

    options: of the kind `shell`, without the command. halts: what ends may end the run: it is answered at
        once, and workers hold nothing ahead. That takes short commands twice as long.
    """
    strategy_class(strategy)
    options = {"command": command, **options}
    source: ItemSource | Coming = (
        Coming() if isinstance(items, Incoming) else ItemSource(items, kind_class("shell")(options))
    )
    name = run_name(os.path.basename(command.split()[0]))  # noqa: PTH119 - it need not be a path at all
    spec = RunSpec(
        run=name,
        experiment=name,
        backend=Plugin("sqlite"),
        strategy=Plugin(strategy),
        kind=Plugin("shell", options),
        tasks=len(source),
        workers=slots.workers,
        slots=slots.each,
        prefetch=0 if halts else None,
        bundle=None,
        attempts=attempts,
        timeout_s=timeout_s,
        drain_s=drain_s,
        flush_s=0.0 if halts else FLUSH_S,
        workload_digest=source.digest,
    )
    return Plan("kon map", spec, source, out, rerun_failed, forks=True)


def share(slots: int, processors: int) -> int:
    """How many worker processes share the slots evenly: one alone starts some 1,000 commands a second."""
    return max(count for count in range(1, min(slots, processors) + 1) if slots % count == 0)
