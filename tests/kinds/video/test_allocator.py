"""What large images took in memory is given back."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import ctypes, sys
from kon.kinds.video.room import give_back_large_blocks
if sys.argv[1] == "given back":
    give_back_large_blocks()
libc, large = ctypes.CDLL(None), 24 << 20
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def resident_mb():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024

libc.free(libc.malloc(large))  # the first one freed raises glibc's own limit
before = resident_mb()
block, above = libc.malloc(large), libc.malloc(100_000)
ctypes.memset(block, 1, large)
libc.free(block)
print(resident_mb() - before)
"""


AGAIN = """
import ctypes, resource, sys
from kon.kinds.video.room import give_back_large_blocks
libc, frame = ctypes.CDLL(None), 3 << 20
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.mallopt(-3, 8 << 20)  # blocks of a frame's size come from a heap
if sys.argv[1] == "kept":
    give_back_large_blocks()

def use():
    block = libc.malloc(frame)
    ctypes.memset(block, 1, frame)
    libc.free(block)

use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def found(program: str, how: str) -> float:
    ended = subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True, check=True)
    return float(ended.stdout)


needs_glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt") or not Path("/proc/self/status").exists(),
    reason="the C library of this system is not glibc",
)


@needs_glibc
def test_large_blocks_leave_the_process_as_soon_as_they_are_freed() -> None:
    assert found(PROGRAM, "left alone") > 20, "glibc no longer keeps them: the setting may go"
    assert found(PROGRAM, "given back") < 4


@needs_glibc
def test_what_a_picture_took_is_there_for_the_next() -> None:
    assert found(AGAIN, "left alone") > 10, "glibc keeps it by itself: the setting may go"
    assert found(AGAIN, "kept") == 0
