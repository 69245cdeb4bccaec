"""unless_unasked: a pattern of hosts; stops where --step would ask, and nobody is there to answer.

Ansible asks before a playbook's first task, and ends with a traceback where its input has ended.
"""

from __future__ import annotations

import sys
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: unless_unasked
short_description: Gives back what it is given, unless --step has nobody to ask
description: Stops before the first task where --step is said and standard input is no terminal.
options:
  _terms:
    description: A pattern of hosts.
    required: true
author: kon contributors
"""

EXAMPLES = """
- hosts: "{{ lookup('unless_unasked', 'all') }}"
"""

RETURN = """
_raw:
  description: The pattern.
  type: list
  elements: str
"""


class LookupModule(LookupBase):  # type: ignore[misc]
    def run(self, terms: list[str], variables: Any = None, **options: Any) -> list[str]:
        if context.CLIARGS.get("step") and not sys.stdin.isatty():
            raise AnsibleError("--step asks before each task, and there is no terminal. Nothing was changed")
        return terms
