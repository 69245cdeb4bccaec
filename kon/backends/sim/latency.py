"""How long calls take in a simulated run: the hook, and distributions by call."""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final

import msgspec

from kon.core.errors import ConfigurationError, did_you_mean

CALLS: Final = (
    "queue.send",
    "queue.receive",
    "queue.extend",
    "queue.ack",
    "queue.depth",
    "ledger.read",
    "ledger.insert_new",
    "ledger.replace",
    "ledger.put",
    "ledger.delete",
    "ledger.scan",
    "objects.put",
    "objects.get",
    "objects.url",
)
"""Every call that a latency model may name: the kind of service, and the call as in its class."""


class Latency(ABC):
    """Says how long each call takes. One object serves a whole simulation, so it may keep count."""

    @abstractmethod
    def delay_s(self, call: str, service: str, items: int, now_s: float) -> float:
        """From the request's leaving a host to its reply's arrival there, in seconds.

        call: one of `CALLS`. service: which queue or table. now_s: virtual time, for models in which
        a call waits for its turn (a rate limit). The time that a receive waits for messages comes on top.
        """


class CallTime(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call's duration: log-normal, in seconds, and so much more for each item of a batch."""

    median_s: float
    p99_s: float
    per_item_s: float = 0.0

    def __post_init__(self) -> None:
        if not (0.0 < self.median_s <= self.p99_s < math.inf and 0.0 <= self.per_item_s < math.inf):
            raise ConfigurationError(
                f"a call's time has median_s {self.median_s}, p99_s {self.p99_s} and per_item_s "
                f"{self.per_item_s}; expected 0 < median_s <= p99_s, and per_item_s of 0 or more"
            )


P99: Final = 2.3263478740408408
"""The 99th percentile of the standard normal distribution, in standard deviations."""


class CallTimes(Latency):
    """Draws each call's duration from its own distribution. A call that is not named takes no time."""

    def __init__(self, times: Mapping[str, CallTime], seed: int | str = 0) -> None:
        for call in times:
            if call not in CALLS:
                raise ConfigurationError(
                    f'the latency model names an unknown call "{call}"{did_you_mean(call, CALLS)} '
                    f"(known: {', '.join(CALLS)})"
                )
        self._gauss = random.Random(f"latency:{seed}").gauss
        self._parameters = {
            call: (math.log(time.median_s), math.log(time.p99_s / time.median_s) / P99, time.per_item_s)
            for call, time in times.items()
        }

    def delay_s(self, call: str, service: str, items: int, now_s: float) -> float:
        parameters = self._parameters.get(call)
        if parameters is None:
            return 0.0
        mu, sigma, per_item_s = parameters
        return math.exp(self._gauss(mu, sigma)) + per_item_s * items
