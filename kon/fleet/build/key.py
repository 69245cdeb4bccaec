"""The key that opens a fleet's hosts: its public half at EC2, its private half kept with the fleet.

Parameter Store has the private half, encrypted. So an operator at another machine, who has rights in the
account, can reach the hosts. Only a key that kon has made for the fleet goes there, never a person's own.
"""

from __future__ import annotations

import botocore.exceptions

from kon.core.errors import ConfigurationError
from kon.fleet.build.wanted import Work
from kon.fleet.clients import Clients, in_kons_words, is_gone, said_by
from kon.fleet.thing import listed, stem_of


def key_pair(work: Work) -> str:
    """Make it; its name. Raises ConfigurationError where EC2's key is another than this machine's."""
    ec2, wanted = work.aws("ec2"), work.wanted
    name = wanted.key_name or wanted.stem
    found = ec2.describe_key_pairs(Filters=[{"Name": "key-name", "Values": [name]}], IncludePublicKey=True)
    if wanted.key_name:
        if not found["KeyPairs"]:
            raise ConfigurationError(
                f'EC2 has no key pair "{name}" in {wanted.region}: key_name names another'
            )
        return name
    if not found["KeyPairs"]:
        work.change(
            "key pair",
            name,
            lambda: ec2.import_key_pair(
                KeyName=name,
                PublicKeyMaterial=wanted.public_key.encode(),
                TagSpecifications=work.specified("key-pair"),
            ),
        )
        return name
    there = str(found["KeyPairs"][0].get("PublicKey", ""))
    if wanted.public_key and there and there.split()[:2] != wanted.public_key.split()[:2]:
        raise ConfigurationError(
            f"the key pair {name} is another than this machine's key, so that hosts would not let us in: "
            "bring the key of whoever made the fleet, and name it with -e ssh_key=... Nothing was changed"
        )
    return name


def keep_key(work: Work, private_key: str) -> None:
    """Keep it where it is not kept yet. A refusal is a note: the fleet can do without."""
    ssm, name = work.aws("ssm"), _kept_name(work.wanted.fleet)
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
        found = aws("ssm").get_parameter(Name=_kept_name(fleet), WithDecryption=True)
    except botocore.exceptions.ClientError as error:
        if is_gone(error):
            return None
        raise
    value: str = found["Parameter"]["Value"]
    return value


def _kept_name(fleet: str) -> str:
    return f"{stem_of(fleet)}-key"
