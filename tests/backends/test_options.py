"""Options of backends: each wrong one is named, with what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from kon.backends.memory import MemoryBackend
from kon.backends.sqlite import SqliteBackend
from kon.core.errors import ConfigurationError


def test_an_unknown_option_is_named_with_the_one_meant() -> None:
    with pytest.raises(
        ConfigurationError, match=r'unknown option "durabilty" of backend sqlite, did you mean "durability"\?'
    ):
        SqliteBackend({"path": "runs", "durabilty": "full"})


def test_a_backend_without_options_says_so() -> None:
    with pytest.raises(
        ConfigurationError, match=r'unknown option "path" of backend memory \(it takes no options\)'
    ):
        MemoryBackend({"path": "runs"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, 'needs the option "path"'),
        ({"path": ""}, 'expected the name of a folder, found ""'),
        ({"path": 7}, "expected the name of a folder, found 7"),
        ({"path": "runs", "durability": "ful"}, r"found \"ful\", did you mean \"full\"\?"),
        ({"path": "runs", "durability": True}, "found true"),
        ({"path": "runs", "busy_timeout_s": -1}, "expected seconds, 0 or more, found -1"),
        ({"path": "runs", "busy_timeout_s": float("nan")}, "found nan"),
        ({"path": "runs", "busy_timeout_s": float("inf")}, "found inf"),
        ({"path": "runs", "busy_timeout_s": "30"}, 'found "30"'),
        ({"path": "runs", "busy_timeout_s": True}, "found true"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SqliteBackend(options)


def test_a_path_may_be_a_path(tmp_path: Path) -> None:
    assert SqliteBackend({"path": tmp_path, "busy_timeout_s": 1}).requests == 0
