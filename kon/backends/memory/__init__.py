"""The backend `memory`: queues, ledger and objects in this process.

Nothing is kept when the process ends. Time is the running loop's, so that the same code runs under
a virtual clock.
"""

from kon.backends.memory.backend import MemoryBackend

__all__ = ["MemoryBackend"]
