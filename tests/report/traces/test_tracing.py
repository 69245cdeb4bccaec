"""Traces: what `kon explain` tells of a task, as spans, the same every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from kon.core.task import Answers, Outcome, State, encode
from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder
from kon.report.read import traces as reader
from kon.report.read.traces import trace
from kon.report.story.story import ENDED, tell
from kon.report.traces import Span, traces_of
from tests.report.made import Records
from tests.report.traces.traced import plain, spans


def happened(made: list[Span]) -> list[tuple[int, str, str]]:
    """What a trace says that happened, in order: when, what, and why."""
    found = []
    for span in made[1:]:  # the first one is the task's, and says what came of it
        event = span.attributes["kon.event"]
        at_ns = span.start_ns if span.name in ("submit", "delivery", "run") else span.end_ns
        found.append((at_ns, event, span.attributes.get("kon.why", "")))
        if "kon.ended" in span.attributes:
            found.append((span.end_ns, ENDED, ""))
    for span in made:
        found += [(each.t_ns, each.name, each.attributes.get("kon.why", "")) for each in span.events]
    return sorted(found)


def test_a_trace_says_what_explain_says_in_its_order_and_for_its_reasons(troubled: RunFolder) -> None:
    for index in range(10):
        story = tell(trace(troubled, index))
        told = [(round(m.t * 1e9), str(m.event), m.why) for m in story.moments if m.t is not None]
        assert happened(spans(troubled, index)) == sorted(told)
    row = troubled.read_summary()
    assert row["worker_lives"] == 2  # or this test would show less than it says
    assert row["duplicates_avoided"] > 0
    assert row["retries"] > 0


def test_every_span_lies_in_its_parent_and_ends_after_it_begins(troubled: RunFolder) -> None:
    for index in range(10):
        made = spans(troubled, index)
        by_id = {span.span_id: span for span in made}
        assert len(by_id) == len(made)
        assert [span.name for span in made if span.parent_id is None] == ["task"]
        assert {span.trace_id for span in made} == {made[0].trace_id}
        for span in made:
            assert span.start_ns <= span.end_ns
            if span.parent_id is not None:
                parent = by_id[span.parent_id]
                assert parent.start_ns <= span.start_ns
                assert span.end_ns <= parent.end_ns
                if parent.name == "delivery":
                    assert parent.who == span.who
            for link in span.links:
                assert by_id[link.span_id].name == span.name


def test_the_steps_of_a_task_that_goes_well(tmp_path: Path) -> None:
    folder = plain(tmp_path)
    task, *rest = spans(folder, 0)
    assert [span.name for span in rest] == ["submit", "delivery", "admit", "run", "commit", "answer", "ack"]
    assert task.error is None
    assert (task.attributes["kon.task"], task.attributes["kon.state"]) == ("r/0", "done")
    steps = {span.name: span for span in rest}
    delivery = steps["delivery"]
    for name in ("admit", "run", "commit", "answer", "ack"):
        assert steps[name].parent_id == delivery.span_id
    for before, after in (("run", "commit"), ("commit", "answer"), ("answer", "ack")):
        assert steps[before].end_ns == steps[after].start_ns
    assert (delivery.start_ns, delivery.end_ns) == (steps["admit"].start_ns, steps["ack"].end_ns)
    assert delivery.kind == "consumer"
    assert (steps["submit"].kind, steps["submit"].who) == ("producer", "client")


def test_a_repeat_is_linked_to_what_it_repeats_and_a_retry_to_what_failed(tmp_path: Path) -> None:
    records = Records(tmp_path, 1)
    records.ran(0.0, 9.0)
    first, second = records.life("w1.a"), records.life("w2.b")
    for event in (Event.DELIVER, Event.CLAIM, Event.START):
        records.clock.t += 1
        first.tasks(event, [0])
    for event in (Event.DELIVER, Event.CLAIM, Event.START, Event.RETRY, Event.ACK):
        records.clock.t += 1
        second.tasks(event, [0])
    for event in (Event.DELIVER, Event.CLAIM, Event.START):
        records.clock.t += 1
        second.tasks(event, [0], attempt=2)
    made = spans(records.folder, 0)
    runs = [span for span in made if span.name == "run"]
    deliveries = [span for span in made if span.name == "delivery"]
    assert [span.who for span in runs] == ["w1.a", "w2.b", "w2.b"]
    for found in (runs, deliveries):
        assert [[link.why for link in span.links] for span in found] == [[], ["duplicate of"], ["retry of"]]
        assert [link.span_id for span in found for link in span.links] == [found[0].span_id] * 2
    # its records end while it holds the task
    assert [span.error for span in runs] == [
        "its records end here, without an end: it was killed, or is at work still",
        "failed, and is tried again",
        "its records end here, without an end: it was killed, or is at work still",
    ]


def test_a_skipped_copy_is_not_taken_for_the_one_that_ran(tmp_path: Path) -> None:
    """A worker that has a task twice writes only what it does: that belongs to where it can belong."""
    records = Records(tmp_path, 1)
    life = records.life("w1.a")
    for event in (
        *(Event.DELIVER, Event.CLAIM, Event.DELIVER, Event.SKIP, Event.START, Event.ANSWER, Event.ACK),
        *(Event.KEEP, Event.ANSWER, Event.ACK),
    ):
        records.clock.t += 1
        life.tasks(event, [0])
    made = spans(records.folder, 0)
    one, two = (span for span in made if span.name == "delivery")
    names = {
        each.span_id: [span.name for span in made if span.parent_id == each.span_id] for each in (one, two)
    }
    assert names[one.span_id] == ["admit", "run", "commit", "answer", "ack"]
    assert names[two.span_id] == ["admit", "answer", "ack"]


def steps_of(folder: RunFolder) -> list[list[str]]:
    """The steps in each delivery of the first task, in the order of the deliveries."""
    made = spans(folder, 0)
    deliveries = [span for span in made if span.name == "delivery"]
    return [[span.name for span in made if span.parent_id == each.span_id] for each in deliveries]


def test_of_two_attempts_at_once_each_has_its_own_steps(tmp_path: Path) -> None:
    records = Records(tmp_path, 1)
    life = records.life("w1.a")
    for attempt in (1, 2):
        for event in (Event.DELIVER, Event.CLAIM, Event.START):
            records.clock.t += 1
            life.tasks(event, [0], attempt)
    for event in (Event.KEEP, Event.ANSWER, Event.ACK):
        records.clock.t += 1
        life.tasks(event, [0], 2)
    assert steps_of(records.folder) == [["admit", "run"], ["admit", "run", "commit", "answer", "ack"]]


def test_an_answer_is_not_that_of_an_attempt_that_is_made_again(tmp_path: Path) -> None:
    records = Records(tmp_path, 1)
    life = records.life("w1.a")
    for event in (
        *(Event.DELIVER, Event.CLAIM, Event.START, Event.RETRY, Event.ACK),
        *(Event.DELIVER, Event.SKIP, Event.ANSWER, Event.ACK),
    ):
        records.clock.t += 1
        life.tasks(event, [0])
    assert steps_of(records.folder) == [["admit", "run", "commit", "ack"], ["admit", "answer", "ack"]]


def test_what_ran_elsewhere_is_not_taken_for_a_run_of_whoever_answered(tmp_path: Path) -> None:
    """Its worker was killed between commit and answer; another one answers, from the ledger."""
    records = Records(tmp_path, 1)
    killed, other = records.life("w1.a"), records.life("w2.b")
    start_s = records.clock.t
    for life, events in (
        (killed, (Event.DELIVER, Event.CLAIM, Event.START)),
        (other, (Event.DELIVER, Event.DEFER, Event.ACK)),
        (killed, (Event.KEEP,)),
        (other, (Event.DELIVER, Event.SKIP, Event.ANSWER, Event.ACK)),
    ):
        for event in events:
            records.clock.t += 1
            life.tasks(event, [0])
    outcome = Outcome(0, 1, State.DONE, None, None, start_s + 3, start_s + 6.5)
    records.append_result(encode(Answers("w2.b", [outcome])))
    task, *rest = spans(records.folder, 0)
    assert [event.name for event in task.events] == [ENDED]
    assert [(span.who, span.error is None) for span in rest if span.name == "run"] == [("w1.a", True)]


def test_ids_are_the_same_whenever_they_are_made_and_others_for_other_runs(tmp_path: Path) -> None:
    folder = plain(tmp_path)
    first, again = spans(folder, 0), spans(folder, 0)
    assert [(s.trace_id, s.span_id, s.parent_id) for s in first] == [
        (s.trace_id, s.span_id, s.parent_id) for s in again
    ]
    # what comes later leaves the ids of what was there
    with (folder.events / "w1.a.jsonl").open("a") as file:
        file.write('{"t":1700000008.0,"e":"deliver","i":[0],"n":2}\n')
    later = {span.span_id for span in spans(folder, 0)}
    assert {span.span_id for span in first} < later
    run = folder.read_run()
    folder.write_run(run.spec, {**run.context, "started_s": 5.0})
    other = spans(folder, 0)
    assert other[0].trace_id != first[0].trace_id
    assert not {span.span_id for span in other} & later


def test_what_is_gathered_in_one_pass_is_what_is_found_one_by_one(
    troubled: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = [trace(troubled, index) for index in (0, 1, 4, 9)]
    assert list(traces_of(troubled, [0, 1, 4, 9])) == one_by_one
    monkeypatch.setattr(reader, "_FEW", 1)  # more are not looked for in the text of a line
    assert list(traces_of(troubled, [0, 1, 4, 9])) == one_by_one
    monkeypatch.setattr(reader, "AT_ONCE", 3)
    assert list(traces_of(troubled, [0, 1, 4, 9])) == one_by_one


def test_two_copies_in_one_batch_are_two_deliveries(tmp_path: Path) -> None:
    records = Records(tmp_path, 2)
    records.life("w1.a").tasks(Event.DELIVER, [1, 0, 1])
    found = trace(records.folder, 1)
    assert len(found.sightings) == 2
    assert list(traces_of(records.folder, [1])) == [found]
    assert "delivered twice" in tell(found).notes[0]
