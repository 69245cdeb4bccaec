"""Life: what one life of a worker has to itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kon.core.clock import Clock
from kon.engine.records.events import Recorder


@dataclass(frozen=True)
class Life:
    """One life of a worker, from its start to its end.

    name: unique; a replacement of the worker has another one.
    recorder: writes this life's events.
    usage: returns what the worker's process has used so far, such as CPU seconds and requests.
    """

    name: str
    clock: Clock
    recorder: Recorder
    rng: random.Random
    usage: Callable[[], dict[str, Any]] = dict
