"""One thing at Amazon that has kon's tags."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec

from kon.core.errors import ConfigurationError

_FLEET: Final = re.compile(r"[a-z0-9]{1,15}")

PROJECT: Final = "kon"
"""Value of the tag Project, on all that kon makes. Nothing is ever looked for without it."""

GLOBAL: Final = "global"
"""In place of a region, for what belongs to none."""


BILL: Final = "-bill"
"""What the names of a bill's alarm and topic end with, after the region of the fleet."""


class Thing(msgspec.Struct, frozen=True):
    """kind: `instance`, `volume` and so on. id: what its service knows it by. name: for people.

    usd_per_hour: what it costs as long as it is there; None where the prices do not say.
    """

    kind: str
    id: str
    name: str
    region: str
    tags: Mapping[str, str]
    usd_per_hour: float | None = 0.0

    @property
    def run(self) -> str:
        return self.tags.get("Run", "")

    @property
    def expires_at(self) -> str:
        return self.tags.get("ExpiresAt", "")


class Filter(msgspec.Struct, frozen=True):
    """Which things are meant: all of kon's, or those of one fleet.

    fleet: its name. What runs of its experiments have is named after them; it is known by its prefix.
    Raises ConfigurationError for a name that might be the beginning of another fleet's.
    """

    fleet: str | None = None

    def __post_init__(self) -> None:
        if self.fleet is not None and not _FLEET.fullmatch(self.fleet):
            raise ConfigurationError(
                f'the fleet "{self.fleet}": expected 1 to 15 small letters and digits, as in -e run=r1'
            )

    @property
    def stem(self) -> str | None:
        """What the names of the fleet's things begin with."""
        return None if self.fleet is None else stem_of(self.fleet)

    def takes(self, name: str, tags: Mapping[str, str]) -> bool:
        if tags.get("Project") != PROJECT:
            return False
        return self.fleet is None or tags.get("Run") == self.fleet or self.names(name)

    def names(self, name: str) -> bool:
        """Whether a thing may be meant, by its name alone: what others have need not be asked for its tags.

        For services that list without tags. All that kon makes there is named after its fleet.
        """
        return self.fleet is None or name == self.stem or name.startswith(f"{self.stem}-")

    def names_of_fleets(self, name: str) -> bool:
        """Whether a thing may be meant, by its name, of a sort that fleets alone have: roles, alarms, topics.

        An account has hundreds of other people's; to ask each for its tags takes minutes.
        """
        return self.names(name) if self.fleet is not None else name.startswith(stem_of(""))

    @property
    def ec2(self) -> list[dict[str, Any]]:
        """As EC2 takes it; never empty."""
        filters = [{"Name": "tag:Project", "Values": [PROJECT]}]
        if self.fleet is not None:
            filters.append({"Name": "tag:Run", "Values": [self.fleet]})
        return filters


def is_within(thing: Thing, regions: Collection[str]) -> bool:
    """Whether a thing belongs to one of these regions; true where none is named.

    What belongs to no region says in its name for which it was made: the role konf-r1-eu-west-1 is that of
    hosts in eu-west-1, and outlives a teardown of the fleet's hosts in us-east-1. Amazon reports bills in
    us-east-1 alone: there, konf-r1-eu-west-1-bill is eu-west-1's.
    """
    if not regions:
        return True
    if thing.region == GLOBAL or thing.name.endswith(BILL):
        return thing.name.removesuffix(BILL).endswith(tuple(f"-{each}" for each in regions))
    return thing.region in regions


def stem_of(fleet: str) -> str:
    """What the names of a fleet's things begin with, and those of its runs' (the backend's `prefix`)."""
    return f"konf-{fleet}"  # not kon-, which runs that belong to no fleet begin with


def tags_of(found: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """From the way in which most services list them."""
    return {tag["Key"]: tag["Value"] for tag in found or ()}


def listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """In the way in which most services list them."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
