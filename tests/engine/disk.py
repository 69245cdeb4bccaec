"""Disks as they may be after a power cut: what was not synced is gone, or some of it is there, in any mix.

`strace` writes down each write and each wait for the disk of a process; files are put together from that.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

_CALLS: Final = "write,writev,pwrite64,pwritev,ftruncate,fsync,fdatasync,msync,rename,unlink,unlinkat"
_KNOWN: Final = {"write", "pwrite64", "ftruncate", "fsync", "fdatasync", "unlink"}
_LINE: Final = re.compile(r'(\w+)\((?:\d+<(?P<fd>[^>]*)>|"(?P<name>[^"]*)")(?:, )?(?P<rest>.*)\) += (-?\d+)')
_BEGUN: Final = " <unfinished ...>"
_ENDED: Final = re.compile(r"<\.\.\. \w+ resumed>(.*)")


class Op(msgspec.Struct, frozen=True):
    """What happened to a file. at: of the data; the new size where it was cut off; None for its end."""

    call: str
    file: str
    at: int | None = None
    data: bytes = b""


def can_trace() -> bool:
    """Whether processes of this machine may be looked at."""
    strace = shutil.which("strace")
    return strace is not None and subprocess.run([strace, "-o", "/dev/null", "true"]).returncode == 0


def traced(command: Sequence[str], folder: Path, notes: Path, cwd: Path) -> list[Op]:
    """Run a command; what it did to the files below a folder, in order."""
    strace = ["strace", "-f", "-y", "-xx", "-s", "10000000", "-e", f"trace={_CALLS}", "-o", str(notes)]
    subprocess.run([*strace, *command], cwd=cwd, check=True)
    return list(_ops(notes.read_text().splitlines(), f"{folder}/"))


def _ops(lines: Sequence[str], prefix: str) -> Iterator[Op]:
    begun: dict[str, str] = {}
    for line in lines:
        pid, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith(_BEGUN):
            begun[pid] = text.removesuffix(_BEGUN)
            continue
        if ended := _ENDED.match(text):
            text = begun.pop(pid) + ended[1]
        found = _LINE.match(text)
        if found is None:
            continue
        call, name = found[1], _bytes(found["fd"] or found["name"]).decode()
        if not name.startswith(prefix) or name.endswith("-shm"):
            continue
        assert call in _KNOWN, f"{call} of {name}: say what it does to the disk"
        yield _op(call, name.removeprefix(prefix), found["rest"])


def _op(call: str, file: str, rest: str) -> Op:
    if call == "ftruncate":
        return Op(call, file, int(rest))
    if call not in ("write", "pwrite64"):
        return Op(call, file)
    data, _, numbers = rest[1:].partition('", ')
    at = int(numbers.split(", ")[1]) if call == "pwrite64" else None
    return Op(call, file, at, _bytes(data))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def after_a_cut(ops: Sequence[Op], draw: random.Random | None = None) -> dict[str, bytes]:
    """The files, where the power goes after these. draw: picks some of what was not synced, which is there.

    A file of which nothing was synced is not there, unless some of it is.
    """
    synced = {op.file: at for at, op in enumerate(ops) if op.call in ("fsync", "fdatasync")}
    files: dict[str, bytearray] = {}
    for at, op in enumerate(ops):
        if at > synced.get(op.file, -1):
            if draw is None or draw.random() < 0.5:
                continue
            if op.data and draw.random() < 0.3:
                op = msgspec.structs.replace(op, data=op.data[: draw.randrange(len(op.data))])
        if op.call == "unlink":
            files.pop(op.file, None)
        elif op.call == "ftruncate":
            content = files.setdefault(op.file, bytearray())
            content[:] = content[: op.at].ljust(op.at or 0, b"\0")
        elif op.data:
            content = files.setdefault(op.file, bytearray())
            start = len(content) if op.at is None else op.at
            content.extend(bytes(max(0, start - len(content))))
            content[start : start + len(op.data)] = op.data
    return {file: bytes(content) for file, content in files.items()}
