"""Values of the options of `kon map`."""

from __future__ import annotations

from typing import Any

import click
import pytest

from kon.cli.map_values import (
    CountType,
    DelimiterType,
    Halt,
    HaltType,
    JobsType,
    LoadType,
    SecondsType,
    SizeType,
)


def read(kind: click.ParamType[Any], text: str) -> Any:
    return kind.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "slots"),
    [("3", 3), ("0", 70), ("50%", 4), ("200%", 16), ("1%", 1), ("+2", 10), ("-3", 5), ("-20", 1)],
)
def test_jobs(text: str, slots: int) -> None:
    assert read(JobsType(), text).slots(processors=8, tasks=70) == slots


def test_at_most_so_many_jobs() -> None:
    assert read(JobsType(), "0").slots(8, 10**6) == 10_000


@pytest.mark.parametrize(
    ("text", "halt"),
    [
        ("never", Halt()),
        ("soon", Halt("soon")),
        ("now,fail=1", Halt("now")),
        ("soon,fail=3", Halt("soon", "fail", 3)),
        ("now,fail=10%", Halt("now", "fail", 0.1, is_share=True)),
        ("now,success=1", Halt("now", "success", 1)),
        ("soon,done=2", Halt("soon", "done", 2)),
        ("0", Halt()),
        ("1", Halt("soon")),
        ("2", Halt("now")),
    ],
)
def test_halt(text: str, halt: Halt) -> None:
    assert read(HaltType(), text) == halt


@pytest.mark.parametrize(
    ("halt", "failed", "succeeded", "due"),
    [
        (Halt(), 9, 0, False),
        (Halt("soon"), 0, 99, False),
        (Halt("soon"), 1, 0, True),
        (Halt("now", "fail", 3), 2, 50, False),
        (Halt("now", "fail", 3), 3, 0, True),
        (Halt("now", "fail", 0.1, is_share=True), 9, 50, False),
        (Halt("now", "fail", 0.1, is_share=True), 10, 0, True),
        (Halt("now", "fail", 0.001, is_share=True), 0, 50, False),
        (Halt("now", "success", 2), 9, 1, False),
        (Halt("now", "success", 2), 0, 2, True),
        (Halt("soon", "done", 2), 1, 1, True),
    ],
)
def test_when_it_is_due(halt: Halt, failed: int, succeeded: int, due: bool) -> None:
    assert halt.is_due(failed, succeeded, tasks=100) is due


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (SecondsType(above_zero=False), "0", 0.0),
        (SecondsType(above_zero=True), "1.5", 1.5),
        (SecondsType(above_zero=True), ".5s", 0.5),
        (SecondsType(above_zero=True), "2m", 120.0),
        (SecondsType(above_zero=True), "7d", 604_800.0),
        (SizeType(), "10", 10),
        (SizeType(), "2K", 2_048),
        (SizeType(), "1.5M", 1_572_864),
        (SizeType(), "2g", 2_000_000_000),
        (DelimiterType(), ",", b","),
        (DelimiterType(), "\\n", b"\n"),
        (DelimiterType(), "\\0", b"\0"),
        (DelimiterType(), "\\x1f", b"\x1f"),
        (DelimiterType(), "ü", "ü".encode()),
        (CountType(), "12", 12),
    ],
)
def test_values(kind: click.ParamType[Any], text: str, value: object) -> None:
    assert read(kind, text) == value


def test_load() -> None:
    assert read(LoadType(), "2.5").of(8) == 2.5
    assert read(LoadType(), "50%").of(8) == 4.0


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (JobsType(), "many"),
        (JobsType(), "-"),
        (JobsType(), "10001"),
        (JobsType(), "1.5"),
        (HaltType(), "later"),
        (HaltType(), "soon,fail=0"),
        (HaltType(), "never,fail=1"),
        (HaltType(), "now,fail"),
        (HaltType(), "3"),
        (SecondsType(above_zero=True), "0"),
        (SecondsType(above_zero=False), "8d"),
        (SecondsType(above_zero=False), "nan"),
        (SecondsType(above_zero=False), "1y"),
        (SizeType(), "1X"),
        (SizeType(), "-1"),
        (LoadType(), "0"),
        (LoadType(), "x"),
        (DelimiterType(), ""),
        (DelimiterType(), "ab"),
        (DelimiterType(), "\\"),
        (CountType(), "0"),
        (CountType(), "echo {}"),
    ],
)
def test_what_is_none(kind: click.ParamType[Any], text: str) -> None:
    with pytest.raises(click.BadParameter):
        read(kind, text)
