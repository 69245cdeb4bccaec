"""Traces: what `kon explain` tells of a task, as spans that a collector takes, the same every time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import pytest

from kon.events import Event
from kon.records import RunFolder
from kon.report.story import ENDED, tell
from kon.report.traces import trace
from kon.task import Answers, Outcome, State, encode
from kon.tracing import Choice, Origin, Span, chosen, gather, gathered, spans_of
from tests.cli.given import invoke, process, write
from tests.report.made import Records
from tests.telemetry.collector import Taken, attributes, collecting

TROUBLED: Final = """\
name: troubled
backend: sqlite
strategies: [{name: lease, lease_s: 0.5, skew_s: 0.1}]
workload: {kind: shell, command: 'sleep 0.05; test {} != 2', items: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}
slots: 2
prefetch: 4
attempts: 2
backoff_s: 0.05
visibility_s: 1
faults: {kill_workers: 1, duplicate_rate: 0.5}
"""
"""One task fails twice, the worker is killed and followed by another, half of the messages come twice."""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ENDPOINT", "TRACES_ENDPOINT", "HEADERS", "COMPRESSION", "TIMEOUT"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("troubled")
    done = process("run", write(folder, TROUBLED), "-q", cwd=folder)
    assert done.returncode == 1, done.stderr
    [run] = (folder / "results").glob("*/*/")
    return RunFolder(run)


def spans(folder: RunFolder, index: int) -> list[Span]:
    return spans_of(tell(trace(folder, index)), Origin.of(folder))


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


def plain(path: Path) -> RunFolder:
    """A run of one task, whose steps are a second apart."""
    records = Records(path, 1)
    records.ran(0.0, 9.0)
    life, start_s = records.life("w1.a"), records.clock.t
    life.note(Event.UP, host="here")
    for number, event in enumerate((Event.DELIVER, Event.CLAIM, Event.START), start=1):
        records.clock.t = start_s + number
        life.tasks(event, [0])
    for number, event in enumerate((Event.KEEP, Event.ANSWER, Event.ACK), start=5):
        records.clock.t = start_s + number
        life.tasks(event, [0])
    life.note(Event.DOWN)
    outcome = Outcome(0, 1, State.DONE, None, None, start_s + 3, start_s + 4)
    records.append_result(encode(Answers("w1.a", [outcome])))
    return records.folder


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
    assert list(gathered(troubled, [0, 1, 4, 9])) == one_by_one
    monkeypatch.setattr(gather, "AT_ONCE", 3)
    assert list(gathered(troubled, [0, 1, 4, 9])) == one_by_one


def test_two_copies_in_one_batch_are_two_deliveries(tmp_path: Path) -> None:
    records = Records(tmp_path, 2)
    records.life("w1.a").tasks(Event.DELIVER, [1, 0, 1])
    found = trace(records.folder, 1)
    assert len(found.sightings) == 2
    assert list(gathered(records.folder, [1])) == [found]
    assert "delivered twice" in tell(found).notes[0]


def test_which_tasks_are_chosen(tmp_path: Path, troubled: RunFolder) -> None:
    folder = Records(tmp_path, 10_000).folder
    assert chosen(folder, Choice()) == list(range(10_000))
    assert chosen(folder, Choice(tasks="3, 17,100-102")) == [3, 17, 100, 101, 102]
    few, more = chosen(folder, Choice(share=0.01)), chosen(folder, Choice(share=0.1))
    assert few == chosen(folder, Choice(share=0.01))
    assert set(few) < set(more)
    assert 50 < len(few) < 150
    assert 850 < len(more) < 1_150
    assert chosen(folder, Choice(share=0.0)) == []
    assert chosen(folder, Choice(share=1.0)) == list(range(10_000))
    repeated = chosen(troubled, Choice(repeated=True))
    assert 0 < len(repeated) <= 10
    assert set(chosen(troubled, Choice(tasks="1", repeated=True))) == {1, *repeated}


def test_a_large_run_is_not_sent_whole_by_mistake(tmp_path: Path) -> None:
    folder = Records(tmp_path, 10_001).folder
    result = invoke("trace", folder.path)
    assert result.exit_code == 2
    assert "has 10,001 tasks" in result.stderr
    assert "--sample" in result.stderr


@pytest.mark.parametrize("text", ["x", "1,", "5-3", "99999", "-1", "1-2-3"])
def test_tasks_that_can_t_be_meant(tmp_path: Path, text: str) -> None:
    result = invoke("trace", plain(tmp_path).path, f"--tasks={text}")
    assert result.exit_code == 2
    assert "--tasks" in result.stderr


# --- the collector ---------------------------------------------------------------------------------------


def sent(folder: RunFolder, *options: str, answers: tuple[int, ...] = ()) -> tuple[list[Taken], Any]:
    with collecting(*answers) as collector:
        result = invoke("trace", folder.path, "--otlp", collector.endpoint, *options)
    return collector.spans, result


def test_a_collector_gets_what_was_made(troubled: RunFolder) -> None:
    taken, result = sent(troubled)
    assert result.exit_code == 0, result.stderr
    made = [span for index in range(10) for span in spans(troubled, index)]
    ids = [f"troubled-lease-w1-r1/{n}\t{Origin.of(troubled).trace_id(n):032x}" for n in range(10)]
    assert result.stdout.splitlines() == ids
    assert f"10 of 10 tasks, {len(made)} spans" in result.stderr
    by_id = {span.span.span_id: span for span in taken}
    assert len(by_id) == len(taken) == len(made)
    for span in made:
        came, resource = by_id[span.span_id.to_bytes(8)]
        assert came.trace_id == span.trace_id.to_bytes(16)
        assert came.parent_span_id == (b"" if span.parent_id is None else span.parent_id.to_bytes(8))
        assert came.name == span.name
        assert (came.start_time_unix_nano, came.end_time_unix_nano) == (span.start_ns, span.end_ns)
        assert attributes(came) == span.attributes
        assert [(each.name, each.time_unix_nano, attributes(each)) for each in came.events] == [
            (each.name, each.t_ns, each.attributes) for each in span.events
        ]
        assert [(each.span_id, attributes(each)) for each in came.links] == [
            (each.span_id.to_bytes(8), {"kon.link": each.why}) for each in span.links
        ]
        assert (came.status.code == 2) == (span.error is not None)
        assert resource["service.instance.id"] == span.who
        assert resource["service.name"] == ("kon-client" if span.who == "client" else "kon-worker")
        assert resource["kon.run"] == "troubled-lease-w1-r1"
        if span.host:
            assert resource["host.name"] == span.host
    failed = {
        attributes(span.span)["kon.task.index"]
        for span in taken
        if span.span.name == "task" and span.span.status.code == 2
    }
    assert failed == {1}


def test_large_runs_go_in_several_requests(troubled: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    from kon.tracing import export

    monkeypatch.setattr(export, "BATCH", 50)
    with collecting() as collector:
        result = invoke("trace", troubled.path, "--otlp", f"{collector.endpoint}/v1/traces")
    assert result.exit_code == 0
    sizes = [
        sum(len(s.spans) for g in body.resource_spans for s in g.scope_spans) for body in collector.bodies
    ]
    assert set(sizes[:-1]) == {50}
    assert len(sizes) > 2
    assert {path for path, _ in collector.requests} == {"/v1/traces"}


def test_the_standard_variables_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = plain(tmp_path)
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{collector.endpoint}/under")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=a")
        result = invoke("trace", folder.path)
    assert result.exit_code == 0, result.stderr
    [(path, headers)] = collector.requests
    assert path == "/under/v1/traces"
    assert headers["x-key"] == "secret"
    assert headers["content-encoding"] == "gzip"
    assert len(collector.spans) == 8
    for span in collector.spans:
        assert (span.resource["service.name"], span.resource["team"]) == ("mine", "a")


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_collector_that_refuses_is_an_error_with_its_reason(
    tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    taken, result = sent(plain(tmp_path), answers=(status,))
    assert result.exit_code == 3
    assert taken == []
    assert str(status) in result.stderr
    assert "0 were sent before that" in result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert not caplog.records  # once, in kon's own words


def test_a_collector_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    taken, result = sent(plain(tmp_path), answers=(503,))
    assert result.exit_code == 0, result.stderr
    assert len(taken) == 8


def test_no_collector_is_an_error_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
    result = invoke("trace", plain(tmp_path).path, "--otlp", "http://127.0.0.1:9")
    assert result.exit_code == 3
    assert "the collector did not take the spans" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    result = invoke("trace", plain(tmp_path).path, "--otlp", "localhost:4317")
    assert result.exit_code == 2
    assert "http://localhost:4318" in result.stderr


def test_without_the_packages_spans_can_be_printed_and_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = plain(tmp_path)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    result = invoke("trace", folder.path)
    assert result.exit_code == 2
    assert "pip install 'kon[opentelemetry]'" in result.stderr
    printed = invoke("trace", folder.path, "--json")
    assert printed.exit_code == 0
    assert '"name": "commit"' in printed.stdout


def test_a_run_that_is_going_on_is_sent_as_far_as_it_is(tmp_path: Path) -> None:
    records = Records(tmp_path, 2)
    life = records.life("w1.a")
    life.tasks(Event.DELIVER, [0])
    life.tasks(Event.CLAIM, [0])
    life.ends_mid_line()
    with pytest.warns(UserWarning, match="half a line"):
        taken, result = sent(records.folder)
    assert result.exit_code == 0, result.stderr
    assert [span.span.name for span in taken] == ["task", "delivery", "admit"]
