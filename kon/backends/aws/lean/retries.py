"""Which calls are made again, and after how long: as botocore says, asked through its own events.

So it is its own list of errors, its own pauses with jitter, and its own budget, which boto3's calls of the
same service share.
"""

from __future__ import annotations

from typing import Any, Final

from botocore.hooks import first_non_none_response
from botocore.parsers import create_parser

from kon.backends.aws.lean.reply import Reply

_BUDGET: Final = 500
"""What botocore's budget for retries holds; each call that goes well puts back 1."""

Context = dict[str, Any]
"""What botocore notes about one call, over its attempts."""


class _Answer:
    """A reply in the form that botocore's handlers read."""

    def __init__(self, reply: Reply) -> None:
        self.status_code = reply.status
        self.headers = reply.headers
        self.content = reply.body


class Rules:
    """botocore's rules for one operation of one client."""

    def __init__(self, client: Any, operation: str) -> None:
        service = client.meta.service_model.service_id.hyphenize()
        self._emit = client.meta.events.emit
        self._model = client.meta.service_model.operation_model(operation)
        self._needs_retry = f"needs-retry.{service}.{operation}"
        self._after_call = f"after-call.{service}.{operation}"
        self._owed = 0  # that the budget is short of, at most

    def pause_s(
        self, attempt: int, context: Context, reply: Reply | None, parsed: Any, error: Exception | None
    ) -> float | None:
        """How long to wait before the next attempt; None for none. May block.

        attempt: this one's number, from 1. reply, parsed: what came, if anything did, and what it says.
        """
        answered = None if reply is None or error is not None else (_Answer(reply), parsed)
        verdicts = self._emit(
            self._needs_retry,
            response=answered,
            endpoint=None,
            operation=self._model,
            attempts=attempt,
            caught_exception=error,
            request_dict={"context": context},
        )
        pause_s = first_non_none_response(verdicts)
        if pause_s is None or pause_s is False:
            return None
        self._owed = _BUDGET
        return float(pause_s)

    def went_well(self, context: Context, reply: Reply, parsed: Any) -> None:
        """Put back what a call may put back; free while nothing was retried."""
        if self._owed:
            self._owed -= 1
            self._emit(
                self._after_call,
                http_response=_Answer(reply),
                parsed=parsed,
                model=self._model,
                context=context,
            )

    def error_of(self, reply: Reply) -> dict[str, Any]:
        """What a reply that is an error says, as botocore parses it."""
        answer = {
            "status_code": reply.status,
            "headers": reply.headers,
            "body": reply.body,
            "context": {},
        }
        parser = create_parser("json")
        try:
            parsed: dict[str, Any] = parser.parse(answer, self._model.output_shape)
            details = parsed.setdefault("Error", {"Code": str(reply.status), "Message": ""})
            if details["Code"] == str(reply.status):  # the body has no code; some answers have it beside
                details["Code"] = _code_beside(reply) or details["Code"]
        except (AttributeError, LookupError, TypeError, ValueError):  # JSON that describes no errors
            code = _code_beside(reply) or str(reply.status)
            parsed = {
                "Error": {"Code": code, "Message": ""},
                "ResponseMetadata": {"HTTPStatusCode": reply.status, "HTTPHeaders": reply.headers},
            }
        return parsed


def _code_beside(reply: Reply) -> str:
    """An error's code in the header, as `Code` or `namespace#Code:http://...`."""
    return reply.headers.get("x-amzn-errortype", "").partition(":")[0].rpartition("#")[2]
