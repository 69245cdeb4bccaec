"""Processes: every one is stopped with all that it started, reaped, and leaves nothing open."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from kon.core.errors import KindError
from kon.kinds import spawn
from kon.kinds.capture import Capture
from kon.kinds.shell import Shell
from kon.kinds.spawn import Child, Finished, Spawner, have_pidfd
from kon.kinds.start import let_go
from tests.kinds.running import LIMIT_S, attempt, fifo, nothing_left, open_files

_Result = TypeVar("_Result")

# where this system has no pidfds there is one way to wait for a process, and it is tested
both_ways = pytest.mark.parametrize(
    "use_pidfd", [True, False] if have_pidfd() else [False], ids=lambda use: "pidfd" if use else "thread"
)


def run(
    use_pidfd: bool,
    use: Callable[[Spawner], Awaitable[_Result]],
    *,
    kill_grace_s: float = LIMIT_S,
    max_output_bytes: int = 1_000,
    patience_s: float = 0.0,
) -> _Result:
    async def main() -> _Result:
        spawner = Spawner(
            max_output_bytes=max_output_bytes,
            kill_grace_s=kill_grace_s,
            use_pidfd=use_pidfd,
            patience_s=patience_s,
        )
        try:
            async with asyncio.timeout(LIMIT_S):
                return await use(spawner)
        finally:
            spawner.close()

    with nothing_left():
        return asyncio.run(main())


def start(spawner: Spawner, script: str, **variables: str | Path) -> asyncio.Task[Finished]:
    env = {b"PATH": b"/usr/bin:/bin", **{name.encode(): os.fsencode(v) for name, v in variables.items()}}
    return asyncio.create_task(spawner.run(["/bin/sh", "-c", script], env))


async def cancelled(task: asyncio.Task[Finished]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


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


@both_ways
def test_a_command_that_can_not_be_started_leaves_nothing_behind(use_pidfd: bool) -> None:
    async def use(spawner: Spawner) -> None:
        await spawner.run(["/bin/sh", "-c", ":"], {})  # opens what it keeps open
        before = open_files()
        with pytest.raises(FileNotFoundError):
            await spawner.run(["/no/such/program"], {})
        assert open_files() == before

    run(use_pidfd, use)


@contextmanager
def files_limited_to(more: int) -> Iterator[None]:
    """At most `more` file descriptors on top of those that are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@both_ways
def test_out_of_file_descriptors(use_pidfd: bool) -> None:
    """At whatever point they run out: a failed start or a command that ran, and nothing left behind."""
    outcomes: list[str] = []

    async def use(spawner: Spawner) -> None:
        for more in range(12):
            with files_limited_to(more):
                try:
                    finished = await spawner.run(["/bin/sh", "-c", "echo x"], {})
                    outcomes.append(finished.stdout.text().text)
                except OSError as error:
                    outcomes.append(os.strerror(error.errno or 0))

    run(use_pidfd, use)
    assert set(outcomes) == {"Too many open files", "x\n"}


def test_a_start_waits_for_file_descriptors(caplog: pytest.LogCaptureFixture) -> None:
    """That they have run out is no fault of the command that is next."""

    async def use(spawner: Spawner) -> list[int | None]:
        with files_limited_to(12):
            tasks = [start(spawner, "sleep 0.1") for _ in range(9)]
            return [(await task).code for task in tasks]

    assert run(True, use, patience_s=LIMIT_S) == [0] * 9
    assert caplog.text.count("out of file descriptors") == 1


def test_without_a_pidfd_for_want_of_file_descriptors_a_thread_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)

    async def use(spawner: Spawner) -> Finished:
        return await start(spawner, "exit 5")

    assert run(True, use).code == 5


def test_out_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    async def use(spawner: Spawner) -> None:
        with pytest.raises(BlockingIOError, match="can't start new thread"):
            await spawner.run(["sleep", "1000"], {})

    # it had begun, so that it is not tried again, whatever the patience
    run(False, use, patience_s=LIMIT_S)


def test_where_there_are_no_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    have_pidfd.cache_clear()
    with monkeypatch.context() as patch:
        patch.delattr(os, "pidfd_open", raising=False)
        assert not have_pidfd()
    have_pidfd.cache_clear()

    def forbidden(pid: int, flags: int = 0) -> int:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "pidfd_open", forbidden, raising=False)
        assert not have_pidfd()
    have_pidfd.cache_clear()


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


def test_a_child_tells_of_its_end_more_than_once() -> None:
    async def main() -> list[int | None]:
        child = Child(let_go(subprocess.Popen(["/bin/sh", "-c", "exit 4"], process_group=0)))
        first = await child.wait()
        await child.kill()
        await child.stop(0)
        return [first, await child.wait(), child.code]

    with nothing_left():
        assert asyncio.run(main()) == [4, 4, 4]


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
