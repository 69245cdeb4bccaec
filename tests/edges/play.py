"""One play: a command that meets a fault, and what has to be true after it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from kon.backends.emulator.strict.faults import Fault, FaultKind
from tests.edges.world import BUCKET, World, differences

FILE: Final = """\
name: e
workload: {kind: sleep, count: 4, seconds: 0}
strategies: [{name: lease, lease_s: 30}]
workers: [1]
backend: {name: aws, client: boto3, depth_lag_s: 0.2}
visibility_s: 2
"""

ARGUMENTS: Final = {
    "up": ["up", "e.yml"],
    "run": ["run", "e.yml", "--out", "rec", "-q"],
    "down": ["down", "e.yml", "--root", "rec", "--force"],
    "sweep": ["sweep", "--all", "--region", "us-east-1", "--yes"],
}
BEFORE: Final = {"up": (), "run": ("up",), "down": ("up",), "sweep": ("up",)}
"""Commands that have gone well when the faulted one begins."""

DOCUMENTED: Final = frozenset({0, 1, 2, 3, 5, 130})
LONGEST_S: Final = 60.0
_DEADLY: Final = frozenset({"killed", "killed_after"})


class Play(msgspec.Struct, frozen=True):
    """command: of ARGUMENTS. call, nth: where the fault is. for_good: at all later calls of the name too."""

    command: str
    kind: FaultKind
    call: str
    nth: int = 1
    for_good: bool = False

    def __str__(self) -> str:
        return (
            f"{self.command}: {self.kind}{' for good' if self.for_good else ''} at {self.call} no. {self.nth}"
        )


class Done(msgspec.Struct, frozen=True):
    code: int
    said: str


def do(world: World, folder: Path, command: str, play: Play | None = None) -> Done:
    """A command in a forked process, which is quicker than a new one."""
    said = folder / "said"
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(folder, said, ready, ARGUMENTS[command])
    os.close(ready)
    if play is not None:
        world.meet(Fault(play.call, play.kind, play.nth, times=0 if play.for_good else 1, pid=pid))
    os.write(go, b"x")
    os.close(go)
    give_up_s = time.monotonic() + LONGEST_S
    status = None
    while status is None and time.monotonic() < give_up_s:
        ended, word = os.waitpid(pid, os.WNOHANG)
        status = word if ended else None
        time.sleep(0.005)
    if status is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return Done(-1, f"it goes on after {LONGEST_S:.0f} s; {said.read_text(errors='replace')}")
    if play is not None:
        world.meet(None)
    return Done(os.waitstatus_to_exitcode(status), said.read_text(errors="replace"))


def begin(world: World, folder: Path, command: str) -> None:
    """What a command finds."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "e.yml").write_text(FILE)
    world.begin()
    for each in BEFORE[command]:
        done = do(world, folder, each)
        assert done.code == 0, done.said


def faults_of(world: World, folder: Path, play: Play) -> list[str]:
    """What is wrong after it."""
    begin(world, folder, play.command)
    before = _foreign(world)
    first = do(world, folder, play.command, play)
    found = [f"after the fault: {each}" for each in _of_what_is_said(first, play.kind)]
    found += [f"after the fault: {each}" for each in _foreign_changed(before, world)]
    # what a process that was killed has begun may be named by nobody but a later command
    if first.code == 0 and play.command in ("run", "down", "sweep"):
        found += [f"exit 0, and {each}" for each in _left(world)]
    again = do(world, folder, play.command)
    if again.code != 0:
        found.append(f"the same command again: exit {again.code}: {_last_line(again)}")
    elif play.command != "up":
        found += [f"after the same command again: {each}" for each in _left(world)]
    down = do(world, folder, "down")
    if down.code != 0:
        found.append(f"then down: exit {down.code}: {_last_line(down)}")
    found += [f"after down: {each}" for each in _left(world)]
    found += [f"at the end: {each}" for each in _foreign_changed(before, world)]
    return found


def _child(folder: Path, said: Path, ready: int, arguments: list[str]) -> NoReturn:
    try:
        os.read(ready, 1)
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - the parent's may be a test's
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        os.chdir(folder)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _hurry()
        sys.argv = ["kon", *arguments]
        code = 0
        try:
            from kon.cli.group import main

            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
            code = 99
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code & 255)
    except BaseException:
        os._exit(98)


def _hurry() -> None:
    """Pauses that are for Amazon, and patience that is for outages, shortened; workers in this process."""
    import botocore.endpoint

    import kon.fleet.sweep as sweep
    from kon.backends.aws import AwsBackend, things

    class NoSleep:
        time = staticmethod(time.time)

        @staticmethod
        def sleep(seconds: float) -> None:
            return

    botocore.endpoint.time = NoSleep
    things.FIRST_PAUSE_S = 0.002  # type: ignore[misc]
    things.CHANGE_S = 1.0  # type: ignore[misc]
    things.Things.__init__.__defaults__ = (1.0,)
    sweep._PAUSE_S = 0.02  # type: ignore[misc]
    removed: Any = sweep.remove
    removed.__wrapped__.__kwdefaults__["patience_s"] = 1.0
    AwsBackend.processes = False


def _of_what_is_said(done: Done, kind: str) -> list[str]:
    if kind in _DEADLY and done.code == -signal.SIGKILL:
        return []
    found = []
    if done.code not in DOCUMENTED:
        found.append(f"exit {done.code}, which is not documented: {_last_line(done)}")
    if "Traceback" in done.said:
        found.append(f"a traceback: {_last_line(done)}")
    if done.code not in (0, -1) and "kon: " not in done.said:
        found.append(f"exit {done.code}, and no line that says why")
    return found


def _last_line(done: Done) -> str:
    return (done.said.strip().splitlines() or [""])[-1][:300]


def _foreign(world: World) -> dict[str, dict[str, Any]]:
    return {
        kind: {n: v for n, v in things.items() if not _is_ours(n)} for kind, things in world.seen().items()
    }


def _foreign_changed(before: dict[str, dict[str, Any]], world: World) -> list[str]:
    return [f"not kon's, and {each}" for each in differences(before, _foreign(world))]


def _left(world: World) -> list[str]:
    """What is kon's and still there: not the bucket, which stays, but what is in it."""
    found = []
    for kind, things in world.seen().items():
        for name, seen in things.items():
            if name == BUCKET:
                found += [f"left: object {key}" for key in seen[2]]
            elif _is_ours(name):
                found.append(f"left: {kind} {name}")
    return found


def _is_ours(name: str) -> bool:
    return name.startswith("kon-e-lease") or name == BUCKET
