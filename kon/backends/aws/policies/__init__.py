"""The rights that kon needs at Amazon, as policy documents: for a client, a worker, and who has a fleet.

The strict layer of the emulators enforces these very files, so that a call of kon's that they do not allow
fails a test.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, get_args

Role = Literal["client", "worker", "controller"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)


def policy(role: Role, prefix: str = "kon", partition: str = "aws") -> dict[str, Any]:
    """The document for things whose names begin with `<prefix>-`; `*` for any.

    partition: `aws-cn` in China, `aws-us-gov` in GovCloud.
    """
    text = _text(role).replace(":kon-", f":{prefix}-").replace("/kon-", f"/{prefix}-")
    document: dict[str, Any] = json.loads(text.replace("arn:aws:", f"arn:{partition}:"))
    return document


@cache
def _text(role: Role) -> str:
    return (files(__package__) / f"{role}.json").read_text()
