"""look: waits until a host answers, and says what it is and has, in one round trip, with no module there."""

from __future__ import annotations

import json
import shlex
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

PROJECT = Path(__file__).parents[2]

PAUSE_S = 1.0

SCRIPT = """
import json, os, platform, shutil, subprocess, sys
home, packages = json.loads(sys.argv[1])
def lacks(package):
    asked = ["dpkg-query", "-W", "-f=${db:Status-Status}", package]
    return subprocess.run(asked, capture_output=True, text=True).stdout != "installed"
current = os.path.basename(os.path.realpath(os.path.join(home, "current")))
has_apt = shutil.which("dpkg-query") is not None
there = os.path.exists(os.path.join(home, current, "installed"))
print(json.dumps({
    "python": "%d.%d" % sys.version_info[:2],
    "machine": platform.machine(),
    "installed": current if there else "",
    "missing": [package for package in packages if not has_apt or lacks(package)],
    "has_apt": has_apt,
}))
"""


class ActionModule(ActionBase):  # type: ignore[misc]
    """home: the folder of kon there. packages: which of the distribution's are wanted. up_s: how long it may
    take to answer.

    Returns `python` ("3.11"), `machine` ("x86_64"), `installed` (the digest of what is there, or ""), and
    the packages that are `missing`. Fails where kon can't be installed on such a host. Changes nothing, and
    so does the same in check mode.
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
        if why := unfit(result):
            result.update(failed=True, msg=why)
        return result


def unfit(seen: Mapping[str, Any]) -> str:
    """Why a host can be no worker; empty where it can. Amazon Linux 2023 is such a host, for both reasons."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    least = str(project["requires-python"]).removeprefix(">=")
    if [int(part) for part in seen["python"].split(".")] < [int(part) for part in least.split(".")]:
        return f"its python3 is {seen['python']}, and kon needs {least} or newer: take another image"
    if seen["missing"] and not seen["has_apt"]:
        wanted = ", ".join(seen["missing"])
        return f"it has no apt, by which {wanted} would be installed: take another image, or -e packages=[]"
    return ""
