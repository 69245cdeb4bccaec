"""Sources of tasks: what each makes of its text, what it refuses, and that it streams."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from kon.core.errors import WorkloadError
from kon.experiment.workload import MAX_LINE_BYTES, MOST_BAD
from tests.experiment.given import with_workload, workload_errors


def bodies(workload: str, folder: Path | None = None, workers: int = 1) -> list[Any]:
    made = with_workload(workload, folder).workload
    found = list(made.bodies(workers))
    assert len(found) == made.count(workers)
    return found


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


class TestFiles:
    def test_sleeps_in_milliseconds(self, tmp_path: Path) -> None:
        (tmp_path / "sleep.txt").write_text(
            "# three tasks\nsleep 10000\n\n  sleep 10000\r\nsleep\t0.5\n# end"
        )
        made = with_workload("{file: sleep.txt, per: worker}", tmp_path).workload
        assert made.kind.name == "sleep"
        assert list(made.bodies(1)) == [10.0, 10.0, 0.0005]
        assert (made.count(2), made.ideal_s(2)) == (6, 40.001)

    def test_lines_for_a_command(self, tmp_path: Path) -> None:
        (tmp_path / "items.txt").write_text("\ufeffa b\n  indented  \n# comment\n\nü\n", encoding="utf-8")
        assert bodies("{kind: shell, command: 'echo {}', file: items.txt}", tmp_path) == [
            "a b",
            "  indented  ",
            "ü",
        ]
        assert bodies("{kind: shell, file: items.txt}", tmp_path)[2] == "ü"

    def test_lists_of_integers(self, tmp_path: Path) -> None:
        (tmp_path / "lists.txt").write_text("1 -2 +3\n[4, 5]\n6\n7, 8\n")
        assert bodies("{kind: stats, file: lists.txt}", tmp_path) == [[1, -2, 3], [4, 5], [6], [7, 8]]

    def test_json_values(self, tmp_path: Path) -> None:
        (tmp_path / "values.jsonl").write_text('1\n"a"\nnull\n{"a": [1.5]}\n')
        text = "{kind: python, function: 'math:sqrt', file: values.jsonl}"
        assert bodies(text, tmp_path) == [1, "a", None, {"a": [1.5]}]

    def test_a_path_is_relative_to_the_experiment(self, tmp_path: Path) -> None:
        (tmp_path / "below").mkdir()
        (tmp_path / "below" / "sleep.txt").write_text("sleep 1\n")
        assert bodies("{file: below/sleep.txt}", tmp_path) == [0.001]
        assert bodies(f"{{file: {tmp_path / 'below' / 'sleep.txt'}}}") == [0.001]

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ("sleeep 10", 'expected "sleep MILLISECONDS" such as "sleep 10000", found "sleeep 10"'),
            ("sleep", 'expected "sleep MILLISECONDS" such as "sleep 10000", found "sleep"'),
            ("sleep -5", 'expected "sleep MILLISECONDS" such as "sleep 10000", found "sleep -5"'),
            ("sleep nan", 'expected "sleep MILLISECONDS" such as "sleep 10000", found "sleep nan"'),
            ("sleep 1 2", 'expected "sleep MILLISECONDS" such as "sleep 10000", found "sleep 1 2"'),
            ("sleep " + "9" * 400, "expected finite numbers, found inf"),
        ],
    )
    def test_a_bad_line_is_named(self, line: str, problem: str, tmp_path: Path) -> None:
        (tmp_path / "sleep.txt").write_text(f"sleep 1\n\n{line}\nsleep 2\n")
        [error] = workload_errors("{file: sleep.txt}", tmp_path)
        assert error.startswith(f"{tmp_path}/sleep.txt:3: {problem}")

    @pytest.mark.parametrize(
        ("kind", "line", "problem"),
        [
            ("stats", "1 x 3", 'expected integers with blanks between them, or a JSON list, found "x"'),
            ("stats", "[1, 2.5]", "expected a list of integers, got 2.5"),
            ("stats", "[]", "expected a list of integers, got an empty list"),
            ("stats", "[1,", 'expected a JSON value, found "[1,"'),
            ("python", "{a: 1}", 'expected a JSON value, found "{a: 1}"'),
            ("python", "NaN", 'expected a JSON value, found "NaN"'),
            ("python", "1e999", 'expected a JSON value, found "1e999"'),
            ("python", "[" * 2000, "expected a JSON value"),
        ],
    )
    def test_a_bad_line_of_other_kinds(self, kind: str, line: str, problem: str, tmp_path: Path) -> None:
        (tmp_path / "tasks").write_text(line + "\n")
        function = ", function: 'math:sqrt'" if kind == "python" else ""
        [error] = workload_errors(f"{{kind: {kind}{function}, file: tasks}}", tmp_path)
        assert error.startswith(f"{tmp_path}/tasks:1: {problem}")

    def test_many_bad_lines_are_listed_up_to_a_bound(self, tmp_path: Path) -> None:
        (tmp_path / "sleep.txt").write_text("sleep 1\n" + "slep 1\n" * 50)
        found = workload_errors("{file: sleep.txt}", tmp_path)
        assert len(found) == MOST_BAD + 1
        assert found[0].startswith(f"{tmp_path}/sleep.txt:2: ")
        assert found[-1].endswith("reading stopped after 10 bad tasks")

    def test_missing_with_the_file_that_was_meant(self, tmp_path: Path) -> None:
        (tmp_path / "sleep.txt").write_text("sleep 1\n")
        assert workload_errors("{file: slep.txt}", tmp_path) == [
            f'x.yml:3:18: there is no workload file {tmp_path}/slep.txt, did you mean "sleep.txt"?'
        ]
        assert workload_errors("{file: no/such.txt}", tmp_path) == [
            f"x.yml:3:18: there is no workload file {tmp_path}/no/such.txt"
        ]

    @pytest.mark.parametrize("text", ["", "\n\n", "# nothing but a comment\n"])
    def test_empty(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "sleep.txt").write_text(text)
        assert workload_errors("{file: sleep.txt}", tmp_path) == [
            f"x.yml:3:18: {tmp_path}/sleep.txt: there is no task in it"
        ]

    def test_binary(self, tmp_path: Path) -> None:
        (tmp_path / "sleep.txt").write_bytes(b"sleep 1\n\x00\x01\x02\n" * 3)
        [line] = workload_errors("{file: sleep.txt}", tmp_path)
        assert line == f"{tmp_path}/sleep.txt:2: the file is binary, or text that is not UTF-8"

    def test_not_utf8(self, tmp_path: Path) -> None:
        (tmp_path / "items.txt").write_bytes(b"ok\ncaf\xe9\n")
        [line] = workload_errors("{kind: shell, command: echo, file: items.txt}", tmp_path)
        assert line == f"{tmp_path}/items.txt:2: expected UTF-8 text, found the byte 0xe9 in column 4"

    def test_a_line_without_end(self, tmp_path: Path) -> None:
        (tmp_path / "long.txt").write_bytes(b"x" * (MAX_LINE_BYTES + 1))
        [line] = workload_errors("{kind: shell, command: echo, file: long.txt}", tmp_path)
        assert "long.txt:1: the line is longer than" in line

    def test_a_folder_and_a_pipe(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        os.mkfifo(tmp_path / "pipe")
        assert workload_errors("{file: folder}", tmp_path)[0].endswith("folder: is a folder")
        assert "not a regular file, which can be read twice" in workload_errors("{file: pipe}", tmp_path)[0]

    def test_a_file_that_changes_after_it_was_checked(self, tmp_path: Path) -> None:
        file = tmp_path / "sleep.txt"
        file.write_text("sleep 1\n")
        made = with_workload("{file: sleep.txt}", tmp_path).workload
        file.write_text("sleep 1\nsleep 2\n")
        with pytest.raises(WorkloadError, match="has changed since it was checked"):
            list(made.bodies(1))

    def test_a_bad_line_after_the_limit_does_not_matter(self, tmp_path: Path) -> None:
        (tmp_path / "sleep.txt").write_text("sleep 1\nsleep 2\noops\n")
        assert list(with_workload("{file: sleep.txt}", tmp_path, limit=2).workload.bodies(1)) == [
            0.001,
            0.002,
        ]

    def test_a_file_that_may_not_be_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: Path, mode: str, buffering: int) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        (tmp_path / "sleep.txt").write_text("sleep 1\n")
        monkeypatch.setattr(Path, "open", refuse)
        [line] = workload_errors("{file: sleep.txt}", tmp_path)
        assert line == f"x.yml:3:18: {tmp_path}/sleep.txt: can't be read: Permission denied"


class TestGlobs:
    def test_files_sorted_and_absolute(self, tmp_path: Path) -> None:
        for name in ("b.py", "a.py", "sub/c.py", "sub/d.txt", ".hidden.py"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "folder.py").mkdir()
        text = "{kind: shell, command: 'cat {}', glob: '**/*.py'}"
        assert bodies(text, tmp_path) == [str(tmp_path / name) for name in ("a.py", "b.py", "sub/c.py")]

    def test_several_patterns_name_a_file_once(self, tmp_path: Path) -> None:
        (tmp_path / "a.py").touch()
        (tmp_path / "b.md").touch()
        text = "{kind: shell, command: 'cat {}', glob: ['*.md', '*', '*.py']}"
        assert bodies(text, tmp_path) == [str(tmp_path / "a.py"), str(tmp_path / "b.md")]

    def test_nothing_at_all(self) -> None:
        [line] = workload_errors("{kind: shell, command: cat, glob: }")
        assert line.endswith("expected a pattern such as src/**/*.py, or a list of patterns, found nothing")

    def test_the_way_up_is_taken_out(self, tmp_path: Path) -> None:
        (tmp_path / "here").mkdir()
        (tmp_path / "a.py").touch()
        assert bodies("{kind: shell, command: cat, glob: '../*.py'}", tmp_path / "here") == [
            str(tmp_path / "a.py")
        ]

    def test_nothing_that_matches(self, tmp_path: Path) -> None:
        (tmp_path / "a.py").touch()
        [line] = workload_errors("{kind: shell, command: cat, glob: ['*.py', '*.rs']}", tmp_path)
        assert line == f'x.yml:3:45: no file matches "*.rs" (looked from the folder {tmp_path})'

    def test_a_name_that_is_not_utf8(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # not every file system takes such a name
        name = os.fsdecode(b"caf\xe9")
        monkeypatch.setattr("glob.iglob", lambda pattern, recursive: iter([str(tmp_path / name)]))
        monkeypatch.setattr(Path, "is_file", lambda path: path.name == name)
        [line] = workload_errors("{kind: shell, command: cat, glob: '*'}", tmp_path)
        assert "is not UTF-8; rename it" in line


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


def test_a_large_file_is_never_held_in_memory(tmp_path: Path) -> None:
    lines, length = 20_000, 1_000
    with (tmp_path / "items.txt").open("w") as file:
        file.writelines(f"{number:>{length}}\n" for number in range(lines))
    tracemalloc.start()
    made = with_workload("{kind: shell, command: echo, file: items.txt, per: worker}", tmp_path).workload
    assert made.count(3) == 3 * lines
    assert sum(1 for _ in made.bodies(1)) == lines
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < lines * length / 5


def test_the_first_pass_is_made_once(tmp_path: Path) -> None:
    (tmp_path / "sleep.txt").write_text("sleep 1\n")
    made = with_workload("{file: sleep.txt}", tmp_path).workload
    (tmp_path / "sleep.txt").unlink()
    assert (made.count(2), made.ideal_s(2), made.largest_bytes) == (1, 0.001, 5)
    assert len(made.digest(2)) == 32
