"""The conformance suite's cases, on ledgers with options that the suite's own backend does not have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from kon.backends.aws.calls import Calls
from tests.backends.aws.given import LedgersOnly, fresh_name
from tests.conformance import test_ledger, test_objects
from tests.conformance.worlds import World, in_real_time

Case = Callable[..., None]


def cases_of(module: Any) -> dict[str, Case]:
    return {name: case for name, case in vars(module).items() if name.startswith("test_")}


LEDGER_CASES: Final = cases_of(test_ledger)
OBJECT_CASES: Final = cases_of(test_objects)
LEDGERS: Final[dict[str, dict[str, Any]]] = {
    "batch": {"kind": "dynamodb"},
    "single": {"kind": "dynamodb", "claims": "single"},
    "s3": {"kind": "s3"},
}


def try_case(case: Case, calls: Calls, folder: Path, options: dict[str, Any]) -> None:
    given = {"calls": calls, "place": fresh_name(), **options}
    case(world=World(lambda _: LedgersOnly(given), in_real_time, 1.0), tmp_path=folder)


@pytest.mark.parametrize("options", LEDGERS.values(), ids=LEDGERS)
@pytest.mark.parametrize("case", LEDGER_CASES.values(), ids=LEDGER_CASES)
def test_ledgers(calls_of_ministack: Calls, tmp_path: Path, case: Case, options: dict[str, Any]) -> None:
    try_case(case, calls_of_ministack, tmp_path, options)


@pytest.mark.parametrize("case", OBJECT_CASES.values(), ids=OBJECT_CASES)
def test_s3_objects(calls_of_ministack: Calls, tmp_path: Path, case: Case) -> None:
    try_case(case, calls_of_ministack, tmp_path, LEDGERS["s3"])


@pytest.mark.parametrize("options", ["single", "s3"])
@pytest.mark.parametrize("case", LEDGER_CASES.values(), ids=LEDGER_CASES)
def test_ledgers_on_moto(calls_of_moto: Calls, tmp_path: Path, case: Case, options: str) -> None:
    """Another's idea of the same services."""
    try_case(case, calls_of_moto, tmp_path, LEDGERS[options])


@pytest.mark.parametrize("case", OBJECT_CASES.values(), ids=OBJECT_CASES)
def test_s3_objects_on_moto(calls_of_moto: Calls, tmp_path: Path, case: Case) -> None:
    try_case(case, calls_of_moto, tmp_path, LEDGERS["s3"])
