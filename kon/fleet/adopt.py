"""A fleet's run as the store itself has it, for a client at a machine that has no records of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

from kon.backends.aws import AwsBackend
from kon.core.distribution import version
from kon.core.errors import ConfigurationError, did_you_mean
from kon.core.plugins import open_backend
from kon.core.spec import Plugin, RunSpec
from kon.engine.control import Control
from kon.fleet.thing import stem_of

_LOOKS: Final = 3
_PAUSE_S: Final = 1.0


async def published_run(fleet: str, run: str, region: str | None = None) -> tuple[RunSpec, float | None]:
    """What the run is, and when it began, in seconds since the epoch. region: None for the credentials' own.

    Raises ConfigurationError where the fleet has no such run, or another version of kon has begun it.
    """
    options = {"prefix": stem_of(fleet), **({"region": region} if region else {})}
    finder = AwsBackend(options)
    found: dict[str, Any] = {}
    try:
        for look in range(_LOOKS):  # a queue that is new is listed late
            if run not in found:
                await asyncio.sleep(_PAUSE_S if look else 0.0)
                found = {each.run: each.options for each in await finder.found()}
    finally:
        await finder.close()
    if run not in found:
        known = did_you_mean(run, set(found)) or f"; there is {', '.join(sorted(found)) or 'no run'}"
        raise ConfigurationError(f'the fleet {fleet} has no run "{run}" that is not over{known}')
    backend = open_backend(Plugin("aws", found[run]), Path())
    try:
        control = Control((await backend.open(run)).control)
        theirs = await control.published_by()
        spec = await control.published() if theirs == version() else None
        if spec is None:
            why = (
                f"kon {theirs} has begun it, and this is kon {version()}" if theirs else "nobody has begun it"
            )
            raise ConfigurationError(f"run {run}: {why}; it is left as it is")
        return spec, await control.begun_s()
    finally:
        await backend.close()
