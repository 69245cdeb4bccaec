"""Names of runs, which become paths."""

from __future__ import annotations

from kon.core.errors import ConfigurationError
from kon.core.objects import NOT_A_NAME


def check_run(run: str) -> str:
    """The run's name itself. Raises ConfigurationError for one that is not the plain name of a folder."""
    if run in NOT_A_NAME or not {"/", "\\", "\0"}.isdisjoint(run):
        raise ConfigurationError(f"the run {run!r} can't be the name of a folder; choose one without slashes")
    return run
