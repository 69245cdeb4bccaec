"""Options of backends: each wrong one is named, with what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from kon.backends.memory import MemoryBackend
from kon.backends.sqlite import SqliteBackend
from kon.core.errors import ConfigurationError


def test_an_unknown_option_is_named_with_the_one_meant() -> None:
    with pytest.raises(
        ConfigurationError, match=r'"sqlite" has no option "durabilty", did you mean "durability"\?'
    ):
        SqliteBackend({"path": "runs", "durabilty": "full"})


def test_a_backend_without_options_says_so() -> None:
    with pytest.raises(ConfigurationError, match=r'"memory" has no option "path" \(it has none\)'):
        MemoryBackend({"path": "runs"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, 'needs the option "path"'),
        ({"path": ""}, "expected the name of a folder, got ''"),
        ({"path": 7}, "expected the name of a folder, got 7"),
        ({"path": "runs", "durability": "ful"}, r"got 'ful', did you mean \"full\"\?"),
        ({"path": "runs", "durability": True}, "got True"),
        ({"path": "runs", "busy_timeout_s": -1}, "expected seconds, 0 or more, got -1"),
        ({"path": "runs", "busy_timeout_s": float("nan")}, "got nan"),
        ({"path": "runs", "busy_timeout_s": float("inf")}, "got inf"),
        ({"path": "runs", "busy_timeout_s": "30"}, "got '30'"),
        ({"path": "runs", "busy_timeout_s": True}, "got True"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SqliteBackend(options)


def test_a_path_may_be_a_path(tmp_path: Path) -> None:
    assert SqliteBackend({"path": tmp_path, "busy_timeout_s": 1}).requests == 0
