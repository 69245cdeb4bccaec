"""`kon trace`"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from kon.cli.output import json_option, note, print_json, quiet_option, refuse_unused
from kon.cli.runs import find_run, root_option, run_argument
from kon.core.errors import counted
from kon.core.task import task_id
from kon.engine.records.records import RunFolder
from kon.report.story.story import tell
from kon.report.traces import RunIdentity, Selection, Span, chosen, spans_of, traces_of


@click.command()
@run_argument
@click.option(
    "--otlp",
    "endpoint",
    metavar="ENDPOINT",
    help="The collector, by HTTP.  [default: what OTEL_EXPORTER_OTLP_ENDPOINT says, or http://localhost:4318]",
)
@click.option("--tasks", metavar="I,J-K", help="Only these tasks, by index.")
@click.option(
    "--sample", "share", type=click.FloatRange(0, 1), metavar="SHARE", help="Only this share of the tasks."
)
@click.option(
    "--duplicates", "repeated", is_flag=True, help="Those that came, ran or answered more than once."
)
@root_option
@json_option
@quiet_option
@click.pass_context
def trace(
    ctx: click.Context,
    run: str,
    endpoint: str | None,
    tasks: str | None,
    share: float | None,
    repeated: bool,
    root: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Send the tasks of RUN to a collector of OpenTelemetry, each as a trace, and print the traces' ids.

    The spans are drawn from the run's records, with the order and reasons of `kon explain`. A run always has
    the same ids. --tasks, --sample and --duplicates add up. The standard variables (those that begin
    with OTEL_EXPORTER_OTLP_) say where to, with which headers, certificates and compression.

    \b
    Examples:
      kon trace exp-lease-w2-r1 --otlp http://localhost:4318
      kon trace exp-lease-w2-r1 --sample 0.01 --duplicates
      kon trace exp-lease-w2-r1 --tasks 137 --json
    """
    if as_json:
        refuse_unused(ctx, "--json, which sends nothing,", "endpoint")
    folder = find_run(run, root)
    indexes = chosen(folder, Selection(tasks, share, repeated))
    origin = RunIdentity.of(folder)
    spans = _spans(folder, origin, indexes)
    if as_json:
        print_json({"run": origin.spec.run, "spans": [_shown(span) for span in spans]})
        return
    from kon.report.traces.export import Exporter

    sent = Exporter(origin, endpoint).send(spans)
    for index in indexes:
        click.echo(f"{task_id(origin.spec.run, index)}\t{origin.trace_id(index):032x}")
    if not quiet:
        note(f"{len(indexes):,} of {origin.spec.tasks:,} tasks, {counted(sent, 'span')}")


def _spans(folder: RunFolder, origin: RunIdentity, indexes: list[int]) -> Iterator[Span]:
    for found in traces_of(folder, indexes):
        yield from spans_of(tell(found), origin)


def _shown(span: Span) -> dict[str, Any]:
    """With ids as everybody writes them."""
    shown: dict[str, Any] = msgspec.to_builtins(span)
    shown["trace_id"] = f"{span.trace_id:032x}"
    shown["span_id"] = f"{span.span_id:016x}"
    shown["parent_id"] = None if span.parent_id is None else f"{span.parent_id:016x}"
    shown["links"] = [{"span_id": f"{each.span_id:016x}", "why": each.why} for each in span.links]
    return shown
