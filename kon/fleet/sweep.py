"""Looking through all regions for what has kon's tags, and removing it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import boto3
import botocore.exceptions
import msgspec

from kon.backends.prices import Prices
from kon.fleet.clients import UNREACHED, Clients, code_of, in_kons_words, is_gone, said_by, unreached
from kon.fleet.kinds import KINDS, ThingKind
from kon.fleet.thing import Filter, Thing, is_within

BILLS: Final = "us-east-1"
"""The region in which Amazon reports bills, whatever they are for."""

_DENIED: Final = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException")
_THREADS: Final = 8
_PAUSE_S: Final = 1.0
_EMPTY_LOOKS: Final = 2
PATIENCE_S: Final = 300.0
"""How long things may take to go, in seconds: a host a minute, and its group's rules as long again."""


class Found(msgspec.Struct, frozen=True):
    """things: in the order in which they can go. regions: in which was looked.

    troubles: what could not be looked at or removed, and why, a line each: of these nobody knows.
    """

    things: list[Thing]
    regions: list[str]
    troubles: list[str] = []

    @property
    def usd_per_hour(self) -> float:
        """Price of all things whose price is known."""
        return sum(each.usd_per_hour or 0.0 for each in self.things)


@in_kons_words
def enabled_regions() -> tuple[list[str], list[str]]:
    """Those in which this account can have anything, and what is wrong where Amazon does not tell them: then
    the usual one alone, as hosts that run there are better ended than left."""
    clients = Clients(None)
    try:
        found = clients("ec2").describe_regions()["Regions"]
    except botocore.exceptions.ClientError as error:
        if code_of(error) not in _DENIED:
            raise  # of expired credentials, and the like, no region would answer
        trouble = f"{clients.region} alone was looked at, name others by --region: {said_by(error)}"
        return [clients.region], [trouble]
    finally:
        clients.close()
    return sorted(each["RegionName"] for each in found), []


@in_kons_words
def look(wanted: Filter, prices: Prices, regions: Sequence[str] = ()) -> Found:
    """What there is. regions: whose things are meant; none named: those of all that are enabled.

    Raises BackendRefused where Amazon lets nobody look.
    """
    places, troubles = (list(regions), []) if regions else enabled_regions()
    with _clients(_asked(wanted, places)) as clients:
        things = _look(KINDS, wanted, prices, clients, regions)
        return Found(things, places, [*troubles, *_troubles(clients)])


def _look(
    kinds: Sequence[ThingKind],
    wanted: Filter,
    prices: Prices,
    clients: Sequence[Clients],
    regions: Sequence[str],
) -> list[Thing]:
    """What is there. A kind that can't be listed is one of the clients' troubles, and the others are looked
    for all the same. Raises HTTPClientError where nothing at all can be reached."""
    jobs = [(kind, each) for kind in kinds for each in (clients[:1] if kind.everywhere else clients)]
    failures: list[Exception] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda job: _find(job[0], job[1], wanted, prices, failures), jobs)
        # by their ids, which no two things share: some emulators list theirs in every region
        distinct = {(each.kind, each.id): each for things in found for each in things}
    if len(failures) == len(jobs):
        raise failures[0]
    return [each for each in distinct.values() if is_within(each, regions)]


def _find(
    kind: ThingKind, aws: Clients, wanted: Filter, prices: Prices, failures: list[Exception]
) -> list[Thing]:
    """failures: takes those by which nobody was reached."""
    things: list[Thing] = []
    where = "" if kind.everywhere else f" in {aws.region}"
    about = f"things of the kind {kind.name}{where} can't be listed"
    try:
        things.extend(kind.find(aws, wanted, prices))
    except botocore.exceptions.ClientError as error:
        aws.troubles.append(f"{about}: {said_by(error)}")
    except UNREACHED as error:
        aws.troubles.append(f"{about}: {unreached(error)}")
        failures.append(error)
    return things


def _troubles(clients: Iterable[Clients]) -> list[str]:
    return list(dict.fromkeys(trouble for each in clients for trouble in each.troubles))


@in_kons_words
def remove(
    wanted: Filter,
    prices: Prices,
    regions: Sequence[str] = (),
    *,
    patience_s: float = PATIENCE_S,
    on_removed: Callable[[Thing], None] = lambda thing: None,
    now_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Found:
    """Remove all that `look` finds, and look until it is gone; what is left after `patience_s`.

    Hosts are asked to go before anything else is looked for: they cost the most, and a look at all the rest
    takes a while. Things that others still hang on are tried again. One that Amazon refuses to remove is told
    of, and the others go all the same. Nothing is found to be gone by one look alone, as what is new is
    listed late. on_removed: called for each, once it is asked to go.
    """
    places, troubles = (list(regions), []) if regions else enabled_regions()
    give_up_s = now_s() + patience_s
    removal = _Removal(on_removed)
    with _clients(_asked(wanted, places)) as clients:
        empty_looks, has_tried = 0, False
        while True:
            for each in clients:
                each.troubles.clear()
            there: list[Thing] = []
            for kinds in (KINDS[:1], KINDS[1:]):
                found = _look(kinds, wanted, prices, clients, regions)
                there += found
                removal.ask(found, clients)
            waited_for = [each for each in there if _key(each) not in removal.refused]
            empty_looks = 0 if waited_for else empty_looks + 1
            if empty_looks == _EMPTY_LOOKS or (has_tried and waited_for and now_s() > give_up_s):
                return Found(there, places, [*troubles, *removal.troubles(there), *_troubles(clients)])
            has_tried = has_tried or bool(waited_for)
            sleep(_PAUSE_S)


class _Removal:
    """What became of each thing that was asked to go. on_removed: called for each, the first time."""

    def __init__(self, on_removed: Callable[[Thing], None]) -> None:
        self._on_removed = on_removed
        self._asked: set[tuple[str, str, str]] = set()
        self._waits: dict[tuple[str, str, str], str] = {}
        self.refused: dict[tuple[str, str, str], str] = {}

    def ask(self, things: Iterable[Thing], clients: Sequence[Clients]) -> None:
        """Ask these to go, but those that Amazon has refused to remove before."""
        by_region = {each.region: each for each in clients}
        for kind, thing in _in_turn(things):
            key, about = _key(thing), f"{thing.kind} {thing.name or thing.id}"
            if key in self.refused:
                continue
            try:
                wait = _asked_to_go(kind, by_region.get(thing.region, clients[0]), thing)
            except botocore.exceptions.ClientError as error:
                self.refused[key] = f"{about}: {said_by(error)}"
                continue
            self._waits[key] = f"{about}: {wait or 'it was asked to go, and is still there'}"
            if wait is None and key not in self._asked:
                self._on_removed(thing)
                self._asked.add(key)

    def troubles(self, there: Iterable[Thing]) -> list[str]:
        """Why these are still there."""
        left = {_key(each) for each in there}
        return [trouble for key, trouble in {**self._waits, **self.refused}.items() if key in left]


def _in_turn(things: Iterable[Thing]) -> Iterator[tuple[ThingKind, Thing]]:
    by_name = {kind.name: kind for kind in KINDS}
    for thing in things:
        yield by_name[thing.kind], thing


_WAITS: Final = (
    "InUse",
    "DependencyViolation",
    "DeleteConflict",
    "IncorrectState",
    "IncorrectInstanceState",
    "BucketNotEmpty",
    "Aborted",
    "Concurrent",
    "StaleTag",
    "LimitExceeded",
    "Throttl",
    "SlowDown",
    "TooManyRequests",
    "PriorRequestNotComplete",
    "Internal",
    "Unavailable",
)
"""In codes that say "not now": something else has to go first, or the service is busy."""


def _asked_to_go(kind: ThingKind, aws: Clients, thing: Thing) -> str | None:
    """What it waits for, where something else has to go first, or nobody answers; None where it goes. Raises
    ClientError for what will not pass."""
    try:
        kind.remove(aws, thing)
    except botocore.exceptions.ClientError as error:
        if is_gone(error):
            return None
        if any(word in code_of(error) for word in _WAITS):
            return said_by(error)
        raise
    except UNREACHED as error:
        return unreached(error)
    return None


def _key(thing: Thing) -> tuple[str, str, str]:
    return thing.region, thing.kind, thing.id


def _asked(wanted: Filter, regions: Sequence[str]) -> list[str]:
    """The regions that are asked: of a fleet also the one where the alarm about its bill is."""
    partitions = {boto3.Session().get_partition_for_region(each) for each in regions}
    bills = [BILLS] if wanted.fleet is not None and partitions == {"aws"} else []
    return list(dict.fromkeys([*regions, *bills]))


@contextmanager
def _clients(regions: Sequence[str]) -> Iterator[list[Clients]]:
    session = boto3.Session()
    made = [Clients(region, session) for region in regions]
    try:
        yield made
    finally:
        for each in made:
            each.close()
