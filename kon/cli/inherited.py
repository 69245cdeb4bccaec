"""Options that worker processes inherit, by the environment: how to write logs, where to serve metrics."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from kon.engine.watchers import logs

if TYPE_CHECKING:
    from kon.experiment import Experiment


def _inherit(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """What is on the command line overrules the environment, for as long as the command takes."""
    name = str(param.envvar)
    if value is not None and ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE:
        before = os.environ.get(name)
        os.environ[name] = value
        ctx.find_root().call_on_close(lambda: _restore(name, before))
    return value


def _restore(name: str, before: str | None) -> None:
    if before is None:
        del os.environ[name]
    else:
        os.environ[name] = before


def _log(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    _inherit(ctx, param, value)
    if value is not None:
        logs.set_up()


def _serve(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    _inherit(ctx, param, value)
    if value:
        from kon.engine.watchers.endpoint import Address, check_installed

        Address.parse(value)
        check_installed()


def check_metrics(experiments: Sequence[Experiment]) -> None:
    """Raises ConfigurationError where metrics are asked for, and no worker could serve them."""
    from kon.engine.watchers.endpoint import asked_for, check_reach

    if asked_for() is not None:
        for experiment in experiments:
            for cell in experiment.cells():
                check_reach(cell.spec.backend.name)


def log_options() -> list[click.Option]:
    """Options that every command has."""
    return [
        click.Option(
            ["--log-format"],
            type=click.Choice(logs.FORMATS),
            envvar=logs.FORMAT,
            expose_value=False,
            is_eager=True,  # before anything can be said
            callback=_log,
            help="Format of the log lines on stderr: text, or JSON with one object per line.  "
            "[default: text]",
        ),
        click.Option(
            ["--log-level"],
            type=click.Choice(logs.LEVELS),
            envvar=logs.LEVEL,
            expose_value=False,
            is_eager=True,
            callback=_log,
            help="The lowest level that is logged; debug has a line for each step of each task.  "
            "[default: info, with json]",
        ),
    ]


metrics_option = click.option(
    "--metrics",
    envvar="KON_METRICS",
    metavar="[HOST:]PORT",
    expose_value=False,
    callback=_serve,
    help="Serve metrics for Prometheus: the first worker process at PORT, the next ones at PORT+1 and so "
    "on. Without HOST only this machine reaches them.",
)
