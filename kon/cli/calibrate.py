"""`kon calibrate`"""

from __future__ import annotations

from pathlib import Path

import click

from kon.cli.output import note
from kon.cli.runs import find_runs, root_option
from kon.core.errors import ConfigurationError
from kon.experiment.models import DEFAULT, find_model, read_model_with_sources
from kon.trials.calibrate import Measured, as_yaml, calibrated


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(path_type=Path), help="A new file; without it the model goes to stdout."
)
@click.option(
    "--base",
    default=DEFAULT,
    show_default=True,
    metavar="MODEL",
    help="The model that figures are taken from where the runs do not show them.",
)
@root_option
def calibrate(runs: tuple[str, ...], out: Path | None, base: str, root: Path) -> None:
    """Make a model from the records of finished runs: how long calls take, and what a task costs a worker.

    RUN is a run's name, its folder, or a folder of several runs, which should be alike. The model is for
    `backend: {name: sim, latency: FILE}` and `kon plan --model FILE`.

    \b
    Example:
      kon calibrate results/mine --out here.yml
      kon plan exp.yml --model ./here.yml
    """
    if out is not None and out.exists():
        raise ConfigurationError(f"--out {out} exists; it is left as it is. Name a new file")
    measured = Measured(find_runs(runs, root))
    name = out.stem if out is not None else "calibrated"
    text = as_yaml(calibrated(measured, read_model_with_sources(find_model(base, Path())), name))
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--out {out}: can't be written: {error.strerror}") from error
    note(f"{out}: a model {measured.source}")
