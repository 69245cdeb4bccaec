"""joblib over kon: `joblib.parallel_config(backend="kon")`."""

from __future__ import annotations

import builtins
import re
from pathlib import Path
from typing import Any

import pytest

import kon
from kon.core.distribution import install
from kon.engine.records.records import RunFolder

joblib = pytest.importorskip("joblib")


def halved(number: float) -> float:
    if number < 0:
        raise ValueError(f"{number} is too small")
    return number / 2


@pytest.mark.long
def test_results_and_exceptions() -> None:
    kon.register_joblib()
    with joblib.parallel_config(backend="kon", n_jobs=2):
        halves = joblib.Parallel()(joblib.delayed(halved)(number) for number in range(100))
        assert halves == [number / 2 for number in range(100)]
        with pytest.raises(ValueError, match="-1 is too small"):
            joblib.Parallel()(joblib.delayed(halved)(number) for number in (1, -1))
        given = joblib.Parallel(return_as="generator")(joblib.delayed(pow)(2, each) for each in range(5))
        assert list(given) == [1, 2, 4, 8, 16]


def test_options_of_the_executor(tmp_path: Path) -> None:
    kon.register_joblib()
    with joblib.parallel_config(backend="kon", n_jobs=1, out=tmp_path / "out"):
        assert joblib.Parallel(n_jobs=2, batch_size=1)(joblib.delayed(abs)(each) for each in (-1, -2)) == [
            1,
            2,
        ]
    assert RunFolder(tmp_path / "out" / "executor").read_run().spec.tasks == 2


def test_without_joblib(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "joblib":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        kon.ConfigurationError, match="joblib is not installed; .*" + re.escape(install("joblib"))
    ):
        kon.register_joblib()
