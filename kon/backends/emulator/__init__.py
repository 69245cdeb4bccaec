"""Amazon's services on this machine, for trials: MiniStack or moto, each a process of its own.

Nothing here is fit to keep anybody's work: state is in memory and ends with the server.
docs/emulators.md says what each gets wrong.
"""

from kon.backends.emulator.emulator import KINDS, Emulator, Kind, started

__all__ = ["KINDS", "Emulator", "Kind", "started"]
