"""The benchmark of `kon map`: what its table makes of measurements, and what it does without a peer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.map import HEADERS, WORKS, XARGS, Measured, contenders, measure, rows


def test_ratios_are_of_one_round() -> None:
    rounds = [
        {XARGS: Measured(1.0, 2.0), "kon map": Measured(2.0, 4.0)},
        {XARGS: Measured(10.0, 2.0), "kon map": Measured(10.0, 2.0)},
        {XARGS: Measured(2.0, 2.0), "kon map": Measured(2.5, 2.5)},
    ]
    xargs, kon = rows(rounds, 1_000)
    assert xargs == (XARGS, "500", "1.00", "1.00 to 1.00", "2,000", "1.00")
    assert kon == ("kon map", "400", "0.80", "0.50 to 1.00", "2,500", "0.80")
    assert len(kon) == len(HEADERS)


def test_peers_that_are_not_there_are_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not {XARGS, "GNU parallel"} & set(contenders(tmp_path, WORKS[0]))
    assert "GNU parallel is left out: there is no parallel on PATH" in capsys.readouterr().err


def test_cpu_time_is_that_of_all_processes(tmp_path: Path) -> None:
    burn = "x = 0\nfor i in range(2_000_000): x += i"
    with (tmp_path / "items").open("w+b") as items:
        found = measure(
            [
                sys.executable,
                "-c",
                f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])",
            ],
            items,
        )
    assert found.cpu_s > 0.02
    assert found.wall_s > 0
