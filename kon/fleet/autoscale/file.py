"""A policy for `kon autoscale`, read as experiments are: what is wrong is said with its line."""

from __future__ import annotations

from pathlib import Path

import msgspec

from kon.experiment.models import checked
from kon.experiment.yamltree import plain
from kon.fleet.autoscale.policy import Policy


def read_policy(path: Path) -> Policy:
    """Raises ConfigurationError with the place of what is wrong."""
    return msgspec.convert(plain(checked(path, Policy)), Policy)
