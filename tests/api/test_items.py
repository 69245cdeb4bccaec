"""Items: what reaches a worker is what was given, or it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kon.api.items import (
    Bodies,
    bodies_in_turn,
    check_items,
    first_and_all,
    for_call,
    for_command,
    for_function,
)
from kon.core.errors import ConfigurationError


@pytest.mark.parametrize("item", [None, True, 3, 2**63, 0.5, "text", [1, [2]], {"a": {"b": None}}])
def test_json_values_go_as_they_are(item: Any) -> None:
    assert for_function(item) == item


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (b"raw", "is a bytes"),
        (Path("a"), r"pass str\(path\)"),
        ({1, 2}, "is a set"),
        ({1: 2}, "the key 1 is not a text"),
        ([{"a": object()}], "is a object"),
        (2**64, "does not fit into 64 bits"),
    ],
)
def test_what_json_would_change_is_refused(item: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        for_function(item)


def test_arguments_of_a_call() -> None:
    assert for_call((1, 2)) == {"args": [1, 2]}
    assert for_call({"base": 1}) == {"kwargs": {"base": 1}}
    with pytest.raises(ConfigurationError, match="a list, a tuple or a dict of arguments, found 3"):
        for_call(3)


@pytest.mark.parametrize(
    ("item", "body"),
    [
        ("a b", "a b"),
        (7, 7),
        (Path("x/y"), "x/y"),
        ("é", "é"),
        (b"caf\xe9", {"bytes": "caf\xe9"}),
        ("caf\udce9\u20ac", {"bytes": "caf\xe9\xe2\x82\xac"}),
    ],
)
def test_words_of_commands(item: Any, body: Any) -> None:
    assert for_command(item) == body


@pytest.mark.parametrize("item", [None, True, ["a"], {}])
def test_what_is_no_word(item: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected a text, a number or a path"):
        for_command(item)


@pytest.mark.parametrize("items", ["abc", b"abc", {"a": 1}, 3, None])
def test_what_is_no_bag_of_items(items: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^here: items: expected a list or an iterator"):
        check_items(items, "here")


def test_looking_at_the_first_loses_none() -> None:
    some, items = first_and_all(iter(range(3)), "here")
    assert some
    assert list(items) == [0, 1, 2]
    assert not first_and_all(iter(()), "here")[0]


def test_the_item_that_is_wrong_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"^here: items\[1\]: b'x' is a bytes"):
        list(bodies_in_turn([1, b"x"], for_function, "here"))


def test_bodies_of_a_sequence_are_made_as_often_as_asked_for() -> None:
    bodies = Bodies(range(3), lambda item: item + 1, "here")
    assert [list(bodies), list(bodies), len(bodies), bodies[2]] == [[1, 2, 3], [1, 2, 3], 3, 3]
