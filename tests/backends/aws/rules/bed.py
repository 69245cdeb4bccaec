"""Where a scenario takes place: an account, what kon does there, and what another may do."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
import pytest
from botocore.exceptions import ClientError

from kon.backends.aws import AwsBackend
from kon.backends.aws.dynamodb import table_definition
from kon.backends.aws.policies import policy
from kon.backends.emulator import KEY_ID, Emulator
from kon.core.backend import ChannelOptions
from kon.fleet.clients import Clients
from kon.fleet.kinds import KINDS
from kon.fleet.thing import Filter
from tests.emulators import STRICT, as_anybody

CHANNEL: Final = ChannelOptions(visibility_s=3.0, max_receives=4)

ACCOUNT: Final = "000000000000"

RIGHTS: Final = msgspec.structs.replace(
    STRICT, policies={KEY_ID: [policy("client", "*"), policy("controller", "*")]}
)
"""Those of who runs, and has a look at all that there is."""

_numbers = itertools.count()


class Bed:
    """A prefix of its own, what kon does there, and what another may do."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.prefix = f"rule{next(_numbers)}"
        self.bucket = f"{self.prefix}-{ACCOUNT}-us-east-1"
        self.table = f"{self.prefix}-r"
        self.sqs, self.s3, self.tables = (as_anybody(each) for each in ("sqs", "s3", "dynamodb"))
        self.tags = [{"Key": "Project", "Value": "kon"}, {"Key": "Run", "Value": "r"}]

    async def kon(
        self, *verbs: str, run: str = "r", channel: ChannelOptions = CHANNEL, **options: Any
    ) -> None:
        backend = AwsBackend({"prefix": self.prefix, **options})
        try:
            for verb in verbs:
                if verb == "create":
                    await backend.create(run, channel)
                elif verb == "delete":
                    await backend.delete(run)
                else:
                    await backend.open(run)
        finally:
            await backend.close()

    def makes_a_table(self, tags: bool = True) -> None:
        self.tables.create_table(
            TableName=self.table,
            BillingMode="PAY_PER_REQUEST",
            Tags=self.tags if tags else [],
            **table_definition(),
        )

    def found(self, kind: str) -> list[str]:
        """What `kon sweep` finds of a kind."""
        from kon.backends.prices import usual_prices

        [wanted] = [each for each in KINDS if each.name == kind]
        aws = Clients("us-east-1")
        try:
            return sorted(
                each.name
                for each in wanted.find(aws, Filter(), usual_prices())
                if each.name.startswith(self.prefix)
            )
        finally:
            aws.close()

    def set(self, **changes: Any) -> None:
        self.emulator.set_strict(msgspec.structs.replace(RIGHTS, **changes))


Scenario = Callable[[Bed], Coroutine[Any, Any, None]]

SCENARIOS: Final[dict[str, tuple[Scenario, frozenset[str]]]] = {}
"""By name: each, and the rules that have a say in it."""


def of(*rules: str) -> Callable[[Scenario], Scenario]:
    def register(scenario: Scenario) -> Scenario:
        SCENARIOS[scenario.__name__] = scenario, frozenset(rules)
        return scenario

    return register


def refused(call: Callable[..., Any], **parameters: Any) -> str:
    """A rule, broken by hand: its code."""
    with pytest.raises(ClientError) as raised:
        call(**parameters)
    code: str = raised.value.response["Error"]["Code"]
    return code
