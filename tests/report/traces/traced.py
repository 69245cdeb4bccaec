"""What tests of traces share: a run of one task, and the spans of any."""

from __future__ import annotations

from pathlib import Path

from kon.core.task import Answers, Outcome, State, encode
from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder
from kon.report.read.traces import trace
from kon.report.story.story import tell
from kon.report.traces import RunIdentity, Span, spans_of
from tests.report.made import Records


def spans(folder: RunFolder, index: int) -> list[Span]:
    return spans_of(tell(trace(folder, index)), RunIdentity.of(folder))


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
