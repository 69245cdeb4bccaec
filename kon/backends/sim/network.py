"""Between hosts and services: time on the way, lost requests and replies, and the SDK's repeats.

A request takes effect in the service's own time: whoever sent it may have been paused or killed by
then. That is why an effect is a plain function, run by the loop outside of any host.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from kon.backends.sim.faults import Faults
from kon.backends.sim.latency import Latency
from kon.backends.sim.loop import SimClosed, current_host
from kon.backends.sim.trace import Trace, What
from kon.core.errors import BackendDenied, BackendUnavailable

_Answer = TypeVar("_Answer")

TRIES: Final = 3
"""Attempts at one call, as boto3's standard mode has it."""

TIMEOUT_S: Final = 2.0
"""After which a call without a reply is tried again."""

BACKOFF_S: Final = 0.1
"""Before the second try; doubled for each later one."""

# what the network loses of a call
_REQUEST: Final = "every request"
_EVERY_REPLY: Final = "every reply"
_FIRST_REPLY: Final = "the first reply"


_ON_THE_WAY: Final = ("partition", "error_before", "error_after")
"""Faults that any call may meet."""


class _NoReply(Exception):
    """The SDK's time is up."""


class Cut(msgspec.Struct, frozen=True):
    """A way that is interrupted. replies_only: requests arrive and take effect."""

    until_s: float
    replies_only: bool


class Denial(msgspec.Struct, frozen=True, eq=False):
    """Calls that hosts whose names begin with `who` may not make.

    of: what the path of an object has in it. by_item: where a service can tell them, the items of a batch are
        refused, one by one.
    """

    who: str
    service: str
    calls: tuple[str, ...]
    until_s: float
    of: str = ""
    by_item: bool = False


class NetworkCall(msgspec.Struct, frozen=True):
    """One call, whatever its tries.

    kind: queue, ledger or objects; a partition cuts off a kind.
    items: in the call; a row that is written counts once for each unit that it costs.
    loses: the fault that loses its reply, if there is one of its own.
    wait_s: how long the service may let it wait on purpose.
    take_back: called with an answer whose caller cancelled the call before it came.
    """

    kind: str
    service: str
    op: str
    items: int
    tasks: Sequence[int] = ()
    loses: str = ""
    wait_s: float = 0.0
    take_back: Callable[[Any], None] | None = None


class Request(msgspec.Struct, frozen=True):
    """One try of a call, under way. way_s: half of the time that it takes. loses: why its reply is lost."""

    call: NetworkCall
    host: str
    effect: Callable[[str], Any]
    reply: asyncio.Future[Any]
    way_s: float
    loses: str


class Network:
    """Carries every call of a simulated run. Counts requests, repeats included."""

    def __init__(
        self, faults: Faults | None = None, latency: Latency | None = None, trace: Trace | None = None
    ) -> None:
        self.faults = faults if faults is not None and faults.any else None
        self._strikes = self.faults is not None and any(map(self.faults.can_fire, _ON_THE_WAY))
        self.latency = latency
        self.trace = trace
        self.requests = 0
        self.away: set[str] = set()
        """Hosts that were out of reach for a while."""
        self.context = contextvars.Context()
        """That of the services, which belong to no host and so never crash with one. What they do, and all
        that comes of it, is run in it."""
        self.denials: list[Denial] = []
        """What hosts may not do for now."""
        self._cuts: dict[tuple[str, str], Cut] = {}

    def cut(self, host: str, kind: str, for_s: float, replies_only: bool = False) -> None:
        """Interrupt the way between a host and all services of a kind, for that many seconds from now."""
        now_s = asyncio.get_running_loop().time()
        self.away.add(host)
        self._cuts[host, kind] = Cut(now_s + for_s, replies_only)
        if self.trace is not None:
            way = f"the replies of every {kind}" if replies_only else f"the way to every {kind}"
            self.trace.add(now_s, What.FAULT, host, "", "partition", (), f"{way} cut for {for_s:.3f} s")

    async def call(
        self, call: NetworkCall, effect: Callable[[str], _Answer | asyncio.Future[_Answer]]
    ) -> _Answer:
        """Have the effect take place at the service, and return its answer.

        The effect is told which host asked; it runs once for each request that arrives.
        An effect that returns a future is answered when the service resolves that. When no reply
        arrives the call is repeated, effect and all; after `TRIES` it raises BackendUnavailable.
        """
        loop, host = asyncio.get_running_loop(), current_host.get()
        if loop.is_closed():
            raise SimClosed(f"{call.service}.{call.op} was called after the simulation's end")
        if self.trace is not None:
            self.trace.add(loop.time(), What.CALL, host, call.service, call.op, call.tasks)
        loses = self._fate(call, host) if self.faults is not None else ""
        for attempt in range(TRIES):
            self.requests += 1
            reply: asyncio.Future[_Answer] = loop.create_future()
            if loses != _REQUEST and not self.is_cut(host, call.kind, reply=False):
                way_s = 0.0
                if self.latency is not None:
                    name = f"{call.kind}.{call.op}"
                    way_s = self.latency.delay_s(name, call.service, call.items, loop.time()) / 2
                self.after(way_s, self._arrive, Request(call, host, effect, reply, way_s, loses))
            else:
                self._lose(call, host, reply, "the request is lost")
            try:
                return await reply
            except _NoReply:
                if loses == _FIRST_REPLY:
                    loses = ""
                if attempt < TRIES - 1:
                    await asyncio.sleep(BACKOFF_S * 2**attempt)
            except asyncio.CancelledError:
                if call.take_back is not None and _has_answer(reply):
                    self.after(0.0, call.take_back, reply.result())
                raise
        error = f"{call.service}.{call.op}: no reply in {TRIES} tries of {TIMEOUT_S + call.wait_s:g} s each"
        if self.trace is not None:
            self.trace.add(loop.time(), What.REPLY, host, call.service, call.op, call.tasks, error)
        raise BackendUnavailable(error)

    def _fate(self, call: NetworkCall, host: str) -> str:
        """What the network will lose of this call."""
        faults = self.faults
        if faults is None:
            return ""
        if self._strikes:
            if (far := faults.fires("partition", call.kind)) is not None:
                self.cut(host, call.kind, far.uniform(0.0, faults.spans.partition_s), far.random() < 0.5)
            if faults.fires("error_before", call.service) is not None:
                self.away.add(host)
                return _REQUEST
            if faults.fires("error_after", call.service) is not None:
                self.away.add(host)
                return _EVERY_REPLY
        if call.loses and faults.fires(call.loses, call.service) is not None:
            return _FIRST_REPLY
        return ""

    def _arrive(self, request: Request) -> None:
        reply = request.reply
        try:
            if self.denials and self.denial(request.host, request.call.service, request.call.op):
                raise BackendDenied(f"{request.host} may not call {request.call.service}.{request.call.op}")
            answer = request.effect(request.host)
        except Exception as error:
            if not reply.done():
                reply.set_exception(error)
            return
        if isinstance(answer, asyncio.Future):
            answer.add_done_callback(functools.partial(self._answered, request))
            # a caller that hangs up is not served any more
            reply.add_done_callback(functools.partial(_hang_up, answer))
        else:
            self._send_back(request, answer)

    def _answered(self, request: Request, answer: asyncio.Future[Any]) -> None:
        if not answer.cancelled():
            self._send_back(request, answer.result())

    def _send_back(self, request: Request, answer: object) -> None:
        if request.loses or self.is_cut(request.host, request.call.kind, reply=True):
            self._lose(request.call, request.host, request.reply, "the reply is lost")
        elif request.way_s > 0.0:
            self.after(request.way_s, _resolve, request, answer)
        else:
            _resolve(request, answer)

    def after(self, delay_s: float, callback: Callable[..., None], *args: object) -> None:
        """Have the services do something after some seconds."""
        loop = asyncio.get_running_loop()
        if delay_s > 0.0:
            loop.call_later(delay_s, callback, *args, context=self.context)
        else:
            loop.call_soon(callback, *args, context=self.context)

    def _lose(self, call: NetworkCall, host: str, reply: asyncio.Future[Any], what: str) -> None:
        """Leave the caller to its timeout."""
        self.after(TIMEOUT_S + call.wait_s, _give_up, reply)
        self._tell(What.FAULT, host, call.service, call.op, call.tasks, what)

    def _tell(self, kind: What, host: str, service: str, op: str, tasks: Sequence[int], note: str) -> None:
        if self.trace is not None:
            self.trace.add(asyncio.get_running_loop().time(), kind, host, service, op, tasks, note)

    def denial(self, host: str, service: str, call: str, path: str = "") -> Denial | None:
        """What denies a host this call now."""
        now_s = asyncio.get_running_loop().time()
        for each in self.denials:
            if (
                each.until_s > now_s
                and host.startswith(each.who)
                and service == each.service
                and call in each.calls
                and each.of in path
            ):
                self._tell(What.FAULT, host, service, call, (), "is denied")
                return each
        return None

    def is_cut(self, host: str, kind: str, reply: bool) -> bool:
        """Whether a request of this host, or a reply to it, does not get through now."""
        cut = self._cuts.get((host, kind)) if self._cuts else None
        if cut is None:
            return False
        if cut.until_s <= asyncio.get_running_loop().time():
            del self._cuts[host, kind]
            return False
        return reply or not cut.replies_only


def _resolve(request: Request, answer: object) -> None:
    if not request.reply.done():
        request.reply.set_result(answer)
    elif request.reply.cancelled() and request.call.take_back is not None:
        request.call.take_back(answer)


def _has_answer(reply: asyncio.Future[Any]) -> bool:
    return reply.done() and not reply.cancelled() and reply.exception() is None


def _give_up(reply: asyncio.Future[Any]) -> None:
    if not reply.done():
        reply.set_exception(_NoReply())


def _hang_up(answer: asyncio.Future[Any], reply: asyncio.Future[Any]) -> None:
    if reply.cancelled():
        answer.cancel()
