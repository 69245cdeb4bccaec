"""Calls to Amazon's services: boto3 on threads, and for the few hot ones a lean client without either.

Which of the two makes a call is decided here, and nobody else can tell.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Literal, NoReturn, TypeVar

from botocore import xform_name

from kon.backends.aws.billing import Meter
from kon.backends.aws.clients import Clients
from kon.backends.aws.failures import in_kons_words
from kon.backends.aws.lean import Lean, Unusual
from kon.core.backend import RequestCount

_Reply = TypeVar("_Reply")

Client = Literal["lean", "boto3"]

THREADS: Final = 16
_POLLS: Final = 16  # long polls at a time, for which connections are kept beside

_log = logging.getLogger(__name__)


class Calls:
    """Clients of one account and region, made when they are first needed. For one event loop at a time.

    region: None leaves it to boto3's own settings.
    count: gets every request that is really sent, and its bill; nobody else need count anything.
    client: `lean` for the hot calls, where it can make them, or `boto3` for all.
    """

    def __init__(
        self, region: str | None = None, count: RequestCount | None = None, client: Client = "lean"
    ) -> None:
        self.count = count or RequestCount()
        meter = Meter(self.count)
        self._clients = Clients(region, meter, THREADS + _POLLS)
        self._threads: ThreadPoolExecutor | None = None
        self._lean = Lean(self._clients, meter, self._submit, at_once=THREADS)
        self._is_lean = client == "lean"

    def expect_owner(self, bucket: str, account: str) -> None:
        """From here on every call about this bucket is refused where it is not this account's."""
        self._clients.owners[bucket] = account

    async def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """One call by its name in the service's API, such as `call("sqs", "SendMessageBatch", ...)`.

        Raises BackendUnavailable where asking again may help, CallRefused (a BackendRefused) for any
        other error that the service answers. A cancelled call may still take place.
        """
        if self._is_lean and self._lean.takes(service, operation):
            reply = await self._make_lean(self._lean.call, service, operation, parameters)
            if reply is not None:
                return reply
        return await asyncio.wrap_future(self._submit(self._make_call, service, operation, parameters))

    async def poll(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """A call that waits long at the service, and keeps no other from being made meanwhile."""
        if self._is_lean and self._lean.takes(service, operation):
            reply = await self._make_lean(self._lean.poll, service, operation, parameters)
            if reply is not None:
                return reply
        return await asyncio.wrap_future(self._poll_on_thread(service, operation, parameters))

    async def run(self, service: str, work: Callable[[Any], _Reply], resource: str = "") -> _Reply:
        """`work` with boto3's client on one of the threads, for what is more than a call; errors as `call`'s.

        resource: what it is about, for errors.
        """
        return await asyncio.wrap_future(self._submit(self._make_run, service, work, resource))

    async def close(self) -> None:
        """Let go of threads and connections. Nobody waits for what is under way: that ends by itself."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
        await self._lean.close()
        self._clients.close()

    # --- lean ------------------------------------------------------------------------------------------

    async def _make_lean(
        self, make: Callable[..., Any], service: str, operation: str, parameters: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """None where it is boto3's."""
        resource = _resource(parameters)
        try:
            reply: dict[str, Any] = await make(service, operation, parameters, resource.endswith(".fifo"))
        except Unusual as why:
            if self._is_lean:
                self._is_lean = False
                _log.warning(
                    "%s: from here on boto3 makes all calls, which takes more of the CPU. The option "
                    "`client: boto3` of the backend aws says so from the start, and keeps this line away",
                    why,
                )
            return None
        except Exception as error:
            _raise(error, service, operation, resource)
        return reply

    # --- on the threads --------------------------------------------------------------------------------

    def _submit(self, work: Callable[..., _Reply], *arguments: Any) -> Future[_Reply]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="kon-aws")
        try:
            return self._threads.submit(work, *arguments)
        except RuntimeError:  # a program that is ending can start no thread, and may yet have to tidy up
            return _done(work, *arguments)

    def _poll_on_thread(
        self, service: str, operation: str, parameters: dict[str, Any]
    ) -> Future[dict[str, Any]]:
        """On a thread of its own, which ends with the process.

        Its future can't be cancelled: whoever starts it has to see to what comes back.
        """
        future: Future[dict[str, Any]] = Future()
        future.set_running_or_notify_cancel()

        def wait() -> None:
            try:
                reply = self._make_call(service, operation, parameters)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(reply)

        threading.Thread(target=wait, name="kon-aws-poll", daemon=True).start()
        return future

    def _make_call(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        resource = _resource(parameters)
        self._clients.about(parameters, resource.endswith(".fifo"))
        try:
            client = self._clients.get(service)
            reply: dict[str, Any] = getattr(client, xform_name(operation))(**parameters)
        except Exception as error:
            _raise(error, service, operation, resource)
        return reply

    def _make_run(self, service: str, work: Callable[[Any], _Reply], resource: str) -> _Reply:
        self._clients.about({}, fifo=False)
        try:
            return work(self._clients.get(service))
        except Exception as error:
            _raise(error, service, getattr(error, "operation_name", "the request"), resource)


def _done(work: Callable[..., _Reply], *arguments: Any) -> Future[_Reply]:
    """The work, done here and now."""
    future: Future[_Reply] = Future()
    try:
        future.set_result(work(*arguments))
    except Exception as error:
        future.set_exception(error)
    return future


def _resource(parameters: Mapping[str, Any]) -> str:
    """The name of the queue, table or bucket that a call is about."""
    url = parameters.get("QueueUrl")
    if url:
        return str(url).rpartition("/")[2]
    for name in ("QueueName", "TableName", "Bucket"):
        if name in parameters:
            return str(parameters[name])
    return ""


def _raise(error: Exception, service: str, operation: str, resource: str) -> NoReturn:
    """Raise the error in kon's words, or as it is where it is a fault of kon's own."""
    told = in_kons_words(error, service, operation, resource)
    if told is None:
        raise error
    raise told from error
