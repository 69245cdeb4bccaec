"""The wire: what kon's lean client and boto3 write ends at the model, and its replies come back as bytes.

The lean client has its own connections, with a transport that is no socket. boto3 waits where it calls, so it
is called when its request arrives: effect and reply are one step of the services.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import io
import os
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import botocore.config
import botocore.session
from botocore import exceptions
from botocore.awsrequest import AWSResponse
from botocore.credentials import Credentials
from botocore.hooks import HierarchicalEmitter
from botocore.retries.standard import register_retry_handler

from kon.backends.aws.billing import Meter
from kon.backends.aws.calls import THREADS, Calls
from kon.backends.aws.clients import ATTEMPTS, S3_LINKS, Clients
from kon.backends.aws.lean.client import Lean, _Way
from kon.backends.aws.lean.connections import READ_S, Connections, _Connection
from kon.backends.aws.lean.credentials import KeyRing
from kon.backends.aws.lean.form import Form, form_of
from kon.backends.aws.lean.retries import Rules
from kon.backends.sim.loop import current_host
from kon.core.backend import RequestCount
from kon.trials.prove.amazon.http import HOST, URL, Answer, Request, of_parts, request_of
from kon.trials.prove.amazon.service import Amazon, Damaged, Lost, Outcome

_KEY: Final = "model"
_REGION: Final = "us-east-1"


class ModelCalls(Calls):
    """The calls of one host, to a model of Amazon."""

    def __init__(self, amazon: Amazon, host: str, rng: random.Random) -> None:
        super().__init__(_REGION)
        self._amazon = amazon
        self._host = host
        self._clients = _clients()
        self._lean = _ModelLean(self._clients, Meter(self.count), self._submit, amazon, rng)

    async def close(self) -> None:
        """The model's connections and threads are none."""

    def _submit(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Nothing waits for a thread: what only computes is done here and now."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if work in (self._make_call, self._make_run):
            context = contextvars.copy_context()
            call = functools.partial(work, *arguments)
            self._amazon.network.after(0.0, self._arrive, call, answer, context)
            return answer
        try:
            answer.set_result(work(*arguments))
        except Exception as error:
            answer.set_exception(error)
        return answer

    def _arrive(
        self, call: Callable[[], Any], answer: asyncio.Future[Any], context: contextvars.Context
    ) -> None:
        """Make a call of boto3's, whose request arrives now."""
        clients, loop = _clients(), asyncio.get_running_loop()
        late_s = [0.0]

        def serve(request: Request) -> Answer:
            outcome = self._amazon.serve(request, self._host)
            assert not isinstance(outcome, asyncio.Future), "boto3 makes no call that waits"
            if outcome is Lost.SILENT:
                late_s[0] = READ_S
                raise exceptions.ReadTimeoutError(endpoint_url=URL)
            if isinstance(outcome, Lost | Damaged):
                raise exceptions.ConnectionClosedError(endpoint_url=URL)
            return outcome

        clients.serve = serve
        try:
            ended = functools.partial(_set_result, answer, call())
        except Exception as error:
            ended = functools.partial(_set_exception, answer, error)
        finally:
            clients.serve = None
        loop.call_later(late_s[0], ended, context=context)


def _set_result(answer: asyncio.Future[Any], result: Any) -> None:
    if not answer.done():  # cancelled
        answer.set_result(result)


def _set_exception(answer: asyncio.Future[Any], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


# --- the lean client ---------------------------------------------------------------------------------


class _ModelLean(Lean):
    """Learns nothing of the endpoint by asking; all else is its own."""

    def __init__(
        self, clients: _ModelClients, meter: Meter, submit: Any, amazon: Amazon, rng: random.Random
    ) -> None:
        super().__init__(clients, meter, submit, at_once=THREADS)
        self._model = clients
        self._keys = KeyRing(_credentials(), submit)
        self._kept = _ModelConnections(amazon, submit)
        self._retrying: dict[str, _Retrying] = {}
        self._rng = rng

    async def _learn(self, service: str, operation: str, parameters: Mapping[str, Any]) -> _Way:
        retrying = self._retrying.get(service)
        if retrying is None:
            model = self._model.get(service).meta.service_model
            retrying = self._retrying[service] = _Retrying(model, self._rng)
        form = self._model.form(service, operation, parameters)
        way = self._ways[service, operation] = _Way(form, self._keys, self._kept, Rules(retrying, operation))
        return way


class _Retrying:
    """botocore's rules for retries, with a budget and jitter of one host's own."""

    def __init__(self, service_model: Any, rng: random.Random) -> None:
        self.meta = self
        self.service_model = service_model
        self.events = HierarchicalEmitter()
        handler = register_retry_handler(self, ATTEMPTS)
        # botocore draws its jitter from Python's one generator, which no seed of a schedule is in
        handler._retry_policy._retry_backoff._random = rng.random


class _ModelConnections(Connections):
    """Connections to the model."""

    def __init__(self, amazon: Amazon, submit: Any) -> None:
        super().__init__(URL, HOST, 1, None, submit)
        self._amazon = amazon

    async def _connected(self) -> _Connection:
        connection = _Connection(asyncio.get_running_loop(), READ_S)
        connection.connection_made(_Transport(self._amazon, connection))
        return connection


class _Transport(asyncio.Transport):
    """Carries what is written to the model, and its replies back."""

    def __init__(self, amazon: Amazon, connection: _Connection) -> None:
        super().__init__()
        self._amazon = amazon
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._used = False
        self._ended = False

    def write(self, data: Any) -> None:
        request = request_of(data)
        used, self._used = self._used, True
        if used and self._amazon.hangs_up(request.service):
            self._loop.call_soon(self._lose, None, context=self._context)
            return
        self._amazon.carry(request, current_host.get(), self._came)

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self._loop.call_soon(self._lose, None, context=self._context)

    def _came(self, outcome: Outcome) -> None:
        self._loop.call_soon(self._deliver, outcome, context=self._context)

    def _deliver(self, outcome: Outcome) -> None:
        if self._ended or outcome is Lost.SILENT:
            return
        if isinstance(outcome, Answer):
            self._connection.data_received(self._amazon.bytes_of(outcome))
        elif isinstance(outcome, Damaged):
            self._connection.data_received(outcome.data)
            if outcome.ends:
                self._lose(None)
        else:
            self._lose(ConnectionResetError())

    def _lose(self, error: Exception | None) -> None:
        if not self._ended:
            self._ended = True
            self._connection.connection_lost(error)


# --- boto3 -------------------------------------------------------------------------------------------


class _ModelClients(Clients):
    """boto3's clients of every schedule that this process plays. serve: answers what they send."""

    def __init__(self) -> None:
        super().__init__(_REGION, Meter(RequestCount()), 1)
        nothing = (None, None, None, None)
        # whatever this machine's own settings are
        own = {"profile": nothing, "config_file": (None, None, os.devnull, None), "credentials_file": nothing}
        self._bare = botocore.session.Session(session_vars=own)
        self._forms: dict[tuple[str, str], Form] = {}
        self.serve: Callable[[Request], Answer] | None = None

    def form(self, service: str, operation: str, parameters: Mapping[str, Any]) -> Form:
        """How the requests of an operation look."""
        form = self._forms.get((service, operation))
        if form is None:
            shown = self.show(service, operation, parameters)
            form = form_of(shown, parameters, KeyRing(_credentials(), _none).frozen())
            self._forms[service, operation] = form
        return form

    def _new(self, service: str) -> Any:
        client = self._bare.create_client(
            service,
            region_name=_REGION,
            endpoint_url=URL,
            aws_access_key_id=_KEY,
            aws_secret_access_key=_KEY,
            config=botocore.config.Config(
                retries={"mode": "standard", "total_max_attempts": 1},  # it would wait in earnest
                parameter_validation=False,
                signature_version="s3v4" if service == "s3" else None,
                s3=S3_LINKS,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        client.meta.events.register_first("before-send", self._before_send)
        client.meta.events.register("before-send", self._answer)
        return client

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        assert self.serve is not None, "no schedule asked for this"
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        body = request.body or b""
        content = body.read() if hasattr(body, "read") else body
        content = content.encode() if isinstance(content, str) else bytes(content)
        answer = self.serve(of_parts(request.method, request.url, headers, content))
        headers = {"content-length": str(len(answer.body)), **answer.headers}
        return AWSResponse(request.url, answer.status, headers, _Body(answer.body))


class _Body(io.BytesIO):
    """The body of a reply, as urllib3 has it."""

    def stream(self, amt: int | None = None, decode_content: bool = False) -> Iterator[bytes]:
        yield self.read()


@functools.cache
def _clients() -> _ModelClients:
    return _ModelClients()


@functools.cache
def _credentials() -> Credentials:
    return Credentials(_KEY, _KEY)


def _none(*_: Any) -> Any:
    raise AssertionError("these credentials are never renewed")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
