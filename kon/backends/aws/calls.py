"""Calls to Amazon's services: boto3 on threads, under asyncio.

boto3 keeps its own chain: profile, SSO, the instance's role (IMDSv2), region, AWS_ENDPOINT_URL and its
likes for single services. Whoever calls knows nothing of whether Amazon or an emulator answers.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, NoReturn, TypeVar

import boto3
import botocore.config
import botocore.loaders
import botocore.session
from botocore import xform_name

from kon.backends.aws.billing import Meter
from kon.backends.aws.failures import in_kons_words
from kon.backends.requests import RequestCount

_Reply = TypeVar("_Reply")

THREADS: Final = 16
_POLLS: Final = 16  # long polls at a time, for which connections are kept beside
_ATTEMPTS: Final = 5  # of botocore's own, with jitter; whoever calls may be patient beyond (kon.patience)


class _Now(threading.local):
    """What this thread's call is about, for the hooks."""

    parameters: Mapping[str, Any] = {}
    fifo = False


class Calls:
    """Clients of one account and region, made when they are first needed. For one event loop at a time.

    region: None leaves it to boto3's own settings.
    count: gets every request that is really sent, and its bill; nobody else need count anything.
    """

    def __init__(self, region: str | None = None, count: RequestCount | None = None) -> None:
        self.count = count or RequestCount()
        self._region = region
        self._meter = Meter(self.count)
        self._session: Any = None
        self._clients: dict[str, Any] = {}
        self._making = threading.Lock()
        self._now = _Now()
        self._threads: ThreadPoolExecutor | None = None

    async def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """One call by its name in the service's API, such as `call("sqs", "SendMessageBatch", ...)`.

        Raises BackendUnavailable where asking again may help, CallRefused (a BackendRefused) for any
        other error that the service answers. A cancelled call may still take place.
        """
        return await asyncio.wrap_future(self._submit(self._make_call, service, operation, parameters))

    async def run(self, service: str, work: Callable[[Any], _Reply], resource: str = "") -> _Reply:
        """`work` with boto3's client on one of the threads, for what is more than a call; errors as `call`'s.

        resource: what it is about, for errors.
        """
        return await asyncio.wrap_future(self._submit(self._make_run, service, work, resource))

    def poll(self, service: str, operation: str, **parameters: Any) -> Future[dict[str, Any]]:
        """A call that waits long at the service, on a thread of its own, which ends with the process.

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

    async def close(self) -> None:
        """Let go of threads and connections. Nobody waits for what is under way: that ends by itself."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
        with self._making:
            clients, self._clients, self._session = list(self._clients.values()), {}, None
        for client in clients:
            client.close()

    # --- on the threads --------------------------------------------------------------------------------

    def _submit(self, work: Callable[..., _Reply], *arguments: Any) -> Future[_Reply]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="kon-aws")
        try:
            return self._threads.submit(work, *arguments)
        except RuntimeError:  # a program that is ending can start no thread, and may yet have to tidy up
            return _done(work, *arguments)

    def _make_call(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        resource = _resource(parameters)
        self._now.parameters, self._now.fifo = parameters, resource.endswith(".fifo")
        try:
            reply: dict[str, Any] = getattr(self._client(service), xform_name(operation))(**parameters)
        except Exception as error:
            _raise(error, service, operation, resource)
        return reply

    def _make_run(self, service: str, work: Callable[[Any], _Reply], resource: str) -> _Reply:
        self._now.parameters, self._now.fifo = {}, False
        try:
            return work(self._client(service))
        except Exception as error:
            _raise(error, service, getattr(error, "operation_name", "the request"), resource)

    def _client(self, service: str) -> Any:
        client = self._clients.get(service)
        if client is None:
            with self._making:
                client = self._clients.get(service)
                if client is None:
                    client = self._clients[service] = self._new_client(service)
        return client

    def _new_client(self, service: str) -> Any:
        if self._session is None:
            self._session = _session(self._region)
        client = self._session.client(
            service,
            config=botocore.config.Config(
                retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                max_pool_connections=THREADS + _POLLS,
                connect_timeout=5,
                read_timeout=40,  # a long poll takes 20 s
                tcp_keepalive=True,
                parameter_validation=False,
                # botocore signs links the old way where it is not told otherwise
                signature_version="s3v4" if service == "s3" else None,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        client.meta.events.register_first("before-send", self._before_send)
        client.meta.events.register_first("response-received", self._response_received)
        return client

    def _before_send(self, request: Any, event_name: str, **_: Any) -> None:
        _event, service, operation = event_name.split(".")
        size_bytes = int(request.headers.get("Content-Length") or 0)
        self._meter.sent(service, operation, self._now.fifo, request.method, size_bytes)

    def _response_received(
        self,
        response_dict: Mapping[str, Any] | None,
        parsed_response: Mapping[str, Any] | None,
        event_name: str,
        **_: Any,
    ) -> None:
        if response_dict is None:
            return  # none came
        _event, service, operation = event_name.split(".")
        body = response_dict.get("body")
        length = response_dict["headers"].get("content-length")
        size_bytes = len(body) if isinstance(body, bytes) else int(length or 0)
        self._meter.answered(
            service,
            operation,
            self._now.fifo,
            size_bytes,
            self._now.parameters,
            parsed_response or {},
        )


def _done(work: Callable[..., _Reply], *arguments: Any) -> Future[_Reply]:
    """The work, done here and now."""
    future: Future[_Reply] = Future()
    try:
        future.set_result(work(*arguments))
    except Exception as error:
        future.set_exception(error)
    return future


def _session(region: str | None) -> Any:
    """boto3's session, with its own chain of settings. Descriptions of services are read from disk once for
    the process: that takes most of a client's making."""
    session = botocore.session.Session()
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    return boto3.session.Session(botocore_session=session, region_name=region)


@functools.cache
def _loader(data_path: str | None) -> Any:
    return botocore.loaders.create_loader(data_path)


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
