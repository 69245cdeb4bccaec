"""What a person writes on the command line of `kon plan`."""

from __future__ import annotations

import pytest

from kon.core.errors import ConfigurationError
from kon.trials.plan.asked import parse_time, parse_usd, parse_workers


@pytest.mark.parametrize(
    ("text", "workers"),
    [
        ("4", [4]),
        ("4,1,4", [1, 4]),
        ("1,2,4,...,32", [1, 2, 4, 8, 16, 32]),
        ("1,4,...,1024", [1, 4, 16, 64, 256, 1024]),
        ("10,15,...,27", [10, 15, 20, 25, 27]),
    ],
)
def test_numbers_of_workers(text: str, workers: list[int]) -> None:
    assert parse_workers(text) == workers


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "1,...,8", "1,2,...", "1,2,...,x", "1.5", "100001"])
def test_what_is_no_number_of_workers(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--workers: expected numbers such as 1,2,4"):
        parse_workers(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1.5h", 5400), ("2d 1s", 172_801)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text, "--deadline") == seconds


@pytest.mark.parametrize("text", ["", "soon", "30x", "-5m", "m"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--deadline: expected a time such as 30m"):
        parse_time(text, "--deadline")


@pytest.mark.parametrize(("text", "usd"), [("5", 5), ("5usd", 5), ("$0.25", 0.25), ("5 USD", 5)])
def test_money(text: str, usd: float) -> None:
    assert parse_usd(text, "--budget") == usd


@pytest.mark.parametrize("text", ["", "5eur", "-1", "five"])
def test_what_is_no_money(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--budget: expected an amount in US dollars"):
        parse_usd(text, "--budget")
