"""The conformance suite's cases, on ledgers with options that the suite's own backend does not have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kon.emulator import Emulator
from tests.backends.aws.given import LedgersOnly, fresh_name
from tests.conformance import test_ledger
from tests.conformance.worlds import World, in_real_time

LEDGER_CASES = {name: case for name, case in vars(test_ledger).items() if name.startswith("test_")}


@pytest.mark.parametrize("options", [{}, {"claims": "single"}, {"reads": "eventual"}], ids=str)
@pytest.mark.parametrize("case", LEDGER_CASES.values(), ids=LEDGER_CASES)
def test_dynamodb(
    on_ministack: Emulator, tmp_path: Path, case: Callable[..., None], options: dict[str, Any]
) -> None:
    given = {"table": fresh_name(), **options}
    case(world=World(lambda folder: LedgersOnly(given), in_real_time, 1.0), tmp_path=tmp_path)
