"""What a fleet is to be, as an operator declares it, and the changes that lead there.

The price is the most that it can cost until its hosts end themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import botocore.exceptions
import msgspec

from kon.backends.prices import Prices
from kon.core.errors import BackendUnavailable, ConfigurationError
from kon.fleet.clients import Clients, is_gone
from kon.fleet.thing import BILL, PROJECT, Filter, listed, stem_of

TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
"""Format of the tag ExpiresAt. Such times sort as text."""

OWN_TAGS: Final = frozenset(
    {
        *("Project", "Run", "ExpiresAt", "Role", "Name", "User"),
        *("Hosts", "Types", "Subnets", "Drain", "Number", "Mark"),
    }
)
"""Tags that kon goes by, and sets itself."""

_KNOWN_S: Final = 60.0
"""How long what was made may take to be known to other calls, in seconds: an instance profile the longest."""

LOOK_S: Final = 2.0

_T = TypeVar("_T")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet as it is to be. An empty text or list means: not said.

    hosts: how many, at least; None for as many as the fleet was last given, or 2 for a new one.
    types: instance types, the best first. image_*: one image by its id, or the newest of a name.
    hours: after that time, hosts end themselves. most_usd: what the fleet may cost until then; 0: no limit.
    ssh_from: addresses that may reach hosts by SSH, in addition to those of before.
    public_key: what hosts let in, as OpenSSH writes it. key_name: a key pair of EC2's in place of that.
    subnets, group, profile: what is there already and is used, and never changed.
    dead_queues: queues whose first message sets off an alarm.

    Raises ConfigurationError for a name that might be the beginning of another fleet's, and for tags that
    kon sets itself.
    """

    fleet: str
    region: str
    hosts: int | None = None
    types: list[str]
    spot: bool = False
    cpu_credits: str = "standard"
    disk_gb: int = 8
    image_id: str = ""
    image_owner: str = ""
    image_name: str = ""
    image_user: str = "admin"
    hours: float = 4.0
    expiry_check_s: int = 60
    most_usd: float = 0.0
    own_network: bool = False
    cidr: str = "10.77.0.0/16"
    subnets: list[str] = []
    group: str = ""
    profile: str = ""
    key_name: str = ""
    boundary: str = ""
    tags: dict[str, str] = {}
    public_ip: bool = True
    hop_limit: int = 1
    ssh_from: str = ""
    public_key: str = ""
    alarm_mail: str = ""
    billing_usd: float = 10.0
    dead_queues: list[str] = []

    def __post_init__(self) -> None:
        Filter(self.fleet)
        if not self.types:
            raise ConfigurationError("no instance type is named: -e instance_type=t3.micro")
        if taken := OWN_TAGS & self.tags.keys():
            raise ConfigurationError(f"extra_tags: {', '.join(sorted(taken))}: kon sets these itself")
        if self.subnets and self.own_network:
            raise ConfigurationError("own_network makes a network, and subnet_ids names one: say one of them")

    @property
    def stem(self) -> str:
        """What the names of the fleet's things begin with."""
        return stem_of(self.fleet)

    @property
    def global_name(self) -> str:
        """Name of what belongs to no region: two regions' fleets of one name have each their own."""
        return f"{self.stem}-{self.region}"

    @property
    def bill_name(self) -> str:
        return f"{self.global_name}{BILL}"

    def tags_until(self, expires_at: str) -> dict[str, str]:
        return {**self.tags, "Project": PROJECT, "Run": self.fleet, "ExpiresAt": expires_at}


class Change(msgspec.Struct, frozen=True):
    """One thing that was changed, or would be. before: empty where it was not there."""

    thing: str
    before: str
    after: str


class Work:
    """The way from what is there to what is wanted. dry: nothing is changed, only said.

    tags: of all that is made. notes: what an operator should know, though nothing is wrong.
    """

    def __init__(
        self,
        aws: Clients,
        wanted: Wanted,
        *,
        dry: bool = False,
        now_s: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.aws: Final = aws
        self.wanted: Final = wanted
        self.dry: Final = dry
        self.now_s: Final = now_s
        self.sleep: Final = sleep
        self.changes: Final[list[Change]] = []
        self.notes: Final[list[str]] = []
        self.tags: dict[str, str] = {}

    def change(self, thing: str, after: str, call: Callable[[], _T], before: str = "") -> _T | None:
        """Make a change and note it; None where nothing is changed."""
        result = None if self.dry else self.patiently(call)
        self.changes.append(Change(thing, before, after))
        return result

    def patiently(self, call: Callable[[], _T]) -> _T:
        """What the call answers. Amazon may not know yet what was made a moment ago, here or by a call that
        was interrupted, and says so without any effect: it is asked again. What an operator has named is not
        new: if it is not there, it is told at once."""
        give_up_s = self.now_s() + _KNOWN_S
        while True:
            try:
                return call()
            except botocore.exceptions.ClientError as error:
                if not self._is_late(error) or self.now_s() > give_up_s:
                    raise
            self.sleep(LOOK_S)

    def _is_late(self, error: botocore.exceptions.ClientError) -> bool:
        wanted, said = self.wanted, str(error)
        named = filter(None, [wanted.group, wanted.profile, wanted.key_name, *wanted.subnets])
        # EC2 hears of a profile some seconds after IAM has made it, and has no code for that
        return (is_gone(error) or "iamInstanceProfile" in said) and not any(each in said for each in named)

    def until(self, what: str, is_so: Callable[[], bool]) -> None:
        """Look until it is so. Raises BackendUnavailable where it is not in time."""
        give_up_s = self.now_s() + _KNOWN_S
        while not is_so():
            if self.now_s() > give_up_s:
                raise BackendUnavailable(f"{what} after {_KNOWN_S:g} s. What was made stays; call this again")
            self.sleep(LOOK_S)

    def specified(self, kind: str, **more: str) -> list[dict[str, Any]]:
        """Tags as EC2's calls that make a thing take them, so that it is never without."""
        return [{"ResourceType": kind, "Tags": listed({**self.tags, **more})}]


def timestamp(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime(TIME)


def seconds(at: str) -> float:
    """Raises ValueError for what is no such time."""
    return datetime.strptime(at, TIME).replace(tzinfo=UTC).timestamp()


_MONTH_H: Final = 730.0


class Price(msgspec.Struct, frozen=True):
    """most_usd: what all hosts cost at most within `hours`; None where a type has no price.

    Spot hosts count at the price on demand, which they never pass. parts: what was counted, in words.
    unknown: types without a price.
    """

    hours: float
    hour_usd: float | None
    most_usd: float | None
    parts: str
    unknown: list[str]


def price_of(
    wanted: Wanted,
    prices: Prices,
    hosts: int,
    hours: float,
    disk_gb: int,
    types: Mapping[str, Mapping[str, Any]],
) -> Price:
    """The dearest of the types counts. types: as EC2 describes them."""
    unknown = [each for each in wanted.types if each not in prices.ec2.hour]
    disk_usd = disk_gb * prices.ec2.disk_gb_month / _MONTH_H
    address_usd = prices.ec2.ipv4_hour if wanted.public_ip else 0.0
    surplus_usd = max(
        prices.ec2.surplus_hour(name) * about["VCpuInfo"]["DefaultVCpus"]
        if wanted.cpu_credits == "unlimited" and about.get("BurstablePerformanceSupported")
        else 0.0
        for name, about in types.items()
    )
    parts = [f"disks of {disk_gb} GB"]
    parts += ["public addresses"] if address_usd else []
    parts += ["CPU credits"] if surplus_usd else []
    counted = (
        f"with {', '.join(parts)}; prices of {prices.region}, {prices.date}; without requests and traffic"
    )
    if unknown:
        return Price(hours, None, None, counted, unknown)
    hour_usd = max(prices.ec2.hour[each] for each in wanted.types) + disk_usd + address_usd + surplus_usd
    return Price(hours, hour_usd * hosts, hour_usd * hosts * hours, counted, [])
