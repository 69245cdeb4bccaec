"""`kon trace`: which tasks are sent, and that a collector gets what was made of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from kon.core.distribution import install
from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder
from kon.report.traces import RunIdentity, Selection, chosen
from tests.cli.given import invoke
from tests.report.made import Records
from tests.report.traces.collector import Taken, attributes, collecting
from tests.report.traces.traced import plain, spans


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ENDPOINT", "TRACES_ENDPOINT", "HEADERS", "COMPRESSION", "TIMEOUT"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)


def test_which_tasks_are_chosen(tmp_path: Path, troubled: RunFolder) -> None:
    folder = Records(tmp_path, 10_000).folder
    assert chosen(folder, Selection()) == list(range(10_000))
    assert chosen(folder, Selection(tasks="3, 17,100-102")) == [3, 17, 100, 101, 102]
    few, more = chosen(folder, Selection(share=0.01)), chosen(folder, Selection(share=0.1))
    assert few == chosen(folder, Selection(share=0.01))
    assert set(few) < set(more)
    assert 50 < len(few) < 150
    assert 850 < len(more) < 1_150
    assert chosen(folder, Selection(share=0.0)) == []
    assert chosen(folder, Selection(share=1.0)) == list(range(10_000))
    repeated = chosen(troubled, Selection(repeated=True))
    assert 0 < len(repeated) <= 10
    assert set(chosen(troubled, Selection(tasks="1", repeated=True))) == {1, *repeated}


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


def sent(folder: RunFolder, *options: str, answers: tuple[int, ...] = ()) -> tuple[list[Taken], Any]:
    with collecting(*answers) as collector:
        result = invoke("trace", folder.path, "--otlp", collector.endpoint, *options)
    return collector.spans, result


def test_a_collector_gets_what_was_made(troubled: RunFolder) -> None:
    taken, result = sent(troubled)
    assert result.exit_code == 0, result.stderr
    made = [span for index in range(10) for span in spans(troubled, index)]
    ids = [f"troubled-lease-w1-r1/{n}\t{RunIdentity.of(troubled).trace_id(n):032x}" for n in range(10)]
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
    from kon.report.traces import export

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
    assert install("opentelemetry") in result.stderr
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
