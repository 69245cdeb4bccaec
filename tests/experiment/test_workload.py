"""Sources of tasks: what each makes of its text, what it refuses, and that it streams."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.experiment.given import bodies, with_workload, workload_errors


class TestMadeUp:
    def test_count_by_run_and_by_worker(self) -> None:
        text = "{kind: sleep, count: 3, seconds: 0.5}"
        assert bodies(text, workers=2) == [0.5] * 3
        per_worker = with_workload(text.replace("}", ", per: worker}")).workload
        assert list(per_worker.bodies(4)) == [0.5] * 12
        assert (per_worker.count(4), per_worker.ideal_s(4)) == (12, 6.0)

    def test_a_kind_by_module_and_class_is_the_same_kind(self) -> None:
        assert bodies("{kind: 'kon.kinds.sleep:Sleep', count: 2, seconds: 0.5}") == [0.5, 0.5]

    @pytest.mark.parametrize(
        ("seconds", "low", "high"),
        [("{uniform: [1, 2]}", 1, 2), ("{choice: [1, 1.5]}", 1, 1.5), ("{exponential: 0.1}", 0, 4)],
    )
    def test_drawn_durations_depend_on_the_seed_alone(self, seconds: str, low: float, high: float) -> None:
        drawn = bodies(f"{{kind: sleep, count: 200, seconds: {seconds}}}")
        assert all(low <= value <= high for value in drawn)
        assert len(set(drawn)) > 1
        assert bodies(f"{{kind: sleep, count: 100, seconds: {seconds}}}") == drawn[:100]
        other_seed = bodies(f"{{kind: sleep, count: 200, seconds: {seconds}}}\nseed: 2")
        assert other_seed != drawn

    def test_draws_stay_what_they_are(self) -> None:
        """The same file is the same experiment in every version of Python, and of kon."""
        assert bodies("{kind: sleep, count: 3, seconds: {uniform: [0, 1]}}\nseed: 1") == [
            0.134364,
            0.847434,
            0.763775,
        ]
        assert bodies("{kind: stats, count: 2, length: 3, between: [-5, 5]}\nseed: 1") == [
            [-4, 4, 3],
            [-3, 0, -1],
        ]

    def test_the_mean_of_exponential_draws_is_the_mean(self) -> None:
        made = with_workload("{kind: sleep, count: 20000, seconds: {exponential: 2}}").workload
        ideal_s = made.ideal_s(1)
        assert ideal_s is not None
        assert ideal_s / 20_000 == pytest.approx(2, rel=0.05)

    def test_each_worker_gets_the_same_draws(self) -> None:
        made = with_workload("{kind: sleep, count: 5, seconds: {uniform: [0, 1]}, per: worker}").workload
        drawn = list(made.bodies(3))
        assert drawn[:5] == drawn[5:10] == drawn[10:]
        assert made.ideal_s(3) == pytest.approx(sum(drawn))

    def test_integers(self) -> None:
        lists = bodies("{kind: stats, count: 50, length: 20, between: [-3, 3]}")
        assert {len(each) for each in lists} == {20}
        assert {value for each in lists for value in each} == set(range(-3, 4))
        assert {len(each) for each in bodies("{kind: stats, count: 2}")} == {100}

    def test_numbers(self) -> None:
        assert bodies("{kind: python, function: 'math:sqrt', count: 3}") == [0, 1, 2]
        assert bodies("{kind: python, function: 'math:sqrt', range: [3, 9, 2]}") == [3, 5, 7]
        assert bodies("{kind: python, function: 'math:sqrt', range: [3, 0, -1]}") == [3, 2, 1]

    def test_a_command_some_times_over(self) -> None:
        assert bodies("{kind: shell, command: 'echo {#}', count: 3}") == [None, None, None]
        assert bodies("{kind: shell, command: echo, range: [0, 2]}") == [0, 1]

    def test_as_many_as_one_likes_at_once(self) -> None:
        made = with_workload("{kind: sleep, count: 100000000000, seconds: 0.25}").workload
        assert (made.count(1), made.ideal_s(1)) == (10**11, 25e9)
        assert next(made.bodies(1)) == 0.25

    @pytest.mark.parametrize(
        ("workload", "problem"),
        [
            (
                "{kind: sleep, count: 3}",
                'x.yml:3:11: missing key "seconds": a number, {uniform: [low, high]}',
            ),
            (
                "{kind: sleep, count: 3, seconds: -1}",
                "x.yml:3:44: expected a number from 0 to 1e+09, found -1",
            ),
            (
                "{kind: sleep, count: 3, seconds: x}",
                "x.yml:3:44: expected a number, {uniform: [low, high]}, {cho",
            ),
            ("{kind: sleep, count: 3, seconds: .nan}", "x.yml:3:44: expected a finite number, found .nan"),
            ("{kind: sleep, count: 3, seconds: null}", "x.yml:3:44: expected a number, {uni"),
            ("{kind: sleep, count: 3, seconds: true}", "x.yml:3:44: expected a number, {uni"),
            (
                "{kind: sleep, count: 3, seconds: {uniform: [2, 1]}}",
                "x.yml:3:44: uniform: expected [low, high]",
            ),
            ("{kind: sleep, count: 3, seconds: {uniform: 5}}", "x.yml:3:44: uniform: expected two numbers"),
            (
                "{kind: sleep, count: 3, seconds: {choice: []}}",
                "x.yml:3:44: choice: expected a list of numbers",
            ),
            (
                "{kind: sleep, count: 3, seconds: {choice: [a]}}",
                "x.yml:3:44: expected a number from 0 to 1e+09, fou",
            ),
            ("{kind: sleep, count: 3, seconds: {exponential: -1}}", "x.yml:3:44: expected a number from 0"),
            (
                "{kind: sleep, count: 3, seconds: {normal: 1}}",
                "x.yml:3:44: expected a number, {uniform: [low",
            ),
            (
                "{kind: sleep, items: [1], seconds: 1}",
                'x.yml:3:37: "seconds" is for tasks that are made up; it goes w',
            ),
            (
                "{kind: sleep, count: 0, seconds: 1}",
                "x.yml:3:32: expected a whole number of 1 or more, found 0",
            ),
            (
                "{kind: sleep, count: 1.5, seconds: 1}",
                "x.yml:3:32: expected a whole number of 1 or more, found 1.5",
            ),
            (
                "{kind: sleep, count: , seconds: 1}",
                "x.yml:3:32: expected a whole number of 1 or more, found nothing",
            ),
            (
                "{kind: sleep, seconds: 1}",
                "x.yml:3:11: missing the source of the tasks: expected one of count, items, f",
            ),
            ("{count: 3, seconds: 1}", 'x.yml:3:11: missing key "kind"'),
            (
                "{kind: sleep, count: 1, seconds: 1, items: [1]}",
                'x.yml:3:47: "count" says already where the tasks com',
            ),
            (
                "{kind: stats, count: 1, length: 0}",
                "x.yml:3:43: expected a whole number from 1 to 1000000, found 0",
            ),
            (
                "{kind: stats, count: 1, between: [2, 1]}",
                "x.yml:3:44: expected [low, high], whole numbers up to 2**52",
            ),
            (
                "{kind: stats, count: 1, between: [true, 1]}",
                "x.yml:3:44: expected [low, high], whole numbers",
            ),
            (
                "{kind: sleep, range: [5, 5]}",
                "x.yml:3:32: the range from 5 up to, not including, 5 holds no number",
            ),
            ("{kind: sleep, range: [1, 5, 0]}", "x.yml:3:32: expected a step other than 0"),
            (
                "{kind: sleep, range: [1]}",
                "x.yml:3:32: expected [start, stop] or [start, stop, step], whole numbers",
            ),
            ("{kind: sleep, range: [1, x]}", 'x.yml:3:36: expected a whole number, found "x"'),
            ("{kind: sleep, range: [-1, 5]}", "x.yml:3:32: number -1: "),
            (
                "{kind: sleep, count: 1, seconds: 0, per: run_}",
                'x.yml:3:52: expected "run" or "worker", found "run_"',
            ),
            (
                "[1, 2]",
                "x.yml:3:11: expected a mapping such as {kind: sleep, count: 100, seconds: 0.01}, found [1",
            ),
        ],
    )
    def test_what_is_refused(self, workload: str, problem: str) -> None:
        [line] = workload_errors(workload)
        assert line.startswith(problem)


class TestItems:
    def test_items(self) -> None:
        assert bodies("{kind: sleep, items: [1, 0.5]}") == [1, 0.5]
        assert bodies("{kind: stats, items: [[1, 2], [3]]}") == [[1, 2], [3]]
        assert bodies("{kind: python, function: 'math:sqrt', items: [1, null, {a: [b]}]}") == [
            1,
            None,
            {"a": ["b"]},
        ]

    def test_words_for_a_command_stay_as_they_are_written(self) -> None:
        text = "{kind: shell, command: 'echo {}', items: [1.10, 007, no, 0x1F, 'a b', true]}"
        assert bodies(text) == ["1.10", "007", "no", "0x1F", "a b", "true"]
        assert bodies("{kind: shell, items: [[echo, 1.10], echo b]}") == [["echo", "1.10"], "echo b"]

    def test_each_bad_item_is_named_with_its_place(self) -> None:
        lines = workload_errors("{kind: sleep, items: [1, -1, x, {a: 1}]}")
        assert [line.split(": ")[0] for line in lines] == ["x.yml:3:36", "x.yml:3:40", "x.yml:3:43"]

    def test_no_items(self) -> None:
        assert workload_errors("{kind: sleep, items: []}") == [
            "x.yml:3:32: expected a list with one item for each task, found an empty list"
        ]
        assert workload_errors("{kind: sleep, items: }")[0].endswith("found nothing")

    def test_an_item_that_the_command_cant_take(self) -> None:
        [line] = workload_errors("{kind: shell, command: 'echo {}', items: [a, null]}")
        assert line.startswith("x.yml:3:56: ")


def test_a_kind_of_ones_own_reads_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_kind.py").write_text(OWN_KIND)
    (tmp_path / "tasks").write_text('"ok"\n{"bad": 1}\n"stumble"\n')
    monkeypatch.chdir(tmp_path)
    assert bodies("{kind: 'own_kind:Own', items: [ok], colour: red}", tmp_path) == ["ok"]
    assert workload_errors("{kind: 'own_kind:Own', file: tasks, colour: red}", tmp_path) == [
        f"{tmp_path}/tasks:2: expected text",
        f"{tmp_path}/tasks:3: ZeroDivisionError: division by zero",
    ]
    [line] = workload_errors("{kind: 'own_kind:Own', items: [ok]}", tmp_path)
    assert line == "x.yml:3:11: the kind own_kind:Own can't be made with these options: KeyError: 'colour'"


OWN_KIND = """
from kon.core.errors import ConfigurationError
from kon.core.kind import Kind

class Own(Kind):
    name = "own"
    def __init__(self, options):
        options["colour"]
    def check(self, body):
        if body == "stumble":
            1 / 0
        if not isinstance(body, str):
            raise ConfigurationError("expected text")
    async def execute(self, body, attempt):
        return body
"""
