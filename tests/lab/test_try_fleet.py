"""`make try-fleet`, as a newcomer calls it. Part of `make soak`."""

from __future__ import annotations

import pytest

from tests.lab import try_fleet


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_fleets_day_needs_no_account_and_says_what_it_would_cost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert try_fleet.main() == 0
    said = capsys.readouterr().out
    assert "$ 0.0341 an hour, at most $ 0.1363" in said
    assert "nothing of the fleet try is left" in said
