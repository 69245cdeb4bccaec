"""Amazon's services on this machine, for trials: MiniStack or moto, each a process of its own.

Nothing here is fit to keep anybody's work: state is in memory and ends with the server.
docs/emulators.md says what each gets wrong.
"""

from kon.backends.emulator.emulator import KEY_ID, KINDS, Emulator, Kind, started
from kon.backends.emulator.strict import Settings

__all__ = ["KEY_ID", "KINDS", "Emulator", "Kind", "Settings", "started"]
