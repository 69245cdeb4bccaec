"""SQS's rules."""

from __future__ import annotations

import json
from typing import Final

from kon.backends.emulator.strict.calls import Call, Refusal, Reply
from kon.backends.emulator.strict.rules import Account, changes, refuses, tracks

_ABOUT: Final = (
    "sqs:GetQueueAttributes",
    "sqs:ListQueueTags",
    "sqs:SetQueueAttributes",
    "sqs:TagQueue",
    "sqs:SendMessage",
    "sqs:SendMessageBatch",
    "sqs:ReceiveMessage",
)
"""Calls that name a queue by its URL."""

_LISTED: Final = 1_000
_MISSING: Final = Refusal(
    "QueueDoesNotExist",
    "The specified queue does not exist.",
    query_code="AWS.SimpleQueueService.NonExistentQueue",
)
_EXISTS: Final = "QueueAlreadyExists"


def _queue(call: Call) -> str:
    return str(
        call.parameters.get("QueueName") or str(call.parameters.get("QueueUrl", "")).rpartition("/")[2]
    )


@tracks("sqs:CreateQueue")
def _made(call: Call, account: Account, reply: Reply) -> None:
    name = _queue(call)
    if account.get("queue", name) is not None:
        return
    queue = account.made("queue", name, url=1, use=1, target=1, unlisted=1)
    queue.tags = dict(call.parameters.get("tags") or {})
    queue.about = {
        "attributes": dict(call.parameters.get("Attributes") or {}),
        "url": reply.json()["QueueUrl"],
    }


@tracks("sqs:TagQueue")
def _tagged(call: Call, account: Account, reply: Reply) -> None:
    if (queue := account.get("queue", _queue(call))) is not None:
        queue.tags |= call.parameters.get("Tags") or {}


@tracks("sqs:UntagQueue")
def _untagged(call: Call, account: Account, reply: Reply) -> None:
    if (queue := account.get("queue", _queue(call))) is not None:
        for key in call.parameters.get("TagKeys") or ():
            queue.tags.pop(key, None)


@tracks("sqs:SetQueueAttributes")
def _set(call: Call, account: Account, reply: Reply) -> None:
    if (queue := account.get("queue", _queue(call))) is not None:
        queue.about["attributes"] |= call.parameters.get("Attributes") or {}


@tracks("sqs:DeleteQueue")
def _deleted(call: Call, account: Account, reply: Reply) -> None:
    account.deleted("queue", _queue(call), blocked=2, url=1, listed=2)


@refuses("sqs:CreateQueue", source="https://github.com/Bogdanp/dramatiq_sqs/issues/13")
def queue_has_other_tags(call: Call, account: Account) -> Refusal | None:
    """A queue of that name is there with other tags: QueueNameExists."""
    queue = account.get("queue", _queue(call))
    if queue is None or queue.tags == (call.parameters.get("tags") or {}):
        return None
    return Refusal(
        "QueueNameExists",
        "A queue already exists with the same name and a different value for tags",
        query_code=_EXISTS,
    )


@refuses(
    "sqs:CreateQueue",
    source="https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html",
)
def queue_has_other_attributes(call: Call, account: Account) -> Refusal | None:
    """A queue of that name is there, and an attribute that is asked for differs: QueueNameExists."""
    queue = account.get("queue", _queue(call))
    if queue is None:
        return None
    for name, value in (call.parameters.get("Attributes") or {}).items():
        if queue.about["attributes"].get(name) != value:
            return Refusal(
                "QueueNameExists",
                f"A queue already exists with the same name and a different value for attribute {name}",
                query_code=_EXISTS,
            )
    return None


@refuses(
    "sqs:CreateQueue",
    source="https://docs.aws.amazon.com/botocore/latest/reference/services/sqs/client/exceptions/QueueDeletedRecently.html",
)
def queue_deleted_recently(call: Call, account: Account) -> Refusal | None:
    """The name was deleted within 60 seconds (here: two calls): QueueDeletedRecently."""
    gone = account.gone.get(("queue", _queue(call)))
    if gone is None or not gone.still("blocked"):
        return None
    return Refusal(
        "QueueDeletedRecently",
        "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
        query_code="AWS.SimpleQueueService.QueueDeletedRecently",
    )


@refuses("sqs:CreateQueue", source="https://github.com/serverless/serverless/issues/5215")
def dead_letter_queue_not_known_yet(call: Call, account: Account) -> Refusal | None:
    """RedrivePolicy names a queue that was made a moment ago (here: once): InvalidParameterValue."""
    redrive = (call.parameters.get("Attributes") or {}).get("RedrivePolicy")
    if not redrive:
        return None
    target = account.get("queue", str(json.loads(redrive).get("deadLetterTargetArn", "")).rpartition(":")[2])
    if target is not None and not target.still("target"):
        return None
    return Refusal(
        "InvalidParameterValue",
        f"Value {redrive} for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist.",
        query_code="InvalidParameterValue",
    )


@refuses(
    "sqs:GetQueueUrl",
    source="https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html",
)
def new_queue_has_no_url_yet(call: Call, account: Account) -> Refusal | None:
    """Within a second of its creation (here: once) a queue is not found by its name: NonExistentQueue."""
    queue = account.get("queue", _queue(call))
    return _MISSING if queue is not None and queue.still("url") else None


@refuses(*_ABOUT, source="https://github.com/boto/boto3/issues/1581")
def new_queue_not_usable_yet(call: Call, account: Account) -> Refusal | None:
    """Within a second of its creation (here: once) a queue is not found by its URL: NonExistentQueue."""
    queue = account.get("queue", _queue(call))
    return _MISSING if queue is not None and queue.still("use") else None


@changes(
    "sqs:GetQueueUrl",
    source="https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteQueue.html",
)
def deleted_queue_keeps_its_url(call: Call, account: Account, reply: Reply) -> Reply | None:
    """For up to 60 seconds after its deletion (here: once) GetQueueUrl still answers, though no other call
    does."""
    gone = account.gone.get(("queue", _queue(call)))
    if reply.ok or gone is None or "url" not in gone.about or not gone.still("url"):
        return None
    return reply.with_json({"QueueUrl": gone.about["url"]}, status=200)


@changes("sqs:ListQueues", source="https://github.com/hashicorp/terraform-provider-aws/issues/27393")
def deleted_queues_are_listed(call: Call, account: Account, reply: Reply) -> Reply | None:
    """A queue that was deleted a moment ago (here: two lists) is still listed."""
    found = reply.json()
    urls = list(found.get("QueueUrls") or [])
    prefix = call.parameters.get("QueueNamePrefix") or ""
    more = [
        gone.about["url"]
        for gone in account.going("queue")
        if gone.name.startswith(prefix) and "url" in gone.about and gone.still("listed")
    ]
    return reply.with_json({**found, "QueueUrls": urls + more}) if more else None


@changes("sqs:ListQueues", source="https://github.com/boto/boto3/issues/1581")
def new_queues_are_not_listed(call: Call, account: Account, reply: Reply) -> Reply | None:
    """A queue that was made a moment ago (here: one list) is not listed yet."""
    found = reply.json()
    urls = list(found.get("QueueUrls") or [])
    hidden = [
        url
        for url in urls
        if (queue := account.get("queue", url.rpartition("/")[2])) is not None and queue.still("unlisted")
    ]
    return (
        reply.with_json({**found, "QueueUrls": [url for url in urls if url not in hidden]})
        if hidden
        else None
    )


@changes(
    "sqs:ListQueues",
    source="https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ListQueues.html",
)
def lists_end_at_a_thousand(call: Call, account: Account, reply: Reply) -> Reply | None:
    """Without MaxResults at most 1,000 queues are listed, and no NextToken says that there are more."""
    found = reply.json()
    urls = list(found.get("QueueUrls") or [])
    most = account.limits.get("queues listed", _LISTED)
    if call.parameters.get("MaxResults") or len(urls) <= most:
        return None
    return reply.with_json({"QueueUrls": urls[:most]})
