"""Writes that moto is asked for at once reach it one after another, as its conditional ones need that."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kon.backends.emulator.server import one_write_at_once


@pytest.mark.parametrize(
    ("methods", "most"), [(["PUT", "DELETE"], 1), (["GET", "POST"], 2), (["PUT", "GET"], 2)]
)
def test_writes_of_s3_are_served_one_after_another_and_all_else_side_by_side(
    methods: list[str], most: int
) -> None:
    served, most_served = 0, 0
    counting, both = threading.Lock(), threading.Barrier(2)

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        nonlocal served, most_served
        with counting:
            served += 1
            most_served = max(most_served, served)
        try:
            both.wait(0.1 if most == 1 else 10.0)
        except threading.BrokenBarrierError:
            both.reset()
        with counting:
            served -= 1
        return [environ["REQUEST_METHOD"].encode()]

    serve = one_write_at_once(application)
    with ThreadPoolExecutor(2) as clients:
        answers = list(clients.map(lambda method: serve({"REQUEST_METHOD": method}, None), methods))
    assert answers == [[method.encode()] for method in methods]
    assert most_served == most
