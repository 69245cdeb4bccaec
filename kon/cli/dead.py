"""`kon dead`: what could not be run, or not even be read, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kon.cli.output import json_option, note, print_json
from kon.cli.runs import find_run, root_option, run_argument
from kon.core.errors import ConfigurationError, counted
from kon.core.lock import client_lock
from kon.core.task import Outcome, State, task_id
from kon.engine.records.records import RunFolder, Unreadable, read_unreadable, write_unreadable
from kon.launch.requeue import requeue as run_again


@click.group()
def dead() -> None:
    """Dead tasks, and messages that could not be read: list them, look at one, run them again, drop them.

    \b
    Example:
      kon dead list sleep-lease-w4-r1
    """


@dead.command("list")
@run_argument
@root_option
@json_option
def list_dead(run: str, root: Path, as_json: bool) -> None:
    """List the dead tasks of RUN, and as m1, m2, ... the messages that could not be read.

    \b
    Example:
      kon dead list exp-lease-w1-r1
    """
    folder = find_run(run, root)
    name = folder.path.name
    tasks, messages = _dead_tasks(folder), list(read_unreadable(folder.unreadable))
    if as_json:
        print_json({"tasks": [_of_task(name, each) for each in tasks], "messages": _of_messages(messages)})
        return
    for each in tasks:
        click.echo(f"{task_id(name, each.index)}\t{each.error}")
    for number, message in enumerate(messages, start=1):
        click.echo(f"m{number}\t{message.queue}, {counted(len(message.body), 'byte')}: {message.error}")
    if not tasks and not messages:
        note(f"{name} has no dead tasks, and every message could be read")


@dead.command()
@run_argument
@click.argument("what", metavar="INDEX|mN")
@root_option
@json_option
def show(run: str, what: str, root: Path, as_json: bool) -> None:
    """Show a dead task of RUN, or the whole of a message that could not be read.

    \b
    Examples:
      kon dead show exp-lease-w1-r1 137
      kon dead show exp-lease-w1-r1 m1 > message
    """
    folder = find_run(run, root)
    if what.startswith("m"):
        message = list(read_unreadable(folder.unreadable))[_number(folder, what) - 1]
        if as_json:
            print_json(_of_messages([message])[0])
        else:
            click.echo(message.body, nl=False)
        return
    (task,) = _chosen(folder, [what])
    told = _of_task(folder.path.name, task)
    if as_json:
        print_json(told)
    else:
        click.echo("\n".join(f"{key}: {value}" for key, value in told.items()))
        note(f"its whole story: kon explain {folder.path} {task.index}")


@dead.command()
@run_argument
@click.argument("indexes", metavar="[INDEX]...", nargs=-1)
@root_option
def requeue(run: str, indexes: tuple[str, ...], root: Path) -> None:
    """Let dead tasks of RUN run again: these, or all of them. RUN must be over.

    `kon run` with the same file then runs them, with fresh counts of attempts and receipts. Other tasks
    that are not done stay as they are.

    \b
    Examples:
      kon dead requeue exp-lease-w1-r1
      kon dead requeue exp-lease-w1-r1 137 140
    """
    folder = find_run(run, root)
    if not folder.finished or client_lock(folder.path.parent).is_held():
        raise ConfigurationError(
            f"{folder.path.name} is not over; nothing was queued. Wait until it is, or end it by `kon cancel`"
        )
    count = asyncio.run(_requeued(folder, indexes))
    tasks = "task runs" if count == 1 else "tasks run"
    note(f"{count} dead {tasks} again with the command that began {folder.path.name}")


@dead.command()
@run_argument
@click.argument("messages", metavar="mN...", nargs=-1, required=True)
@root_option
def drop(run: str, messages: tuple[str, ...], root: Path) -> None:
    """Delete messages of RUN that could not be read, for good.

    \b
    Example:
      kon dead drop exp-lease-w1-r1 m1 m2
    """
    folder = find_run(run, root)
    if client_lock(folder.path.parent).is_held():
        raise ConfigurationError(f"{folder.path.name} has a client at work; nothing was deleted")
    deleted, left = asyncio.run(_dropped(folder, messages))
    note(f"{deleted} deleted, {left} left")


async def _requeued(folder: RunFolder, indexes: Sequence[str]) -> int:
    """How many were queued again. No client begins meanwhile."""
    async with client_lock(folder.path.parent):
        chosen = _chosen(folder, indexes)
        if not chosen:
            raise ConfigurationError(f"{folder.path.name} has no dead tasks; nothing was queued")
        run_again(folder, {each.index for each in chosen})
        return len(chosen)


async def _dropped(folder: RunFolder, messages: Sequence[str]) -> tuple[int, int]:
    """How many were deleted, and how many are left. No client begins meanwhile."""
    async with client_lock(folder.path.parent):
        numbers = {_number(folder, each) for each in messages}
        kept = list(read_unreadable(folder.unreadable))
        left = [each for at, each in enumerate(kept, start=1) if at not in numbers]
        write_unreadable(folder.unreadable, left)
        return len(numbers), len(left)


def _dead_tasks(folder: RunFolder) -> list[Outcome]:
    return [outcome for _, outcome in folder.outcomes() if outcome.state is State.DEAD]


def _chosen(folder: RunFolder, indexes: Sequence[str]) -> list[Outcome]:
    """The dead tasks of these indexes; all of them without any. Raises ConfigurationError."""
    tasks = {str(each.index): each for each in _dead_tasks(folder)}
    for index in indexes:
        if index not in tasks:
            raise ConfigurationError(
                f"{folder.path.name} has no dead task {index}; see `kon dead list {folder.path}`"
            )
    return [tasks[index] for index in indexes] if indexes else list(tasks.values())


def _number(folder: RunFolder, word: str) -> int:
    """Read the number of a message, from 1 on. Raises ConfigurationError."""
    count = sum(1 for _ in read_unreadable(folder.unreadable))
    digits = word.removeprefix("m")
    if not (word.startswith("m") and digits.isdecimal() and 1 <= int(digits) <= count):
        raise ConfigurationError(
            f'{folder.path.name} has no message "{word}"; see `kon dead list {folder.path}`'
        )
    return int(digits)


def _of_task(name: str, outcome: Outcome) -> dict[str, Any]:
    return {
        "task": task_id(name, outcome.index),
        "index": outcome.index,
        "attempt": outcome.attempt,
        "error": outcome.error,
    }


def _of_messages(messages: Sequence[Unreadable]) -> list[dict[str, Any]]:
    return [
        {
            "queue": each.queue,
            "t": each.t,
            "error": each.error,
            "bytes": len(each.body),
            "text": each.body.decode(errors="replace"),
        }
        for each in messages
    ]
