"""carry: copies files to a host and runs a script there, in a round trip each, without a module there.

`copy`, `unarchive` and `command` do the same in seven, each with a Python that is started on every host.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]
    """files: on the controller. script: for /bin/sh there, which gets the copies' names as $1, $2 and so on.

    bring: a file that the script writes to the path in $BRING, and its name on the controller.

    The copies are removed at the end, however that came. The last line `changed` of what the script prints
    says that it has changed something. In check mode it is not run, and counts as a change unless
    `only_looks`.
    """

    supports_check_mode = True
    TRANSFERS_FILES = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            {
                "files": {"type": "list", "elements": "path", "default": []},
                "script": {"type": "str", "required": True},
                "bring": {"type": "path"},
                "only_looks": {"type": "bool", "default": False},
            }
        )
        if self._task.check_mode:
            result.update(changed=not args["only_looks"], skipped=args["only_looks"])
            return result
        stem = f"/tmp/kon-{secrets.token_hex(8)}"
        copies = [f"{stem}-{number}" for number in range(len(args["files"]))]
        if copies:  # others could read what is in them, and be faster with a link of that name
            make = f"umask 077; set -C; for each in {' '.join(copies)}; do : >$each; done"
            made = self._low_level_execute_command(make, sudoable=False)
            if made["rc"] != 0:
                result.update(failed=True, msg=f"/tmp can't be written: {made['stderr'].strip()}")
                return result
        for file, copy in zip(args["files"], copies):
            self._connection.put_file(file, copy)
        brought = f"{stem}-out"
        clean = f"[ $? = 0 ] || rm -f {brought}; rm -f {' '.join(copies)}"
        script = f"trap '{clean}' EXIT\nBRING={brought}\n{args['script']}"
        said = self._low_level_execute_command(f"/bin/sh -s -- {' '.join(copies)}", in_data=script.encode())
        result.update(rc=said["rc"], stdout=said["stdout"], stderr=said["stderr"])
        lines = said["stdout"].strip().splitlines()
        result["changed"] = bool(lines) and lines[-1] == "changed"
        if said["rc"] != 0:
            words = [line for line in said["stderr"].strip().splitlines() if line] or lines
            result.update(failed=True, msg=words[-1] if words else f"exit code {said['rc']}")
        elif args["bring"]:
            self._fetch(brought, Path(args["bring"]))
        return result

    def _fetch(self, there: str, here: Path) -> None:
        here.parent.mkdir(parents=True, exist_ok=True)
        fresh = here.with_name(f".{here.name}.new")
        self._connection.fetch_file(there, str(fresh))
        fresh.replace(here)
        self._low_level_execute_command(f"rm -f {there}")
