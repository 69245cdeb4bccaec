"""Queues and ledgers of each backend against plain models, through whatever calls hypothesis thinks of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kon.core.backend import ChannelOptions
from kon.core.ledger import Record
from kon.core.queue import Delivery, Message
from kon.core.task import State
from tests.backends.models import (
    Ground,
    MemoryGround,
    ModelLedger,
    ModelMessage,
    ModelQueue,
    SimGround,
    SqliteGround,
)
from tests.backends.span_rules import check_file

OPTIONS = ChannelOptions(visibility_s=900.0, max_receives=3)

# No sum of leaps is a sum of holds, so that nothing falls due in the very moment of a call.
HOLDS_S = st.sampled_from([0.0, 300.0, 900.0])
DELAYS_S = st.lists(st.sampled_from([0.0, 0.0, 200.0, 500.0]), max_size=8)
LEAPS_S = st.sampled_from([130.0, 410.0, 1_370.0])

EVERYTHING = 1_000


class QueueMachine(RuleBasedStateMachine):
    """Sends, receives, extends, acks, and lets time pass."""

    ground_class: Callable[[ChannelOptions], Ground]

    def __init__(self) -> None:
        super().__init__()
        self.ground = self.ground_class(OPTIONS)
        self.queue = self.ground.channel.tasks
        self.model = ModelQueue(OPTIONS)
        self.receipts: list[Delivery] = []
        self.sent = 0
        self.buried = 0

    def teardown(self) -> None:
        if isinstance(self.ground, SqliteGround):
            check_file(self.ground.file)
        self.ground.end()

    @rule(delays_s=DELAYS_S)
    def send(self, delays_s: list[float]) -> None:
        messages = []
        for delay_s in delays_s:
            body = b"%d" % self.sent
            self.sent += 1
            messages.append(Message(body, delay_s))
            self.model.messages[body] = ModelMessage(body, self.model.now_s + delay_s)
        self.ground.run(self.queue.send(messages))

    @rule(most=st.sampled_from([1, 2, 5, EVERYTHING]))
    def receive(self, most: int) -> None:
        expected = self.model.visible()
        doomed = [each for each in self.model.living() if self.model.is_doomed(each)]
        most = min(most, self.queue.limits.max_batch)
        deliveries = self.ground.run(self.queue.receive(most, 0.0))
        assert len(deliveries) == min(most, len(expected))
        assert len({delivery.body for delivery in deliveries}) == len(deliveries)
        for delivery in deliveries:
            message = self.model.messages[delivery.body]
            assert message in expected
            message.receives += 1
            assert delivery.receives == message.receives
            message.due_s = self.model.now_s + OPTIONS.visibility_s
            self.receipts.append(delivery)
        self._bury(doomed, all_of_them=most > 5 and len(deliveries) < most)

    def _bury(self, doomed: list[ModelMessage], all_of_them: bool) -> None:
        """How many of the doomed a short receive comes upon is the queue's own business."""
        queue, dead = self.ground.channel.dead, list[Delivery]()
        while found := self.ground.run(queue.receive(queue.limits.max_batch, 0.0)):
            dead += found
            assert self.ground.run(queue.ack(found)) == [True] * len(found)
        moved = [self.model.messages[delivery.body] for delivery in dead]
        assert all(message in doomed for message in moved)
        assert len(moved) == len(doomed) or not all_of_them
        for message in moved:
            message.place = "dead"

    @precondition(lambda self: self.receipts)
    @rule(data=st.data(), visible_s=HOLDS_S)
    def extend(self, data: st.DataObject, visible_s: float) -> None:
        chosen = self._choose(data)
        good = [self._is_good(delivery) for delivery in chosen]
        assert self.ground.run(self.queue.extend(chosen, visible_s)) == good
        for delivery, is_good in zip(chosen, good, strict=True):
            if is_good:
                self.model.messages[delivery.body].due_s = self.model.now_s + visible_s

    @precondition(lambda self: self.receipts)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        chosen = self._choose(data)
        good = [self._is_good(delivery) for delivery in chosen]
        assert self.ground.run(self.queue.ack(chosen)) == good
        for delivery, is_good in zip(chosen, good, strict=True):
            if is_good:
                self.model.messages[delivery.body].place = "gone"

    def _choose(self, data: st.DataObject) -> list[Delivery]:
        """Any receipts so far, each once, in any order."""
        return data.draw(st.lists(st.sampled_from(self.receipts), unique_by=id, max_size=10))

    def _is_good(self, delivery: Delivery) -> bool:
        message = self.model.messages[delivery.body]
        return message.place == "queue" and message.receives == delivery.receives

    @rule(leap_s=LEAPS_S)
    def pass_time(self, leap_s: float) -> None:
        self.ground.pass_time(leap_s)
        self.model.now_s += leap_s

    @invariant()
    def depths_agree(self) -> None:
        assert self.ground.run(self.queue.depth()) == self.model.depth()


KEYS = st.lists(st.integers(0, 7), unique=True, max_size=6)
TOKENS = st.sampled_from(["a", "b", "c", ""])
RECORDS = st.lists(
    st.builds(
        Record,
        key=st.integers(0, 7),
        token=TOKENS,
        state=st.sampled_from(State),
        attempt=st.integers(1, 32),
        owner=st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        expires_s=st.floats(0, 1e10),
        outcome=st.none() | st.binary(max_size=5),
    ),
    unique_by=lambda record: record.key,
    max_size=6,
)


class LedgerMachine(RuleBasedStateMachine):
    """Every call, with keys and tokens that often meet."""

    ground_class: Callable[[ChannelOptions], Ground]

    def __init__(self) -> None:
        super().__init__()
        self.ground = self.ground_class(OPTIONS)
        self.ledger = self.ground.channel.ledger
        self.model = ModelLedger()

    def teardown(self) -> None:
        self.ground.end()

    @rule(records=RECORDS)
    def insert_new(self, records: list[Record]) -> None:
        found = self.ground.run(self.ledger.insert_new(records))
        assert found == self.model.insert_new(records)

    @rule(records=RECORDS, data=st.data())
    def replace(self, records: list[Record], data: st.DataObject) -> None:
        tokens = data.draw(st.lists(TOKENS, min_size=len(records), max_size=len(records)))
        found = self.ground.run(self.ledger.replace(records, tokens))
        assert found == self.model.replace(records, tokens)

    @rule(records=RECORDS)
    def put(self, records: list[Record]) -> None:
        self.ground.run(self.ledger.put(records))
        self.model.put(records)

    @rule(keys=KEYS, data=st.data())
    def delete(self, keys: list[int], data: st.DataObject) -> None:
        tokens = data.draw(st.lists(TOKENS, min_size=len(keys), max_size=len(keys)))
        assert self.ground.run(self.ledger.delete(keys, tokens)) == self.model.delete(keys, tokens)

    @rule(keys=KEYS)
    def read(self, keys: list[int]) -> None:
        assert self.ground.run(self.ledger.read(keys)) == self.model.read(keys)

    @invariant()
    def tables_agree(self) -> None:
        assert self.ground.run(self.ledger.scan(0, 100)) == self.model.scan(0, 100)
        assert self.ground.run(self.ledger.scan(3, 2)) == self.model.scan(3, 2)


@pytest.mark.parametrize("machine", [QueueMachine, LedgerMachine])
@pytest.mark.parametrize(
    ("ground", "examples"),
    [(MemoryGround, 40), (SqliteGround, 25), (SimGround, 40)],
    ids=["memory", "sqlite", "sim"],
)
def test_as_the_model_does(machine: type[RuleBasedStateMachine], ground: type[Ground], examples: int) -> None:
    on_ground: Any = type(f"{ground.__name__}{machine.__name__}", (machine,), {"ground_class": ground})
    run_state_machine_as_test(
        on_ground,
        settings=settings(
            max_examples=examples, stateful_step_count=25, deadline=None, derandomize=True, database=None
        ),
    )
