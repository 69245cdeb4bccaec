"""Workload files that kon writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kon.core.errors import ConfigurationError, WorkloadError
from kon.kinds.generate import sleep_lines, stats_lines, write_lines
from kon.kinds.sleep import Constant, Exponential, Uniform
from tests.experiment.given import with_workload


def test_sleeps_as_the_older_systems_wrote_them() -> None:
    assert list(sleep_lines(2, Constant(10_000))) == ["sleep 10000", "sleep 10000"]
    assert list(sleep_lines(1, Constant(0.5))) == ["sleep 0.5"]
    assert list(sleep_lines(1, Constant(0))) == ["sleep 0"]


def test_the_same_seed_writes_the_same_lines() -> None:
    drawn = list(sleep_lines(100, Exponential(50), seed=3))
    assert drawn == list(sleep_lines(100, Exponential(50), seed=3))
    assert drawn != list(sleep_lines(100, Exponential(50), seed=4))
    assert list(stats_lines(5, 5, seed=3)) == list(stats_lines(5, 5, seed=3))
    assert list(stats_lines(5, 5, seed=3)) != list(stats_lines(5, 5, seed=4))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    assert write_lines(tmp_path / "sleep.txt", sleep_lines(100, Uniform(0, 1000), seed=1)) == 100
    sleeps = list(with_workload("{file: sleep.txt}", tmp_path).workload.bodies(1))
    assert len(sleeps) == 100
    assert all(0 <= seconds <= 1 for seconds in sleeps)
    assert write_lines(tmp_path / "stats.txt", stats_lines(10, 3, -5, 5)) == 10
    lists = list(with_workload("{kind: stats, file: stats.txt}", tmp_path).workload.bodies(1))
    assert [len(each) for each in lists] == [3] * 10
    assert {value for each in lists for value in each} <= set(range(-5, 6))


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "sleep.txt"
    file.write_text("mine")
    with pytest.raises(ConfigurationError, match="is there already and is left as it is"):
        write_lines(file, ["sleep 1"])
    assert file.read_text() == "mine"


def test_nothing_is_left_when_it_fails(tmp_path: Path) -> None:
    def failing() -> Iterator[str]:
        yield "sleep 1"
        raise OSError(28, "No space left on device")

    with pytest.raises(WorkloadError, match="can't be written: No space left on device"):
        write_lines(tmp_path / "sleep.txt", failing())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WorkloadError, match="can't be written: No such file or directory"):
        write_lines(tmp_path / "no" / "sleep.txt", ["sleep 1"])


def test_an_interrupt_leaves_nothing_either(tmp_path: Path) -> None:
    def interrupted() -> Iterator[str]:
        yield "sleep 1"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lines(tmp_path / "sleep.txt", interrupted())
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_make_no_file() -> None:
    with pytest.raises(ConfigurationError, match="count: expected a whole number of 1 or more, found 0"):
        sleep_lines(0, Constant(1))
    with pytest.raises(ConfigurationError, match="length: expected a whole number of 1 or more, found -1"):
        stats_lines(1, -1)
    with pytest.raises(ConfigurationError, match=r"expected low to high within 2\*\*52, found 5 to 4"):
        stats_lines(1, 1, 5, 4)
