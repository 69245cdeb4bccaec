"""The story of a task, from made records whose truth is known."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from kon.core.errors import ConfigurationError, StoreError
from kon.core.spec import Faults, Plugin
from kon.core.task import Answers, Outcome, State, encode
from kon.engine.records.events import Event
from kon.report.read.tally import duplicates
from kon.report.read.traces import trace
from kon.report.story.story import Story, StoryMoment, as_text, tell
from tests.report.made import Life, Records


class Script:
    """Records of a run of ten tasks, written at given seconds after its beginning."""

    def __init__(self, path: Path, strategy: str = "lease", tasks: int = 10, **changes: Any) -> None:
        options = {"lease_s": 2.0, "skew_s": 0.5} if strategy == "lease" else {}
        self.records = Records(path, tasks, strategy=Plugin(strategy, options), **changes)
        self.start_s = self.records.clock.t
        self.lives: dict[str, Life] = {}
        self.at(0.0, "client", Event.OPEN)

    def at(
        self,
        seconds: float,
        who: str,
        event: Event,
        indexes: list[int] | range | None = None,
        attempt: int = 1,
        **fields: Any,
    ) -> None:
        self.records.clock.t = self.start_s + seconds
        life = self.lives.setdefault(who, self.records.life(who))
        if indexes is None:
            life.note(event, **fields)
        else:
            life.tasks(event, indexes, attempt, **fields)

    def answered(self, worker: str, *outcomes: Outcome) -> None:
        self.records.append_result(encode(Answers(worker, list(outcomes))))

    def tell(self, index: int) -> Story:
        return tell(trace(self.records.folder, index))


def events(story: Story) -> list[tuple[str, str]]:
    return [(moment.who, moment.event) for moment in story.moments]


def moment(story: Story, event: str, number: int = 0) -> StoryMoment:
    return [each for each in story.moments if each.event == event][number]


def taken_over(path: Path) -> Script:
    script = Script(path)
    script.at(1.0, "w1.a", Event.DELIVER, range(5))
    script.at(1.1, "w1.a", Event.CLAIM, range(5), token="w1.a:1")
    script.at(1.2, "w1.a", Event.START, [3])
    script.at(2.0, "w1.a", Event.RENEW, [3, 4])
    script.at(2.0, "w1.a", Event.USAGE, host="one", pid=7)
    script.at(3.0, "w2.b", Event.DELIVER, [3], n=2)
    script.at(3.0, "w2.b", Event.DEFER, [3])
    script.at(3.0, "w2.b", Event.ACK, [3], stale=0)
    script.at(4.6, "w2.b", Event.DELIVER, [3], n=2)
    script.at(4.6, "w2.b", Event.CLAIM, [3], token="w2.b:2")
    script.at(4.7, "w2.b", Event.START, [3])
    script.at(5.7, "w2.b", Event.KEEP, [3])
    script.at(5.8, "w2.b", Event.ANSWER, [3])
    script.at(5.9, "w2.b", Event.ACK, [3], stale=0)
    script.at(6.0, "w2.b", Event.USAGE, host="two", pid=8)
    script.at(6.0, "w2.b", Event.DOWN)
    start_s = script.start_s
    script.answered("w2.b", Outcome(3, 1, State.DONE, "x", None, start_s + 4.7, start_s + 5.6))
    return script


def test_a_takeover_is_told_in_order_with_its_reasons(tmp_path: Path) -> None:
    story = taken_over(tmp_path).tell(3)
    assert events(story) == [
        ("client", "submit"),
        ("w1.a", "deliver"),
        ("w1.a", "claim"),
        ("w1.a", "start"),
        ("w1.a", "renew"),
        ("w1.a", "vanish"),
        ("w2.b", "deliver"),
        ("w2.b", "defer"),
        ("w2.b", "ack"),
        ("w2.b", "deliver"),
        ("w2.b", "claim"),
        ("w2.b", "start"),
        ("w2.b", "end"),
        ("w2.b", "keep"),
        ("w2.b", "answer"),
        ("w2.b", "ack"),
        ("client", "record"),
    ]
    assert moment(story, "claim").why == "no row of it was in the ledger: the insert was the first"
    assert moment(story, "claim").token == "w1.a:1"
    assert "it was not acked within the visibility timeout of 30 s" in moment(story, "deliver", 1).why
    assert "with a lease until about +4.0000 s" in moment(story, "defer").why
    assert moment(story, "deliver", 2).why == "the message that w2.b sent when it deferred it at +3.0000 s"
    why = moment(story, "claim", 1).why
    assert why.startswith("takeover: w1.a had claimed it at +1.1000 s; that lease, last written at +2.0000 s")
    assert "ran out at about +4.0000 s, and 0.5 s more" in why
    assert "under token w2.b:2" in moment(story, "keep").words
    assert "it was killed, or is at work still" in moment(story, "vanish").words
    assert moment(story, "end").words == "ended after 0.9 s: done"
    assert story.ending == "done, attempt 1, by w2.b"
    assert "delivered 3 times, started twice, a result kept once, answered once" in story.notes


def test_hosts_are_named_where_there_are_several(tmp_path: Path) -> None:
    story = taken_over(tmp_path).tell(3)
    assert {(each.who, each.host) for each in story.moments} == {
        ("client", None),
        ("w1.a", "one"),
        ("w2.b", "two"),
    }
    assert "times are those of 2 hosts, each by its own clock" in story.notes
    assert "w1.a (one)" in as_text(story)


def test_other_tasks_of_a_range_have_stories_of_their_own(tmp_path: Path) -> None:
    script = taken_over(tmp_path)
    assert events(script.tell(0)) == [
        ("client", "submit"),
        ("w1.a", "deliver"),
        ("w1.a", "claim"),
        ("w1.a", "vanish"),
    ]
    assert script.tell(0).ending == "no outcome is recorded"
    assert events(script.tell(5)) == [("client", "submit")]


def test_a_fenced_result_and_a_repeat_are_explained(tmp_path: Path) -> None:
    script = taken_over(tmp_path)
    script.at(7.0, "w1.a", Event.REFUSE, [3])
    script.at(8.0, "w3.c", Event.DELIVER, [3])
    script.at(8.0, "w3.c", Event.SKIP, [3])
    script.at(8.1, "w3.c", Event.ANSWER, [3])
    story = script.tell(3)
    refused = moment(story, "refuse")
    assert refused.words == "its result was refused, under token w1.a:1"
    assert refused.why == (
        "fenced: its row no longer had this claim's token; a result stood there, kept by w2.b at +5.7000 s"
    )
    assert moment(story, "deliver", 3).why.startswith("a second message")
    assert moment(story, "skip").why == (
        "the ledger had its result, kept by w2.b at +5.7000 s; it is answered again from there"
    )
    assert moment(story, "answer", 1).words.endswith("once more; the client counts the first")


def test_a_claim_that_was_given_back_is_no_takeover(tmp_path: Path) -> None:
    script = Script(tmp_path)
    script.at(1.0, "w1.a", Event.DELIVER, [0])
    script.at(1.0, "w1.a", Event.CLAIM, [0], token="w1.a:1")
    script.at(1.2, "w1.a", Event.GIVE_BACK, [0])
    script.at(1.3, "w2.b", Event.DELIVER, [0], n=2)
    script.at(1.3, "w2.b", Event.CLAIM, [0], token="w2.b:1")
    story = script.tell(0)
    assert moment(story, "claim", 1).why.startswith("its row in the ledger was free")
    assert ("w1.a", "vanish") not in events(story), "it no longer held the task"


def test_attempts_are_told_apart(tmp_path: Path) -> None:
    script = Script(tmp_path)
    script.at(1.0, "w1.a", Event.DELIVER, [0])
    script.at(1.0, "w1.a", Event.CLAIM, [0], token="w1.a:1")
    script.at(1.1, "w1.a", Event.START, [0])
    script.at(1.2, "w1.a", Event.RETRY, [0], error="KindError: no")
    script.at(2.0, "w1.a", Event.DELIVER, [0], 2)
    script.at(2.0, "w1.a", Event.CLAIM, [0], 2, token="w1.a:2")
    story = script.tell(0)
    assert moment(story, "retry").words == "failed, and is tried again: KindError: no"
    assert moment(story, "deliver", 1).why == "the message of the next attempt, sent at +1.2000 s"
    assert moment(story, "claim", 1).why.startswith("the attempt before had failed")
    assert "attempt 2" in as_text(story)
    assert list(duplicates(script.records.folder)) == [], "a retry is no repeat"


@pytest.mark.parametrize(
    ("strategy", "event", "why"),
    [
        (
            "conditional_put",
            Event.SKIP,
            "w1.a had claimed it at +1.0000 s, and answers for it, or has lost it",
        ),
        ("read_then_write", Event.CLAIM, "although w1.a had claimed it"),
        ("result_once", Event.CLAIM, "although w1.a had claimed it at +1.0000 s: only results are written"),
        ("none", Event.CLAIM, "the strategy none lets every delivery run"),
        ("mine:Own", Event.SKIP, "the strategy says that it was done or begun before"),
    ],
)
def test_each_strategy_has_its_reasons(tmp_path: Path, strategy: str, event: Event, why: str) -> None:
    script = Script(tmp_path, strategy)
    script.at(1.0, "w1.a", Event.CLAIM, [0])
    script.at(2.0, "w2.b", event, [0])
    assert why in moment(script.tell(0), event.value, -1).why


def test_copies_that_an_experiment_asks_for_are_named(tmp_path: Path) -> None:
    script = Script(tmp_path, faults=Faults(duplicate_rate=0.1))
    script.at(1.0, "w1.a", Event.DELIVER, [0])
    script.at(1.1, "w2.b", Event.DELIVER, [0])
    assert moment(script.tell(0), "deliver", 1).why.startswith("a copy of its message")


def test_a_split_bundle_is_named(tmp_path: Path) -> None:
    script = Script(tmp_path, bundle=5)
    script.at(1.0, "w1.a", Event.DELIVER, range(5))
    script.at(2.0, "w2.b", Event.DELIVER, range(5), n=2)
    script.at(3.0, "w2.b", Event.DELIVER, [0], n=2)
    assert moment(script.tell(0), "deliver", 2).why.startswith("a bundle that comes again is split")


def test_workers_that_share_a_file_are_told_apart(tmp_path: Path) -> None:
    script = Script(tmp_path)
    script.at(1.0, "workers", Event.DELIVER, [0], w="w1")
    script.at(1.5, "workers", Event.DELIVER, [0], w="w2", n=2)
    script.at(1.6, "workers", Event.DOWN, w="w2")
    assert events(script.tell(0)) == [
        ("client", "submit"),
        ("w1", "deliver"),
        ("w1", "vanish"),
        ("w2", "deliver"),
    ]


@pytest.mark.parametrize("index", [-1, 10])
def test_a_task_that_is_none_of_the_run_is_refused(tmp_path: Path, index: int) -> None:
    with pytest.raises(ConfigurationError, match="it has 10, numbered from 0 to 9"):
        Script(tmp_path).tell(index)


def test_half_a_line_is_read_over_with_a_warning(tmp_path: Path) -> None:
    script = taken_over(tmp_path)
    script.lives["w1.a"].ends_mid_line()
    with script.records.folder.results.open("ab") as file:
        file.write(b'["w9",[[3,1,"do')
    with pytest.warns(UserWarning, match="half a line") as warned:
        assert script.tell(3).ending == "done, attempt 1, by w2.b"
    assert {str(each.message).split(": ")[0].rpartition("/")[2] for each in warned} == {
        "w1.a.jsonl:6",
        "results.jsonl:2",
    }


def test_every_repeat_is_listed_and_nothing_else(tmp_path: Path) -> None:
    script = taken_over(tmp_path)
    script.at(7.0, "w3.c", Event.ANSWER, [8])
    script.at(7.1, "w3.c", Event.ANSWER, range(6, 10))
    script.at(7.2, "w3.c", Event.KEEP, [3])
    found = {
        each.index: (each.deliveries, each.starts, each.results, each.answers)
        for each in duplicates(script.records.folder)
    }
    assert found == {3: (3, 2, 2, 1), 8: (0, 0, 0, 2)}


def test_what_was_run_again_on_request_is_no_repeat(tmp_path: Path) -> None:
    script = Script(tmp_path)
    for attempt in (1, 4):
        script.at(attempt, "client", Event.OPEN, first_attempt=attempt)
        for event in (Event.DELIVER, Event.START, Event.KEEP, Event.ANSWER):
            script.at(attempt + 0.1, "w1.a", event, [0], attempt)
    assert list(duplicates(script.records.folder)) == []


def test_repeats_in_records_of_another_run_are_refused(tmp_path: Path) -> None:
    script = Script(tmp_path)
    script.at(1.0, "w1.a", Event.DELIVER, range(5, 15))
    with pytest.raises(StoreError, match="names a task beyond the 10 of its run"):
        list(duplicates(script.records.folder))


def test_ranges_are_not_expanded(tmp_path: Path) -> None:
    tasks = 1_000_000
    script = Script(tmp_path, tasks=tasks)
    for event in (Event.DELIVER, Event.START, Event.KEEP, Event.ANSWER):
        script.at(1.0, "w1.a", event, range(tasks))
    tracemalloc.start()
    story = script.tell(777_777)
    for_story_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    assert list(duplicates(script.records.folder)) == []
    for_list_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(story.moments) == 5
    assert for_story_bytes < 1_000_000
    assert for_list_bytes < 8 * tasks
