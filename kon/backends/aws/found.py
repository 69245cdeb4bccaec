"""Which runs there are: found by the names and tags of their queues, as `kon up` and clients make them."""

from __future__ import annotations

from typing import Any

import msgspec

from kon.backends.aws.calls import Calls
from kon.backends.aws.failures import CallRefused
from kon.backends.aws.names import OPTIONS_TAG, PROJECT, names_of
from kon.backends.aws.options import AwsOptions

_ENDS = ("-tasks", "-tasks.fifo")


class FoundRun(msgspec.Struct, frozen=True):
    """A run's name, and the options of `aws` that open it."""

    run: str
    options: dict[str, Any]


async def found_runs(calls: Calls, options: AwsOptions) -> list[FoundRun]:
    """Those of the prefix that are there, in order of their names. What is not kon's is passed over.

    SQS lists a queue for up to a minute after it was deleted.
    """
    runs: list[FoundRun] = []
    page: dict[str, Any] = {"MaxResults": 1_000}
    while True:
        reply = await calls.call("sqs", "ListQueues", QueueNamePrefix=f"{options.prefix}-", **page)
        for url in reply.get("QueueUrls", ()):
            if url.endswith(_ENDS) and (run := await _run_of(calls, url, options)) is not None:
                runs.append(run)
        if not reply.get("NextToken"):
            return sorted(runs, key=lambda found: found.run)
        page["NextToken"] = reply["NextToken"]


async def _run_of(calls: Calls, url: str, options: AwsOptions) -> FoundRun | None:
    try:
        tags = (await calls.call("sqs", "ListQueueTags", QueueUrl=url)).get("Tags", {})
    except CallRefused as error:
        if error.not_there:
            return None
        raise
    if tags.get("Project") != PROJECT or "Run" not in tags or OPTIONS_TAG not in tags:
        return None
    made = dict(word.partition("=")[::2] for word in tags[OPTIONS_TAG].split())
    given = {"prefix": options.prefix, "queue": made.get("queue"), "ledger": made.get("ledger")}
    if options.region is not None:
        given["region"] = options.region
    run = tags["Run"]
    # the tag can't hold every name; where the name that it tells is not the queue's, nobody can open it
    if names_of(run, AwsOptions.parse(given)).tasks != url.rpartition("/")[2]:
        return None
    return FoundRun(run, given)
