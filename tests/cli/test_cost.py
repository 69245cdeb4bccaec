"""`kon cost`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kon.backends.prices import FILE
from kon.core.spec import Plugin
from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder
from tests.cli.given import invoke, write
from tests.report.made import Records

BILLED = {
    "sqs.calls": 300.0,
    "sqs.requests": 310.0,
    "dynamodb.calls": 40.0,
    "dynamodb.write_units": 1_000.0,
    "dynamodb.read_units": 12.5,
    "s3.calls": 3.0,
    "s3.put_requests": 2.0,
    "s3.get_requests": 1.0,
    "sts.calls": 1.0,
    "bytes_in": 2.5e8,
    "bytes_out": 1e8,
}
REQUESTS = 310 * 0.40e-6 + 1_000 * 0.625e-6 + 12.5 * 0.125e-6 + 2 * 5e-6 + 0.40e-6


def made(tmp_path: Path, backend: str = "aws", billed: dict[str, float] | None = None) -> Path:
    records = Records(tmp_path, 1000, backend=Plugin(backend))
    told = {} if billed is None else {"billed": billed}
    records.ran(0.0, 2.0, requests=344, **told)
    records.folder.write_summary({})
    return records.folder.path


def test_the_dollars_and_what_they_are_for(tmp_path: Path) -> None:
    result = invoke("cost", made(tmp_path, billed=BILLED))
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "1,000 tasks on aws; prices of us-east-1, 2026-" in result.stdout
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line}
    assert lines["SQS"].split() == ["SQS", "300", "310", "requests", "0.000124"]
    assert "1,000 write units, 12.5 read units" in lines["DynamoDB"]
    assert "2 PUT and LIST, 1 GET" in lines["S3"]
    assert lines["STS"].split() == ["STS", "1", "0"]
    assert lines["in"].split() == ["in", "all", "344", "0.000761"]
    assert "A million such tasks: $0.761 for 344,000 requests" in result.stdout
    assert "Sent 0.100 GB, received 0.250 GB" in result.stdout
    assert "$0.0225 more" in result.stdout


def test_no_dollar_stands_without_its_region_and_date(tmp_path: Path) -> None:
    told = invoke("cost", made(tmp_path, billed=BILLED)).stdout
    for part in told.split("\n\n"):
        if re.search(r"\$\d", part):
            assert "us-east-1, 2026-" in part, part


def test_json(tmp_path: Path) -> None:
    told = json.loads(invoke("cost", made(tmp_path, billed=BILLED), "--json").stdout)
    assert told["requests_by_service"] == {"dynamodb": 40, "s3": 3, "sqs": 300, "sts": 1}
    assert told["billed"]["dynamodb.read_units"] == 12.5
    assert told["gb"] == {"sent": 0.1, "received": 0.25}
    assert told["dollars_in_all"] == pytest.approx(REQUESTS, rel=1e-5)
    assert told["dollars_in_all"] == pytest.approx(sum(told["dollars"].values()), rel=1e-5)
    assert told["dollars_per_million_tasks"] == pytest.approx(REQUESTS * 1000, rel=1e-5)
    assert told["prices"] == {"region": "us-east-1", "date": "2026-01-15"}


def test_prices_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "own.yml"
    text = FILE.read_text().replace("region: us-east-1", "region: eu-central-1")
    own.write_text(text.replace("standard_per_million: 0.40", "standard_per_million: 400"))
    told = json.loads(invoke("cost", made(tmp_path, billed=BILLED), "--prices", own, "--json").stdout)
    assert told["dollars"]["SQS"] == pytest.approx(310 * 400e-6)
    assert told["prices"]["region"] == "eu-central-1"


def test_wrong_prices_are_refused_with_their_line(tmp_path: Path) -> None:
    own = tmp_path / "own.yml"
    own.write_text(FILE.read_text().replace("standard_per_million: 0.40", "standard_per_million: dear"))
    result = invoke("cost", made(tmp_path, billed=BILLED), "--prices", own)
    assert result.exit_code == 2
    line = own.read_text().splitlines().index("  standard_per_million: dear") + 1
    assert f"{own}:{line}:" in result.stderr


@pytest.mark.parametrize(
    ("backend", "why"),
    [
        ("sqlite", "requests to its backend, sqlite, cost nothing"),
        ("sim", "it was simulated without a model of Amazon"),
        ("aws", "they are older than that; run it again"),
    ],
)
def test_records_that_do_not_say_it(tmp_path: Path, backend: str, why: str) -> None:
    result = invoke("cost", made(tmp_path, backend))
    assert result.exit_code == 2
    assert why in result.stderr


def test_a_run_that_goes_on_costs_what_was_told_so_far(tmp_path: Path) -> None:
    folder = RunFolder(made(tmp_path))
    folder.summary.unlink()
    result = invoke("cost", folder.path)
    assert result.exit_code == 2
    assert "no worker has reported its requests yet" in result.stderr
    worker = Records(tmp_path, 1000, backend=Plugin("aws")).life("w1.a")
    worker.note(Event.UP)
    worker.note(Event.USAGE, requests=10, billed={"sqs.requests": 10.0, "sqs.calls": 10.0})
    result = invoke("cost", folder.path)
    assert result.exit_code == 0
    assert "is not over" in result.stderr


@pytest.mark.long
def test_a_real_run_on_an_emulator(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "name: paid\nbackend: aws\nworkload: {kind: sleep, count: 200, seconds: 0}\nworkers: [2]\n"
        "bundle: 1\ntasks_per_row: 1\n",
    )
    ran = invoke("run", file, "--emulator", "--json")
    [row] = json.loads(ran.stdout)["runs"]
    assert row["done"] == 200
    told = json.loads(invoke("cost", row["run"], "--json").stdout)
    assert told["requests_by_service"] == row["requests_by_service"]
    assert told["dollars_per_million_tasks"] == pytest.approx(row["dollars_per_million_tasks"])
    assert sum(told["requests_by_service"].values()) == round(row["requests_per_task"] * 200)
    # each task is claimed and committed by a write of its own, and nobody writes much else
    assert 2 * 200 <= told["billed"]["dynamodb.write_units"] <= 2 * 200 + 20


def test_a_simulated_run_costs_what_its_model_would_be_billed_for(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "name: s\nbackend: sim\nworkload: {kind: sleep, count: 1000, seconds: 0}\nworkers: [2]\n"
        "bundle: 1\ntasks_per_row: 1\n",
    )
    [row] = json.loads(invoke("run", file, "--json").stdout)["runs"]
    told = json.loads(invoke("cost", row["run"], "--json").stdout)
    assert told["billed"]["dynamodb.write_units"] >= 2 * 1000  # a claim and a commit for each
    assert told["billed"]["sqs.requests"] == told["requests_by_service"]["sqs"]  # none is larger than 64 KB
    assert sum(told["requests_by_service"].values()) == round(row["requests_per_task"] * 1000)
    assert "$ per" in invoke("table", row["run"]).stdout
    assert "Sent" not in invoke("cost", row["run"]).stdout  # nothing was
