"""The changes that `make mutants` makes."""

from __future__ import annotations

import ast

from tests.mutants.__main__ import SOURCES, every, harmless, key
from tests.mutants.changes import changed, mutants

SOURCE = """\
async def run(queue, found, left):
    if found < left and queue:
        await queue.ack(found)
        left += 1
    return found + left
"""


def test_each_change_changes_one_place() -> None:
    made = {mutant.about: changed(SOURCE, mutant) for mutant in mutants("f.py", SOURCE)}
    assert set(made) == {
        "found < left and queue: never",
        "found < left and queue: and <-> or",
        "found < left: Lt -> LtE",
        "await queue.ack(found): left out",
        "left += 1: left out",
        "found + left: + <-> -",
    }
    assert "await" not in made["await queue.ack(found): left out"]
    assert "if found <= left and queue:" in made["found < left: Lt -> LtE"]
    assert len({*made.values(), ast.unparse(ast.parse(SOURCE))}) == len(made) + 1


def test_there_are_more_than_enough_of_them_in_every_source() -> None:
    found = every()
    assert len(found) >= 150
    assert len({mutant.file for mutant in found}) >= len(SOURCES)


def test_what_is_said_to_be_harmless_is_still_a_change_that_is_made() -> None:
    assert harmless() <= {key(mutant) for mutant in every()}
