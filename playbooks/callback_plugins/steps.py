"""steps: a line for each play that did something, with how long it took. `make run` shows it.

Failures look as Ansible's own callback shows them, its recap included.
"""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.callback.default import CallbackModule as Default

DOCUMENTATION = """
    name: steps
    type: stdout
    short_description: a line for each play, with its seconds
    description: A line for each play that did something, with how long it took, and whatever fails.
    extends_documentation_fragment:
      - default_callback
      - result_format_callback
"""


class CallbackModule(Default):  # type: ignore[misc]
    """The last play has no line: it ends with what it shows."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "steps"

    def __init__(self) -> None:
        super().__init__()
        self._began_s = time.monotonic()
        self._name = ""  # of the play that is under way; empty between plays

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._say_ended()
        self._play, self._name = play, play.get_name().strip()
        self._began_s = time.monotonic()

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._name = ""

    def v2_runner_on_ok(self, result: Any) -> None:
        if self._display.verbosity:
            super().v2_runner_on_ok(result)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        if self._display.verbosity:
            super().v2_playbook_on_include(included_file)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if stats.failures or stats.dark:
            super().v2_playbook_on_stats(stats)

    def _say_ended(self) -> None:
        if self._name:
            self._display.display(f"{time.monotonic() - self._began_s:6.1f} s  {self._name}")
        self._name = ""
