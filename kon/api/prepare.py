"""From the arguments of a call to a run that can begin, be taken up, or be over already."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from kon.api.background import Background, running_in
from kon.api.functions import import_path, reference_of, refuse_import_time
from kon.api.handle import Run, TemporaryFolder
from kon.api.items import Bodies, bodies_in_turn, check_items, for_call, for_command, for_function
from kon.campaign import is_whole
from kon.client import CLIENT, SUBMIT_TASKS
from kon.errors import ConfigurationError, WorkloadError
from kon.experiment.cells import Cell
from kon.experiment.model import MAX_NAME
from kon.experiment.single import single
from kon.journal import FileJournal
from kon.local import context
from kon.lock import FolderLock
from kon.packing import chunks
from kon.records import RunFolder
from kon.run import RunSpec
from kon.task import Answers, Outcome, State, encode

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
    blocking: bool,
    settings: Mapping[str, Any],
) -> Plan:
    """What is to be run. `blocking`: the caller waits, and so does not change its items meanwhile.

    Raises ConfigurationError, which lists all that is wrong; WorkloadError for the items."""
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
    if blocking and isinstance(items, Sequence):
        bodies: Iterable[Any] = Bodies(items, body, caller)
    else:  # kept as they are now: the program goes on, and may change them
        bodies = bodies_in_turn(items, body, caller)
    try:
        cell = single(
            kind,
            {**given, **(options or {})},
            bodies,
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


def begin(plan: Plan, recorded: Sequence[Outcome] = ()) -> Run:
    """The run, begun where there is anything left to do.

    recorded: outcomes that are known already, for a run whose own records are not kept.
    """
    spec = plan.cell.spec
    if plan.out is None:
        temporary = TemporaryFolder(Path(tempfile.mkdtemp(prefix="kon-")))
        folder = RunFolder(temporary.path / spec.run)
        if recorded:
            folder.write_run(spec, context(), attempts_before=1)
            _record_again(folder, recorded)
        return Run(folder, spec, _begun(folder, plan.cell, kept=False), temporary)
    folder = RunFolder(plan.out / spec.run)
    running = running_in(folder)
    if running is not None:
        _refuse_other(plan, running.spec)
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
    _refuse_other(plan, recorded.spec)
    if FolderLock(folder.path.parent, "client").is_held():
        raise ConfigurationError(
            f"{plan.caller}: another program is at work on the run in {folder.path}; wait for it, or name "
            "another folder"
        )
    if folder.finished:
        row = folder.read_summary()
        if not (row["cancelled"] or (plan.rerun_failed and not is_whole(row))):
            return recorded.spec
        stay = [] if plan.rerun_failed else [each for _, each in folder.outcomes() if each.state in _FAILED]
        folder.reopen()
        _record_again(folder, stay)
    folder.write_run(plan.cell.spec, recorded.context, folder.read_run().attempts_before)
    return plan.cell.spec


_FAILED: Final = frozenset({State.FAILED, State.DEAD, State.LOST})


def _record_again(folder: RunFolder, outcomes: Sequence[Outcome]) -> None:
    """Record outcomes under the attempt that the run now begins with, so that they stand."""
    attempt = folder.read_run().attempts_before + 1
    with closing(FileJournal(folder.results)) as journal:
        for part in chunks(outcomes, SUBMIT_TASKS):
            answers = [msgspec.structs.replace(each, attempt=attempt) for each in part]
            journal.append([encode(Answers(CLIENT, answers))])


def _refuse_other(plan: Plan, recorded: RunSpec) -> None:
    """Raise ConfigurationError where the recorded run is not what is now to be run."""
    differences = _differences(recorded, plan.cell.spec)
    if differences:
        raise ConfigurationError(
            f"{plan.caller}: {plan.out} holds a run {plan.cell.spec.run} that differs in "
            f"{' and '.join(differences)}; nothing was started. Name a new folder, or remove that one"
        )


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
