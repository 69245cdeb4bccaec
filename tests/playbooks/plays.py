"""Playbooks for a fleet, called as a person calls them, and what they said."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PROJECT = Path(__file__).parents[2]

IMAGE = "ami-12c6146b"
"""One of those that moto comes with."""


class Play(NamedTuple):
    """What a play said, and its exit code."""

    output: str
    exit_code: int

    def count(self, what: str) -> int:
        """The sum of a column of the recap over all hosts."""
        return sum(map(int, re.findall(rf"\b{what}=(\d+)", self.output)))

    @property
    def changes(self) -> list[str]:
        """The tasks that changed something."""
        return re.findall(r"(?m)^TASK \[(.*)\] \**\n(?:(?!TASK|PLAY).*\n)*?changed:", self.output)

    @property
    def said(self) -> str:
        """Without Ansible's line breaks in long texts."""
        return " ".join(self.output.split())


class Ansible:
    """Plays without the second that each start of Ansible takes: forks of a process that has read its code.

    Some of Ansible's settings were read there, and are this project's whatever a play's environment says.
    """

    def __init__(self, home: Path) -> None:
        environment = usual_environment(home)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.playbooks.many"],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def play(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Play:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        call = {"arguments": arguments, "environment": dict(environment)}
        self._process.stdin.write(f"{json.dumps(call)}\n")
        self._process.stdin.flush()
        said = json.loads(self._process.stdout.readline())
        return Play(said["output"], said["exit_code"])

    def close(self) -> None:
        self._process.communicate()


def usual_environment(home: Path) -> dict[str, str]:
    """That of a play: the project's settings, nobody's rights, and Ansible's own files in a folder."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "AWS_"))}
    return {
        **mine,
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "ANSIBLE_HOME": str(home),
        "ANSIBLE_DEPRECATION_WARNINGS": "false",  # those of the collections, which we can't mend
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
    }


class Operator:
    """Calls playbooks. folder: for its own files. variables: what every call says. inventory: a file."""

    inventory = "inventory/kon.aws_ec2.yml"
    ansible: Ansible | None = None
    """Plays in its forks, where one is there."""

    def __init__(self, folder: Path, environment: Mapping[str, str], **variables: Any) -> None:
        self.folder = folder
        self.environment = {**usual_environment(folder / "ansible"), **environment}
        self.variables = {"ssh_key": str(folder / "keys/key"), "image_id": IMAGE, **variables}

    def command(self, playbook: str, *options: str, **variables: Any) -> list[str]:
        ansible = Path(sys.executable).with_name("ansible-playbook")
        said = json.dumps({**self.variables, **variables})
        inventory = ["-i", self.inventory]
        return [str(ansible), *inventory, f"playbooks/{playbook}.yml", "--extra-vars", said, *options]

    def play(self, playbook: str, *options: str, **variables: Any) -> Play:
        command = self.command(playbook, *options, **variables)
        if self.ansible is not None:
            return self.ansible.play(command[1:], self.environment)
        ended = subprocess.run(
            command,
            cwd=PROJECT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Play(ended.stdout, ended.returncode)

    def begin(self, playbook: str, log: Path, *options: str, **variables: Any) -> subprocess.Popen[bytes]:
        """The play as a process group of its own."""
        with log.open("wb") as output:
            return subprocess.Popen(
                self.command(playbook, *options, **variables),
                cwd=PROJECT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kon(self, *words: str) -> subprocess.CompletedProcess[str]:
        kon = Path(sys.executable).with_name("kon")
        return subprocess.run(
            [str(kon), *words],
            cwd=PROJECT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a play, and every process that it has started, at once."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
