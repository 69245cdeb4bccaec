"""Records of `kon.map`: what they spare, and what is run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import kon
from kon.core.task import Answers, Outcome, State, encode
from kon.engine.records.records import RunFolder
from tests.api.functions import (
    count_call,
    double,
    fail_without,
)

pytestmark = pytest.mark.usefixtures("temporary")

HERE: dict[str, Any] = {"backend": "memory", "workers": 2, "backoff_s": 0.0}
"""Workers in this process; functions are called in processes all the same."""


class TestRecords:
    def test_they_are_kept_and_not_made_again(self, tmp_path: Path) -> None:
        out, calls = tmp_path / "out", str(tmp_path / "calls")
        assert kon.map(count_call, [calls], out=out, **HERE) == [1]
        assert kon.map(count_call, [calls], out=out, **HERE) == [1]
        assert Path(calls).read_text() == "x"
        row = json.loads((out / "count_call" / "summary.json").read_text())
        assert (row["tasks"], row["done"]) == (1, 1)

    def test_of_other_items_are_refused(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        kon.map(double, [1, 2], out=out, **HERE)
        with pytest.raises(kon.ConfigurationError, match="holds a run double that differs in its items"):
            kon.map(double, [1, 3], out=out, **HERE)
        with pytest.raises(kon.ConfigurationError, match="differs in its strategy or backend"):
            kon.map(double, [1, 2], out=out, strategy="none", **HERE)

    def test_other_numbers_of_workers_are_no_other_run(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        kon.map(double, [1, 2], out=out, **HERE)
        assert kon.map(double, [1, 2], out=out, **{**HERE, "workers": 1}) == [2, 4]

    def test_what_failed_is_run_again_when_asked_for(self, tmp_path: Path) -> None:
        out, files = tmp_path / "out", [str(tmp_path / "a"), str(tmp_path / "b")]
        Path(files[0]).touch()
        with pytest.raises(kon.TaskFailed, match=r"1 of 2 .*records in .*fail_without"):
            kon.map(fail_without, files, attempts=1, out=out, **HERE)
        Path(files[1]).touch()
        with pytest.raises(kon.TaskFailed, match="1 of 2"):
            kon.map(fail_without, files, attempts=1, out=out, **HERE)
        Path(files[0]).unlink()  # it is done, and not looked at again
        assert kon.map(fail_without, files, attempts=1, out=out, rerun_failed=True, **HERE) == files

    def test_what_a_killed_program_had_recorded_is_not_repeated(self, tmp_path: Path) -> None:
        """Its queue was in its memory, so that nothing but the records tells."""
        out, calls = tmp_path / "out", [str(tmp_path / name) for name in "abc"]
        kon.map(count_call, calls, out=out, **HERE)
        folder = RunFolder(out / "count_call")
        folder.summary.unlink()
        outcomes = [Outcome(0, 1, State.DONE, 1), Outcome(1, 1, State.FAILED, None, "no")]
        folder.results.write_bytes(encode(Answers("w1", outcomes)) + b"\n")
        values = kon.map(count_call, calls, out=out, return_exceptions=True, **HERE)
        assert [values[0], str(values[1]), values[2]] == [1, "task 1 failed: no", 2]

    def test_what_was_cancelled_is_run_again_and_what_failed_is_not(self, tmp_path: Path) -> None:
        out, files = tmp_path / "out", [str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "c")]
        command = "test -e {} || { touch {}; case {} in *a) exit 1;; *) sleep 60;; esac; }"
        run = kon.submit(command, files, attempts=1, drain_s=0, out=out, **{**HERE, "workers": 1})
        next(run.results())
        run.cancel()
        # one failed, one was stopped as it ran, which is no failure, and one was never begun
        assert (run.status().failed, run.status().cancelled) == (1, 2)
        Path(files[2]).touch()
        again = kon.map(command, files, attempts=1, drain_s=0, out=out, return_exceptions=True, **HERE)
        assert [getattr(each, "state", "done") for each in again] == ["failed", "done", "done"]
