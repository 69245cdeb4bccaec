"""The policies that kon ships, judged by a linter that knows nothing of kon: parliament, by IAM's lists."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

import pytest

from kon.backends.aws.policies import Role, policy

LINTER: Final = """\
import importlib.resources, json, sys, types, warnings

warnings.simplefilter("ignore")  # of strings and files of its own


def resource_filename(package, name):
    return str(importlib.resources.files(package) / name)


# it finds its files by a module that setuptools no longer has
sys.modules["pkg_resources"] = types.SimpleNamespace(resource_filename=resource_filename)
import parliament

documents = json.load(sys.stdin)
found = [parliament.analyze_policy_string(json.dumps(each)).findings for each in documents]
print(json.dumps([[[each.issue, each.detail] for each in some] for some in found]))
"""

ENDINGS: Final = ("Delete", "Terminate", "Deregister", "Detach")


def findings(*documents: dict[str, Any]) -> list[list[Any]]:
    """What is found in each document: pairs of an issue and its details."""
    done = subprocess.run(
        [sys.executable, "-c", LINTER],
        input=json.dumps(documents),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: list[list[Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("role", ["client", "worker"])
def test_nothing_is_found(role: Role) -> None:
    assert findings(policy(role)) == [[]]


def test_the_controller_ends_only_what_is_kons() -> None:
    """EC2's things have no names that a policy could give: what ends them asks for kon's tag."""
    document = policy("controller")
    statements = document["Statement"]
    found = findings(*({**document, "Statement": [each]} for each in statements))
    assert any(found)
    for statement, some in zip(statements, found, strict=True):
        for issue, actions in some:
            assert issue == "RESOURCE_STAR"
            ends = [each for each in actions if each.partition(":")[2].startswith(ENDINGS)]
            assert not ends or statement["Condition"] == {"StringEquals": {"aws:ResourceTag/Project": "kon"}}


def test_it_finds_what_is_wrong() -> None:
    document = policy("worker")
    first, *others = document["Statement"]
    misspelt = {**document, "Statement": [{**first, "Action": ["sqs:SendMesage"]}, *others]}
    foreign = {**document, "Statement": [{**first, "Resource": "arn:aws:s3:::kon"}, *others]}
    of_misspelt, of_foreign = findings(misspelt, foreign)
    assert [issue for issue, _ in of_misspelt] == ["UNKNOWN_ACTION"]
    assert {issue for issue, _ in of_foreign} == {"RESOURCE_MISMATCH"}
