"""From a plan to a run: begun, taken up where it stood, or over already."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from kon.api.background import Background, TemporaryFolder, running_in
from kon.api.feed import Feed
from kon.api.handle import Run
from kon.api.wishes import Wishes, guard, refuse_wishes
from kon.core.errors import ConfigurationError
from kon.core.lock import client_lock
from kon.core.plugins import backend_class, kind_class, strategy_class
from kon.core.spec import RunSpec
from kon.core.task import Outcome, State
from kon.engine.records.records import RunFolder
from kon.launch.client_run import BodySource
from kon.launch.context import context
from kon.launch.crew import worker_names
from kon.launch.guard import RunGuard
from kon.launch.requeue import record_again, reopen
from kon.launch.spare import Spare, fork

_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_]+")
_LONGEST_NAME: Final = 40
"""As of experiments: what becomes of a run's name elsewhere has its limits."""


def run_name(word: str) -> str:
    """The name of a run for a function or program of that name."""
    return _NOT_IN_NAME.sub("-", word).strip("-_")[:_LONGEST_NAME] or "map"


class Plan(NamedTuple):
    """What is to be run, checked.

    source: where the bodies come from, as often as they are asked for.
    out: the folder of records to be kept; None for one that lasts as long as the run does.
    rerun_failed: of what is recorded there, tasks that are not done are run again.
    wishes: what else is asked for.
    feed: where calls come from that come one by one.
    forks: this program is kon's own, so that workers may be copies of it (see kon.launch.spare).
    """

    caller: str
    spec: RunSpec
    source: BodySource
    out: Path | None = None
    rerun_failed: bool = False
    wishes: Wishes = Wishes()
    feed: Feed | None = None
    forks: bool = False


def begin(plan: Plan, recorded: Sequence[Outcome] = ()) -> Run:
    """The run, begun where there is anything left to do.

    recorded: outcomes that are known already, for a run whose own records are not kept.
    """
    spec = plan.spec
    _check_caller(plan)
    _check_text(plan)
    if plan.out is not None:
        spec = _placed(spec, plan.out / spec.run)
        plan = plan._replace(spec=spec)
    if plan.out is None:
        guard(plan.caller, plan.wishes, None, spec)
        temporary = TemporaryFolder()
        folder = RunFolder(temporary.path / spec.run)
        spec = _placed(spec, folder.path)
        plan = plan._replace(spec=spec)
        folder.write_run(spec, context(), attempts_before=1 if recorded else 0)
        record_again(folder, recorded, attempt=2)
        return Run(
            folder,
            spec,
            _begun(plan, folder, temporary=temporary),
            temporary,
        )
    folder = RunFolder(plan.out / spec.run)
    running = running_in(folder)
    if running is not None:
        _refuse_other(plan, running.spec)
        refuse_wishes(plan.caller, plan.wishes, folder)
        return Run(folder, running.spec, running)
    guarding = guard(plan.caller, plan.wishes, folder, spec)
    if folder.exists:
        spec = _taken_up(plan, folder)
        plan = plan._replace(spec=spec)
    else:  # now, so that `open_run` finds it as soon as this returns
        folder.write_run(spec, context())
    if folder.finished:
        return Run(folder, spec)
    guarding.check()
    return Run(folder, spec, _begun(plan, folder, guard=guarding))


def _placed(spec: RunSpec, folder: Path) -> RunSpec:
    """The run, with the folders that its kind names for this machine in the folder of its records."""
    here = spec.kind.options.get("here")
    if not here:
        return spec
    placed = {**here, **{name: str(folder / here[name]) for name in ("keep", "live") if name in here}}
    options = {**spec.kind.options, "here": placed}
    return msgspec.structs.replace(spec, kind=msgspec.structs.replace(spec.kind, options=options))


def _check_caller(plan: Plan) -> None:
    """Raise ConfigurationError where a worker has just begun to import the program that calls."""
    if loading := os.environ.get("KON_LOADING"):  # see kon.kinds.callee
        raise ConfigurationError(
            f"{plan.caller}: a worker imports {loading} for a function in it, and that starts a run of its "
            'own. Put what starts runs under `if __name__ == "__main__":`'
        )


def _check_text(plan: Plan) -> None:
    """Raise ConfigurationError for a command or an option that can't be written down."""
    try:
        plan.spec.key()
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"{plan.caller}: the command and its options must be UTF-8 text, for the records, and "
            f"{error.object!r:.80} is not. Items may be anything: pass the odd word as one"
        ) from error


def _begun(
    plan: Plan,
    folder: RunFolder,
    *,
    temporary: TemporaryFolder | None = None,
    guard: RunGuard | None = None,
) -> Background:
    spec = plan.spec
    spares: list[Spare] = []
    if plan.forks:
        for find, plugin in (
            (backend_class, spec.backend),
            (strategy_class, spec.strategy),
            (kind_class, spec.kind),
        ):
            find(plugin.name)  # imported once, for all of them
        held = () if temporary is None else (temporary.lifeline,)
        spares = fork(len(worker_names(spec)), held)
        if spares:  # the modules stay to the end of this program, where Python would go through them twice
            gc.freeze()
    background = Background(
        folder,
        spec,
        plan.source,
        temporary=temporary,
        guard=guard,
        feed=plan.feed,
        spares=spares,
    )
    background.begin()
    return background


def _taken_up(plan: Plan, folder: RunFolder) -> RunSpec:
    """The recorded run, under the settings of this call. Its tasks must be the same; how many at once may
    differ from last time."""
    recorded = folder.read_run()
    _refuse_other(plan, recorded.spec)
    if client_lock(folder.path.parent).is_held():
        raise ConfigurationError(
            f"{plan.caller}: another program is at work on the run in {folder.path}; wait for it, or name "
            "another folder"
        )
    if folder.finished:
        row = folder.read_summary()
        if not (row["cancelled"] or (plan.rerun_failed and row["done"] < row["tasks"])):
            return recorded.spec
        _reopen(folder, plan.rerun_failed)
    elif not backend_class(recorded.spec.backend.name).processes:
        # its queue went with the program that it was in the memory of: what is not recorded is queued anew
        _reopen(folder, plan.rerun_failed)
    folder.write_run(plan.spec, recorded.context, folder.read_run().attempts_before)
    return plan.spec


_FAILED: Final = frozenset({State.FAILED, State.DEAD, State.LOST})


def _reopen(folder: RunFolder, rerun_failed: bool) -> None:
    """Queue those tasks of a run again that are not recorded, or were cancelled."""
    stay = [] if rerun_failed else [each for _, each in folder.outcomes() if each.state in _FAILED]
    reopen(folder, stay)


def _refuse_other(plan: Plan, recorded: RunSpec) -> None:
    """Raise ConfigurationError where the recorded run is not what is now to be run."""
    differences = _differences(recorded, plan.spec)
    if differences:
        raise ConfigurationError(
            f"{plan.caller}: {plan.out} holds a run {plan.spec.run} that differs in "
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


_NOT_THE_WORK: Final = frozenset(
    {
        "sys_path",
        "argv",
        "here",
        "max_output_bytes",
        "exact_output",
        "delay_s",
        "max_load",
        "min_free_bytes",
        "positions",
    }
)
"""Options that say where a function is found, when a task may start, or what is kept of its output."""


def _without_path(spec: RunSpec) -> Any:
    options = {name: value for name, value in spec.kind.options.items() if name not in _NOT_THE_WORK}
    return msgspec.structs.replace(spec.kind, options=options)
