"""One fault at a numbered call."""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

from kon.backends.emulator.strict.calls import Call, Refusal

FaultKind = Literal[
    "denied",
    "throttled",
    "failed",
    "failed_after",
    "lost",
    "lost_after",
    "not_there",
    "conflict",
    "empty",
    "garbled",
    "killed",
    "killed_after",
    "interrupted",
]
"""failed: 500 before the effect; failed_after: after it. lost: neither a reply nor an effect; lost_after: no
reply. garbled: a page of some proxy's, 502, and no effect. killed: SIGKILL to the process `pid`; interrupted:
SIGINT to it, and the call goes on."""

FAULTS: Final[tuple[FaultKind, ...]] = get_args(FaultKind)


class Fault(msgspec.Struct, frozen=True):
    """call: such as `sqs:CreateQueue`. nth: from 1. times: calls of that name that meet it, from the nth on;
    0 for all. pid: of the process that is killed or interrupted.
    """

    call: str
    kind: FaultKind
    nth: int = 1
    times: int = 1
    pid: int = 0

    def meets(self, name: str, number: int) -> bool:
        """number: which call of that name it is, from 1."""
        return name == self.call and number >= self.nth and (not self.times or number < self.nth + self.times)


_THROTTLED: Final = {
    "s3": ("SlowDown", 503),
    "ec2": ("RequestLimitExceeded", 503),
    "dynamodb": ("ThrottlingException", 400),
    "sqs": ("RequestThrottled", 403),
}
_DENIED: Final = {
    "ec2": ("UnauthorizedOperation", 403),
    "dynamodb": ("AccessDeniedException", 400),
}
_QUEUE: Final = ("QueueDoesNotExist", 400, "AWS.SimpleQueueService.NonExistentQueue")
_TABLE: Final = ("ResourceNotFoundException", 400, "")
_BUCKET: Final = ("NoSuchBucket", 404, "")
_NOT_THERE: Final = {"sqs": _QUEUE, "dynamodb": _TABLE, "s3": _BUCKET, "sns": ("NotFound", 404, "")}
_CONFLICTS: Final = {
    "s3:DeleteObjects": ("SlowDown", 503),
    "dynamodb:CreateTable": ("LimitExceededException", 400),
    "dynamodb:DeleteTable": ("LimitExceededException", 400),
    "dynamodb:UpdateTimeToLive": ("ValidationException", 400),
    "dynamodb:ListTagsOfResource": ("ThrottlingException", 400),
    "sqs:CreateQueue": ("QueueDeletedRecently", 400),
    "sqs:DeleteQueue": ("RequestThrottled", 403),
    "iam:DeleteRole": ("DeleteConflict", 409),
    "iam:DeleteRolePolicy": ("ConcurrentModification", 409),
    "iam:DeleteInstanceProfile": ("ConcurrentModification", 409),
    "iam:RemoveRoleFromInstanceProfile": ("ConcurrentModification", 409),
    "ec2:TerminateInstances": ("IncorrectInstanceState", 400),
    "sns:DeleteTopic": ("ConcurrentAccess", 400),
}
_EMPTY: Final = {
    "dynamodb:ListTagsOfResource": b'{"Tags":[]}',
    "dynamodb:ListTables": b'{"TableNames":[]}',
    "sqs:ListQueueTags": b"{}",
    "sqs:ListQueues": b"{}",
}


def refusal_of(fault: Fault, call: Call) -> Refusal | None:
    """What the service answers; None where the fault is of another sort, or says nothing of this call."""
    service, kind = call.service, fault.kind
    if kind == "denied":
        code, status = _DENIED.get(service, ("AccessDenied", 403))
        return Refusal(code, f"User is not authorized to perform: {call.name} on resource: arn:x", status)
    if kind == "throttled":
        code, status = _THROTTLED.get(service, ("Throttling", 400))
        return Refusal(code, "Rate exceeded", status)
    if kind in ("failed", "failed_after"):
        return Refusal(
            "InternalError" if service == "s3" else "InternalFailure", "We encountered an error", 500
        )
    if kind == "not_there":
        code, status, query_code = _NOT_THERE.get(service, ("NoSuchEntity", 404, ""))
        if service == "ec2":
            code, status = "InvalidResource.NotFound", 400
        return Refusal(code, "It does not exist", status, query_code=query_code)
    if kind == "conflict":
        usual = {"s3": ("OperationAborted", 409), "ec2": ("DependencyViolation", 400)}
        found = _CONFLICTS.get(call.name, usual.get(service))
        if found is not None:
            return Refusal(found[0], "A conflicting operation is in progress. Please try again.", found[1])
    return None


def empty_answer(call: Call) -> bytes | None:
    """A list with nothing in it, as an eventually consistent read may answer."""
    return _EMPTY.get(call.name)
