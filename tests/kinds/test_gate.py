"""When a task may start."""

from __future__ import annotations

import asyncio

import pytest

from kon.kinds import shell_options as gate
from kon.kinds.shell_options import Gate, free_memory_bytes


def starts_s(gate: Gate, count: int) -> list[float]:
    """When each of several that want to start at once may."""

    async def main() -> list[float]:
        now_s = asyncio.get_running_loop().time
        began_s, found = now_s(), []

        async def one() -> None:
            await gate.wait()
            found.append(now_s() - began_s)

        await asyncio.gather(*(one() for _ in range(count)))
        return found

    return asyncio.run(main())


def test_some_time_after_the_one_before() -> None:
    first, second, third = starts_s(Gate(delay_s=0.1), 3)
    assert first < 0.1
    assert 0.1 <= second - first < 0.2
    assert 0.1 <= third - second < 0.2


@pytest.mark.parametrize(
    "busy",
    [
        lambda values: Gate(max_load=3.0, load=lambda: values.pop(0) if len(values) > 1 else 1.0),
        lambda values: Gate(min_free_bytes=10, free_bytes=lambda: 5 if values.pop(0) > 3 else 100),
    ],
)
def test_not_while_the_machine_is_busy(monkeypatch: pytest.MonkeyPatch, busy: object) -> None:
    monkeypatch.setattr(gate, "LOAD_LOOK_S", 0.05)
    values = [9.0, 8.0, 3.0, 1.0, 1.0, 1.0]
    [at_s] = starts_s(busy(values), 1)  # type: ignore[operator]
    assert 0.1 <= at_s < 0.3


def test_free_memory() -> None:
    assert free_memory_bytes() > 1_000_000


def test_it_is_open_where_nothing_is_asked() -> None:
    assert Gate().is_open
    assert not Gate(min_free_bytes=0).is_open
