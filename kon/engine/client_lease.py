"""The lease of a run's one client: who collects its answers, until when.

Two clients of one run would take each other's answers, and each would call the other's tasks lost. So a
client writes itself into the run's control table before it does anything, and renews that until it ends:

    client A   takes a~1 ... renews a~2 ... a~3, and is suspended
    client B   is refused, as A holds the lease ... waits until a~3 has passed, and takes b~1
    client A   wakes up, and can't renew a~3: it acks nothing more, and ends

Each write has a token of its own, and replaces the very row that its writer has seen. So of two that take
over, one does; and a client that was away for longer than its lease learns of its successor before it writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from kon.core.backend import Channel
from kon.core.clock import Clock
from kon.core.errors import BackendDenied, BackendUnavailable, ClientReplaced, ConfigurationError, StoreError
from kon.core.ledger import Ledger, Record
from kon.core.queue import Delivery, Depth, Message, Queue
from kon.engine.control import Control, Holder

LEASE_S: Final = 30.0
"""How long a lease lasts, in seconds: so long a client elsewhere waits for a dead one's run."""

RENEWALS: Final = 3
"""Renewals in the time of one lease, so that two may fail."""

SKEW_S: Final = 60.0
"""How far the clocks of two hosts may differ, in seconds. Nobody waits for a lease that passed earlier."""

PAUSE_S: Final = 1.0
"""Between two looks at the lease of a client that may be alive elsewhere, in seconds."""


class ClientLease:
    """The lease of this client.

    me: this client; its `expires_s` is of no account. token: drawn for this client alone.
    is_alive: whether the process of another client lives; None where nobody here can tell.
    """

    def __init__(
        self,
        control: Control,
        clock: Clock,
        me: Holder,
        token: str,
        *,
        is_alive: Callable[[Holder], bool | None],
        lease_s: float = LEASE_S,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._control = control
        self._clock = clock
        self._me = me
        self._own = f"{token}~"
        self._token = ""
        self._writes = 0
        self._expires_s = 0.0
        self._is_alive = is_alive
        self._lease_s = lease_s
        self._on_note = on_note
        self._renewing = asyncio.Lock()
        self._replaced = False

    @property
    def expires_s(self) -> float:
        """When what was written last passes, in seconds since the epoch; 0 before `take`."""
        return self._expires_s

    @property
    def replaced(self) -> bool:
        """Whether another client has taken over."""
        return self._replaced

    async def take(self) -> None:
        """Become the client of the run, at once or when the lease of an earlier one has passed.

        Raises ConfigurationError, which names the holder, when another client is at work.
        """
        over = first = ""
        first_s = 0.0
        while (found := await self._write(over)) is not None:
            over, (token, holder) = "", found
            if holder is None:
                continue  # it has ended just now
            if not first:
                # not before its row was seen: the call may have taken longer than a lease
                first, first_s = token, self._clock.now_s()
            elif token != first:
                raise self._refusal(holder)  # it has renewed its lease, or another was faster
            if self._has_passed(holder, self._clock.now_s() - first_s):
                over = token
                continue
            if self._is_alive(holder):
                raise self._refusal(holder)
            await self._wait_for(holder, token)

    async def _wait_for(self, holder: Holder, token: str) -> None:
        """Wait until that lease changes, or has passed."""
        self._on_note(
            f"{_named(holder)} may still be at work on the run: waiting for up to {self._lease_s:g} s to see "
            "whether it is"
        )
        give_up_s = self._clock.now_s() + self._lease_s
        while self._clock.now_s() < give_up_s:
            await asyncio.sleep(min(PAUSE_S, self._lease_s / 4))
            if (await self._control.client())[0] != token:
                return

    def _has_passed(self, holder: Holder, watched_s: float) -> bool:
        """watched_s: for how long this lease has been seen as it is."""
        alive = self._is_alive(holder)
        skew_s = SKEW_S if alive is None else 0.0
        expired = self._clock.now_s() > holder.expires_s + skew_s
        return alive is False or expired or watched_s >= self._lease_s

    def _refusal(self, holder: Holder) -> ConfigurationError:
        return ConfigurationError(
            f"the run has a client already: {_named(holder)}. Two would take each other's answers; nothing "
            "was queued. Wait for that one, stop it, or give this run another name"
        )

    async def keep(self) -> None:
        """Renew it until cancelled. Raises ClientReplaced once another client has taken over.

        It goes on where that is denied: the next write fails, and until then answers may come.
        """
        denied = False
        while True:
            await asyncio.sleep(self._lease_s / RENEWALS)
            try:
                await self._renew()
                denied = False
            except BackendUnavailable:
                pass  # as long as nobody takes over, it may be renewed late
            except BackendDenied as error:
                if not denied:
                    self._on_note(f"this client can't renew its hold on the run: {error}")
                denied = True

    async def check(self) -> None:
        """Return when this client holds its lease. To be called before a write that only the client may do.

        Raises ClientReplaced when another has taken over, BackendUnavailable when nobody can tell.
        """
        if self._clock.now_s() >= self._expires_s - self._lease_s / RENEWALS:
            await self._renew()

    async def give_up(self) -> None:
        """Let the next client begin at once."""
        try:
            await self._control.no_client(self._token)
        except (StoreError, BackendUnavailable):
            pass  # then it has to wait

    async def _renew(self) -> None:
        async with self._renewing:
            found = await self._write(self._token)
            if found is not None and found[0].startswith(self._own):
                self._token = found[0]  # a write whose reply was lost
                found = await self._write(self._token)
            if found is not None:
                self._replaced = True
                raise ClientReplaced(self._successor(found[1]))

    def _successor(self, holder: Holder | None) -> str:
        if holder is None:
            return (
                "the run was deleted, or begun again, since this client began it. What this "
                "client recorded stays in its folder"
            )
        return (
            f"{_named(holder)}, has taken the run over, as this client did not answer for more than "
            f"{self._lease_s:g} s. What this client recorded stays in its folder; the other collects the rest"
        )

    async def _write(self, over: str) -> tuple[str, Holder | None] | None:
        """None where it was written, else what stands there."""
        now_s = self._clock.now_s()
        self._writes += 1
        token = f"{self._own}{self._writes}"
        holder = msgspec.structs.replace(self._me, expires_s=now_s + self._lease_s)
        found = await self._control.be_client(holder, token, over)
        if found is None:
            self._token, self._expires_s = token, now_s + self._lease_s
        return found


def _named(holder: Holder) -> str:
    return f"process {holder.pid} on {holder.host}, since {holder.since}"


def fenced(channel: Channel, lease: ClientLease) -> Channel:
    """The channel for a client that holds the lease: what only the client may write is checked before."""
    return msgspec.structs.replace(
        channel,
        tasks=_FencedQueue(channel.tasks, lease),
        answers=_FencedQueue(channel.answers, lease),
        dead=_FencedQueue(channel.dead, lease),
        control=_FencedTable(channel.control, lease),
    )


class _FencedQueue(Queue):
    """A queue whose sends and acks are checked. What was received and is not acked comes again."""

    def __init__(self, queue: Queue, lease: ClientLease) -> None:
        self._queue = queue
        self._lease = lease
        self.limits = queue.limits

    async def send(self, messages: Sequence[Message]) -> None:
        await self._lease.check()
        await self._queue.send(messages)

    async def receive(self, max_messages: int, wait_s: float) -> list[Delivery]:
        return await self._queue.receive(max_messages, wait_s)

    async def extend(self, deliveries: Sequence[Delivery], visible_s: float) -> list[bool]:
        return await self._queue.extend(deliveries, visible_s)

    async def ack(self, deliveries: Sequence[Delivery]) -> list[bool]:
        await self._lease.check()
        return await self._queue.ack(deliveries)

    async def depth(self) -> Depth:
        return await self._queue.depth()


class _FencedTable(Ledger):
    """A control table whose plain writes are checked."""

    def __init__(self, table: Ledger, lease: ClientLease) -> None:
        self._table = table
        self._lease = lease
        self.max_batch = table.max_batch
        self.stale_reads = table.stale_reads
        self.max_outcome_bytes = table.max_outcome_bytes

    async def read(self, keys: Sequence[int]) -> list[Record | None]:
        return await self._table.read(keys)

    async def insert_new(self, records: Sequence[Record]) -> list[Record | None]:
        return await self._table.insert_new(records)

    async def replace(self, records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
        return await self._table.replace(records, if_tokens)

    async def put(self, records: Sequence[Record]) -> None:
        await self._lease.check()
        await self._table.put(records)

    async def delete(self, keys: Sequence[int], if_tokens: Sequence[str]) -> list[bool]:
        return await self._table.delete(keys, if_tokens)

    async def scan(self, first: int, limit: int) -> list[Record]:
        return await self._table.scan(first, limit)
