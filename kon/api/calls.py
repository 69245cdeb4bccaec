"""`map`, `submit`, `gather`, `open_run`."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final, overload

from kon.api.background import running_in
from kon.api.begin import begin
from kon.api.handle import Run
from kon.api.items import first_and_all
from kon.api.progress import EVERY_S, ProgressLine
from kon.api.request import Work, plan
from kon.api.values import failure_of, folder_of, raise_failures
from kon.api.wishes import Wishes, guard, refuse_wishes
from kon.core.errors import ConfigurationError, did_you_mean
from kon.core.task import Outcome, State
from kon.engine.records.records import RunFolder
from kon.engine.tally import Tally


def map(
    function: Work,
    items: Iterable[Any],
    *others: Iterable[Any],
    workers: int | None = None,
    slots: int = 1,
    strategy: str | Mapping[str, Any] = "lease",
    backend: str | Mapping[str, Any] = "sqlite",
    attempts: int = 3,
    timeout_s: float | None = None,
    bundle: int | None = None,
    spread: bool = False,
    options: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    rerun_failed: bool = False,
    max_cost: float | str | None = None,
    notify: str | None = None,
    return_exceptions: bool = False,
    progress: bool = False,
    **settings: Any,
) -> list[Any]:
    """Call a function, or run a command, for each item; the results in the order of the items.

    others: refused: `zip` and `spread` do what several iterables do in `map()`.
    function: a function at the top level of a module or script, called with the item; a string, a command
        for the shell in which `{}` stands for the item; or a list, a command's words. Items and results
        travel as JSON. A command's result is a dict with `exit`, `stdout` and `stderr`.
    workers: worker processes; None for one a processor. slots: tasks at once in each.
    strategy: how a repeated delivery is kept from repeating work. backend: where the queue is.
    attempts: failed attempts before a task counts as failed. timeout_s: the longest one may take.
    bundle: tasks in a message; None for what suits their durations.
    spread: the item, a list or a dict, is the arguments of the call.
    options: of the kind of work: {"cwd": ..., "env": ...} for a command, {"pool": "threads"} for a function.
    out: a folder for the records, which are kept; the same call again repeats nothing that is recorded
        there. Without it they go when all results are returned.
    rerun_failed: of what is recorded in `out`, tasks that are not done are run again.
    max_cost: US dollars that it may cost at Amazon, with `out` and the backend aws: then it is paused.
    notify: the ARN of an SNS topic that gets a message at its end, or `fleet`; with `out`.
    return_exceptions: tasks that are not done stand in the list as TaskFailed, and nothing is raised.
    progress: tell how far it is: one line on a terminal or in a notebook, lines now and then elsewhere.
    settings: other keys of an experiment file, such as visibility_s or max_receives.

    Raises TaskFailed, which names the first task that is not done and has all of them in `failures`;
    OverBudget once `max_cost` is reached, whereupon the same call with a larger one goes on;
    ConfigurationError before anything is started. On Ctrl-C the run ends, but where `out` keeps it.
    """
    if others:
        raise ConfigurationError(
            "kon.map takes one iterable, unlike map(). For several write "
            "kon.map(function, zip(a, b), spread=True)"
        )
    some, items = first_and_all(items, "kon.map")
    if not some:
        return []
    run = begin(
        plan(
            "kon.map",
            function,
            items,
            workers=workers,
            spread=spread,
            options=options,
            out=out,
            rerun_failed=rerun_failed,
            blocking=True,
            wishes=Wishes(max_cost, notify),
            settings={
                "slots": slots,
                "strategy": strategy,
                "backend": _named(backend),
                "attempts": attempts,
                "timeout_s": timeout_s,
                "bundle": "auto" if bundle is None else bundle,
                **settings,
            },
        )
    )
    try:
        return _gather(run, None, return_exceptions, progress)
    finally:
        if not run.is_kept:
            run.discard()


def submit(
    function: Work,
    items: Iterable[Any],
    *,
    workers: int | None = None,
    slots: int = 1,
    strategy: str | Mapping[str, Any] = "lease",
    backend: str | Mapping[str, Any] = "sqlite",
    attempts: int = 3,
    timeout_s: float | None = None,
    bundle: int | None = None,
    spread: bool = False,
    options: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    rerun_failed: bool = False,
    max_cost: float | str | None = None,
    notify: str | None = None,
    **settings: Any,
) -> Run:
    """Begin what `map` does, and return at once; the workers are at work in the background.

    Where `out` keeps the records, the workers go on when the program ends before them, and any program
    may collect the results with `open_run`. Without it the end of the program waits for the run.
    The arguments are those of `map`. Raises ConfigurationError before anything is started.
    """
    return begin(
        plan(
            "kon.submit",
            function,
            items,
            workers=workers,
            spread=spread,
            options=options,
            out=out,
            rerun_failed=rerun_failed,
            blocking=False,
            wishes=Wishes(max_cost, notify),
            settings={
                "slots": slots,
                "strategy": strategy,
                "backend": _named(backend),
                "attempts": attempts,
                "timeout_s": timeout_s,
                "bundle": "auto" if bundle is None else bundle,
                **settings,
            },
        )
    )


@overload
def gather(
    runs: Run, timeout_s: float | None = None, *, return_exceptions: bool = False, progress: bool = False
) -> list[Any]: ...


@overload
def gather(
    runs: Iterable[Run],
    timeout_s: float | None = None,
    *,
    return_exceptions: bool = False,
    progress: bool = False,
) -> list[list[Any]]: ...


def gather(
    runs: Run | Iterable[Run],
    timeout_s: float | None = None,
    *,
    return_exceptions: bool = False,
    progress: bool = False,
) -> list[Any]:
    """Wait for a run, and return its results in the order of the items; of several runs, a list of each.

    progress: as for `map`.
    Raises TaskFailed as `map` does; TimeoutError after `timeout_s` seconds, whereupon the run goes on, as
    it does after Ctrl-C.
    """
    if isinstance(runs, Run):
        return _gather(runs, timeout_s, return_exceptions, progress)
    give_up_s = None if timeout_s is None else time.monotonic() + timeout_s
    return [
        _gather(
            run,
            None if give_up_s is None else max(0.0, give_up_s - time.monotonic()),
            return_exceptions,
            progress,
        )
        for run in runs
    ]


def _gather(run: Run, timeout_s: float | None, return_exceptions: bool, progress: bool) -> list[Any]:
    values: list[Any] = [None] * run.tasks
    try:
        with closing(_told(run, timeout_s) if progress else _shown(run, timeout_s)) as outcomes:
            for outcome in outcomes:
                done = outcome.state is State.DONE
                values[outcome.index] = outcome.result if done else failure_of(outcome)
    except KeyboardInterrupt as interrupt:
        if run.is_kept:
            interrupt.add_note(
                f"kon: run {run.id} goes on. kon.gather(kon.open_run({str(run.path)!r})) waits for it again, "
                "kon.open_run(...).cancel() gives it up"
            )
        else:
            run.discard()
        raise
    if not return_exceptions:
        raise_failures(run.id, values, f"; records in {run.path}" if run.is_kept else "")
    return values


def _shown(run: Run, timeout_s: float | None) -> Generator[Outcome, None, None]:
    """Outcomes, as what functions write is shown."""
    with run.output.shown():
        yield from run.results(timeout_s)


def _told(run: Run, timeout_s: float | None) -> Generator[Outcome, None, None]:
    """Outcomes, as what functions write is shown, and how far the run is."""
    status = run.status()
    line = ProgressLine(before=status.tasks - status.left)
    last: list[Tally] = []

    def look(tally: Tally) -> None:
        run.output.show(line.clear)
        line.update(tally)
        last[:] = [tally]

    try:
        yield from run.watched(timeout_s, look, EVERY_S)
    finally:
        run.output.show(line.clear)
        if last:
            line.end(last[0])


def open_run(
    place: str | os.PathLike[str], *, max_cost: float | str | None = None, notify: str | None = None
) -> Run:
    """A run that was begun before, here or in another program, by the folder of its records.

    place: the folder; one that was given as `out` and holds a single run; or the id of a run below
        ./results, where `kon run` keeps them.
    max_cost, notify: as for `map`, where this program takes the run up.
    Raises ConfigurationError when there is none, or more than one.
    """
    path = _found(place)
    folder = RunFolder(path)
    spec, wishes = folder.read_run().spec, Wishes(max_cost, notify)
    if folder.finished:
        return Run(folder, spec)
    if running_in(folder) is not None:
        refuse_wishes("kon.open_run", wishes, folder)
    return Run(folder, spec, guard=guard("kon.open_run", wishes, folder, spec))


RESULTS: Final = Path("results")
"""Where experiments are recorded, unless their --out says otherwise."""


def _found(place: str | os.PathLike[str]) -> Path:
    path = folder_of(place, "kon.open_run")
    if RunFolder(path).exists:
        return path
    found = _runs_in(path)
    if not found and Path(place).name == str(place):
        found = [*_runs_in(RESULTS, path.name), *_runs_in(RESULTS, f"*/{path.name}")]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(each) for each in found)
        raise ConfigurationError(f"kon.open_run: {place} may be any of several runs; name one: {names}")
    others = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    raise ConfigurationError(
        f"kon.open_run: there are no records of a run in {path}{did_you_mean(path.name, others)}"
    )


def _runs_in(folder: Path, pattern: str = "*") -> list[Path]:
    return sorted(each.absolute() for each in folder.glob(pattern) if RunFolder(each).exists)


def _named(plugin: str | Mapping[str, Any]) -> Any:
    return plugin if isinstance(plugin, str) else dict(plugin)
