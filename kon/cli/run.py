"""`kon run`"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from kon.campaign import Campaign, is_whole
from kon.cli.emulator import emulated, emulator_option
from kon.cli.experiment import Asked, file_argument, limit_option, out_option, set_option
from kon.cli.inherited import check_metrics, metrics_option
from kon.cli.interrupts import Interrupts
from kon.cli.output import as_asked, format_option, json_option, note, print_result, quiet_option
from kon.cli.plan import print_plan
from kon.cli.progress import progress
from kon.cli.runs import collect_command
from kon.errors import ConfigurationError, KonError, first_cause

Rows = list[dict[str, Any]]
Limit = Callable[[Coroutine[Any, Any, Rows]], Coroutine[Any, Any, Rows]]
"""Runs a campaign, and ends it where it must not go on."""


@click.command()
@file_argument
@json_option
@format_option
@out_option
@set_option
@limit_option
@click.option("--rerun-failed", is_flag=True, help="Run tasks again that are recorded as not done.")
@click.option("--dry-run", is_flag=True, help="Check everything and list the runs; write nothing.")
@click.option("--join", is_flag=True, help="Start no workers: `kon host` does, once for each worker.")
@click.option("--apart", is_flag=True, help="With --join: the hosts are other machines, by `kon join`.")
@metrics_option
@emulator_option
@click.option("--live", is_flag=True, help="Serve a page about it while it goes on; the link is on stderr.")
@click.option(
    "--max-cost",
    metavar="USD",
    help="Refuse what would cost more at Amazon, as `kon plan` has it, and pause what has.",
)
@click.option("--instance", metavar="TYPE", help="With --max-cost: the hosts' type, to count these too.")
@click.option("--spot", is_flag=True, help="With --instance: they have the price of spot hosts.")
@click.option(
    "--notify",
    metavar="TOPIC",
    help="Tell an SNS topic when a run ends: its ARN, or `fleet` for that of the fleet's alarms.",
)
@quiet_option
@click.pass_context
def run(
    ctx: click.Context,
    /,
    as_json: bool,
    style: str,
    rerun_failed: bool,
    dry_run: bool,
    join: bool,
    apart: bool,
    emulator: bool,
    live: bool,
    max_cost: str | None,
    instance: str | None,
    spot: bool,
    notify: str | None,
    quiet: bool,
    **asked: Any,
) -> None:
    """Run the experiments in FILE and print their tables.

    What is recorded already is not run again, and what was interrupted is taken up where it stood.
    Ctrl-C once leaves the run to its workers, twice stops them.

    \b
    Examples:
      kon run workloads/quickstart.yml
      kon run exp.yml --set workers=[1,2,4] --limit 100 --out /tmp/try
      kon run exp.yml --set backend=aws --emulator
      kon run exp.yml --set backend=aws --max-cost 2usd
      kon run exp.yml --live
      kon run exp.yml --json | jq '.runs[] | {run, tasks_per_s}'
    """
    if emulator and join:
        raise ConfigurationError(
            "--emulator and --join exclude each other, as hosts would not find it: start `kon emulator`, and "
            "give its variables to this command and to the hosts"
        )
    if apart and not join:
        raise ConfigurationError("--apart says where hosts are that --join waits for; add --join")
    want = Asked(**asked)
    experiments = want.load()
    check_metrics(experiments)
    root = want.root(experiments)
    notices = None
    if notify is not None:
        from kon.notice import Notices  # with boto3

        notices = Notices(notify, [cell.spec for each in experiments for cell in each.cells()], note)
    with progress(quiet) as shown:

        def ended(row: dict[str, Any], fresh: bool) -> None:
            shown.end(row, fresh)
            if notices is not None and fresh:
                notices.ended(row, root / row["run"])

        campaign = Campaign(
            experiments,
            root,
            join=join,
            apart=apart,
            rerun_failed=rerun_failed,
            about=want.origin(),
            on_begin=lambda cell, number, of: shown.begin(campaign.folder(cell), number, of),
            on_progress=shown.update,
            on_end=ended,
            on_note=shown.note,
        )
        campaign.check()
        if dry_run:
            print_plan(campaign, experiments[0].name, rerun_failed, as_json)
            return
        given = {"--join": join, "--apart": apart, "--emulator": emulator}
        flags = [name for name, is_given in given.items() if is_given]
        again = want.command("run", root, *flags)
        limit: Limit = lambda work: work  # noqa: E731
        if max_cost is not None:
            from kon.cli.limit import cost_limit  # with the simulator, which takes a while to load

            limit = cost_limit(max_cost, instance, spot, want, campaign, apart=apart)
        elif instance is not None or spot:
            raise ConfigurationError("--instance and --spot are for --max-cost")
        with emulated(emulator, experiments), _page(live, root):
            try:
                rows = asyncio.run(_run(campaign, again, shown.leave, limit, with_emulator=emulator))
            except (KonError, BaseExceptionGroup) as error:
                if notices is not None and campaign.current is not None:
                    notices.broken_off(campaign.current.folder, first_cause(error))
                raise
    print_result(rows, as_asked(style, as_json), experiments[0].name)
    ctx.exit(0 if all(map(is_whole, rows)) else 1)


@contextmanager
def _page(asked_for: bool, root: Path) -> Iterator[None]:
    """Within it, a page shows the runs in this folder, if that is asked for."""
    if not asked_for:
        yield
        return
    from kon.live.beside import page_of

    with page_of(root) as link:
        note(f"live at {link}")  # even where --quiet is asked for: it was asked for as well
        yield


async def _run(
    campaign: Campaign, again: str, note: Callable[[str], None], limit: Limit, *, with_emulator: bool
) -> list[dict[str, Any]]:
    def resume(goes_on: bool) -> list[str]:
        if campaign.current is None or not goes_on:
            return [again]
        return [again, f"{collect_command(campaign.current.folder)}    (this run alone)"]

    ends_with_us = "the emulator ends with this command" if with_emulator else None
    return await Interrupts(lambda: campaign.current, resume, note, ends_with_us=ends_with_us).watch(
        limit(campaign.run())
    )
