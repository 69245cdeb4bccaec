#!/usr/bin/python
"""unpacked: unpacks all archives of a folder beside them."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: unpacked
short_description: Unpacks all archives of a folder, each into a folder of its name
description:
  - One task, however many hosts there are. Says of no change, as it is the way to something, not the thing.
options:
  folder:
    description: Where the archives (C(.tgz)) are. It may be missing.
    type: path
    required: true
author: kon contributors
"""

EXAMPLES = """
- name: Unpack what came
  unpacked:
    folder: /src/kon/.kon/fetched/r1
"""

RETURN = """
folders:
  description: One for each archive.
  type: list
  elements: str
  returned: always
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={"folder": {"type": "path", "required": True}}, supports_check_mode=True
    )
    folders = []
    for archive in sorted(Path(module.params["folder"]).glob("*.tgz")):
        place = archive.with_suffix("")
        if not module.check_mode:
            # what is there came from an earlier archive, perhaps of earlier runs
            shutil.rmtree(place, ignore_errors=True)
            try:
                with tarfile.open(archive) as tar:
                    tar.extractall(place, filter="data")
            except (OSError, tarfile.TarError) as error:
                module.fail_json(
                    msg=f"{archive}: what a host has recorded can't be unpacked: {error}; fetch it again"
                )
        folders.append(str(place))
    module.exit_json(changed=False, folders=folders)


if __name__ == "__main__":
    main()
