"""What is tried against what: the strategies with their options, and the classes of faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from kon.backends.sim.faults import FAULTS, FaultRates
from kon.backends.sim.ledger import SimLedger
from kon.backends.sim.network import Network
from kon.core.clock import Clock
from kon.core.errors import ConfigurationError, did_you_mean
from kon.core.plugins import names, strategy_class
from kon.core.spec import Plugin
from kon.core.strategy import Strategy, strategy_options
from kon.trials.prove import on_aws, on_sqlite
from kon.trials.prove.on_aws import AMAZON_FAULTS, AwsRates
from kon.trials.prove.on_sqlite import MACHINE_FAULTS, SqliteRates
from kon.trials.prove.scenario import Invariant, promised
from kon.trials.prove.services import Searchable

NO_FAULT: Final = "none"
ALL_FAULTS: Final = "all"

_VARIANTS: Final[Mapping[str, Sequence[dict[str, Any]]]] = {
    "read_then_write": ({"record": "after"}, {"record": "before"})
}
"""Options that change what a strategy promises, so that each is tried by itself."""

_EACH: Final[Mapping[str, tuple[float, float]]] = {
    "duplicate": (0.3, 0.1),
    "answer_duplicate": (0.3, 0.1),
    "resurrect": (0.3, 0.05),
    "delay": (0.3, 0.05),
    "reorder": (0.5, 0.1),
    "receive_lost": (0.2, 0.05),
    "ack_failed": (0.3, 0.05),
    "ack_reply_lost": (0.3, 0.05),
    "send_reply_lost": (0.3, 0.05),
    "handle_expired": (0.3, 0.05),
    "stale_ack_deletes": (0.5, 0.2),
    "stale_ack_agrees": (0.5, 0.2),
    "stale_depth": (0.5, 0.1),
    "depth_low": (0.9, 0.1),
    "receive_missed": (0.3, 0.05),
    "write_reply_lost": (0.3, 0.05),
    "stale_read": (0.5, 0.1),
    "throttle": (0.3, 0.05),
    "error_after": (0.02, 0.005),
    "error_before": (0.02, 0.005),
    "partition": (0.02, 0.005),
    "denied": (1.0, 0.1),
    "denied_for_good": (1.0, 0.05),
    "crash": (0.6, 0.4),
    "pause": (0.6, 0.4),
    "skew": (1.0, 1.0),
    "client_crash": (0.6, 0.4),
    "client_pause": (0.6, 0.1),
    "second_client": (1.0, 0.2),
    "stop": (0.8, 0.15),
    "late": (0.6, 0.2),
    "cancel": (0.6, 0.05),
}
"""The rate of each fault by itself, and of all together: often enough that one schedule of a few tasks meets
several, and seldom enough that it gets anywhere."""

_NOT_MODELLED: Final[Mapping[Searchable, Sequence[str]]] = {
    "sim": (
        "retention, the 12 hours of a receipt and 120,000 messages in flight, which --backend aws has",
        "sends that fail in part and are stored in part, which --backend aws has too",
        "the backends' own queues and ledgers, which --backend sqlite and --backend aws search",
    ),
    "sqlite": (
        "a failure while a process opens the run",
        "two transactions that are open at once: each is one step",
        "a power cut, which loses what was not synced",
    ),
    "aws": (
        "the making, finding and deleting of queues, tables and buckets",
        "the option client: boto3 for the calls that the lean client makes",
        "boto3's own retries, and its reading of replies that are damaged",
        "TLS, proxies, and credentials that are renewed",
        "messages that are signed",
    ),
}
"""What no schedule of the search has. Other tests have some of it: see docs/guarantees.md."""


def not_modelled(backend: Searchable) -> Sequence[str]:
    """What no schedule has that is played with this backend."""
    return _NOT_MODELLED[backend]


class FaultClass(msgspec.Struct, frozen=True):
    """The faults that schedules of this class have, and how often: `none`, `all`, or one by its name."""

    name: str
    rates: FaultRates


_FAULTS: Final[Mapping[Searchable, tuple[str, ...]]] = {
    "sim": FAULTS,
    "sqlite": MACHINE_FAULTS,
    "aws": AMAZON_FAULTS,
}


def faults_of(backend: Searchable) -> tuple[str, ...]:
    """Every fault that the search has for a backend, by name."""
    return _FAULTS[backend]


_RATES: Final[Mapping[Searchable, type[FaultRates]]] = {
    "sim": FaultRates,
    "sqlite": SqliteRates,
    "aws": AwsRates,
}
_OWN: Final[Mapping[Searchable, Mapping[str, tuple[float, float]]]] = {
    "sim": {},
    "sqlite": on_sqlite.RATES,
    "aws": on_aws.RATES,
}


def fault_class(name: str, backend: Searchable = "sim") -> FaultClass:
    """The class of that name. Raises ConfigurationError."""
    every = faults_of(backend)
    if name == NO_FAULT:
        return FaultClass(name, FaultRates())
    if name == ALL_FAULTS:
        return FaultClass(name, _RATES[backend](**{each: _rates(each, backend)[1] for each in every}))
    if name in every:
        return FaultClass(name, _RATES[backend](**{name: _rates(name, backend)[0]}))
    known = (NO_FAULT, *every, ALL_FAULTS)
    of = "" if backend == "sim" else f" of the backend {backend}"
    raise ConfigurationError(f'no fault "{name}"{of}{did_you_mean(name, known)} (known: {", ".join(known)})')


def _rates(fault: str, backend: Searchable) -> tuple[float, float]:
    """Rates of a backend's fault: by itself, and together with all others."""
    own = _OWN[backend]
    return own[fault] if fault in own else _EACH[fault]


def fault_classes(backend: Searchable = "sim") -> list[FaultClass]:
    """No fault, each fault by itself, and all at once."""
    return [fault_class(name, backend) for name in (NO_FAULT, *faults_of(backend), ALL_FAULTS)]


def registered_strategies() -> list[Plugin]:
    """Every strategy that is registered, once for each of the options that change what it promises."""
    return [variant for name in names("kon.strategies") for variant in strategy_variants(name)]


def strategy_variants(name: str, options: Mapping[str, Any] | None = None) -> list[Plugin]:
    """A strategy by name or `module:Class`: with these options, or where none are given in each variant.

    Raises ConfigurationError for a name that there is not, or options that it does not take.
    """
    every = _VARIANTS.get(name, ({},)) if not options else (dict(options),)
    variants = [Plugin(name, given) for given in every]
    for variant in variants:
        promises_of(variant)
    return variants


def promises_of(strategy: Plugin) -> frozenset[Invariant]:
    """What it promises under these options. Raises ConfigurationError when it can't be made with them."""
    return promised(_make(strategy_class(strategy.name), strategy))


def _make(cls: type[Strategy], strategy: Plugin) -> Strategy:
    takes = strategy_options(cls)
    of = f'the strategy "{strategy.name}"'
    for option in strategy.options:
        if option not in takes:
            known = f"it takes {', '.join(takes)}" if takes else "it takes none"
            raise ConfigurationError(f'{of} has no option "{option}"{did_you_mean(option, takes)} ({known})')
    try:
        return cls(SimLedger("ledger", Network()), "check", Clock(0.0), **strategy.options)
    except ConfigurationError as error:
        raise ConfigurationError(f"{of}: {error}") from error
    except Exception as error:  # a plug-in's own code
        raise ConfigurationError(f"{of} can't be made with these options: {error}") from error
