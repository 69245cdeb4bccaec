"""What tests of traces go by."""

from __future__ import annotations

from typing import Final

import pytest

from kon.engine.records.records import RunFolder
from tests.cli.given import process, write

TROUBLED: Final = """\
name: troubled
backend: sqlite
strategies: [{name: lease, lease_s: 0.5, skew_s: 0.1}]
workload: {kind: shell, command: 'sleep 0.05; test {} != 2', items: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}
slots: 2
prefetch: 4
attempts: 2
backoff_s: 0.05
visibility_s: 1
faults: {kill_workers: 1, duplicate_rate: 1.0}
"""
"""One task fails twice, the worker is killed and followed by another, each message comes twice."""


@pytest.fixture(scope="session")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("troubled")
    done = process("run", write(folder, TROUBLED), "-q", cwd=folder)
    assert done.returncode == 1, done.stderr
    [run] = (folder / "results").glob("*/*/")
    return RunFolder(run)
