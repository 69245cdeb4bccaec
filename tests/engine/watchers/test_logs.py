"""Logs for programs: every line on stderr an object, with the ids of what it is about."""

from __future__ import annotations

import logging
import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from kon.core.task import Outcome, State, Task
from kon.engine.records.events import Event, Named, Recorder
from kon.engine.records.records import RunFolder
from kon.engine.watchers import logs
from kon.engine.watchers.log_events import LINES, EventLog
from tests.cli.given import SHELL, SLEEPS, invoke, process, write
from tests.engine.watchers.given import json_lines
from tests.report.made import HandClock

FAILS: Final = """\
name: fails
backend: sqlite
workload: {kind: shell, command: 'test {} != 2', items: [1, 2, 3]}
attempts: 2
backoff_s: 0.01
"""


@pytest.fixture(autouse=True)
def _as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    logs.set_up({})


def is_rfc3339_utc(text: str) -> bool:
    return text.endswith("Z") and datetime.fromisoformat(text).tzinfo is UTC and text[10] == "T"


def test_a_run_says_everything_as_json_and_its_workers_do_too(tmp_path: Path) -> None:
    done = process("run", write(tmp_path, FAILS), "--log-format", "json", cwd=tmp_path)
    assert done.returncode == 1
    [folder] = (RunFolder(path) for path in (tmp_path / "results").glob("*/*/"))
    run = folder.path.name
    said = json_lines(done.stderr)
    assert any("2 of 3 done, 1 failed" in line["message"] and line["run"] == run for line in said)
    logged = [line for log in folder.logs.glob("*.log") for line in json_lines(log.read_text())]
    for line in said + logged:
        assert list(line)[:4] == ["time", "level", "logger", "message"]
        assert is_rfc3339_utc(line["time"])
        assert line["logger"].startswith("kon")
    lives = {life for life, event in folder.event_lines() if event["e"] == "up"}
    assert {line["worker"] for line in logged} == lives
    assert {line["run"] for line in logged} == {run}
    about = [line for line in logged if "task" in line]
    assert [
        (line["event"], line["task"], line["attempt"], line["level"], line["error"]) for line in about
    ] == [
        ("retry", f"{run}/1", 1, "info", "exit 1"),
        ("fail", f"{run}/1", 2, "warning", "exit 1"),
    ]


def test_debug_has_a_line_for_each_step_of_each_task_and_the_records_steps_are_those(tmp_path: Path) -> None:
    options = ["--log-format", "json", "--log-level", "debug", "--quiet"]
    done = process("run", write(tmp_path, SHELL), *options, cwd=tmp_path)
    [folder] = (RunFolder(path) for path in (tmp_path / "results").glob("*/*/"))
    logged = [(line["event"], line["task"]) for line in json_lines(done.stderr) if "task" in line]
    recorded = []
    for _, event in folder.event_lines():
        first, count = event.get("r", (0, 0))
        for index in event.get("i") or range(first, first + count):
            recorded.append((event["e"], f"{folder.path.name}/{index}"))
    assert sorted(each for each in logged if each[0] != "fail") == sorted(recorded)
    assert {each for each in logged if each[0] == "fail"} == {("fail", f"{folder.path.name}/1")}


@pytest.mark.parametrize("by", ["option", "environment"])
def test_errors_are_json_as_well(tmp_path: Path, by: str) -> None:
    options = ["--log-format", "json"] if by == "option" else []
    env = {} if by == "option" else {"KON_LOG_FORMAT": "json"}
    for words, code, text in (
        (["run", "nothing.yml", *options], 2, "nothing.yml"),
        (["run", *options], 2, "Missing argument 'FILE'"),
        (["explain", *options, "no/1"], 2, 'no run "no"'),
    ):
        done = process(*words, cwd=tmp_path, env=env)
        assert done.returncode == code
        [line] = json_lines(done.stderr)
        assert text in line["message"]
        assert (line["level"], line["exit_code"]) == ("error", code)


def test_a_fault_of_kon_s_own_has_its_traceback_in_the_line(tmp_path: Path) -> None:
    code = (
        "import sys; import kon.cli.validate, kon.cli.program as g\n"
        "def fall(**options): raise ZeroDivisionError('oops')\n"
        "kon.cli.validate.schema.callback = fall\n"
        "sys.argv[1:] = ['schema', '--log-format', 'json']\n"
        "g.main()\n"
    )
    (tmp_path / "fault.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "fault.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 70
    [line] = json_lines(done.stderr)
    assert line["level"] == "critical"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ZeroDivisionError: oops")


def test_a_fault_in_a_worker_has_its_traceback_in_the_line_and_so_has_a_warning(tmp_path: Path) -> None:
    code = (
        "import sys, warnings, kon.launch.process\n"
        "def fall(*arguments, **more): warnings.warn('odd'); raise ZeroDivisionError('oops')\n"
        "kon.launch.process.work = fall\n"
        "kon.launch.process.main(['runs/r', 'w1'])\n"
    )
    env = {**os.environ, "KON_LOG_FORMAT": "json"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    warning, fault = json_lines(done.stderr)
    assert (warning["level"], fault["level"]) == ("warning", "critical")
    assert "odd" in warning["message"]
    assert fault["exception"].endswith("ZeroDivisionError: oops")
    assert (fault["run"], fault["worker"]) == ("r", "w1")


def test_a_worker_that_can_t_work_says_so_in_json(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kon.launch.process", str(tmp_path / "nowhere"), "w1"]
    env = {"KON_LOG_FORMAT": "json"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**env, "PATH": ""})
    assert done.returncode == 2
    [line] = json_lines(done.stderr)
    assert line["message"].startswith("worker w1: ")
    assert (line["run"], line["worker"], line["exit_code"]) == ("nowhere", "w1", 2)


def test_people_read_what_they_always_read(tmp_path: Path) -> None:
    done = process("run", write(tmp_path, FAILS), cwd=tmp_path)
    assert "{" not in done.stderr
    assert "2 of 3 done, 1 failed" in done.stderr
    [folder] = (RunFolder(path) for path in (tmp_path / "results").glob("*/*/"))
    assert [log.read_text() for log in folder.logs.glob("*.log")] == [""]


def test_text_with_a_level_has_the_ids_too(tmp_path: Path) -> None:
    process("run", write(tmp_path, FAILS), "--log-level", "info", cwd=tmp_path)
    [folder] = (RunFolder(path) for path in (tmp_path / "results").glob("*/*/"))
    [text] = [log.read_text() for log in folder.logs.glob("*.log")]
    assert "INFO kon.worker: an attempt failed; it is made again" in text
    assert f"task={folder.path.name}/1 attempt=1" in text


@pytest.mark.parametrize(("name", "word"), [("FORMAT", "xml"), ("LEVEL", "loud")])
def test_a_word_that_is_none_is_refused(tmp_path: Path, name: str, word: str) -> None:
    option = f"--log-{name.lower()}"
    assert invoke("run", write(tmp_path), option, word).exit_code == 2
    done = process("run", write(tmp_path), cwd=tmp_path, env={f"KON_LOG_{name}": word})
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_what_is_hostile_stays_one_line_of_ascii() -> None:
    record = logging.makeLogRecord(
        {"msg": "a\nb\x1b[2J%s", "args": ("\ud800é",), "name": "kon", "levelno": 20, "levelname": "INFO",
         "created": 1_700_000_000.25, "error": "x\r\ny", "odd": object}
    )  # fmt: skip
    text = logs.JsonFormatter({"run": "r"}).format(record)
    assert text.isascii()
    assert text.isprintable()
    [line] = json_lines(text)
    assert line["time"] == "2023-11-14T22:13:20.250000Z"
    assert line["message"] == "a\nb\x1b[2J\ud800é"
    assert (line["run"], line["error"], line["odd"]) == ("r", "x\r\ny", "<class 'object'>")


class Counted(Named):
    """Counts how often somebody asks for its tasks one by one."""

    asked = 0

    def attempts(self) -> Iterator[tuple[int, int]]:
        Counted.asked += 1
        return super().attempts()


def test_a_level_that_is_off_costs_nothing_for_each_task(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog("r", "w")
    caplog.set_level(logging.INFO, logger="kon")
    for event in LINES:
        log.tasks(event, Counted([Task(0, None), Task(1, None)]), {})
    quiet = [event for event in LINES if LINES[event][0] < logging.INFO]
    assert len(quiet) > 5
    assert Counted.asked == len(LINES) - len(quiet)


def test_every_event_of_a_worker_has_its_words() -> None:
    assert set(LINES) == set(Event) - {Event.OPEN, Event.CLOSE}  # those are the client's


class Kept:
    def append(self, lines: Sequence[bytes]) -> None:
        return


def test_lines_have_the_attempt_of_each_task(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="kon")
    recorder = Recorder(Kept(), HandClock(), watches=[EventLog("r", "w.1")])  # type: ignore[arg-type]
    tasks = [Task(3, None, 1), Task(4, None, 1), Task(5, None, 1), Task(9, None, 2)]
    recorder.tasks(Event.START, tasks)
    recorder.failed([Outcome(9, 2, State.FAILED, None, "why", 0.0, 1.0)])
    recorder.note(Event.TROUBLE, error="no answer", pause_s=0.5)
    lines: list[dict[str, Any]] = [logs.extras(record) for record in caplog.records]
    who = {"run": "r", "worker": "w.1"}
    assert lines == [
        *({**who, "event": "start", "task": f"r/{task.index}", "attempt": task.attempt} for task in tasks),
        {**who, "event": "fail", "task": "r/9", "attempt": 2, "error": "why"},
        {**who, "event": "trouble", "error": "no answer", "pause_s": 0.5},
    ]
    assert caplog.records[-1].levelname == "WARNING"


def test_a_memory_run_in_json_is_json_on_a_terminal_too(tmp_path: Path) -> None:
    main, side = pty.openpty()
    command = [sys.executable, "-m", "kon", "run", str(write(tmp_path, SLEEPS)), "--log-format", "json"]
    env = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=side, env=env, cwd=tmp_path) as run:
        os.close(side)
        text = b""
        while True:
            try:
                read = os.read(main, 4096)
            except OSError:  # how the other end of a terminal closes on Linux
                break
            if not read:
                break
            text += read
        assert run.wait(timeout=60) == 0
    os.close(main)
    assert json_lines(text.decode())
