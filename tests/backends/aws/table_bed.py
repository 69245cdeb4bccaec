"""A table at DynamoDB for tests, and faults of its calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kon.core.errors import BackendUnavailable
from tests.backends.aws.given import Fault, Make, Reply, at, table

BATCH: Final = "BatchExecuteStatement"


on_a_table: Final = at(table)


async def reply_lost(_operation: str, _parameters: dict[str, Any], make: Make) -> Reply:
    await make()
    raise BackendUnavailable("the reply was lost")


def turned_down(at: Callable[[int], bool], code: str, written: bool = False) -> Fault:
    """Some statements of a batch are answered with an error. written: they take place all the same."""

    async def fault(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        if operation != BATCH:
            return await make()
        statements = parameters["Statements"]
        parameters["Statements"] = [each for n, each in enumerate(statements) if written or not at(n)]
        answers = iter((await make())["Responses"] if parameters["Statements"] else [])
        down = {"Error": {"Code": code, "Message": "not now"}}
        responses = []
        for n in range(len(statements)):
            answer = next(answers) if written or not at(n) else None
            responses.append(down if at(n) or answer is None else answer)
        return {"Responses": responses}

    return fault
