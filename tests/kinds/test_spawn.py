"""Processes: what they write, what they have used, and that each is waited for."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kon.core.errors import KindError
from kon.kinds import spawn
from kon.kinds.capture import Capture
from kon.kinds.shell import Shell
from kon.kinds.spawn import Child, Finished, Spawner
from kon.kinds.start import let_go
from tests.kinds.running import LIMIT_S, attempt, fifo, nothing_left
from tests.kinds.spawning import both_ways, cancelled, run, start


@both_ways
def test_a_command_runs_to_its_end(use_pidfd: bool) -> None:
    async def use(spawner: Spawner) -> Finished:
        return await start(spawner, "echo out; echo err >&2; exit 3")

    finished = run(use_pidfd, use)
    assert finished.code == 3
    assert finished.stdout.text().text == "out\n"
    assert finished.stderr.text().text == "err\n"
    assert not finished.output_open


@both_ways
def test_a_command_that_writes_without_end_is_drained(use_pidfd: bool) -> None:
    async def use(spawner: Spawner) -> Finished:
        return await start(spawner, "head -c 3000000 /dev/zero | tee /dev/stderr")

    finished = run(use_pidfd, use)
    assert finished.stdout.size_bytes == finished.stderr.size_bytes == 3_000_000


class Watched(Capture):
    """Notes how much its pipe holds whenever it is read."""

    __slots__ = ("pipes_bytes",)

    def __init__(self) -> None:
        super().__init__(1_000)
        self.pipes_bytes: list[int] = []

    def read(self, pipe: int) -> int:
        self.pipes_bytes.append(fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ))
        return super().read(pipe)


@pytest.mark.skipif(not hasattr(fcntl, "F_GETPIPE_SZ"), reason="pipes of this system have one size")
@pytest.mark.parametrize(("count", "is_much"), [(2_000, True), (2, False)])
def test_a_command_that_writes_much_has_a_larger_pipe(count: int, is_much: bool) -> None:
    out = Watched()

    async def use(spawner: Spawner) -> Finished:
        argv = ["/bin/sh", "-c", f"head -c {1_000 * count} /dev/zero"]
        return await spawner.run(argv, {b"PATH": b"/usr/bin:/bin"}, captures=(out, Capture(10)))

    assert run(True, use).stdout.size_bytes == 1_000 * count
    assert (out.pipes_bytes[-1] > out.pipes_bytes[0]) == is_much


class Waited(Capture):
    """Tells when "little" has come."""

    __slots__ = ("little",)

    def __init__(self) -> None:
        super().__init__(10)
        self.little = asyncio.Event()

    def add(self, chunk: bytes) -> None:
        if chunk.endswith(b"little\n"):
            self.little.set()


@both_ways
def test_after_much_little_is_taken_as_it_comes(use_pidfd: bool, tmp_path: Path) -> None:
    out = Waited()

    async def use(spawner: Spawner) -> None:
        async with fifo(tmp_path) as pipe:
            script = (
                f"head -c 200000 /dev/zero; sleep 0.1; echo little; echo up > {pipe.path}; exec sleep 1000"
            )
            argv = ["/bin/sh", "-c", script]
            task = asyncio.create_task(
                spawner.run(argv, {b"PATH": b"/usr/bin:/bin"}, captures=(out, Capture(10)))
            )
            assert await pipe.line() == "up"
            async with asyncio.timeout(LIMIT_S):
                await out.little.wait()
            await cancelled(task)

    run(use_pidfd, use)


@both_ways
def test_each_command_leads_a_group_of_its_own(use_pidfd: bool) -> None:
    """Ctrl-C in a terminal goes to the worker's group; what becomes of its tasks is for the worker to say."""

    async def use(spawner: Spawner) -> str:
        finished = await start(spawner, "echo $$ `ps -o pgid= -p $$`")
        return finished.stdout.text().text

    pid, group = run(use_pidfd, use).split()
    assert pid == group


@both_ways
def test_a_process_left_in_the_background_does_not_hold_up_the_task(
    use_pidfd: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawn, "LINGER_S", 0.05)

    async def use(spawner: Spawner) -> tuple[Finished, Finished]:
        async with fifo(tmp_path) as pipe:
            holding = await start(spawner, 'echo out; sleep 1000 3>"$FIFO" & echo $! >&2', FIFO=pipe.path)
            os.kill(int(holding.stderr.text().text), signal.SIGKILL)
            await pipe.end()
            daemon = await start(spawner, "sleep 1000 >/dev/null 2>&1 & echo $!")
            os.kill(int(daemon.stdout.text().text), signal.SIGKILL)
            return holding, daemon

    holding, daemon = run(use_pidfd, use)
    assert holding.code == daemon.code == 0
    assert holding.stdout.text().text == "out\n"
    assert holding.output_open
    assert not daemon.output_open


@both_ways
def test_what_a_background_process_still_writes_is_waited_for(use_pidfd: bool) -> None:
    async def use(spawner: Spawner) -> Finished:
        return await start(
            spawner, "(while kill -0 $$; do sleep 0.01; done; echo late) 2>/dev/null & echo early"
        )

    finished = run(use_pidfd, use)
    assert finished.stdout.text().text == "early\nlate\n"
    assert not finished.output_open


def test_a_child_tells_of_its_end_more_than_once() -> None:
    async def main() -> list[int | None]:
        child = Child(let_go(subprocess.Popen(["/bin/sh", "-c", "exit 4"], process_group=0)))
        first = await child.wait()
        await child.kill()
        await child.stop(0)
        return [first, await child.wait(), child.code]

    with nothing_left():
        assert asyncio.run(main()) == [4, 4, 4]


def test_the_kind_can_be_used_again_after_a_failure() -> None:
    async def main() -> None:
        kind = Shell({})
        for _ in range(3):
            with pytest.raises(KindError):
                await kind.execute(["/no/such/program"], attempt())
            assert (await kind.execute("true", attempt()))["exit"] == 0
        await kind.close()

    with nothing_left():
        asyncio.run(main())


@both_ways
def test_what_a_command_has_used_is_known_at_its_end(use_pidfd: bool) -> None:
    worker_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size_bytes = 2 * worker_bytes
    code = f"x = bytearray({size_bytes}); sum(range(1_000_000))"
    spent = run(use_pidfd, lambda spawner: spawner.run([sys.executable, "-c", code], {})).spent
    assert spent is not None
    assert spent.cpu_s > 0.01
    assert spent.peak_bytes is not None
    assert size_bytes < spent.peak_bytes < 3 * size_bytes
    small = run(use_pidfd, lambda spawner: spawner.run(["true"], {b"PATH": os.environb[b"PATH"]})).spent
    assert small is not None
    assert small.peak_bytes is None, "the system says how large this process is, before it was `true`"
