"""A fleet made as it is declared, in a few calls: what is there already is left as it is.

All of it has tags from its creation, and names that follow from the fleet's: what an interrupted call has
made, `kon.fleet.sweep` finds.
"""

from __future__ import annotations

import msgspec

from kon.backends.prices import Prices
from kon.fleet.build.alarms import alarms
from kon.fleet.build.identity import identity
from kon.fleet.build.instances import end_hosts, make_hosts
from kon.fleet.build.key import keep_key, kept_key, key_pair
from kon.fleet.build.network import let_in, own_network, security_group
from kon.fleet.build.survey import Survey, survey
from kon.fleet.build.template import launch_template
from kon.fleet.build.wanted import Change, Wanted, Work
from kon.fleet.clients import in_kons_words

__all__ = ["Change", "Survey", "Wanted", "Work", "build", "end_hosts", "kept_key", "let_in", "look"]


@in_kons_words
def look(work: Work, prices: Prices) -> Survey:
    """What would be made. Raises ConfigurationError or BackendRefused where it can't be."""
    return survey(work, prices)


@in_kons_words
def build(
    work: Work, prices: Prices, private_key: str = "", found: Survey | None = None
) -> tuple[Survey, list[str]]:
    """Make what is missing; what was found before, and the ids of the hosts that were made.

    private_key: the fleet's own, which is kept with the fleet; nothing for one that is not to be kept.
    found: what `look` has found a moment ago, so that nobody looks again.

    Raises ConfigurationError or BackendRefused; what was made until then stays, and the same call goes on.
    """
    found = found or survey(work, prices)
    work.tags = work.wanted.tags_until(found.expires_at)
    if work.wanted.own_network:
        zones = list(dict.fromkeys(subnet.zone for _, subnet in found.places))
        vpc, subnets = own_network(work, zones)
        by_zone = {each.zone: each for each in subnets}
        places = [(kind, by_zone[each.zone]) for kind, each in found.places if each.zone in by_zone]
        found = msgspec.structs.replace(found, vpc=vpc, places=places)
    group = security_group(work, found.vpc)
    key = key_pair(work)
    if private_key:
        keep_key(work, private_key)
    profile = identity(work, found.partition)
    if work.wanted.alarm_mail:
        alarms(work, found.partition)
    launch_template(work, found, group, key, profile)
    return found, make_hosts(work, found, group)
