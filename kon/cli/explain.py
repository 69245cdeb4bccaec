"""`kon explain`"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from kon.cli.output import json_option, note, print_json, table_width
from kon.cli.runs import find_run, root_option
from kon.core.errors import ConfigurationError
from kon.core.task import task_id
from kon.engine.records.records import RunFolder
from kon.report.fit import folded
from kon.report.read.tally import duplicates
from kon.report.read.traces import trace
from kon.report.story.story import as_text, tell


@click.command()
@click.argument("task", metavar="TASK|RUN")
@click.argument("index", type=int, required=False)
@click.option(
    "--duplicates",
    "list_duplicates",
    is_flag=True,
    help="List every task of RUN that was delivered, started, kept or answered more than once.",
)
@root_option
@json_option
def explain(task: str, index: int | None, list_duplicates: bool, root: Path, as_json: bool) -> None:
    """Tell the whole story of a task: every delivery, claim, refusal, renewal, takeover, start, end,
    commit, answer and ack, in order, by whom, and why the strategy decided so.

    TASK is an id as kon prints it, RUN/INDEX. All is drawn from the run's records; for a run that goes on,
    from what is there so far. Times count from when the run began.

    \b
    Examples:
      kon explain compare-lease-w2-r1/137
      kon explain compare-lease-w2-r1 137 --json
      kon explain --duplicates compare-lease-w2-r1
    """
    if list_duplicates:
        if index is not None:
            raise ConfigurationError("--duplicates is about a whole run: leave out the task's index")
        _list(find_run(task, root), as_json)
        return
    if index is None:
        task, index = _split(task)
    story = tell(trace(find_run(task, root), index))
    if as_json:
        print_json(msgspec.to_builtins(story))
    else:
        click.echo(folded(as_text(story), table_width(False)))


def _split(text: str) -> tuple[str, int]:
    run, slash, index = text.rpartition("/")
    if not slash or not index.isdecimal():
        raise ConfigurationError(
            f'expected a task\'s id, RUN/INDEX, found "{text}"; `kon results` lists ids, and '
            f"`kon explain --duplicates {text}` what came more than once"
        )
    return run, int(index)


def _list(folder: RunFolder, as_json: bool) -> None:
    run, found = folder.path.name, duplicates(folder)
    if as_json:
        listed = [{"id": task_id(run, each.index), **msgspec.to_builtins(each)} for each in found]
        print_json({"run": run, "duplicates": listed})
        return
    many = 0
    for each in found:
        many += 1
        attempts = f", in {each.attempts} attempts" if each.attempts > 1 else ""
        click.echo(
            f"{task_id(run, each.index)}\tdelivered {each.deliveries}\tstarted {each.starts}\t"
            f"kept {each.results}\tanswered {each.answers}{attempts}"
        )
    tasks = folder.read_run().spec.tasks
    note(
        f"{many:,} of {tasks:,} tasks were met more than once" if many else f"no task of {run} was met twice"
    )
