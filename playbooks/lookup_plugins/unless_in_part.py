"""unless_in_part: a pattern of hosts; stops at options of Ansible's that begin a playbook in its midst.

Ansible ends with 0 where no task has the name that --start-at-task says, and with a traceback where --step
asks and its input has ended: both before a playbook's first task.
"""

from __future__ import annotations

import sys
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: unless_in_part
short_description: Gives back what it is given, unless a playbook is begun in its midst
description: Stops before the first task at --start-at-task, and at --step where stdin is no terminal.
options:
  _terms:
    description: A pattern of hosts.
    required: true
author: kon contributors
"""

EXAMPLES = """
- hosts: "{{ lookup('unless_in_part', 'all') }}"
"""

RETURN = """
_raw:
  description: The pattern.
  type: list
  elements: str
"""


class LookupModule(LookupBase):  # type: ignore[misc]
    def run(self, terms: list[str], variables: Any = None, **options: Any) -> list[str]:
        if context.CLIARGS.get("start_at_task"):
            raise AnsibleError(
                "--start-at-task leaves out the checks, by which all else goes: a playbook that is called "
                "again goes on by itself. Nothing was changed"
            )
        if context.CLIARGS.get("step") and not sys.stdin.isatty():
            raise AnsibleError("--step asks before each task, and there is no terminal. Nothing was changed")
        return terms
