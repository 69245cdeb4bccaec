"""The statements of one queue, and inserts of many rows, which ledgers make too.

They run on the connection's thread, within its transaction.

See `schema` for what a span is. Handles are pairs of a message's id and the number of its receipt:
a later receive makes an earlier handle stale just by counting on.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from kon.core.queue import Delivery, Depth, Message

_ROWS: Final = 50


class Inserts:
    """An INSERT of rows with `columns` columns, in statements of fifty rows and of one.

    The driver lets go of Python's global lock around every step of a statement. One step for fifty rows
    in place of fifty steps saves a quarter of the time, and more when the event loop is busy.
    """

    def __init__(self, insert: str, columns: int, clause: str = "") -> None:
        row = f"({', '.join('?' * columns)})"
        self._one = f"{insert} {row} {clause}"
        self._many = f"{insert} {', '.join([row] * _ROWS)} {clause}"

    def run(self, db: sqlite3.Connection, rows: Sequence[Sequence[Any]]) -> None:
        whole = len(rows) - len(rows) % _ROWS
        for begin in range(0, whole, _ROWS):
            db.execute(self._many, tuple(chain.from_iterable(rows[begin : begin + _ROWS])))
        if whole < len(rows):
            db.executemany(self._one, rows[whole:])


Handle = tuple[int, int]


class _Span(NamedTuple):
    first: int
    last: int
    due_ms: int
    receives: int
    living: int


class Due(NamedTuple):
    """What a receiver that found nothing waits for.

    next_due_ms: when the first of the held and delayed messages falls due; None without any.
    """

    visible: bool
    next_due_ms: int | None


class Spans:
    """One queue's tables.

    max_receives: deliveries of one message before it goes on to `dead`; both or neither are given.
    """

    def __init__(self, name: str, max_receives: float = math.inf, dead: Spans | None = None) -> None:
        self.name = name
        self._max_receives = max_receives
        self._dead = dead
        table, span = name, f"{name}_span"
        self._bodies: Final = Inserts(f"INSERT INTO {table} VALUES", 2)
        self._spans: Final = Inserts(f"INSERT INTO {span} VALUES", 5)
        self._next_id = f"SELECT next_id FROM queue WHERE name = '{name}'"
        self._set_next_id = f"UPDATE queue SET next_id = ? WHERE name = '{name}'"
        self._fresh = f"SELECT * FROM {span} WHERE due_ms = 0 ORDER BY first LIMIT ?"
        self._back = f"SELECT * FROM {span} WHERE due_ms BETWEEN 1 AND ? ORDER BY due_ms, first LIMIT ?"
        self._first_due = f"SELECT due_ms FROM {span} ORDER BY due_ms LIMIT 1"
        self._range = f"SELECT id, body FROM {table} WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"
        self._ids = f"SELECT id FROM {table} WHERE id BETWEEN ? AND ? ORDER BY id"
        self._count = f"SELECT count(*) FROM {table} WHERE id BETWEEN ? AND ?"
        self._delete = f"DELETE FROM {table} WHERE id BETWEEN ? AND ?"
        self._covering = f"SELECT * FROM {span} WHERE first <= ? ORDER BY first DESC LIMIT 1"
        self._drop = f"DELETE FROM {span} WHERE first = ?"
        self._shrink = f"UPDATE {span} SET living = ? WHERE first = ?"
        self._hold = f"UPDATE {span} SET last = ?, due_ms = ?, receives = ?, living = ? WHERE first = ?"
        self._postpone = f"UPDATE {span} SET due_ms = ? WHERE first = ?"
        self._depth = (
            f"SELECT due_ms <= ? AS visible, receives > 0 AS held, sum(living) FROM {span} GROUP BY 1, 2"
        )

    def send(self, db: sqlite3.Connection, messages: Sequence[Message], now_ms: int) -> None:
        """Store messages, in spans of those that fall due together."""
        (first,) = db.execute(self._next_id).fetchone()
        end = first + len(messages)
        db.execute(self._set_next_id, (end,))
        self._bodies.run(db, [(key, message.body) for key, message in enumerate(messages, first)])
        spans: list[tuple[int, int, int, int, int]] = []
        begin, delay_s = first, messages[0].delay_s
        for key, message in enumerate(messages, first):
            if message.delay_s != delay_s:
                spans.append((begin, key - 1, _due(now_ms, delay_s), 0, key - begin))
                begin, delay_s = key, message.delay_s
        spans.append((begin, end - 1, _due(now_ms, delay_s), 0, end - begin))
        self._spans.run(db, spans)

    def look(self, db: sqlite3.Connection, now_ms: int) -> Due:
        row = db.execute(self._first_due).fetchone()
        if row is None:
            return Due(False, None)
        return Due(row[0] <= now_ms, row[0])

    def take(
        self, db: sqlite3.Connection, most: int, now_ms: int, visible_s: float
    ) -> tuple[list[Delivery], bool]:
        """Up to `most` visible messages, held from now on; and whether any went to `dead`.

        Half of them, if there are that many, were received before or delayed: what a dead worker held does
        not wait for the whole backlog, and what comes again and again does not hold the backlog up.
        """
        due_ms = _due(now_ms, visible_s)
        back, fresh = (self._back, (now_ms,)), (self._fresh, ())
        taken: list[Delivery] = []
        buried = False
        for (query, values), share in ((back, most - most // 2), (fresh, most), (back, most)):
            while len(taken) < share:
                spans = [_Span(*row) for row in db.execute(query, (*values, share - len(taken)))]
                if not spans:
                    break
                for span in spans:
                    if self._dead is not None and span.receives >= self._max_receives:
                        self._bury(db, self._dead, span, now_ms)
                        buried = True
                    elif len(taken) < share:
                        taken += self._take_from(db, span, share - len(taken), due_ms)
        return taken, buried

    def _take_from(self, db: sqlite3.Connection, span: _Span, most: int, due_ms: int) -> list[Delivery]:
        first, last, old_due_ms, receives, living = span
        rows = db.execute(self._range, (first, last, most)).fetchall()
        count = receives + 1
        if len(rows) < living:  # the rest of the span stays as it was
            end = rows[-1][0]
            self._spans.run(db, [(end + 1, last, old_due_ms, receives, living - len(rows))])
            last = end
        db.execute(self._hold, (last, due_ms, count, len(rows), first))
        return [Delivery((key, count), body, count) for key, body in rows]

    def _bury(self, db: sqlite3.Connection, dead: Spans, span: _Span, now_ms: int) -> None:
        rows = db.execute(self._range, (span.first, span.last, span.living)).fetchall()
        dead.send(db, [Message(body) for _, body in rows], now_ms)
        db.execute(self._delete, (span.first, span.last))
        db.execute(self._drop, (span.first,))

    def ack(self, db: sqlite3.Connection, handles: Sequence[Handle]) -> list[bool]:
        """Delete messages; False for those whose handle is stale."""
        gone: set[Handle] = set()
        for span, keys in self._held(db, handles):
            deleted = 0
            for begin, end in _runs(keys):
                (count,) = db.execute(self._count, (begin, end)).fetchone()
                if count == end - begin + 1:
                    gone.update([(key, span.receives) for key in range(begin, end + 1)])
                else:
                    gone.update([(key, span.receives) for (key,) in db.execute(self._ids, (begin, end))])
                db.execute(self._delete, (begin, end))
                deleted += count
            if deleted == span.living:
                db.execute(self._drop, (span.first,))
            elif deleted:
                db.execute(self._shrink, (span.living - deleted, span.first))
        return [handle in gone for handle in handles]

    def extend(
        self, db: sqlite3.Connection, handles: Sequence[Handle], now_ms: int, visible_s: float
    ) -> list[bool]:
        """Change when messages fall due; False for those whose handle is stale."""
        due_ms = _due(now_ms, visible_s)
        extended: set[Handle] = set()
        for span, keys in self._held(db, handles):
            living = [key for (key,) in db.execute(self._ids, (span.first, span.last))]
            wanted = set(keys).intersection(living)
            extended.update([(key, span.receives) for key in wanted])
            if len(wanted) == len(living):
                db.execute(self._postpone, (due_ms, span.first))
            elif wanted:
                self._split(db, span, living, wanted, due_ms)
        return [handle in extended for handle in handles]

    def _split(
        self, db: sqlite3.Connection, span: _Span, living: Sequence[int], extended: set[int], due_ms: int
    ) -> None:
        """Cut a span where living messages that were extended and others meet."""
        spans: list[tuple[int, int, int, int, int]] = []
        begin = 0
        for position in range(1, len(living) + 1):
            ours = living[begin] in extended
            if position == len(living) or (living[position] in extended) != ours:
                due = due_ms if ours else span.due_ms
                spans.append((living[begin], living[position - 1], due, span.receives, position - begin))
                begin = position
        db.execute(self._drop, (span.first,))
        self._spans.run(db, spans)

    def depth(self, db: sqlite3.Connection, now_ms: int) -> Depth:
        visible = in_flight = delayed = 0
        for due, held, count in db.execute(self._depth, (now_ms,)):
            if due:
                visible += count
            elif held:
                in_flight += count
            else:
                delayed += count
        return Depth(visible, in_flight, delayed)

    def _held(self, db: sqlite3.Connection, handles: Sequence[Handle]) -> Iterator[tuple[_Span, list[int]]]:
        """The spans that handles speak of, with the ids that the handles are still good for.

        The caller may change each span before it asks for the next.
        """
        ordered = sorted(set(handles))
        position = 0
        while position < len(ordered):
            row = db.execute(self._covering, (ordered[position][0],)).fetchone()
            if row is None or ordered[position][0] > row[1]:
                position += 1
                continue
            span = _Span(*row)
            keys: list[int] = []
            while position < len(ordered) and ordered[position][0] <= span.last:
                if ordered[position][1] == span.receives:
                    keys.append(ordered[position][0])
                position += 1
            if keys:
                yield span, keys


def _due(now_ms: int, delay_s: float) -> int:
    """The first millisecond that is wholly after the delay.

    At once is 0, whatever the clock says: the clocks of two processes may differ by a little.
    """
    return now_ms + int(delay_s * 1000) + 1 if delay_s else 0


def _runs(keys: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of consecutive ids, given in order."""
    begin = previous = keys[0]
    for key in keys[1:]:
        if key != previous + 1:
            yield begin, previous
            begin = key
        previous = key
    yield begin, previous
