"""provision, killed at random moments: one teardown later nothing is left. Part of `make soak`."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from kon.backends.emulator import Emulator
from tests.lab import servers
from tests.playbooks.plays import kill_group
from tests.playbooks.test_provision import Fleet

KILLS = 10
SEED = 5


@pytest.mark.slow
def test_ten_interrupted_provisions_leave_nothing_after_one_teardown(
    tmp_path: Path, ministack: Emulator
) -> None:
    rng = random.Random(SEED)
    found = []
    with servers.moto("127.0.0.1", 0, tmp_path / "moto.log") as url:
        fleet = Fleet(tmp_path, servers.variables(url, ministack.endpoint))
        options = {"own_network": True, "alarm_mail": "me@example.org"}
        began_s = time.monotonic()
        assert fleet.operator.play("provision", **options).exit_code == 0
        whole_s = time.monotonic() - began_s
        assert fleet.operator.play("teardown").exit_code == 0
        for kill in range(KILLS):
            play = fleet.operator.begin("provision", tmp_path / f"{kill}.log", **options)
            time.sleep(rng.uniform(0.2, 1.0) * whole_s)
            kill_group(play)
            found.append(len(fleet.left()))
            gone = fleet.operator.play("teardown")
            assert gone.exit_code == 0, gone.output
            assert fleet.left() == []
    assert len(set(found)) > 2, f"they were killed at different moments, with so many things there: {found}"
