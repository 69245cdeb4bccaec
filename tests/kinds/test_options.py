from __future__ import annotations

import re
from typing import Any

import pytest

from kon.core.errors import ConfigurationError, did_you_mean
from kon.core.kind import Kind
from kon.core.plugins import kind_class, names
from kon.kinds.python import PythonFunction
from kon.kinds.shell import Shell
from kon.kinds.sleep import Sleep
from kon.kinds.stats import Stats


@pytest.mark.parametrize(
    ("word", "known", "says"),
    [
        ("comand", ["command", "cwd"], ', did you mean "command"?'),
        ("LEASE", ["lease", "none"], ', did you mean "lease"?'),
        ("whatever", ["lease", "none"], ""),
        ("lease", [], ""),
    ],
)
def test_did_you_mean(word: str, known: list[str], says: str) -> None:
    assert did_you_mean(word, known) == says


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        (Shell, {"comand": "x"}, 'unknown option "comand" of kind shell, did you mean "command"?'),
        (Shell, {"zzz": 1}, 'unknown option "zzz" of kind shell (it takes command, shell, env, '),
        (Shell, {"command": 3}, 'option "command" of kind shell: expected text, a list or null, found 3'),
        (
            Shell,
            {"command": ["a", 1.1]},
            'option "command.1" of kind shell: expected text or a whole number, found 1.1',
        ),
        (Shell, {"command": []}, "the command is empty"),
        (Shell, {"command": " \n"}, "the command is empty"),
        (Shell, {"command": ["", "x"]}, "the command is empty"),
        (Shell, {"command": "a\0b"}, "NUL"),
        (
            Shell,
            {"env": {"A": True}},
            'option "env.A" of kind shell: expected text or a whole number, found true',
        ),
        (Shell, {"env": {"A=B": "c"}}, '"A=B" is no name of a variable'),
        (Shell, {"env": {"": "c"}}, '"" is no name of a variable'),
        (Shell, {"env": {"A": "\0"}}, "NUL"),
        (Shell, {"env": ["A"]}, 'option "env" of kind shell: expected a mapping, found ["A"]'),
        (Shell, {"shell": ""}, 'option "shell" of kind shell'),
        (Shell, {"max_output_bytes": -1}, "expected a whole number of at least 0, found -1"),
        (Shell, {"kill_grace_s": -0.5}, "expected a number of at least 0, found -0.5"),
        (Shell, {"kill_grace_s": float("nan")}, "expected a number of at least 0, found nan"),
        (Shell, {"kill_grace_s": float("inf")}, "expected a number of at least 0, found inf"),
        (PythonFunction, {}, 'the kind python needs the option "function"'),
        (
            PythonFunction,
            {"function": "math:sqrt", "pool": "proceses"},
            'option "pool" of kind python: expected "processes", "threads" or "inline", found "proceses", '
            'did you mean "processes"?',
        ),
        (PythonFunction, {"function": "math:sqrt", "call": 1}, 'expected "item" or "spread", found 1'),
        (PythonFunction, {"function": "math:sqrt", "slots": 0}, "needs 1 slot or more, got 0"),
        (Stats, {"of": []}, 'unknown option "of" of kind stats (it takes no options)'),
    ],
)
def test_options_that_can_not_be_used_are_refused(
    kind: type[Kind], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        kind(options)
    assert says in str(raised.value)


@pytest.mark.parametrize("kind", [Shell, Sleep, Stats])
def test_every_kind_may_be_told_the_slots(kind: type[Kind]) -> None:
    kind({"slots": 4})


def test_the_former_place_serves_kinds_of_the_release_before() -> None:
    from kon.kinds.options import Options, read_options

    class Own(Options, frozen=True, kw_only=True):
        colour: str = "red"

    assert read_options("own", {"slots": 2}, Own) == Own(slots=2)
    with pytest.raises(ConfigurationError, match='unknown option "color" of kind own, did you mean "colour"'):
        read_options("own", {"color": "red"}, Own)


_PLACES = re.compile(r"(^|_)(file|files|folder|cwd|dir|key|images|ffmpeg|shell)$")


@pytest.mark.parametrize(
    ("name", "field"),
    [
        (name, field)
        for name in names("kon.kinds")
        if (takes := kind_class(name).takes)
        for field in takes.__struct_fields__
        if _PLACES.search(field)
    ],
)
def test_an_empty_place_is_refused(name: str, field: str) -> None:
    """Of a variable that is not set: it would be the current folder, or a key without a name."""
    needed = {"shell": {"command": "x"}, "transcode": {"to": "webm"}}.get(name, {})
    with pytest.raises(ConfigurationError, match=f'option "{field}"'):
        kind_class(name)({**needed, field: ""})
