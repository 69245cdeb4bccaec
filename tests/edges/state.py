"""What a faulted command leaves behind, as a word: two plays with the same one go on alike from there.

It holds all that stands in MiniStack, what can be seen in moto with the calls that had an effect there, what
the strict layer remembers, and what is recorded. Left out are times, measurements, and ids that are drawn.
A word that is too fine costs a play; what it leaves out has to be of no weight to what comes after.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from kon.backends.emulator.strict.faults import FaultKind
from tests.edges.account import DATA, READS
from tests.edges.world import World

_HAD_EFFECT: Final[frozenset[str]] = frozenset[FaultKind](
    {"killed_after", "lost_after", "failed_after", "interrupted"}
) | {""}
"""Answers after which the emulator did the call."""

HOT: Final = frozenset(
    {"SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch", "BatchExecuteStatement"}
    | {"BatchGetItem", "BatchWriteItem", "PutItem", "GetItem", "Query", "DeleteItem", "GetQueueAttributes"}
)
"""The core's calls, whose effects are the rows and messages that there are. `kon prove` searches them."""

_DRAWN: Final = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:+.Z]+|w\d+\.[0-9a-f]{6}|-?\d+\.\d+(e-?\d+)?|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|(?<![0-9A-Za-z])[0-9a-f]{8,}(?![0-9A-Za-z])|\d{3,}"
)
_COUNTS: Final = ("tasks", "done", "failed", "dead", "lost", "cancelled")


def left_by(world: World, folder: Path) -> str:
    """Once the command has ended; "" where something that it began goes on."""
    if processes_below():
        return ""
    parts = [_effects(world), *_data(), world.seen(), world.account.remembered(), list(_recorded(folder))]
    return hashlib.sha256(_plain("\n".join(map(_ordered, parts))).encode()).hexdigest()[:24]


def _plain(text: str) -> str:
    return _DRAWN.sub("~", text)


def _ordered(value: Any) -> str:
    """Like repr, with neither the order of what has none, nor bytes: of those only how many there are."""
    if isinstance(value, dict):
        return f"{{{','.join(sorted(f'{_ordered(key)}:{_ordered(each)}' for key, each in value.items()))}}}"
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{','.join(sorted(map(_ordered, value)))}]"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, str | int | float | bool | None):
        return _plain(repr(value))
    return type(value).__name__


def processes_below() -> list[int]:
    """The children of this process."""
    mine = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return [int(each) for each in mine.read_text().split()]


def _effects(world: World) -> set[str]:
    """Of calls to moto, much of which nothing in `seen` shows."""
    return {
        f"{each.call} {each.needs}"
        for state in world.account.states()
        for each in state.calls
        if each.answer in _HAD_EFFECT
        and not (named := each.call.partition(":"))[2].startswith(READS)
        and named[0] not in DATA
    }


def _data() -> Iterator[Any]:
    """Rows with how long their values are, messages by how often they were received, and objects."""
    from ministack.services import dynamodb, s3, sqs

    for name, table in dynamodb._tables._data.items():
        rows = [row for those in table["items"].values() for row in those.values()]
        yield name, [_row(row) for row in rows]
    for url, queue in sqs._queues._data.items():
        yield url, queue.get("attributes"), [each.get("receive_count") for each in queue["messages"]]
    for name, bucket in s3._buckets._data.items():
        yield name, list(bucket["objects"]), {key: bucket[key] for key in bucket if key != "objects"}
    yield s3._bucket_policies._data, s3._bucket_encryption._data, s3._bucket_lifecycle._data


def _row(row: dict[str, dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for name, typed in row.items():
        [(kind, value)] = typed.items()
        found[name] = f"{len(value)} in {kind}" if kind == "B" else value
    return found


def _recorded(folder: Path) -> Iterator[Any]:
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name == "said":
            continue
        name = str(path.relative_to(folder))
        text = path.read_text(errors="replace")
        if path.name == "summary.json":
            row = json.loads(text)
            yield name, {key: row.get(key) for key in _COUNTS}
        elif path.parent.name == "events":
            yield name, {json.loads(line)["e"] for line in text.splitlines() if line.endswith("}")}
        elif path.name == "results.jsonl":  # which answers came together is a matter of time
            lines, _, torn = text.rpartition("\n")
            packets = [json.loads(line) for line in lines.splitlines()]
            yield (
                name,
                [[worker, json.dumps(each)] for worker, outcomes in packets for each in outcomes],
                torn,
            )
        else:
            yield name, text
