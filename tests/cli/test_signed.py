"""A signed run, whole, on an emulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from kon.backends.aws.signed import KEY
from tests.cli.given import invoke, rows, write

MINE: Final = bytes(range(32))

TEXT: Final = (
    "name: seal\nbackend: {{name: aws, signed: {signed}}}\n"
    "workload: {{kind: shell, command: 'echo {{}}:${{KON_SIGNING_KEY:-none}}', items: [a, b]}}\n"
    "workers: [1]\n"
)


@pytest.mark.long
def test_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, on an emulator; its tasks don't see the key."""
    file = write(tmp_path, TEXT.format(signed="true"))
    unsigned = invoke("run", file, "--emulator", "--json")
    assert unsigned.exit_code == 2
    assert "signed: true needs a key" in unsigned.stderr
    monkeypatch.setenv(KEY, MINE.hex())
    ran = invoke("run", file, "--emulator", "--json")
    assert ran.exit_code == 0, ran.stderr
    [row] = rows(ran)
    assert row["done"] == 2
    lines = [json.loads(line) for line in invoke("results", row["run"], "--json").stdout.splitlines()]
    assert sorted(line["result"]["stdout"] for line in lines) == ["a:none\n", "b:none\n"]


def test_a_key_and_a_run_that_is_not_to_be_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, MINE.hex())
    refused = invoke("run", write(tmp_path, TEXT.format(signed="false")), "--emulator", "--json")
    assert refused.exit_code == 2
    assert "Write `signed: true` under `backend`, or unset the variable" in refused.stderr
