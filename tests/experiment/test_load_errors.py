"""Bad experiment files: each error names its line, what was expected and what was found."""

from __future__ import annotations

from pathlib import Path

import pytest

from kon.core.errors import ConfigurationError, UnknownPlugin, WorkloadError
from kon.experiment import load, loads
from kon.experiment.load import MAX_FILE_BYTES
from tests.experiment.given import MINIMAL, errors


def test_an_unknown_key_with_its_place_and_the_key_that_was_meant() -> None:
    assert errors(MINIMAL + "\n\n  \nwrokers: [1]\n") == [
        'x.yml:7:1: unknown key "wrokers", did you mean "workers"?'
    ]


def test_an_unknown_key_that_is_like_no_other_is_told_all_keys() -> None:
    [line] = errors(MINIMAL + "faults: {zzz: 1}\n")
    assert line == 'x.yml:4:10: unknown key "zzz" (known: duplicate_rate, kill_workers)'


def test_a_wrong_type_shows_what_was_expected_and_found() -> None:
    assert errors(MINIMAL + "workers: two\n") == [
        'x.yml:4:10: expected a whole number from 1 to 100000, or a list such as [1, 2, 4], found "two"'
    ]


@pytest.mark.parametrize(
    ("line", "column", "expected", "found"),
    [
        ("workers: [1, two]", 14, "a whole number from 1 to 100000", '"two"'),
        ("workers: [0]", 11, "a whole number from 1 to 100000", "0"),
        ("workers: []", 10, "a whole number from 1 to 100000, or a list such as [1, 2, 4]", "an empty list"),
        ("workers:", 9, "a whole number from 1 to 100000, or a list such as [1, 2, 4]", "nothing"),
        ("workers: [1.5]", 11, "a whole number from 1 to 100000", "1.5"),
        ("slots: true", 8, "a whole number from 1 to 10000", "true"),
        ('slots: "1"', 8, "a whole number from 1 to 10000", '"1"'),
        ("slots: {a: 1}", 8, "a whole number from 1 to 10000", '{"a": 1}'),
        (f"slots: [{'[1], ' * 20}]", 8, "a whole number from 1 to 10000", "a list"),
        ("backoff_s: -1", 12, "a number of seconds from 0 to 43200", "-1"),
        ("backoff_s: yes", 12, "a number of seconds from 0 to 43200", '"yes"'),
        ("timeout_s: 0", 12, "a number of seconds above 0, up to 604800 (a week)", "0"),
        ("faults: {duplicate_rate: 2}", 26, "a share from 0 to 1", "2"),
        ("faults: 5", 9, "a mapping such as {duplicate_rate: 0.05, kill_workers: 1}", "5"),
        ("attempts: 33", 11, "a whole number from 1 to 32", "33"),
        ("seed: -3", 7, "a whole number from 0 to 2**53", "-3"),
        ("strategies: []", 13, "a list of strategies such as [none, lease]", "an empty list"),
        ("strategies: [5]", 14, "the name of a strategy, or a mapping with its name and options", "5"),
        (f"prefetch: {'9' * 80}", 11, "auto, or a whole number from 0 to 100000", "9" * 40),
        ("bundle: none", 9, "auto, or a whole number from 1 to 100000", '"none"'),
        ("tasks_per_row: 101", 16, "auto, or a whole number from 1 to 100", "101"),
        ('slots: "a\\nb"', 8, "a whole number from 1 to 10000", '"a\\nb"'),
        (f"slots: {'a' * 80}", 8, "a whole number from 1 to 10000", f'"{"a" * 37}..."'),
    ],
)
def test_each_key_says_what_it_expects(line: str, column: int, expected: str, found: str) -> None:
    assert errors(MINIMAL + line + "\n") == [f"x.yml:4:{column}: expected {expected}, found {found}"]


@pytest.mark.parametrize("text", [".nan", ".NaN", ".inf", "-.inf", "1e999", "-1e999"])
@pytest.mark.parametrize("key", ["timeout_s", "visibility_s", "seed", "name"])
def test_what_is_not_finite_is_said_once(key: str, text: str) -> None:
    lines = errors(
        MINIMAL.replace("name: x\n", "") + ("" if key == "name" else "name: x\n") + f"{key}: {text}\n"
    )
    assert len(lines) == 1
    assert f": expected a finite number, found {text}" in lines[0]


def test_a_visibility_shorter_than_the_heartbeat_allows() -> None:
    [line] = errors(MINIMAL + "visibility_s: 0.2\n")
    assert line.startswith("x.yml:4:15: expected a number of seconds from 0.3 to 43200")
    assert "shorter than the heartbeat allows" in line
    assert line.endswith("found 0.2")
    loads(MINIMAL + "visibility_s: 0.3\n", "x.yml", Path())


def test_a_lease_shorter_than_the_heartbeat_allows() -> None:
    [line] = errors(MINIMAL + "strategies: [{name: lease, lease_s: 0.2}]\n")
    assert line.startswith("x.yml:4:28: ")
    assert "lease_s must be from 0.3" in line


@pytest.mark.parametrize("text", ["null", "~", "Null", "", '"": 1'])
def test_a_null_among_strategies_is_not_taken_for_none(text: str) -> None:
    [line] = errors(MINIMAL + f"strategies:\n- {text}\n")
    assert "expected the name of a strategy" in line or 'missing key "name"' in line
    if not text.startswith('"'):
        assert line.endswith("found nothing; the strategy without de-duplication is written none")


def test_unknown_plugins_are_named_with_those_that_are_known() -> None:
    lines = errors(
        """\
        name: x
        backend: memroy
        workload: {kind: sleeep, count: 1, seconds: 0}
        strategies: [leese, lease]
        """
    )
    assert lines[0].startswith(
        'x.yml:2:10: unknown backend "memroy", did you mean "memory"? (known: aws, memory, '
    )
    assert lines[1].startswith('x.yml:3:18: unknown kind "sleeep", did you mean "sleep"? (known: ')
    assert lines[2].startswith('x.yml:4:14: unknown strategy "leese", did you mean "lease"? (known: ')
    assert lines[2].endswith("or your own as module:Class)")


def test_the_error_is_of_the_one_sort_that_there_is() -> None:
    with pytest.raises(UnknownPlugin):
        loads(MINIMAL.replace("kind: sleep", "kind: sleeep"), "x.yml", Path())
    with pytest.raises(WorkloadError):
        loads(MINIMAL.replace("count: 10, seconds: 0", "file: nowhere"), "x.yml", Path())


def test_options_of_strategies() -> None:
    lines = errors(
        MINIMAL
        + """\
strategies:
  - {name: lease, leese_s: 3}
  - {name: lease, lease_s: "3"}
  - {name: lease, lease_s: true}
  - {name: read_then_write, record: befor}
  - {name: none, record: before}
  - {lease_s: 3}
"""
    )
    assert lines == [
        'x.yml:5:19: unknown option "leese_s" of strategy lease, did you mean "lease_s"? '
        "(it takes lease_s, skew_s)",
        'x.yml:6:28: option "lease_s" of strategy lease: expected a number, found "3"',
        'x.yml:7:28: option "lease_s" of strategy lease: expected a number, found true',
        'x.yml:8:37: option "record" of strategy read_then_write: expected "after" or "before", '
        'found "befor", did you mean "before"?',
        'x.yml:9:18: unknown option "record" of strategy none (it takes no options)',
        'x.yml:10:5: missing key "name"',
    ]


def test_options_of_backends() -> None:
    lines = errors(MINIMAL.replace("backend: memory", "backend: {name: sqlite, durabilty: full, timeout: 3}"))
    assert lines[0].startswith(
        'x.yml:2:25: unknown option "durabilty" of backend sqlite, did you mean "durability"?'
    )
    assert lines[1].startswith('x.yml:2:42: unknown option "timeout" of backend sqlite')
    [line] = errors(MINIMAL.replace("backend: memory", "backend: {name: sqlite, durability: most}"))
    assert line.startswith("x.yml:2:25: ")
    assert "durability" in line


def test_options_of_kinds() -> None:
    lines = errors(MINIMAL.replace("kind: sleep", "kind: sleep, cuont: 3, visibility_s: 3, slots: 2, zzz: 1"))
    assert lines == [
        'x.yml:3:25: unknown option "cuont" of kind sleep (it takes no options), did you mean "count"?',
        'x.yml:3:35: unknown option "visibility_s" of kind sleep (it takes no options); "visibility_s" '
        'stands next to "workload", not in it',
        'x.yml:3:52: unknown key "slots"; it stands next to "workload", not in it',
        'x.yml:3:62: unknown option "zzz" of kind sleep (it takes no options)',
    ]


def test_the_option_that_is_wrong_is_found_among_others() -> None:
    workload = "workload: {kind: shell, command: echo, cwd: /, envv: {}, count: 1}"
    [line] = errors(MINIMAL.replace("workload: {kind: sleep, count: 10, seconds: 0}", workload))
    assert line.startswith('x.yml:3:48: unknown option "envv" of kind shell, did you mean "env"?')


def test_all_problems_are_listed_at_once_and_in_order() -> None:
    lines = errors(
        """\
        backend: sqlit
        workload: {kind: sleep, count: -1, seconds: 0, oops: 1}
        strategies: [null, lese]
        wrokers: 3
        workers: [1, two]
        name: a b
        slots: .nan
        """
    )
    assert [line.split(": ")[0] for line in lines] == [
        "x.yml:1:10",
        "x.yml:2:32",
        "x.yml:2:48",
        "x.yml:3:14",
        "x.yml:3:20",
        "x.yml:4:1",
        "x.yml:5:14",
        "x.yml:6:7",
        "x.yml:7:8",
    ]


def test_what_is_missing_is_named() -> None:
    assert errors("backend: memory\n") == [
        'x.yml:1:1: missing key "name"',
        'x.yml:1:1: missing key "workload"',
    ]


def test_a_key_that_stands_twice_is_refused() -> None:
    assert errors(MINIMAL + "slots: 1\nslots: 2\n") == [
        'x.yml:5:1: the key "slots" stands here twice, first on line 4'
    ]


def test_the_same_thing_twice_is_refused() -> None:
    assert errors(MINIMAL + "workers: [1, 2, 1]\n") == [
        "x.yml:4:17: 1 stands here twice; to run it again use repeats"
    ]
    assert errors(MINIMAL + "strategies: [lease, none, {name: lease, lease_s: 30.0}]\n") == [
        'x.yml:4:27: "lease" stands here twice with the same options; to run it again use repeats'
    ]


def test_names_are_unique_in_a_file() -> None:
    assert errors(f"---\n{MINIMAL}---\n{MINIMAL}") == [
        'x.yml:6:7: the name "x" is taken by the experiment on line 2'
    ]


@pytest.mark.parametrize("name", ["a b", "ä", "-x", "", "a/b", "..", "x" * 41, "7.5", "[a]"])
def test_a_name_fits_into_file_and_queue_names(name: str) -> None:
    [line] = errors(MINIMAL.replace("name: x", f"name: {name}"))
    assert line.startswith("x.yml:1:")
    assert "expected a name of at most 40 letters" in line


def test_workers_that_are_no_processes_cant_be_killed() -> None:
    [line] = errors(MINIMAL + "faults: {kill_workers: 1}\n")
    assert line.startswith("x.yml:4:24: kill_workers needs workers that are processes")
    assert "--set faults.kill_workers=0" in line


@pytest.mark.parametrize("text", ["[1, 2]", "just text", "5", "!!str x"])
def test_a_document_that_is_no_mapping(text: str) -> None:
    [line] = errors(text)
    assert line.startswith(
        "x.yml:1:1: expected an experiment, a mapping with at least name and workload, found "
    )


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing but a comment\n"])
def test_an_empty_file(text: str) -> None:
    assert errors(text) == ["x.yml: is empty; expected an experiment with at least name and workload"]


def test_an_empty_document_between_others() -> None:
    lines = errors(f"{MINIMAL}---\n---\n{MINIMAL.replace('name: x', 'name: y')}")
    assert len(lines) == 1
    assert lines[0].endswith("found nothing")


def test_so_many_problems_are_cut_short() -> None:
    lines = errors(MINIMAL + "".join(f"key{number}: 1\n" for number in range(80)))
    assert len(lines) == 51
    assert lines[-1] == "... and 30 more problems"


class TestFiles:
    def test_missing_with_the_file_that_was_meant(self, tmp_path: Path) -> None:
        (tmp_path / "quickstart.yml").write_text(MINIMAL)
        with pytest.raises(
            ConfigurationError, match=r'there is no such file, did you mean "quickstart.yml"\?'
        ):
            load(tmp_path / "quikstart.yml")
        with pytest.raises(ConfigurationError, match="there is no such file"):
            load(tmp_path / "no" / "such" / "folder.yml")

    def test_a_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (folder := Path("d")).mkdir()
        with pytest.raises(ConfigurationError, match=r'^"d" is a folder; expected a YAML file$'):
            load(folder)
        (folder / "b.yml").touch()
        (folder / "a.yml").touch()
        with pytest.raises(ConfigurationError, match=r'expected a YAML file, such as "d/a\.yml"$'):
            load(folder)

    def test_empty(self, tmp_path: Path) -> None:
        file = tmp_path / "empty.yml"
        file.touch()
        with pytest.raises(ConfigurationError, match=r"empty\.yml: is empty"):
            load(file)

    @pytest.mark.parametrize("data", [b"\x7fELF\x02\x01\x01\0\0", "name: x".encode("utf-16")])
    def test_binary(self, data: bytes, tmp_path: Path) -> None:
        file = tmp_path / "binary.yml"
        file.write_bytes(data)
        with pytest.raises(ConfigurationError, match="is a binary file"):
            load(file)

    def test_not_utf8(self, tmp_path: Path) -> None:
        file = tmp_path / "latin.yml"
        file.write_bytes(MINIMAL.encode() + b"# caf\xe9\n")
        with pytest.raises(
            ConfigurationError, match=r"latin\.yml:4:6: expected UTF-8 text, found the byte 0xe9"
        ):
            load(file)

    def test_huge(self, tmp_path: Path) -> None:
        file = tmp_path / "huge.yml"
        file.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
        with pytest.raises(ConfigurationError, match="put the items into a workload file"):
            load(file)

    def test_a_path_that_is_none(self) -> None:
        with pytest.raises(ConfigurationError, match="can't be read"):
            load(Path("a\0b"))
