"""Sentries: small processes that wait for the end of another one, and end what it left.

A process that is killed by SIGKILL can't clean up after itself. Its sentry, a POSIX shell, reads from a pipe
whose other end only that process holds. The kernel closes the pipe however the process ends. A sentry that is
dismissed before that does nothing.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from kon.core import scratch
from kon.core.errors import ConfigurationError

_SHELL: Final = "/bin/sh"

_OF_WORKER: Final = r"""
read -r word
for again in 1 2; do
    for stat in /proc/[0-9]*/stat; do
        read -r line <"$stat" || continue
        pid=${line%% *}
        set -- ${line##*) }
        if [ "$4" = "$SESSION" ] && { [ "$3" = "$pid" ] || [ "$3" = "$SESSION" ]; }; then
            kill -s KILL -- "-$3"
        fi
    done
done
rm -rf -- "${SCRATCH:?}"*
"""
"""Kills the commands of a worker that leads the session $SESSION, and removes its working folders.

A line of /proc/PID/stat is `pid (name) state parent group session ...`; the name may hold anything. A command
that runs leads its group. A group whose leader has ended is what a finished command left running: `sh -c
'server &'` has ended, and `server` is meant to go on. The sentry looks twice, as the worker may have been
killed in the moment in which it started a command that did not lead its group yet.

On systems without /proc, such as macOS, it kills nothing.
"""

_OF_FOLDER: Final = """
read -r word
rm -rf -- "${FOLDER:?}"
"""


class Sentry:
    """A sentry on duty."""

    def __init__(self, script: str, **variables: str) -> None:
        """Raises ConfigurationError where no shell can be started."""
        reads, self.lifeline = os.pipe()  # neither is inherited, unless somebody is handed it on purpose
        try:
            self._process = subprocess.Popen(
                [_SHELL, "-c", script],
                stdin=reads,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **variables},
                start_new_session=True,  # it has to outlive whatever is killed here
            )
        except OSError as error:
            os.close(self.lifeline)
            raise ConfigurationError(
                f"{_SHELL} can't be started: {error.strerror}. kon needs it to end what a killed "
                "process leaves"
            ) from error
        finally:
            os.close(reads)

    def dismiss(self) -> None:
        """End it: there is nothing left for it to do."""
        self._process.kill()
        self._process.wait()
        os.close(self.lifeline)


def over_commands() -> Sentry:
    """A sentry over the commands and working folders of this process, which leads its session."""
    return Sentry(_OF_WORKER, SESSION=str(os.getpid()), SCRATCH=scratch.own_prefix())


def over_folder(folder: Path) -> Sentry:
    """A sentry that removes a folder once no process holds its `lifeline` any more."""
    return Sentry(_OF_FOLDER, FOLDER=str(folder))
