"""Results as columns: names, order and types are a contract."""

from __future__ import annotations

import builtins
import csv
import functools
import io
import json
import subprocess
import sys
from typing import Any

import pytest

import kon
from kon.core.distribution import install
from tests.cli.given import invoke

COLUMNS = ["id", "state", "attempt", "worker", "result", "error", "index", "started_s", "ended_s"]

VALUES: dict[str, Any] = {
    "big": 2**70,
    "nested": {"a": [1, None, {"b": "ü\n\t"}]},
    "text": "two  words",
    "nothing": None,
    "small": 3,
    "half": 0.5,
    "truth": True,
}

HERE: dict[str, Any] = {"backend": "memory", "workers": 1, "attempts": 1}


def value_of(name: str) -> Any:
    if name == "fails":
        raise ValueError("as\nwanted")
    if name == "nan":
        return float("nan")
    if name == "bytes":
        return b"\xff"
    return VALUES[name]


def itself(value: Any) -> Any:
    if value == "fails":
        raise ValueError(value)
    return value


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> kon.Run:
    out = tmp_path_factory.mktemp("kept")
    run = kon.submit(value_of, [*VALUES, "fails", "nan", "bytes"], out=out, **HERE)
    run.finish()
    return run


def written(run: kon.Run, style: str) -> bytes:
    return invoke("results", run.path, "--format", style).stdout_bytes


def check(rows: list[dict[str, Any]]) -> None:
    assert [list(row) for row in rows] == [COLUMNS] * 10
    assert [json.loads(row["result"]) if row["result"] else None for row in rows[:7]] == list(VALUES.values())
    assert [row["state"] for row in rows] == ["done"] * 7 + ["failed"] * 3
    assert [row["index"] for row in rows] == list(range(10))
    assert {row["id"] for row in rows} == {f"value_of/{number}" for number in range(10)}
    assert rows[7]["error"] == "ValueError: as"
    assert "is not a JSON value" in rows[8]["error"], "no number stands for it, and no null"
    assert "is not a JSON value" in rows[9]["error"]
    assert all(row["ended_s"] >= row["started_s"] > 1e9 for row in rows)


def test_parquet(kept: kon.Run) -> None:
    import pyarrow
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(written(kept, "parquet")))
    check(table.to_pylist())
    texts = dict.fromkeys(("id", "state", "worker", "result", "error"), pyarrow.string())
    numbers = dict.fromkeys(("started_s", "ended_s"), pyarrow.float64())
    types = {**texts, **numbers, "attempt": pyarrow.int64(), "index": pyarrow.int64()}
    assert {field.name: field.type for field in table.schema} == types


@pytest.mark.long
def test_arrow_is_what_feather_and_polars_read(kept: kon.Run) -> None:
    import polars
    from pyarrow import feather

    data = written(kept, "arrow")
    check(feather.read_table(io.BytesIO(data)).to_pylist())
    check(polars.read_ipc(io.BytesIO(data)).to_dicts())


def test_csv(kept: kon.Run) -> None:
    rows = list(csv.DictReader(io.StringIO(written(kept, "csv").decode(), newline="")))
    numbers = {"index": int, "attempt": int, "started_s": float, "ended_s": float}
    check([{name: numbers.get(name, str)(value) for name, value in row.items()} for row in rows])


def test_a_file_for_a_terminal_is_refused(kept: kon.Run) -> None:
    line = f"{sys.executable} -m kon results {kept.path} --format parquet"
    said = subprocess.run(["script", "-qec", line, "/dev/null"], capture_output=True, text=True, check=False)
    assert "is not for a terminal: send it to a file, with > FILE" in said.stdout


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    real = builtins.__import__

    def imported(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] in packages:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", imported)


def test_without_pyarrow_it_is_said_how_to_get_it(kept: kon.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "pyarrow")
    for style in ("parquet", "arrow"):
        result = invoke("results", str(kept.path), "--format", style)
        assert result.exit_code == 2
        assert install("frames") in result.stderr
    assert invoke("results", str(kept.path), "--format", "csv").exit_code == 0


@functools.cache
def run_of(values: str) -> kon.Run:
    """A run whose tasks have these values, and one that fails."""
    return kon.submit(itself, [*json.loads(values), "fails"], **HERE)


@pytest.mark.parametrize("package", ["pandas", "polars"])
@pytest.mark.parametrize(
    ("values", "types"),
    [
        ([1, None, -(2**63)], ("Int64", "Int64")),
        ([1, 2.5], ("Float64", "Float64")),
        (["a", "ü"], ("string", "String")),
        ([True, None], ("boolean", "Boolean")),
        ([1, True], ("string", "String")),
        ([0.5, 2**53 + 1], ("string", "String")),
        ([2**63], ("string", "String")),
        ([{"a": 1}, [2]], ("string", "String")),
        ([], ("string", "String")),
    ],
)
def test_values_are_of_one_type_that_changes_none(
    package: str, values: list[Any], types: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pandas
    import polars

    run = run_of(json.dumps(values))
    if package == "polars":
        without(monkeypatch, "pandas")
    frame = run.to_frame()
    assert list(frame.columns) == [*COLUMNS, "value"]
    assert isinstance(frame, polars.DataFrame if package == "polars" else pandas.DataFrame)
    found = frame["value"]
    if package == "polars":
        assert found.dtype == getattr(polars, types[1])
        got = found.to_list()
    else:
        assert found.dtype == types[0]
        got = [None if value is pandas.NA else value for value in list(found)]
    if types[0] == "string" and not all(isinstance(each, str) for each in values):
        got = [None if each is None else json.loads(each) for each in got]
    assert got == [*values, None], "what is not done has no value"
    assert list(frame["state"])[-1] == "failed"


def test_output_that_is_not_utf8_is_in_a_frame() -> None:
    frame = kon.submit("printf {}", ["\udcff"], **HERE).to_frame()
    assert json.loads(frame["value"][0])["stdout"] == "\udcff"


def test_with_neither_package_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    run = kon.submit(itself, [1], **HERE)
    without(monkeypatch, "pandas", "polars")
    with pytest.raises(kon.ConfigurationError, match="pip install pandas, or polars"):
        run.to_frame()
