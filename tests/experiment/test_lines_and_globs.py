"""Tasks out of files and globs: lines, columns, what is refused, and that they stream."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from kon.core.errors import WorkloadError
from kon.experiment.workload import MAX_LINE_BYTES, MOST_BAD
from tests.experiment.given import bodies, with_workload, workload_errors


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
