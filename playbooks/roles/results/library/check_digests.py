#!/usr/bin/python
"""check_digests: compares files with the SHA-256 that was printed for them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: check_digests
short_description: Compares files with the SHA-256 that was printed for them
description:
  - A line with 64 hexadecimal digits and, after them and up to its end, an absolute path is about that file.
  - Changes nothing.
options:
  text:
    description: The lines.
    type: str
    required: true
author: kon contributors
"""

EXAMPLES = """
- name: Compare what was recorded with the files themselves
  check_digests:
    text: "{{ printed.stdout }}"
"""

RETURN = """
checked:
  description: How many files were compared.
  type: int
  returned: always
wrong:
  description: What is wrong, a line for each file.
  type: list
  elements: str
  returned: always
"""

LINE = re.compile(r"(?m)^.*\b([0-9a-f]{64})\b.*? (/.+)$")


def problem(digest: str, path: Path) -> str | None:
    """What is wrong with a file, if anything is."""
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return f"{path}: can't be read: {error.strerror}"
    if found == digest:
        return None
    return f"{path}: has SHA-256 {found}, and {digest} was recorded; it has changed since, or that is wrong"


def main() -> None:
    module = AnsibleModule(
        argument_spec={"text": {"type": "str", "required": True}}, supports_check_mode=True
    )
    lines = LINE.findall(module.params["text"])
    wrong = [found for digest, path in lines if (found := problem(digest, Path(path))) is not None]
    module.exit_json(changed=False, checked=len(lines), wrong=wrong)


if __name__ == "__main__":
    main()
