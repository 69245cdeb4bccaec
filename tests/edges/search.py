"""The whole search: `python -m tests.edges.search [--minutes N] [--command up]`"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from kon.backends.emulator.strict.faults import FAULTS
from tests.edges.play import ARGUMENTS, Play, begin, do, faults_of
from tests.edges.world import World, world

_READS: Final = ("Get", "List", "Describe", "Head", "Batch", "Query", "Receive", "Scan")
_OF_READS: Final = frozenset({"denied", "failed", "not_there", "empty", "interrupted", "lost"})
_EMPTY: Final = frozenset({"ListTagsOfResource", "ListTables", "ListQueueTags", "ListQueues"})
_HOT: Final = frozenset(
    {"SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch", "BatchExecuteStatement"}
    | {"BatchGetItem", "BatchWriteItem", "PutItem", "GetItem", "Query", "DeleteItem", "GetQueueAttributes"}
)
"""The core's, which `kon prove` searches: one fault of each kind at the first will do here."""


def plays_of(command: str, calls: Sequence[str]) -> Iterator[Play]:
    """Every fault at the first and the last call of each name, and denials for good."""
    for name, times in Counter(calls).items():
        operation = name.partition(":")[2]
        is_read = operation.startswith(_READS)
        for kind in FAULTS:
            if (is_read and kind not in _OF_READS) or (kind == "empty" and operation not in _EMPTY):
                continue
            for nth in sorted({1, times if operation not in _HOT else 1}):
                yield Play(command, kind, name, nth)
        yield Play(command, "denied", name, for_good=True)
        if operation not in _HOT:  # those are ridden out for five minutes
            yield Play(command, "throttled", name, for_good=True)


def calls_of(place: World, folder: Path, command: str) -> list[str]:
    """The calls that a command makes when it goes well."""
    begin(place, folder, command)
    before = len(place.calls())
    done = do(place, folder, command)
    assert done.code == 0, done.said
    return [each for each in place.calls()[before:] if ":" in each]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--command", choices=ARGUMENTS, action="append")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    over_s, number, broken = time.monotonic() + 60.0 * given.minutes, 0, 0
    with tempfile.TemporaryDirectory() as folder, world() as place:
        plays = [
            play
            for command in given.command or ARGUMENTS
            for play in plays_of(command, calls_of(place, Path(folder) / "play", command))
        ]
        random.Random(given.seed).shuffle(plays)  # a search that runs out of time has been everywhere
        for play in plays:
            if time.monotonic() > over_s:
                break
            found = faults_of(place, Path(folder) / "play", play)
            number += 1
            if found:
                broken += 1
                print(f"{play}", *found, sep="\n    ", flush=True)
    print(f"{number} of {len(plays)} plays, {broken} with a finding", flush=True)
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
