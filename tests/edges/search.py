"""The whole search: `python -m tests.edges.search [--minutes N] [--command up] [--part 1/2]`"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from kon.backends.emulator.strict.faults import FAULTS
from tests.edges.account import READS
from tests.edges.holder import Holder
from tests.edges.play import ARGUMENTS, Play, do, played
from tests.edges.state import HOT
from tests.edges.world import World

_OF_READS: Final = frozenset({"denied", "failed", "not_there", "empty", "interrupted", "lost", "garbled"})
_EMPTY: Final = frozenset({"ListTagsOfResource", "ListTables", "ListQueueTags", "ListQueues"})
_FOR_GOOD: Final = ("throttled", "failed", "lost_after")
"""Beyond the SDK's attempts. A denial for good is played at reads as well."""


_IN_A_ROW: Final = 8


def plays_of(command: str, calls: Sequence[str]) -> Iterator[Play]:
    """Every fault at every call that changes something, and at the first and last of those that look."""
    for name, times in Counter(calls).items():
        operation = name.partition(":")[2]
        is_read, is_hot = operation.startswith(READS), operation in HOT
        numbers = {1} if is_hot else {1, times} if is_read or times > 4 else set(range(1, times + 1))
        for kind in FAULTS:
            if (is_read and kind not in _OF_READS) or (kind == "empty" and operation not in _EMPTY):
                continue
            for nth in sorted(numbers):
                yield Play(command, kind, name, nth)
        yield Play(command, "denied", name, for_good=True)
        if not is_hot:  # those are ridden out for five minutes
            for kind in _FOR_GOOD if not is_read else _FOR_GOOD[:1]:
                yield Play(command, kind, name, for_good=True)


def calls_of(world: World, folder: Path, command: str) -> list[str]:
    """The calls that a command makes when it goes well."""
    before = Counter(world.calls())
    done = do(world, folder, command)
    assert done.code == 0, done.said
    return sorted((Counter(world.calls()) - before).elements())


def in_turn(plays: Sequence[Play], seed: int) -> list[Play]:
    """By chance, so that a search that runs out of time has been everywhere, and yet many of one command one
    after another, as the account has to be made anew for each."""
    plays = list(plays)
    random.Random(seed).shuffle(plays)
    rounds = Counter[str]()
    turns = {}
    for play in plays:
        turns[play] = (rounds[play.command] // _IN_A_ROW, play.command)
        rounds[play.command] += 1
    return sorted(plays, key=turns.__getitem__)


def main() -> int:
    """Prints what is wrong as it comes, and at the end a line of JSON: of each command the plays that were
    played, all that there are, those that met no fault, and those that were cut."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1e6)
    parser.add_argument("--command", choices=ARGUMENTS, action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", default="1/1", help="of the plays, for several processes side by side")
    given = parser.parse_args()
    over_s, broken = time.monotonic() + 60.0 * given.minutes, 0
    part, parts = map(int, given.part.split("/"))
    counted, without, cut = Counter[str](), Counter[str](), Counter[str]()
    known = set[str]()
    with Holder() as holder:
        plays = [
            play
            for command in given.command or ARGUMENTS
            for play in plays_of(command, holder.ask(command, calls_of, command))
        ]
        of = Counter(play.command for play in plays)
        print(f"{len(plays)} plays", flush=True)
        for play in in_turn(plays, given.seed)[part - 1 :: parts]:
            if time.monotonic() > over_s:
                break
            if counted.total() % 100 == 99:
                print(f"{counted.total()} so far, {cut.total()} of them cut", flush=True)
            try:
                outcome = holder.ask(play.command, played, play, frozenset(known))
            except AssertionError as error:
                print(f"{play}: not played: {error}", flush=True)
                continue
            counted[play.command] += 1
            without[play.command] += not outcome.met
            cut[play.command] += outcome.cut
            known.update(outcome.states)
            if outcome.wrong:
                broken += 1
                print(f"{play}", *outcome.wrong, sep="\n    ", flush=True)
    told = {each: [counted[each], of[each], without[each], cut[each]] for each in of}
    print(
        f"{counted.total()} of {len(plays)} plays, {broken} with a finding; {cut.total()} came to one of "
        f"{len(known)} states that another had gone on from, and went no further",
        flush=True,
    )
    print(msgspec.json.encode(told).decode(), flush=True)
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
