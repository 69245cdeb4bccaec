"""YAML without its traps, and with the place of everything."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from kon.experiment.yamltree import MAX_DEPTH, Problem, find, plain, read_documents, read_value


def value_of(text: str) -> Any:
    problems: list[Problem] = []
    [document] = read_documents(text, "t", problems)
    assert not problems
    return plain(document)


def problems_of(text: str) -> list[str]:
    problems: list[Problem] = []
    read_documents(text, "t", problems)
    return [str(problem) for problem in problems]


@pytest.fixture(params=["libyaml", "pure Python"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything holds with either parser: not every PyYAML has been built with libyaml."""
    if request.param == "pure Python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("none", "none"),
        ("None", "None"),
        ("null", None),
        ("~", None),
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("+7", 7),
        ("0", 0),
        ("-0", 0),
        ("0x1F", 31),
        ("0o17", 15),
        ("007", "007"),
        ("-01", "-01"),
        ("1_000", "1_000"),
        ("12:30:00", "12:30:00"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("0.10", 0.1),
        ("e5", "e5"),
        (".", "."),
        ("'5'", "5"),
        ('"null"', "null"),
        ("!!str 5", "5"),
        ("!!int 5", 5),
        ("! 5", "5"),
        ("9" * 300, int("9" * 300)),
    ],
)
def test_words_and_numbers_mean_what_they_mean_in_yaml_1_2(text: str, value: object) -> None:
    found = value_of(f"- {text}\n")[0]
    assert found == value
    assert type(found) is type(value)


def test_text_as_it_was_written() -> None:
    problems: list[Problem] = []
    [document] = read_documents("[1.10, yes, 0x1F, ~, 'a']", "t", problems)
    assert plain(document, as_text=True) == ["1.10", "yes", "0x1F", None, "a"]


def test_every_value_has_its_place() -> None:
    problems: list[Problem] = []
    [document] = read_documents("a: 1\nb:\n  - x\n  - {c: 2}\n", "t", problems)
    assert str(find(document, ("b", 1, "c")).place) == "t:4:9"
    assert str(find(document, ("b", 0)).place) == "t:3:5"
    assert str(find(document, ("b", 7, "c")).place) == "t:3:3"  # as far as the path goes


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\na: 2", 't:2:1: the key "a" stands here twice, first on line 1'),
        ("{1: a, '1': b}", 't:1:8: the key "1" stands here twice, first on line 1'),
        ("[1, 2]: a", "t:1:1: expected a word as the key, found [1, 2]"),
        ("a: !!python/object/apply:os.system [x]", 't:1:4: the tag "!!python/object/apply:os.system" can'),
        ("a: !vault x", 't:1:4: the tag "!vault" can'),
        ("a: !!int x", 't:1:4: the tag "!!int" can'),
        ("a: !!set {x}", 't:1:4: the tag "!!set" can'),
        ("a: .nan", "t:1:4: expected a finite number, found .nan"),
        ("a: 1e400", "t:1:4: expected a finite number, found 1e400"),
        ("a: " + "9" * 301, "t:1:4: expected a number of at most 300 digits, found 9999"),
        ("a: *b", 't:1:4: the alias "*b" stands for nothing before it'),
        ("a: &a [*a]", 't:1:8: the alias "*a" stands for nothing before it'),
        ("a: \x07", "t:1:4: the character U+0007 can't stand in a YAML file"),
        ("x: 1\n<<: 5", "t:2:5: expected a mapping to merge, found 5"),
        ("[" * (MAX_DEPTH + 2), "t:1:52: more than 50 lists and mappings inside one another"),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    assert problems_of(text)[0].startswith(problem)


@pytest.mark.parametrize(
    "text", ["a: [1", "a: b: c", "a: 'x", "- a\nb: 1", "%YAML", "a: @b", "{", "]", "&a", "!<x"]
)
def test_syntax_errors_have_a_place(text: str) -> None:
    problems = problems_of(text)
    if text != "&a":  # an anchor alone is an empty document
        assert problems[0].startswith("t:")
        assert ": not valid YAML: " in problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "a: {b: echo {}, c: d}",
        "a:\n  b: echo {}: {.}",
        "a:\n  b: {} x",
        "a: *.log",
        "a: [*.log]",
        "a: @echo",
        "a: %d",
    ],
)
def test_text_that_needs_quotes_is_told_so(text: str) -> None:
    assert "a text such as a command needs quotes" in problems_of(text)[0]


def test_a_tab_is_called_a_tab() -> None:
    assert problems_of("a:\n\tb: 1\n") == [
        "t:2:1: not valid YAML: the line is indented with a tab; use spaces"
    ]


def test_a_billion_laughs_are_refused_before_they_are_told() -> None:
    bomb = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n"
    for level in range(1, 30):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    [problem] = problems_of(bomb)
    assert problem.startswith("t:5:45: ")
    assert "the aliases up to here stand for more than 100000 values" in problem


def test_merged_keys_give_way_to_those_beside_them() -> None:
    assert value_of("{<<: [{a: 1, b: 1}, {b: 2, c: 2}], a: 9}") == {"a": 9, "b": 1, "c": 2}
    assert value_of('{"<<": {a: 1}}') == {"<<": {"a": 1}}


def test_half_a_surrogate_pair_never_gets_through() -> None:
    assert problems_of('a: "\\ud800"')  # which of the parsers refuses it, and how, is their business


def test_a_value_for_a_command_line_names_its_source_and_no_line() -> None:
    problems: list[Problem] = []
    node = read_value("{a: [1, 2]}", "--set x", problems)
    assert node is not None
    assert str(find(node, ("a", 1)).place) == "--set x"
    assert read_value("{a: [1", "--set x", problems) is None
    assert read_value("--- 1\n--- 2", "--set y", problems) is None
    assert [str(problem).split(": ")[0] for problem in problems] == ["--set x", "--set y"]
    empty = read_value("", "--set z", problems)
    assert empty is not None
    assert plain(empty) is None
