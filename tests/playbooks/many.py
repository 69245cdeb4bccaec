"""Calls ansible-playbook many times in one process, which reads Ansible's own code once.

`python -m tests.playbooks.many`: each line of standard input is a call, `{"arguments": ..., "environment":
...}` as JSON; each line of standard output what came of it, `{"exit_code": ..., "output": ...}`. A call is a
fork, so that none sees what another has left. Some of Ansible's settings are read once, as this begins.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from typing import Final

import ansible.cli
from ansible.cli.playbook import PlaybookCLI
from ansible.plugins import loader

MODULES: Final = (
    "ansible.executor.playbook_executor",
    "ansible.plugins.strategy.linear",
    # of the inventory and the lookups that ask Amazon: half of what a play takes that ends at its first task
    *("boto3.session", "boto3.resources.factory", "botocore.args", "botocore.client", "botocore.handlers"),
    *("botocore.retries.standard", "s3transfer.manager"),
    *("multiprocessing.managers", "multiprocessing.pool", "pty", "tomllib", "xmltodict"),
)
"""What plays import, read before the forks."""

PLUGINS: Final = (
    *("action", "become", "cache", "callback", "connection"),
    *("filter", "inventory", "lookup", "shell", "test"),
)
"""Kinds of plug-ins, read likewise. Each task is a fork of its play's, and read all filters for itself."""


def main() -> None:
    for name in MODULES:
        importlib.import_module(name)
    loader.init_plugin_loader()
    ansible.cli.init_plugin_loader = lambda paths: None  # it has been done
    for kind in PLUGINS:
        list(getattr(loader, f"{kind}_loader").all(class_only=True))
    gc.freeze()  # no fork copies what is there already to look through it
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            os._exit(called(**json.loads(line)))
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            output = stream.read().decode(errors="replace")
        _, status = os.waitpid(child, 0)
        said = {"exit_code": os.waitstatus_to_exitcode(status), "output": output}
        print(json.dumps(said), flush=True)


def called(arguments: list[str], environment: dict[str, str]) -> int:
    code = 1
    os.environ.clear()
    os.environ.update(environment)
    try:
        PlaybookCLI.cli_executor(["ansible-playbook", *arguments])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return code


if __name__ == "__main__":
    main()
