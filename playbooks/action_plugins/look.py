"""look: waits until a host answers, and says what it is and has, in one round trip, with no module there."""

from __future__ import annotations

import json
import shlex
import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

PAUSE_S = 1.0

SCRIPT = """
import json, os, platform, subprocess, sys
home, packages = json.loads(sys.argv[1])
def lacks(package):
    asked = ["dpkg-query", "-W", "-f=${db:Status-Status}", package]
    return subprocess.run(asked, capture_output=True, text=True).stdout != "installed"
current = os.path.basename(os.path.realpath(os.path.join(home, "current")))
there = os.path.exists(os.path.join(home, current, "installed"))
print(json.dumps({
    "python": "%d.%d" % sys.version_info[:2],
    "machine": platform.machine(),
    "installed": current if there else "",
    "missing": [package for package in packages if lacks(package)],
}))
"""


class ActionModule(ActionBase):  # type: ignore[misc]
    """home: the folder of kon there. packages: which of the distribution's are wanted. up_s: how long it may
    take to answer.

    Returns `python` ("3.11"), `machine` ("x86_64"), `installed` (the digest of what is there, or ""), and
    the packages that are `missing`. Changes nothing, and so does the same in check mode.
    """

    supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            {
                "home": {"type": "path", "required": True},
                "packages": {"type": "list", "elements": "str", "default": []},
                "up_s": {"type": "int", "required": True},
            }
        )
        command = f"python3 - {shlex.quote(json.dumps([args['home'], args['packages']]))}"
        give_up_s = time.monotonic() + args["up_s"]
        while True:
            try:
                said = self._low_level_execute_command(command, sudoable=False, in_data=SCRIPT.encode())
                break
            except AnsibleConnectionFailure as error:
                if time.monotonic() > give_up_s:
                    result.update(
                        failed=True, msg=f"it does not answer by SSH within {args['up_s']} s: {error}"
                    )
                    return result
            time.sleep(PAUSE_S)
            self._connection.reset()
        try:
            result.update(json.loads(said["stdout"].strip().splitlines()[-1]))
        except (IndexError, ValueError):
            result.update(
                failed=True,
                msg=f"python3 does not run there: {said['stderr'].strip() or said['stdout'].strip()}",
            )
        return result
