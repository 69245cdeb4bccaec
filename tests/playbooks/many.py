"""Calls ansible-playbook many times in one process, which reads Ansible's own code once.

`python -m tests.playbooks.many`: each line of standard input is a call, `{"arguments": ..., "environment":
...}` as JSON; each line of standard output what came of it, `{"exit_code": ..., "output": ...}`. A call is a
fork, so that none sees what another has left. Some of Ansible's settings are read once, as this begins.
"""

from __future__ import annotations

import json
import os
import sys

from ansible.cli.playbook import PlaybookCLI
from ansible.executor import playbook_executor  # noqa: F401 - read before the forks
from ansible.plugins.strategy import linear  # noqa: F401


def main() -> None:
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
