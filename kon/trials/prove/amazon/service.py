"""Amazon: the services of one run, and what goes wrong on the way to them and back."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from kon.backends.aws.bodies import pointed_at
from kon.backends.sim.faults import Far, Faults
from kon.backends.sim.messages import Messages
from kon.backends.sim.network import Network
from kon.backends.sim.trace import What, tasks_of
from kon.core.backend import ChannelOptions
from kon.trials.prove.amazon.dynamodb import DynamoModel
from kon.trials.prove.amazon.http import URL, Answer, Refused, Request, json_answer, refusal, written
from kon.trials.prove.amazon.s3 import S3Model
from kon.trials.prove.amazon.sqs import SqsModel

QUEUES: Final = ("tasks", "answers", "dead")
TABLE: Final = "kon-sim"
BUCKET: Final = "kon-sim"

MOST_IN_FLIGHT: Final = 4
"""Messages that may be in flight under the fault `over_limit`. Amazon's 120,000, for a run of eight tasks."""

HOLD_S: Final = 45.0
"""How long a receipt may be extended to in all under `hold_cap`. Amazon's 12 hours, for tasks of 2 s."""

RETENTION_S: Final = 300.0
"""How long messages are kept under `retention`. Amazon's 14 days, for runs of a minute."""


class Lost(enum.Enum):
    """No reply arrives: the connection ends, or nothing comes at all."""

    CLOSED = enum.auto()
    SILENT = enum.auto()


class Damaged(NamedTuple):
    """Bytes of a reply that is not whole, or not what was sent. ends: the connection does, after them."""

    data: bytes
    ends: bool


Outcome = Answer | Lost | Damaged

_KINDS: Final = {"sqs": "queue", "dynamodb": "ledger", "s3": "objects"}
_THROTTLES: Final = {
    "sqs": (("RequestThrottled", 403), ("ThrottlingException", 400)),
    "dynamodb": (("ProvisionedThroughputExceededException", 400), ("ThrottlingException", 400)),
    "s3": (("SlowDown", 503),),
}
_DENIALS: Final = {
    "sqs": ("AccessDenied", 403),
    "dynamodb": ("AccessDeniedException", 400),
    "s3": ("AccessDenied", 403),
}
_FAILURES: Final = {"sqs": "InternalFailure", "dynamodb": "InternalServerError", "s3": "InternalError"}


class Amazon:
    """on_expired: called with the tasks of a message that was kept for too long."""

    def __init__(self, network: Network, fifo: bool, on_expired: Callable[[tuple[int, ...]], None]) -> None:
        self.network = network
        self.table = DynamoModel(TABLE, network)
        self.bucket = S3Model(BUCKET, network)
        self.queues: dict[str, SqsModel] = {}
        self._fifo = fifo
        self._on_expired = on_expired
        self._replies = 0

    def create(self, options: ChannelOptions) -> None:
        """Make the queues. Limits that Amazon reaches after days are near, where their fault fires."""
        network, visible_s = self.network, options.visibility_s
        dead = Messages("dead", network, visible_s, fifo=self._fifo)
        tasks = Messages("tasks", network, visible_s, options.max_receives, dead, fifo=self._fifo)
        answers = Messages("answers", network, visible_s, duplicates="answer_duplicate")
        for messages in (tasks, answers, dead):
            fifo = self._fifo and messages is not answers
            self.queues[messages.name] = SqsModel(messages, network, fifo)
        faults = network.faults
        if faults is None:
            return
        if faults.fires("over_limit", "tasks") is not None:
            tasks.max_in_flight = MOST_IN_FLIGHT
        if faults.fires("hold_cap", "tasks") is not None:
            self.queues["tasks"].hold_s = HOLD_S
        if faults.fires("retention", "tasks") is not None:
            tasks.retention_s = RETENTION_S
            tasks.on_expired = lambda body: self._on_expired(tasks_of(self._whole(body)))

    def _whole(self, body: bytes) -> bytes:
        """A body, wherever it is."""
        key = pointed_at(body.decode())
        return body if key is None else self.bucket.objects.get(key, b"")

    def carry(self, request: Request, host: str, done: Callable[[Outcome], None]) -> None:
        """Have a request arrive; `done` is called with what comes back, by the services."""
        self.network.after(0.0, self._arrive, request, host, done)

    def serve(self, request: Request, host: str) -> Outcome | asyncio.Future[Outcome]:
        """What a request comes to that arrives now."""
        given: dict[str, Any] = {} if request.service == "s3" else msgspec.json.decode(request.body)
        service = self._about(request, given)
        kind = _KINDS[request.service]
        if self._is_cut(kind, host):
            return Lost.SILENT
        if (lost := self._loses("request_lost", service, host, "the request")) is not None:
            return lost
        if (denied := self._denied(request, given, service, host)) is not None:
            return self._back(kind, service, host, denied)
        if (far := self._fires("call_throttled", service)) is not None:
            choices = _THROTTLES[request.service]
            code, status = choices[far.randrange(0, len(choices))]
            self._tell(host, service, f"throttled: {code}")
            return self._back(kind, service, host, refusal(request.service, Refused(code, status)))
        failed = self._fires("call_failed", service)
        after = failed is not None and failed.random() < 0.5
        if failed is not None:
            self._tell(host, service, f"fails {'after' if after else 'before'} its effect")
        if failed is not None and not after:
            return self._back(kind, service, host, _failure(request.service, failed))
        try:
            answer = self._do(request, given, service, host)
        except Refused as refused:
            answer = refusal(request.service, refused)
        if isinstance(answer, asyncio.Future):
            return self._later(answer, kind, service, host)
        return self._back(
            kind, service, host, answer if failed is None else _failure(request.service, failed)
        )

    def hangs_up(self, service: str) -> bool:
        """Whether an idle connection has ended before the next request goes out on it."""
        return self._fires("hung_up", service) is not None

    # --- one request ---------------------------------------------------------------------------------

    def _arrive(self, request: Request, host: str, done: Callable[[Outcome], None]) -> None:
        outcome = self.serve(request, host)
        if isinstance(outcome, asyncio.Future):
            outcome.add_done_callback(lambda ended: done(ended.result()), context=self.network.context)
        else:
            done(outcome)

    def _about(self, request: Request, given: dict[str, Any]) -> str:
        """The queue or ledger that a request is about."""
        if request.service == "sqs":
            return str(given["QueueUrl"]).rpartition("/")[2]
        if request.service == "dynamodb":
            return self.table.is_about(request.operation, given)
        return "s3"

    def _do(
        self, request: Request, given: dict[str, Any], service: str, host: str
    ) -> Answer | asyncio.Future[dict[str, Any]]:
        if request.service == "s3":
            return self.bucket.do(request, host)
        if request.service == "dynamodb":
            return json_answer(self.table.do(request.operation, given, host))
        reply = self.queues[service].do(request.operation, given, host)
        return reply if isinstance(reply, asyncio.Future) else json_answer(reply)

    def _later(
        self, reply: asyncio.Future[dict[str, Any]], kind: str, service: str, host: str
    ) -> asyncio.Future[Outcome]:
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def came(ended: asyncio.Future[dict[str, Any]]) -> None:
            outcome.set_result(self._back(kind, service, host, json_answer(ended.result())))

        reply.add_done_callback(came, context=self.network.context)
        return outcome

    def _denied(self, request: Request, given: dict[str, Any], service: str, host: str) -> Answer | None:
        """The answer to what a host may not do. DynamoDB says it of each statement, or of the whole call."""
        if not self.network.denials:
            return None
        call = request.operation or request.method
        denial = self.network.denial(host, service, call, request.path)
        if denial is None:
            return None
        if denial.by_item and "Statements" in given:
            error = {"Error": {"Code": "AccessDenied", "Message": "not authorized"}, "TableName": TABLE}
            return json_answer({"Responses": [error] * len(given["Statements"])})
        code, status = _DENIALS[request.service]
        return refusal(request.service, Refused(code, status))

    # --- the way -------------------------------------------------------------------------------------

    def _is_cut(self, kind: str, host: str) -> bool:
        faults = self.network.faults
        if faults is not None and (far := faults.fires("partition", kind)) is not None:
            self.network.cut(host, kind, far.uniform(0.0, faults.spans.partition_s), far.random() < 0.5)
        return self.network.is_cut(host, kind, reply=False)

    def _loses(self, fault: str, service: str, host: str, what: str) -> Lost | None:
        far = self._fires(fault, service)
        if far is None:
            return None
        lost = Lost.CLOSED if far.random() < 0.7 else Lost.SILENT
        if lost is Lost.SILENT:
            self.network.away.add(host)  # for as long as it waits, it hears nothing
        self._tell(
            host, service, f"{what} is lost, {'the connection ends' if lost is Lost.CLOSED else 'in silence'}"
        )
        return lost

    def _back(self, kind: str, service: str, host: str, answer: Answer) -> Outcome:
        if self.network.is_cut(host, kind, reply=True):
            return Lost.SILENT
        if (lost := self._loses("reply_lost", service, host, "the reply")) is not None:
            return lost
        if answer.body and (far := self._fires("reply_damaged", service)) is not None:
            self._tell(host, service, "the reply is damaged")
            return self._damaged(answer, far)
        return answer

    def _damaged(self, answer: Answer, far: Far) -> Damaged:
        self._replies += 1
        at = far.randrange(0, len(answer.body))
        which = far.random()
        if which < 0.4:
            whole = written(answer, self._replies)
            return Damaged(whole[: far.randrange(1, len(whole))], ends=True)
        if which < 0.7 and "x-amz-crc32" in answer.headers:
            body = answer.body[:at] + bytes([answer.body[at] ^ 1]) + answer.body[at + 1 :]
            return Damaged(written(answer._replace(body=body), 1), ends=False)
        body = b"<html>" + answer.body[:at]
        return Damaged(written(Answer(answer.status, body), 1), ends=False)

    def bytes_of(self, answer: Answer) -> bytes:
        self._replies += 1
        return written(answer, self._replies)

    def _fires(self, fault: str, service: str) -> Far | None:
        faults: Faults | None = self.network.faults
        return None if faults is None else faults.fires(fault, service)

    def _tell(self, host: str, service: str, note: str) -> None:
        if self.network.trace is not None:
            now_s = asyncio.get_running_loop().time()
            self.network.trace.add(now_s, What.FAULT, host, service, "a call", (), note)


def _failure(service: str, far: Far) -> Answer:
    """An error of the service's own, as the service writes it or as a server in front of it does."""
    if far.random() < 0.3:
        return Answer(503, b"<html>Service Unavailable</html>", {"content-type": "text/html"})
    return refusal(service, Refused(_FAILURES[service], 500))


def queue_url(name: str) -> str:
    return f"{URL}/000000000000/{name}"
