"""`kon emulator`, and `--emulator` of `kon run`"""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Final, cast

import click

from kon.backends.aws.policies import policy
from kon.backends.emulator import KEY_ID, KINDS, Emulator, Kind, Settings, started
from kon.cli.interrupts import ending_signals
from kon.cli.output import json_option, note, print_json
from kon.core.errors import BackendUnavailable, ConfigurationError

if TYPE_CHECKING:  # the reader of experiment files takes a while to load
    from kon.experiment import Experiment

AWS: Final = "aws"
"""The backend that an emulator stands in for."""

_STRICT: Final = Settings(policies={KEY_ID: [policy("client", "*")]})
"""With `kon run --emulator` nobody may do more than kon's policy for clients says, with any prefix."""

_LOOK_S: Final = 0.5
"""Between two looks at whether the server is still there, in seconds."""


@click.command()
@click.option("--kind", type=click.Choice(KINDS), default="ministack", show_default=True)
@click.option(
    "--port", type=click.IntRange(1, 65535), metavar="N", help="The port on 127.0.0.1.  [default: a free one]"
)
@click.option("--lenient", is_flag=True, help="Do not add Amazon's rules that the emulator lacks.")
@json_option
def emulator(kind: str, port: int | None, lenient: bool, as_json: bool) -> None:
    """Run SQS, DynamoDB and S3 on this machine, until Ctrl-C. For trials: nothing in it is kept.

    It prints the variables that lead programs in another terminal to it, kon and Amazon's own among them.
    docs/emulators.md lists the rules of Amazon's that it keeps, and what it gets wrong.

    \b
    Examples:
      kon emulator
      kon emulator --kind moto --port 5000
    """
    over = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        over.set()

    before = {each: signal.signal(each, end) for each in ending_signals()}
    try:
        with started(cast(Kind, kind), port, strict=None if lenient else Settings()) as server:
            _print(server, as_json)
            note(
                f"{kind} answers at {server.endpoint}, for trials only; Ctrl-C ends it and all that is in it"
            )
            while not over.wait(_LOOK_S):
                if not server.is_up():
                    raise BackendUnavailable(
                        f"the emulator {kind} has ended by itself; {server.last_words()}"
                    )
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _print(server: Emulator, as_json: bool) -> None:
    environment, gone = server.environment, server.stray_names()
    if as_json:
        print_json(
            {
                "kind": server.kind,
                "endpoint": server.endpoint,
                "pid": server.pid,
                "environment": environment,
                "unset": gone,
            }
        )
        return
    for name, value in environment.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo(f"unset {' '.join(gone)}")


@contextmanager
def emulated(experiments: Sequence[Experiment]) -> Iterator[None]:
    """Within it, this process and its workers have an emulator for Amazon's services.

    Raises ConfigurationError where none of the experiments would use it.
    """
    if all(each.backend.name != AWS for each in experiments):
        names = ", ".join(sorted({each.backend.name for each in experiments}))
        raise ConfigurationError(
            f"--emulator stands in for Amazon's services, and nothing here uses them (backend: {names}); add "
            "--set backend=aws, or leave it out"
        )
    with started(strict=_STRICT) as server, server.in_use():
        yield
