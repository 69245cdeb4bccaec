"""Pool processes: each dies alone, none outlives its worker, and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kon.core.errors import KindError
from kon.kinds import pool
from kon.kinds.python import PythonFunction
from tests.kinds import functions
from tests.kinds.running import LIMIT_S, attempt, execute, failure, fifo, nothing_left

FILE = str(Path(functions.__file__).absolute())


def kind(name: str, slots: int = 1) -> PythonFunction:
    return PythonFunction({"function": f"{FILE}:{name}", "slots": slots})


async def pid_of(kind: PythonFunction) -> int:
    """The process that the next call goes to. The kind's function must be `dispatch`."""
    pid: int = await kind.execute({"call": "pid"}, attempt())
    return pid


def test_a_process_serves_call_after_call() -> None:
    async def main() -> set[int]:
        calls = kind("dispatch")
        pids = {await pid_of(calls) for _ in range(20)}
        await calls.close()
        return pids

    with nothing_left():
        assert len(asyncio.run(main())) == 1


def test_as_many_processes_as_slots_and_no_more(tmp_path: Path) -> None:
    async def main() -> list[int]:
        calls = kind("dispatch", slots=2)
        pids = await asyncio.gather(*(pid_of(calls) for _ in range(10)))
        await calls.close()
        return pids

    with nothing_left():
        assert len(set(asyncio.run(main()))) == 2


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("vanish", 3, "its process ended during the call: exit 3"),
        ("vanish", 0, "its process ended during the call: exit 0"),
        (
            "kill_self",
            None,
            "its process ended during the call: killed by SIGKILL (perhaps because memory ran out)",
        ),
        ("close_all", None, "its process ended during the call: it closed its connection to kon"),
    ],
)
def test_a_process_that_dies_fails_its_own_attempt(
    name: str, body: Any, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "close_all":  # that process goes on
        monkeypatch.setattr(pool, "_LEAVE_S", 0.05)
    with nothing_left():
        error = failure(kind(name), body)
    assert str(error).startswith(says)


def test_a_process_that_dies_is_replaced_and_the_others_go_on(tmp_path: Path) -> None:
    async def main() -> None:
        calls = kind("dispatch", slots=2)
        async with fifo(tmp_path) as pipe:
            hanging = asyncio.create_task(
                calls.execute({"call": "hang_until", "path": str(pipe.path), "until": str(go)}, attempt())
            )
            assert await pipe.line() == "up"
            for code in (1, 2):
                with pytest.raises(KindError, match=f"exit {code}"):
                    await calls.execute({"call": "vanish", "code": code}, attempt())
            assert await pid_of(calls) != os.getpid()
            await asyncio.to_thread(go.write_text, "go\n")
            assert await hanging == "went on"
        await calls.close()

    go = tmp_path / "go"
    os.mkfifo(go)
    with nothing_left():
        asyncio.run(main())


def test_a_process_that_died_between_calls_fails_none() -> None:
    async def main() -> None:
        calls = kind("dispatch")
        first = await pid_of(calls)
        os.kill(first, signal.SIGKILL)
        (process,) = calls._caller._pool._idle  # type: ignore[attr-defined]
        await process._child.wait()
        assert await pid_of(calls) != first
        await calls.close()

    with nothing_left():
        asyncio.run(main())


@pytest.mark.parametrize("name", ["hang", "spin"])
def test_a_call_that_is_cancelled_is_stopped_with_all_that_it_started(name: str, tmp_path: Path) -> None:
    async def main() -> None:
        calls = kind(name)
        async with fifo(tmp_path) as pipe:
            call = asyncio.create_task(calls.execute(str(pipe.path), attempt()))
            assert await pipe.line() == "up"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await call
            await pipe.end()
        await calls.close()

    with nothing_left():
        asyncio.run(main())


def test_a_stopped_call_leaves_its_slot_to_the_next(tmp_path: Path) -> None:
    async def main() -> None:
        calls = kind("dispatch")
        async with fifo(tmp_path) as pipe:
            body = {"call": "hang", "path": str(pipe.path)}
            call = asyncio.create_task(calls.execute(body, attempt()))
            assert await pipe.line() == "up"
            waiting = asyncio.create_task(pid_of(calls))
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await waiting != os.getpid()
        await calls.close()

    with nothing_left():
        asyncio.run(main())


def test_a_module_that_loads_slowly_is_loaded_once(tmp_path: Path) -> None:
    """A time-out during the import fails the attempt, not the process: the next attempt finds it ready."""
    go = tmp_path / "go"
    os.mkfifo(go)
    source = f"open({str(tmp_path / 'fifo')!r}, 'w').write('loading\\n')\nopen({str(go)!r}).read()\n"
    (tmp_path / "slow.py").write_text(f"{source}def f(x): return x")

    async def main() -> None:
        calls = PythonFunction({"function": f"{tmp_path}/slow.py:f"})
        async with fifo(tmp_path) as pipe:
            call = asyncio.create_task(calls.execute(1, attempt()))
            assert await pipe.line() == "loading"
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asyncio.to_thread(go.write_text, "go\n")
            async with asyncio.timeout(LIMIT_S):
                assert await calls.execute(2, attempt()) == 2
        await calls.close()

    with nothing_left():
        asyncio.run(main())


@pytest.mark.parametrize("loaded", [False, True])
def test_a_process_that_nobody_waits_for_any_more_is_stopped(loaded: bool, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    source = f"pipe = open({str(tmp_path / 'fifo')!r}, 'w')\nprint('loading', file=pipe, flush=True)\n"
    (tmp_path / "slow.py").write_text(f"{source}open({str(go)!r}).read()\ndef f(x): return x")

    async def main() -> None:
        calls = PythonFunction({"function": f"{tmp_path}/slow.py:f"})
        async with fifo(tmp_path) as pipe:
            call = asyncio.create_task(calls.execute(1, attempt()))
            assert await pipe.line() == "loading"
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            if loaded:
                await asyncio.to_thread(go.write_text, "go\n")
                await calls._caller._pool._starting[0]  # type: ignore[attr-defined]
            await calls.close()
            await pipe.end()

    with nothing_left():
        asyncio.run(main())


def test_a_module_whose_process_dies_while_it_loads(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text("import os\ndef f(x): pass\nos._exit(4)")
    with nothing_left():
        error = failure(PythonFunction({"function": f"{tmp_path}/jobs.py:f"}), 1)
    assert str(error) == f"its process ended while it loaded {tmp_path}/jobs.py:f: exit 4"


def test_how_a_process_ended_is_told_when_it_took_its_time() -> None:
    """Its connection ends before it does: it is not to be killed in between."""
    with nothing_left():
        error = failure(kind("close_and_vanish"), 5)
    assert str(error) == "its process ended during the call: exit 5"


def test_a_process_can_not_be_interrupted_from_the_terminal() -> None:
    """It is in no group that Ctrl-C goes to, and does not heed the signal either."""
    assert execute(kind("interrupt")) == "went on"
    seen = execute(kind("where"))
    assert seen["group"] == seen["pid"]


def test_what_a_function_starts_does_not_inherit_its_connection() -> None:
    """It would keep that open, and the end of the function's process from being seen."""
    assert execute(kind("inheritable")) == []


def test_large_arguments_and_results() -> None:
    text = "ü" * 3_000_000
    assert execute(kind("echo"), text) == text


def test_what_functions_print_goes_to_standard_error() -> None:
    done = _worker("say", "printed")
    assert done.stdout == "None\n"
    assert done.stderr == "printed\n"
    # as it is printed: it may be the last that the function ever says
    assert _worker("say_and_vanish", "the last words").stderr.startswith("the last words\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_line_is_written_whole(unbuffered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads along would show half of it, and another's line behind it."""
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # it keeps writes apart

    async def main() -> None:
        start = pool.Start("functions", FILE, "say", sys.path)
        processes = pool.Pool(1, start, (theirs.fileno(), 2))
        await processes.call(json.dumps({"args": ["printed"], "kwargs": {}}).encode())
        await processes.close()

    with ours, theirs:
        with nothing_left():
            asyncio.run(main())
        assert ours.recv(100) == b"printed\n"


def _worker(name: str, body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_worker_command(name, body), capture_output=True, text=True, env=_environment())


def _worker_command(name: str, body: str) -> list[str]:
    program = """if True:
        import sys
        from kon.kinds.python import PythonFunction
        from tests.kinds.running import execute

        print(execute(PythonFunction({"function": sys.argv[1]}), sys.argv[2]))
    """
    return [sys.executable, "-c", program, f"{FILE}:{name}", body]


def _environment() -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("PYTHONUNBUFFERED", None)
    return environment


@pytest.mark.parametrize("name", ["hang", "spin"])
def test_no_process_outlives_a_worker_that_is_killed(name: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with fifo(tmp_path) as pipe:
            worker = subprocess.Popen(_worker_command(name, str(pipe.path)), env=_environment())
            assert await pipe.line() == "up"
            worker.kill()
            worker.wait()
            await pipe.end()

    asyncio.run(main())


def test_an_idle_pool_ends_at_once() -> None:
    async def main() -> float:
        calls = kind("dispatch", slots=3)
        await asyncio.gather(*(pid_of(calls) for _ in range(9)))
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        await calls.close()
        return loop.time() - started_s

    with nothing_left():
        # far below the patience that a process which does not end is given
        assert asyncio.run(main()) < 2.0
