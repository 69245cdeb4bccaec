"""One play: a command that meets a fault, and what has to be true after it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from kon.backends.emulator.strict.faults import Fault, FaultKind
from tests.edges import fleet
from tests.edges.state import left_by
from tests.edges.world import World

FILE: Final = """\
name: e
workload: {kind: sleep, count: 4, seconds: 0}
strategies: [{name: lease, lease_s: 30}]
workers: [1]
backend: {name: aws, client: boto3, depth_lag_s: 0.2}
visibility_s: 2
"""
RUN: Final = "e-lease-w1-r1"

ARGUMENTS: Final[Mapping[str, list[str]]] = {
    "up": ["up", "e.yml"],
    "run": ["run", "e.yml", "--out", "rec", "-q"],
    "submit": ["submit", "e.yml", "--out", "rec", "-q"],
    "collect": ["collect", RUN, "--root", "rec", "-q"],
    "down": ["down", "e.yml", "--root", "rec", "--force"],
    "sweep": ["sweep", "--all", "--region", fleet.REGION, "--yes"],
    "provision": [],  # see tests/edges/fleet.py
    "scale": [],
    "teardown": ["sweep", "--fleet", fleet.FLEET, "--region", fleet.REGION, "--yes"],
}
OF_FLEETS: Final = ("provision", "scale", "teardown")
BEFORE: Final = {
    **dict.fromkeys(("down", "sweep", "run"), ("up",)),
    "collect": ("submit",),
    **dict.fromkeys(("scale", "teardown"), ("provision",)),
}
"""Commands that have gone well when the faulted one begins."""

LEAVES: Final = frozenset({"collect"})
"""Commands that find processes at work, which no snapshot keeps."""

GOES_ON: Final = {"up": "run", "submit": "collect"}
"""The command that takes up what this one has begun, and ends it."""

THEN: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("up", "run", "submit", "collect", "down"), ("down", "sweep")),
    **dict.fromkeys(("provision", "scale"), ("teardown",)),
}
"""What ends all, once it has been gone on with."""

DOCUMENTED: Final = frozenset({0, 1, 2, 3, 5, 130})
LONGEST_S: Final = 120.0
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
    """hits: calls that the fault has met."""

    code: int
    said: str
    hits: int = 0


class Outcome(msgspec.Struct):
    """What is wrong after a play, and whether its fault was met at all.

    states: what was gone on with, and from what; see tests/edges/state.py.
    cut: the last of them was known, and what comes after it was not played again.
    """

    wrong: list[str] = []
    met: bool = False
    states: list[str] = []
    cut: bool = False

    def is_known(self, world: World, folder: Path, next: str, known: frozenset[str]) -> bool:
        """Whether another play has come to this state, and gone on with the same."""
        state = left_by(world, folder)
        if state:
            self.states.append(f"{next}: {state}")
            self.cut = self.states[-1] in known
        return self.cut


def do(world: World, folder: Path, command: str, play: Play | None = None) -> Done:
    """A command in a forked process, which is quicker than a new one."""
    said = folder / "said"
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(folder, said, ready, command)
    os.close(ready)
    if play is not None:
        world.meet(Fault(play.call, play.kind, play.nth, times=0 if play.for_good else 1, pid=pid))
    os.write(go, b"x")
    os.close(go)
    status = world.account.serve(pid, LONGEST_S)
    if status is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return Done(-1, f"it goes on after {LONGEST_S:.0f} s; {said.read_text(errors='replace')}")
    hits = 0
    if play is not None:
        hits = world.hits()
        world.meet(None)
    words = said.read_text(errors="replace") if said.exists() else ""
    return Done(os.waitstatus_to_exitcode(status), words, hits)


def begin(world: World, folder: Path, command: str) -> None:
    """What a command finds."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "e.yml").write_text(FILE)
    world.begin(other_fleets=command in OF_FLEETS)
    for each in BEFORE.get(command, ()):
        done = do(world, folder, each)
        assert done.code == 0, done.said


def played(world: World, folder: Path, play: Play, known: frozenset[str] = frozenset()) -> Outcome:
    """What is wrong after the fault, after the same command again, after that the run is ended by, after
    `down`, and after `sweep`: in this order, as a `down` before would hide what is left.

    known: states that other plays went on from. What comes after them has been seen.
    """
    command = play.command
    first = do(world, folder, command, play)
    outcome = Outcome(met=first.hits > 0)
    found = outcome.wrong
    found += [f"after the fault: {each}" for each in _of_what_is_said(first, play.kind)]
    found += [f"after the fault: {each}" for each in world.foreign_changes()]
    # what a process that was killed has begun may be named by nobody but a later command
    if first.code == 0 and command in ("run", "collect", "down", "sweep", "teardown"):
        found += [f"exit 0, and {each}" for each in world.left()]
    again = f"{command} again"
    if outcome.is_known(world, folder, again, known):
        return outcome
    _well(world, folder, command, again, found)
    if command in GOES_ON:
        _well(world, folder, GOES_ON[command], f"then {GOES_ON[command]}", found)
    if command in ("run", "collect", *GOES_ON):
        found += _of_the_record(folder)
    if command in ("provision", "scale"):
        hosts = world.hosts()
        found += [] if len(hosts) == 1 else [f"there are {len(hosts)} hosts, not 1"]
    elif command != "sweep":
        found += [f"after {again}: {each}" for each in world.left()]
    found += [f"after {again}: {each}" for each in world.foreign_changes()]
    for each in THEN.get(command, ()):
        if outcome.is_known(world, folder, f"then {each}", known):
            return outcome
        _well(world, folder, each, f"then {each}", found)
        found += [f"after {each}: {thing}" for thing in world.left(bucket_too=each != "down")]
    found += [f"at the end: {each}" for each in world.foreign_changes()]
    return outcome


def _well(world: World, folder: Path, command: str, words: str, found: list[str]) -> None:
    done = do(world, folder, command)
    if done.code != 0:
        found.append(f"{words}: exit {done.code}: {_last_line(done)}")


def _of_the_record(folder: Path) -> list[str]:
    """The run has ended, and each of its tasks is done."""
    summary = folder / "rec" / RUN / "summary.json"
    if not summary.exists():
        return ["the run is not recorded to its end"]
    row = json.loads(summary.read_bytes())
    return [] if row["done"] == row["tasks"] == 4 else [f"of 4 tasks {row['done']} are done"]


def _child(folder: Path, said: Path, ready: int, command: str) -> NoReturn:
    try:
        os.read(ready, 1)
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - the parent's may be a test's
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        os.chdir(folder)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _hurry(in_one_process=command not in ("submit", "collect"))
        sys.argv = ["kon", *ARGUMENTS[command]]
        code = 0
        try:
            if command in fleet.COMMANDS:
                fleet.main(command)
            else:
                from kon.cli.program import main

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


def _hurry(in_one_process: bool) -> None:
    """Pauses that are for Amazon, and patience that is for outages, shortened.

    in_one_process: workers are in this process too, which spares a start. What is submitted outlives it.
    """
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
    # its patience by a clock that its own pauses move: a busy machine is no slow Amazon
    slept_s = [0.0]

    def pause(seconds: float) -> None:
        slept_s[0] += seconds

    removed: Any = sweep.remove
    removed.__wrapped__.__kwdefaults__ |= {
        "patience_s": 20.0,
        "now_s": lambda: slept_s[0],
        "sleep": pause,
    }
    AwsBackend.processes = not in_one_process


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
