"""How this process's memory is given back to the system."""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""As in glibc's malloc.h."""
_LARGE_BYTES: Final = 8 << 20
"""Above what an encoder of 1080p asks for again and again, which would cost it a tenth more CPU time."""
_KEPT_BYTES: Final = 32 << 20
"""That each of glibc's heaps may keep at its end: what one picture's decoder and encoder give back, those of
the next ask for again. To get it from the system again, page by page, costs a twentieth of the CPU time."""


def give_back_all() -> None:
    """Have all that is free leave this process now. For once in a while: it takes milliseconds."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def give_back_large_blocks() -> None:
    """Have blocks of 8 MiB and more leave this process as soon as they are freed, and smaller ones not.

    Left alone, glibc keeps ever larger blocks in its heaps once some have been freed. Cut up as these then
    are, a worker that meets large images ends up with half as much memory again. Other allocators have no
    such setting, and need none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
