"""What the things that kon makes for a run are called, and the tags that they carry."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import Final

import msgspec

from kon.backends.aws.options import AwsOptions

QUEUE_NAME: Final = 80  # characters of a queue's name, at most
PROJECT: Final = "kon"
SHARED: Final = ":shared"
"""In place of a run, in the tags of the bucket: no run can be called that."""

OPTIONS_TAG: Final = "KonOptions"
"""On a queue of tasks: what the run was made with."""

EXPIRES: Final = "ExpiresAt"
"""When a thing may be taken for forgotten; such times sort as texts."""

_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9_-]")
_NOT_IN_TAG: Final = re.compile(r"[^\w \-+=.:/@]")


class Names(msgspec.Struct, frozen=True):
    """What one run's things are called."""

    tasks: str
    answers: str
    dead: str
    table: str
    objects: str
    """What the keys of its objects begin with."""

    @property
    def stored(self) -> str:
        """What the keys of those objects begin with that the run's kind has stored."""
        return f"{self.objects}objects/"

    @property
    def queues(self) -> tuple[str, str, str]:
        return (self.tasks, self.answers, self.dead)


def names_of(run: str, options: AwsOptions) -> Names:
    """`<prefix>-<run>-tasks` and so on. A run's name that is too long or has signs that SQS does not
    take is cut, and told apart by a digest.

    Answers have a standard queue in any case: they report repeats themselves, and a FIFO queue is more
    expensive.
    """
    fifo = ".fifo" if options.queue == "fifo" else ""
    room = QUEUE_NAME - len(f"{options.prefix}--answers") - len(".fifo")
    stem = f"{options.prefix}-{_plain(run, room)}"
    return Names(
        tasks=f"{stem}-tasks{fifo}",
        answers=f"{stem}-answers",
        dead=f"{stem}-dead{fifo}",
        table=stem,
        objects=f"{_plain(run, room)}/",
    )


def bucket_name(options: AwsOptions, account: str, region: str) -> str:
    """One for all runs of a prefix: a bucket's name is taken in all the world, and not soon free again."""
    return f"{options.prefix}-{account}-{region}"


def tags_of(run: str, options: AwsOptions, now_s: float) -> dict[str, str]:
    """now_s: seconds since the epoch."""
    expires = datetime.fromtimestamp(now_s + options.expires_h * 3600.0, UTC)
    return {
        "Project": PROJECT,
        "Run": _NOT_IN_TAG.sub("_", run),
        EXPIRES: expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _plain(text: str, room: int) -> str:
    plain = _NOT_PLAIN.sub("-", text)
    if plain == text and len(text) <= room:
        return text
    return f"{plain[: room - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
