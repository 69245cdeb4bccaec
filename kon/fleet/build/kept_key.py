"""The private half of a fleet's key, kept with the fleet: encrypted, in Parameter Store.

So that an operator at another machine, with rights in the account, can reach the hosts. Only a key that kon
has made for the fleet goes there, never one of a person's own.
"""

from __future__ import annotations

import botocore.exceptions

from kon.fleet.build.wanted import Work, listed
from kon.fleet.clients import Clients, in_kons_words, is_gone, said_by
from kon.fleet.thing import stem_of


def keep_key(work: Work, private_key: str) -> None:
    """Keep it where it is not kept yet. A refusal is a note: the fleet can do without."""
    ssm, name = work.aws("ssm"), kept_name(work.wanted.fleet)
    filters = [{"Key": "Name", "Option": "Equals", "Values": [name]}]
    try:
        if ssm.describe_parameters(ParameterFilters=filters)["Parameters"]:
            return
        work.change(
            "kept key",
            f"{name}, encrypted, in Parameter Store",
            lambda: ssm.put_parameter(
                Name=name,
                Value=private_key,
                Type="SecureString",
                Description=f"SSH to the workers of the fleet {work.wanted.fleet}",
                Tags=listed(work.tags),
            ),
        )
    except botocore.exceptions.ClientError as error:
        work.notes.append(
            f"the fleet's key is not kept with the fleet, and another machine needs a copy: {said_by(error)}"
        )


@in_kons_words
def kept_key(aws: Clients, fleet: str) -> str | None:
    """None where none is kept. Raises BackendRefused."""
    try:
        found = aws("ssm").get_parameter(Name=kept_name(fleet), WithDecryption=True)
    except botocore.exceptions.ClientError as error:
        if is_gone(error):
            return None
        raise
    value: str = found["Parameter"]["Value"]
    return value


def kept_name(fleet: str) -> str:
    return f"{stem_of(fleet)}-key"
