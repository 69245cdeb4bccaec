"""Processes that are stopped: each goes with all that it started, and leaves nothing open."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from kon.kinds import spawn
from kon.kinds.shell import Shell
from kon.kinds.spawn import Child, Spawner
from kon.kinds.start import let_go
from tests.kinds.running import LIMIT_S, attempt, fifo, nothing_left
from tests.kinds.spawning import both_ways, cancelled, run, start


@both_ways
def test_a_cancelled_command_goes_with_all_that_it_started(use_pidfd: bool, tmp_path: Path) -> None:
    async def use(spawner: Spawner) -> None:
        async with fifo(tmp_path) as pipe:
            task = start(
                spawner, 'exec 3>"$FIFO"; sleep 1000 & (sleep 1000; :) & echo up >&3; wait', FIFO=pipe.path
            )
            assert await pipe.line() == "up"
            await cancelled(task)
            await pipe.end()

    run(use_pidfd, use)


@both_ways
def test_a_cancelled_command_may_clear_up(use_pidfd: bool, tmp_path: Path) -> None:
    """Its child too: a shell dies of SIGTERM at once, while what it started still writes its last."""
    child = 'trap "sleep 0.1; echo saved >&3; exit" TERM; echo up >&3; while :; do sleep 0.05; done'

    async def use(spawner: Spawner) -> None:
        async with fifo(tmp_path) as pipe:
            task = start(spawner, 'exec 3>"$FIFO"; sh -c "$CHILD"; echo no', FIFO=pipe.path, CHILD=child)
            assert await pipe.line() == "up"
            await cancelled(task)
            assert await pipe.line() == "saved"
            await pipe.end()

    run(use_pidfd, use)


@both_ways
@pytest.mark.parametrize("who", ["the command", "its child"])
def test_what_does_not_heed_sigterm_is_killed(use_pidfd: bool, who: str, tmp_path: Path) -> None:
    stubborn = 'trap "" TERM; echo up >&3; while :; do sleep 1000; done'
    script = stubborn if who == "the command" else f"sh -c '{stubborn}'; :"

    async def use(spawner: Spawner) -> None:
        async with fifo(tmp_path) as pipe:
            task = start(spawner, f'exec 3>"$FIFO"; {script}', FIFO=pipe.path)
            assert await pipe.line() == "up"
            await cancelled(task)
            await pipe.end()

    run(use_pidfd, use, kill_grace_s=0.05)


@both_ways
def test_a_second_cancellation_cuts_the_grace_short(use_pidfd: bool, tmp_path: Path) -> None:
    async def use(spawner: Spawner) -> None:
        async with fifo(tmp_path) as pipe:
            script = 'exec 3>"$FIFO"; trap "echo heard >&3" TERM; echo up >&3; while :; do sleep 0.01; done'
            task = start(spawner, script, FIFO=pipe.path)
            assert await pipe.line() == "up"
            task.cancel()
            assert await pipe.line() == "heard"
            await cancelled(task)
            await pipe.end()

    run(use_pidfd, use, kill_grace_s=10 * LIMIT_S)


@both_ways
def test_a_command_that_is_stopped_may_go_on_writing(use_pidfd: bool, tmp_path: Path) -> None:
    """Its pipes are read until it has ended, or it would wait for a reader and be killed for that."""
    script = 'exec 3>"$FIFO"; trap "head -c 300000 /dev/zero; echo written >&3; exit" TERM; echo up >&3; '

    async def use(spawner: Spawner) -> None:
        async with fifo(tmp_path) as pipe:
            task = start(spawner, script + "while :; do sleep 0.01; done", FIFO=pipe.path)
            assert await pipe.line() == "up"
            await cancelled(task)
            assert await pipe.line() == "written"

    run(use_pidfd, use)


@both_ways
def test_hundreds_of_commands_leave_nothing_behind(use_pidfd: bool) -> None:
    async def use(spawner: Spawner) -> list[int | None]:
        codes: list[int | None] = []
        numbers = iter(range(200))

        async def slot() -> None:
            for number in numbers:
                try:
                    # cancelled at any moment of its life, the very first included
                    async with asyncio.timeout(0.002 * (number % 5) if number % 3 == 0 else LIMIT_S):
                        finished = await start(spawner, "sleep 0.01" if number % 3 == 0 else "exit 7")
                        codes.append(finished.code)
                except TimeoutError:
                    codes.append(-15)

        await asyncio.gather(*(slot() for _ in range(4)))
        return codes

    codes = run(use_pidfd, use)
    assert len(codes) == 200
    assert codes.count(7) == 133
    assert codes.count(-15) > 0


def test_orphans_that_nobody_reaps_do_not_hold_up_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container where process 1 reaps nobody, a group whose members have all ended still exists."""
    asked: list[int] = []

    def always_there(group: int, number: int) -> None:
        asked.append(number)
        if number:
            real(group, number)

    real = os.killpg
    monkeypatch.setattr(os, "killpg", always_there)
    monkeypatch.setattr(spawn, "_all_zombies", lambda group: True)

    async def use(spawner: Spawner) -> None:
        task = start(spawner, "sleep 1000")
        await asyncio.sleep(0)
        await cancelled(task)

    run(False, use, kill_grace_s=10 * LIMIT_S)
    assert 0 in asked
    assert signal.SIGKILL not in asked


def test_zombies_are_told_from_the_living() -> None:
    if not Path("/proc/self/stat").exists():
        assert not spawn._all_zombies(os.getpgrp())  # where it can't be told, they count as living
        return
    assert not spawn._all_zombies(os.getpgrp())
    with subprocess.Popen(["/bin/sh", "-c", ":"], process_group=0) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert spawn._all_zombies(process.pid)
    assert not spawn._all_zombies(process.pid)


@both_ways
def test_a_kill_is_seen_through_even_when_it_is_cancelled(use_pidfd: bool) -> None:
    async def main() -> None:
        child = Child(let_go(subprocess.Popen(["sleep", "1000"], process_group=0)), use_pidfd)
        task = asyncio.create_task(child.kill())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert child.code == -signal.SIGKILL

    with nothing_left():
        asyncio.run(main())


def test_a_timeout_of_the_kind_takes_its_process_along(tmp_path: Path) -> None:
    async def main() -> None:
        kind = Shell({"env": {"FIFO": str(tmp_path / "fifo")}})
        async with fifo(tmp_path) as pipe:
            task = asyncio.create_task(kind.execute('exec 3>"$FIFO"; echo up >&3; sleep 1000', attempt()))
            assert await pipe.line() == "up"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await task
            await pipe.end()
        await kind.close()

    with nothing_left():
        asyncio.run(main())
