"""From the arguments of a call to a run that can begin, be taken up, or be over already."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from kon.api.background import Background, running_in
from kon.api.functions import import_path, reference_of, refuse_import_time
from kon.api.handle import Run, TemporaryFolder
from kon.api.items import bodies_of, check_items, for_call, for_command, for_function
from kon.campaign import is_whole
from kon.errors import ConfigurationError, WorkloadError
from kon.experiment.cells import Cell
from kon.experiment.model import MAX_NAME
from kon.experiment.single import single
from kon.lock import FolderLock
from kon.records import RunFolder
from kon.run import RunSpec

Work = Callable[..., Any] | str | Sequence[str]
"""A function, a command for the shell, or a command as a list of words."""

_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_]+")

_DRAIN_S: Final = 1.0
"""How long tasks that run may go on when a program gives their run up, unless it says otherwise."""


class Plan(NamedTuple):
    """What is to be run, checked.

    out: the folder of records to be kept; None for one that lasts as long as the run does.
    """

    caller: str
    cell: Cell
    out: Path | None
    rerun_failed: bool


def plan(
    caller: str,
    work: Work,
    items: Iterable[Any],
    *,
    workers: int | None,
    spread: bool,
    options: Mapping[str, Any] | None,
    out: str | os.PathLike[str] | None,
    rerun_failed: bool,
    settings: Mapping[str, Any],
) -> Plan:
    """Raises ConfigurationError, which lists all that is wrong; WorkloadError for the items."""
    refuse_import_time(caller)
    check_items(items, caller)
    if callable(work):
        kind, name = "python", getattr(work, "__name__", "call")
        given = {"function": reference_of(work, caller), "sys_path": import_path()}
        if spread:
            given["call"] = "spread"
        body = for_call if spread else for_function
    else:
        if spread:
            raise ConfigurationError(
                f"{caller}: spread=True is for functions; a command gets its item as {{}}"
            )
        kind, name = "shell", _first_word(work, caller)
        given = {"command": work if isinstance(work, str) else list(work)}
        body = for_command
    name = _NOT_IN_NAME.sub("-", name).strip("-_")[:MAX_NAME] or "map"
    if workers is None:
        workers = default_workers(len(items) if isinstance(items, Sequence) else None)
    try:
        cell = single(
            kind,
            {**given, **(options or {})},
            bodies_of(items, body, caller),
            run=name,
            name=name,
            workers=workers,
            caller=caller,
            **{"drain_s": _DRAIN_S, **settings},
        )
    except WorkloadError as error:
        raise WorkloadError(f"{caller}: {error}") from error
    return Plan(caller, cell, None if out is None else Path(out).expanduser().absolute(), rerun_failed)


def _first_word(command: object, caller: str) -> str:
    words = command.split() if isinstance(command, str) else command
    if not isinstance(words, Sequence) or not words or not all(isinstance(word, str) for word in words):
        raise ConfigurationError(
            f"{caller}: expected a function, a command or a list of words, found {command!r:.80}"
        )
    return os.path.basename(str(words[0]))  # noqa: PTH119 - it need not be a path at all


def default_workers(tasks: int | None = None) -> int:
    """A worker process for each processor that this program may use, and no more than there are tasks."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable if tasks is None else min(usable, tasks))


def begin(plan: Plan) -> Run:
    """The run, begun where there is anything left to do."""
    spec = plan.cell.spec
    if plan.out is None:
        temporary = TemporaryFolder(Path(tempfile.mkdtemp(prefix="kon-")))
        folder = RunFolder(temporary.path / spec.run)
        return Run(folder, spec, _begun(folder, plan.cell, kept=False), temporary)
    folder = RunFolder(plan.out / spec.run)
    running = running_in(folder)
    if running is not None:
        if _differences(running.spec, spec):
            raise ConfigurationError(_other_run(plan, _differences(running.spec, spec)))
        return Run(folder, running.spec, running)
    if folder.exists:
        spec = _taken_up(plan, folder)
    if folder.finished:
        return Run(folder, spec)
    return Run(folder, spec, _begun(folder, Cell(spec, plan.cell.workload), kept=True))


def _begun(folder: RunFolder, cell: Cell, *, kept: bool) -> Background:
    background = Background(folder, cell.spec, cell.workload, kept=kept)
    background.begin()
    return background


def _taken_up(plan: Plan, folder: RunFolder) -> RunSpec:
    """The recorded run, under the settings of this call. Its tasks must be the same; how many at once may
    differ from last time."""
    recorded = folder.read_run()
    differences = _differences(recorded.spec, plan.cell.spec)
    if differences:
        raise ConfigurationError(_other_run(plan, differences))
    if FolderLock(folder.path.parent, "client").is_held():
        raise ConfigurationError(
            f"{plan.caller}: another program is at work on the run in {folder.path}; kon.open_run gives its "
            "results as they come, or name another folder with out="
        )
    if folder.finished:
        if not plan.rerun_failed or is_whole(folder.read_summary()):
            return recorded.spec
        folder.reopen()
    folder.write_run(plan.cell.spec, recorded.context, folder.read_run().attempts_before)
    return plan.cell.spec


def _differences(recorded: RunSpec, now: RunSpec) -> list[str]:
    """In what two runs differ that must not when the second is to go on with the first."""
    found = []
    if (recorded.tasks, recorded.workload_digest) != (now.tasks, now.workload_digest):
        found.append("its items")
    if _without_path(recorded) != _without_path(now):
        found.append("its function, command or their options")
    if (recorded.strategy, recorded.backend) != (now.strategy, now.backend):
        found.append("its strategy or backend")
    if recorded.channel_options != now.channel_options:
        found.append("its visibility_s or max_receives")
    return found


def _without_path(spec: RunSpec) -> Any:
    options = {name: value for name, value in spec.kind.options.items() if name != "sys_path"}
    return msgspec.structs.replace(spec.kind, options=options)


def _other_run(plan: Plan, differences: Sequence[str]) -> str:
    return (
        f"{plan.caller}: out={str(plan.out)!r} holds a run {plan.cell.spec.run} that differs in "
        f"{' and '.join(differences)}; nothing was started. Name a new folder, or remove that one"
    )
