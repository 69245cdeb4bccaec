"""Signed messages and rows: whoever may send to a queue can still give no task to workers.

Who has the key signs all that it sends, and takes nothing that was not signed with it. The key comes from the
environment and is never written to a queue or a table.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from kon.core.backend import Channel
from kon.core.errors import ConfigurationError, StoreError
from kon.core.ledger import Ledger, Record
from kon.core.queue import Delivery, Depth, Message, Queue

KEY: Final = "KON_SIGNING_KEY"
"""The environment variable that has the key, in hexadecimal digits."""

KEY_FILE: Final = "KON_SIGNING_KEY_FILE"
"""The environment variable that has the path of a file with the key."""

LEAST_KEY_BYTES: Final = 32
"""As long as the digest, as RFC 2104 advises."""

MAKE_A_KEY: Final = "python3 -c 'import secrets; print(secrets.token_hex(32))' > kon.key"

_MAC_CHARACTERS: Final = 43  # 32 bytes in Base64 without padding
_ROOM_BYTES: Final = 512
"""Left free in a send, for the signatures of its messages."""

_REFUSED: Final = b"refused, as it is not signed with this run's key: "


def signing_key(environment: Mapping[str, str] = os.environ) -> bytes | None:
    """The key, or None where there is none. Raises ConfigurationError for one that can't be used."""
    text, name = environment.get(KEY), KEY
    if path := environment.get(KEY_FILE):
        if text:
            raise ConfigurationError(f"{KEY} and {KEY_FILE} are both set; unset one of them")
        name = f"{KEY_FILE}={path}"
        try:
            text = Path(path).read_text("ascii")
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{name}: the key can't be read: {error}") from error
    if text is None:
        return None
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) < LEAST_KEY_BYTES:
        raise ConfigurationError(
            f"{name}: expected {2 * LEAST_KEY_BYTES} hexadecimal digits or more. Make a key: {MAKE_A_KEY}"
        )
    return key


def check_key(key: bytes | None, is_signed: bool) -> None:
    """Raises ConfigurationError where a run is to be signed without a key, or has a key and is not."""
    if key is None and is_signed:
        raise ConfigurationError(
            f"signed: true needs a key, and neither {KEY} nor {KEY_FILE} is set. Make one, for the client "
            f"and each host alike: {MAKE_A_KEY}"
        )
    if key is not None and not is_signed:
        raise ConfigurationError(
            f"there is a key ({KEY} or {KEY_FILE}), and the run is not to be signed. Write `signed: true` "
            "under `backend`, or unset the variable"
        )


def signed(channel: Channel, run: str, key: bytes) -> Channel:
    """The channel, with messages, results and the run's own rows signed, and with nothing else let in.

    Claims, which have no outcome, are not signed: a forged one holds a task up, and gives it no result.
    """

    def queue(inner: Queue, name: str) -> Queue:
        return SignedQueue(inner, _Signer(key, f"{run}/{name}"))

    def ledger(inner: Ledger, name: str, called: str) -> Ledger:
        return SignedLedger(inner, _Signer(key, f"{run}/{name}"), called)

    return msgspec.structs.replace(
        channel,
        tasks=queue(channel.tasks, "tasks"),
        answers=queue(channel.answers, "answers"),
        dead=queue(channel.dead, "tasks"),  # SQS moves messages here as they are
        ledger=ledger(channel.ledger, "ledger", "strategy's table"),
        control=ledger(channel.control, "control", "control table"),
    )


class _Signer:
    """Signs for one purpose, so that what is good in one place is worth nothing in another."""

    def __init__(self, key: bytes, purpose: str) -> None:
        self._mac = hmac.new(key, purpose.encode() + b"\0", hashlib.sha256)

    def mac(self, content: bytes) -> bytes:
        mac = self._mac.copy()
        mac.update(content)
        return base64.urlsafe_b64encode(mac.digest())[:_MAC_CHARACTERS]

    def sign(self, content: bytes, about: bytes = b"") -> bytes:
        return self.mac(about + content) + content

    def verified(self, content: bytes, about: bytes = b"") -> bytes | None:
        """The content without its signature; None where that is missing or wrong."""
        mac, rest = content[:_MAC_CHARACTERS], content[_MAC_CHARACTERS:]
        return rest if hmac.compare_digest(mac, self.mac(about + rest)) else None


class SignedQueue(Queue):
    """A queue of signed messages. What is not signed comes as text that no codec reads: it is reported, kept
    as unreadable, and not run."""

    def __init__(self, queue: Queue, signer: _Signer) -> None:
        self._queue = queue
        self._signer = signer
        self.limits = msgspec.structs.replace(queue.limits, max_bytes=queue.limits.max_bytes - _ROOM_BYTES)

    async def send(self, messages: Sequence[Message]) -> None:
        sign = self._signer.sign
        await self._queue.send([Message(sign(each.body), each.delay_s) for each in messages])

    async def receive(self, max_messages: int, wait_s: float) -> list[Delivery]:
        deliveries = await self._queue.receive(max_messages, wait_s)
        return [msgspec.structs.replace(each, body=self._body(each.body)) for each in deliveries]

    async def extend(self, deliveries: Sequence[Delivery], visible_s: float) -> list[bool]:
        return await self._queue.extend(deliveries, visible_s)

    async def ack(self, deliveries: Sequence[Delivery]) -> list[bool]:
        return await self._queue.ack(deliveries)

    async def depth(self) -> Depth:
        return await self._queue.depth()

    def _body(self, body: bytes) -> bytes:
        verified = self._signer.verified(body)
        return _REFUSED + body if verified is None else verified


class SignedLedger(Ledger):
    """A table whose rows have signed outcomes. Reading one that was changed raises StoreError.

    called: the table, in errors.
    """

    def __init__(self, ledger: Ledger, signer: _Signer, called: str) -> None:
        self._ledger = ledger
        self._signer = signer
        self._called = called
        self.max_batch = ledger.max_batch
        self.max_outcome_bytes = ledger.max_outcome_bytes
        self.stale_reads = ledger.stale_reads
        if self.max_outcome_bytes is not None:
            self.max_outcome_bytes -= _MAC_CHARACTERS

    async def read(self, keys: Sequence[int]) -> list[Record | None]:
        return self._all_verified(await self._ledger.read(keys))

    async def insert_new(self, records: Sequence[Record]) -> list[Record | None]:
        return self._all_verified(await self._ledger.insert_new(self._signed(records)))

    async def replace(self, records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
        return self._all_verified(await self._ledger.replace(self._signed(records), if_tokens))

    async def put(self, records: Sequence[Record]) -> None:
        await self._ledger.put(self._signed(records))

    async def delete(self, keys: Sequence[int], if_tokens: Sequence[str]) -> list[bool]:
        return await self._ledger.delete(keys, if_tokens)

    async def scan(self, first: int, limit: int) -> list[Record]:
        return [self._verified(row) for row in await self._ledger.scan(first, limit)]

    def _signed(self, records: Sequence[Record]) -> list[Record]:
        sign = self._signer.sign
        return [
            each
            if each.outcome is None
            else msgspec.structs.replace(each, outcome=sign(each.outcome, _about(each)))
            for each in records
        ]

    def _all_verified(self, rows: Sequence[Record | None]) -> list[Record | None]:
        return [None if row is None else self._verified(row) for row in rows]

    def _verified(self, row: Record) -> Record:
        if row.outcome is None:
            return row
        outcome = self._signer.verified(row.outcome, _about(row))
        if outcome is None:
            raise StoreError(
                f"row {row.key} of the run's {self._called} is not signed with the key of {KEY}: the run is "
                "not signed, or with another key, or somebody without the key has written the row. None of "
                "it was used. Where it is forged, take the right to write that table from whoever has it, "
                "delete the row, and repeat the command"
            )
        return msgspec.structs.replace(row, outcome=outcome)


def _about(row: Record) -> bytes:
    """What an outcome belongs to: it is worth nothing in another row, or as the end of another sort."""
    return b"%d/%s/%s/" % (row.key, row.state.encode(), row.token.encode())
