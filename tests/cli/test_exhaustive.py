"""`kon prove --exhaustive`, as it is typed and read."""

from __future__ import annotations

import json

from click.testing import Result

from tests.cli.given import invoke


def kon(*words: str) -> Result:
    return invoke("prove", *words, "--exhaustive")


def test_it_prints_how_many_schedules_there_were_and_just_what_they_cover() -> None:
    result = kon("lease", "--fault", "write_reply_lost", "--fault", "reorder", "--preemptions", "0")
    assert result.exit_code == 0
    assert (
        "9 schedules: every order with at most 0 pre-emptions, without a fault and with each of"
        in result.stdout
    )
    assert "8 single faults; every promise held." in result.stdout
    assert "No occasion for it without another fault first: reorder." in result.stdout
    assert "write_reply_lost          8          8  nothing" in result.stdout


def test_a_broken_promise_is_told_and_ends_with_1() -> None:
    result = kon(
        "tests.trials.prove.mistakes:NoTokenCompare",
        "--fault",
        "write_reply_lost",
        "--preemptions",
        "0",
        "-q",
    )
    assert result.exit_code == 1
    assert "PROMISES BROKE" in result.stdout
    assert "and broke: write_reply_lost at ledger, number 0" in result.stdout
    assert "!! the reply is lost" in result.stdout
    assert result.stderr == ""


def test_json_has_the_counts() -> None:
    result = kon("none", "--fault", "none", "--preemptions", "1", "--json", "-q")
    (exhausted,) = json.loads(result.stdout)["exhausted"]
    assert exhausted["strategy"]["name"] == "none"
    assert exhausted["schedules"] > 10
    assert exhausted["occasions"] == 0
    assert exhausted["broken"] == []


def test_a_seed_has_no_place_in_it() -> None:
    result = kon("lease", "--seed", "1")
    assert result.exit_code == 2
    assert "leave --seed out" in result.stderr
