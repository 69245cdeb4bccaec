"""Reads the arguments of a call, checked as an experiment file is, into a plan of a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from kon.api.begin import Plan, run_name
from kon.api.functions import import_path, reference_of, refuse_import_time
from kon.api.items import Bodies, bodies_in_turn, check_items, for_call, for_command, for_function
from kon.api.stored import Stored
from kon.api.values import folder_of
from kon.api.wishes import Wishes
from kon.core.errors import ConfigurationError, WorkloadError
from kon.core.spec import processors
from kon.core.task import encode_body
from kon.experiment.single import single

Work = Callable[..., Any] | str | Sequence[str]
"""A function, a command for the shell, or a command as a list of words."""

_DRAIN_S: Final = 1.0
"""How long tasks that run may go on when a program gives their run up, unless it says otherwise."""

_KEEPING: Final = frozenset({"max_output_bytes", "exact_output", "here"})
"""Options of commands that say what is kept of their output."""


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
    wishes: Wishes,
    settings: Mapping[str, Any],
) -> Plan:
    """The plan of what is to be run.

    blocking: the caller waits, and so does not change its items meanwhile.

    Raises ConfigurationError, which lists all that is wrong; WorkloadError for the items."""
    refuse_import_time(caller)
    check_items(items, caller)
    _check_names(settings, caller)
    if callable(work):
        kind, name, body = "python", getattr(work, "__name__", "call"), for_call if spread else for_function
        given = _function_options(work, caller, spread, settings.get("backend"), options or {})
    elif spread:
        raise ConfigurationError(f"{caller}: spread=True is for functions; a command gets its item as {{}}")
    else:
        kind, name, body = "shell", _first_word(work, caller), for_command
        given = _command_options(work, settings.get("backend"), options or {})
    name = run_name(name)
    if workers is None:
        workers = processors()
        if isinstance(items, Sequence):
            workers = max(1, min(workers, len(items)))
    bodies: Sequence[Any]
    if blocking and isinstance(items, Sequence):
        bodies = Bodies(items, body, caller)
    else:  # kept as they are now: the program goes on, and may change them
        pieces = bodies_in_turn(items, lambda item: encode_body(body(item)), caller)
        bodies = Stored(f"{caller}: items", pieces, msgspec.json.Decoder().decode)
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
    folder = None if out is None else folder_of(out, caller)
    return Plan(caller, cell.spec, cell.workload, folder, rerun_failed, wishes)


def _function_options(
    work: Callable[..., Any], caller: str, spread: bool, backend: object, options: Mapping[str, Any]
) -> dict[str, Any]:
    given: dict[str, Any] = {"function": reference_of(work, caller), "sys_path": import_path()}
    if _writes_elsewhere(backend, options.get("pool", "processes")):
        given["here"] = {"live": "live"}
    argv = _argv()
    if argv is not None:
        given["argv"] = argv
    return {**given, "call": "spread"} if spread else given


def _command_options(
    work: str | Sequence[str], backend: object, options: Mapping[str, Any]
) -> dict[str, Any]:
    given: dict[str, Any] = {"command": work if isinstance(work, str) else list(work)}
    if _KEEPING & options.keys():
        return given
    return {**given, "here": {"keep": "output"}} if _is_here(backend) else {**given, "exact_output": True}


_WORKERS: Final = "`workers` is the number of worker processes"
_OPTIONS: Final = "options of a command go into a dict: options={"
_ELSEWHERE: Final[dict[str, str]] = {
    "chunksize": "`bundle` is the number of tasks that travel together; left out, it suits their durations",
    "batch_size": "`bundle` is the number of tasks that travel together; left out, it suits their durations",
    "n_jobs": _WORKERS,
    "max_workers": _WORKERS,
    "nproc": _WORKERS,
    "timeout": "`timeout_s` is the longest that a task may take, in seconds",
    "retries": "`attempts` is how often a task is tried, the first time included",
    "ordered": "results are in the order of the items; run.results() of kon.submit has them as they come",
    "verbose": "progress=True tells how far it is",
    "cwd": f'{_OPTIONS}"cwd": ...}}',
    "env": f'{_OPTIONS}"env": ...}}',
    "shell": f'{_OPTIONS}"shell": ...}}. A command that is one string is for the shell in any case',
    "initializer": "kon.Executor takes one",
}
"""Arguments of multiprocessing, concurrent.futures, joblib and subprocess."""


def _check_names(settings: Mapping[str, Any], caller: str) -> None:
    """Raise ConfigurationError for an argument that other libraries have, and say what it is here."""
    for name in settings:
        if name in _ELSEWHERE:
            raise ConfigurationError(f"{caller}: there is no argument {name}; {_ELSEWHERE[name]}")


def _is_here(backend: object) -> bool:
    """Whether workers are on this machine, and may hand something over in files."""
    return _name(backend) in ("sqlite", "memory")


def _writes_elsewhere(backend: object, pool: object) -> bool:
    """Whether functions write to streams of another process, on this machine, from which it can be shown."""
    return _name(backend) == "sqlite" or (_name(backend) == "memory" and pool == "processes")


def _name(plugin: object) -> object:
    return plugin.get("name") if isinstance(plugin, Mapping) else plugin


def _argv() -> list[str] | None:
    """The words of this program's command line, for functions that read them; None where they are no text."""
    try:
        "".join(sys.argv).encode()
    except UnicodeEncodeError:
        return None
    return list(sys.argv)


def _first_word(command: object, caller: str) -> str:
    words = command.split() if isinstance(command, str) else command
    if not isinstance(words, Sequence) or not words or not all(isinstance(word, str) for word in words):
        raise ConfigurationError(
            f"{caller}: expected a function, a command or a list of words, found {command!r:.80}"
        )
    return os.path.basename(str(words[0]))  # noqa: PTH119 - it need not be a path at all
