"""Results as columns: for data frames, and for files in CSV, Parquet and Arrow's format.

The columns are a contract: names, order and types stay as they are, and new ones come at the end.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO, Final

import msgspec

from kon.core.distribution import install
from kon.core.errors import ConfigurationError
from kon.core.task import State, task_id
from kon.engine.records.records import RunFolder
from kon.report.read.reader import Standing, standing

Row = tuple[Any, ...]

COLUMNS: Final = {
    "id": "text",
    "state": "text",
    "attempt": "integer",
    "worker": "text",
    "result": "text",
    "error": "text",
    "index": "integer",
    "started_s": "number",
    "ended_s": "number",
}
"""Names and types. `result` is JSON text: it has whatever a task returned, of any shape and size."""

AT_ONCE: Final = 1_000
"""Rows that are written together."""


def rows(folder: RunFolder, *, failed: bool = False) -> Iterator[Row]:
    """A row for each task that has ended so far, in order of tasks. `failed`: only those not done."""
    found = standing(folder, folder.read_run().spec.tasks)
    return (_row(folder, each) for each in found if not failed or each.outcome.state is not State.DONE)


def _row(folder: RunFolder, each: Standing) -> Row:
    outcome = each.outcome
    return (
        task_id(folder.path.name, outcome.index),
        outcome.state.value,
        outcome.attempt,
        each.worker,
        None if outcome.result is None else msgspec.json.encode(outcome.result).decode(),
        outcome.error,
        outcome.index,
        outcome.started_s,
        outcome.ended_s,
    )


def write_csv(found: Iterable[Row], to: BinaryIO) -> None:
    """UTF-8, with a header; what is not there is an empty field."""
    lines: list[str] = []

    class Lines:
        def write(self, line: str) -> None:
            lines.append(line)

    writer = csv.writer(Lines(), lineterminator="\n")
    writer.writerow(COLUMNS)
    for part in _parts(found):
        writer.writerows(part)
        to.write("".join(lines).encode())
        lines.clear()
    to.write("".join(lines).encode())


def write_parquet(found: Iterable[Row], to: BinaryIO) -> None:
    """Raises ConfigurationError without pyarrow."""
    pyarrow, schema = _pyarrow()
    from pyarrow import parquet

    with parquet.ParquetWriter(to, schema) as writer:
        for part in _parts(found):
            writer.write_batch(_batch(pyarrow, schema, part))


def write_arrow(found: Iterable[Row], to: BinaryIO) -> None:
    """Arrow's IPC file format, also known as Feather. Raises ConfigurationError without pyarrow."""
    pyarrow, schema = _pyarrow()
    with pyarrow.ipc.new_file(to, schema) as writer:
        for part in _parts(found):
            writer.write_batch(_batch(pyarrow, schema, part))


WRITERS: Final[dict[str, Callable[[Iterable[Row], BinaryIO], None]]] = {
    "csv": write_csv,
    "parquet": write_parquet,
    "arrow": write_arrow,
}

VALUE: Final = "value"
"""What a task returned, as it is, where all of a run are of one plain type; else JSON text."""

_PANDAS: Final = {
    "text": "string",
    "json": "string",
    "integer": "Int64",
    "number": "Float64",
    "boolean": "boolean",
}


def frame(folder: RunFolder, values: Sequence[Any]) -> Any:
    """A DataFrame of pandas, or of polars where pandas is not installed: `COLUMNS`, and `value`.

    values: what each task returned; None for one that is not done.
    Raises ConfigurationError where neither is installed.
    """
    columns = dict(zip(COLUMNS, map(list, zip(*rows(folder))), strict=False)) or {
        name: [] for name in COLUMNS
    }
    types = {**COLUMNS, VALUE: _type(values)}
    columns[VALUE] = [_text(each) for each in values] if types[VALUE] == "json" else list(values)
    try:
        import pandas
    except ImportError:
        return _polars_frame(columns, types)
    return pandas.DataFrame(
        {name: pandas.array(column, dtype=_PANDAS[types[name]]) for name, column in columns.items()}
    )


def _polars_frame(columns: dict[str, list[Any]], types: dict[str, str]) -> Any:
    try:
        import polars
    except ImportError as error:
        raise ConfigurationError(
            "run.to_frame: neither pandas nor polars is installed; pip install pandas, or polars"
        ) from error
    known = {
        "text": polars.String,
        "json": polars.String,
        "integer": polars.Int64,
        "number": polars.Float64,
        "boolean": polars.Boolean,
    }
    return polars.DataFrame(columns, schema={name: known[types[name]] for name in columns})


def _type(values: Iterable[Any]) -> str:
    """The type of a column that has all of these as they are; `json` where there is none."""
    types = {type(each) for each in values if each is not None}
    if types == {int}:
        return "integer" if all(each is None or -(2**63) <= each < 2**63 for each in values) else "json"
    if types == {float}:
        return "number"
    if types == {int, float}:  # an integer that a number of 64 bits can't hold would be another one
        return "number" if all(each is None or _is_same(each) for each in values) else "json"
    return {frozenset({bool}): "boolean", frozenset({str}): "text"}.get(frozenset(types), "json")


def _is_same(value: float) -> bool:
    try:
        return float(value) == value
    except OverflowError:
        return False


def _text(value: Any) -> str | None:
    """JSON, all of it ASCII: output that is not UTF-8 has characters that no column takes."""
    return None if value is None else json.dumps(value, separators=(",", ":"))


def _pyarrow() -> tuple[Any, Any]:
    """The package, and the columns as it has them."""
    try:
        import pyarrow
    except ImportError as error:
        raise ConfigurationError(f"Parquet and Arrow files need pyarrow: {install('frames')}") from error
    known = {"text": pyarrow.string(), "integer": pyarrow.int64(), "number": pyarrow.float64()}
    return pyarrow, pyarrow.schema([(name, known[kind]) for name, kind in COLUMNS.items()])


def _batch(pyarrow: Any, schema: Any, part: Sequence[Row]) -> Any:
    return pyarrow.record_batch([list(column) for column in zip(*part)], schema=schema)


def _parts(found: Iterable[Row]) -> Iterator[list[Row]]:
    rest = iter(found)
    while part := list(islice(rest, AT_ONCE)):
        yield part
