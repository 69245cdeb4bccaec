"""`kon.Executor`: calls as concurrent.futures has them, each a task that is recorded."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import kon
from kon.core.errors import MessageTooLarge
from kon.engine.records.records import RunFolder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kon.Executor]:
    with kon.Executor(2, backend="memory") as made:
        yield made


class Odd(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(first)
        self.second = second


class Unreadable:
    def __reduce__(self) -> Any:
        return (int, ("no number",))


def unreadable() -> Unreadable:
    return Unreadable()


def test_on_processes_of_this_machine(temporary: Path) -> None:
    with kon.Executor(2) as executor:
        assert list(executor.map(lambda number: 2 * number, range(50))) == list(range(0, 100, 2))
        assert executor.submit(pow, 2, exp=5).result() == 32
        assert list(temporary.iterdir()) != []
    assert list(temporary.iterdir()) == []


def test_whatever_can_be_pickled(executor: kon.Executor, tmp_path: Path) -> None:
    bound = [3, 1, 2].count
    assert executor.submit(functools.partial(pow, 2), 5).result() == 32
    assert executor.submit(bound, 1).result() == 1
    assert executor.submit(lambda: {1: {2, 3}, "1": b"\xff", 1.5: tmp_path}).result() == {
        1: {2, 3}, "1": b"\xff", 1.5: tmp_path,
    }  # fmt: skip
    made: Any = executor.submit(lambda: lambda: 7).result()
    assert made() == 7


def test_large_arguments_and_results(executor: kon.Executor) -> None:
    data = os.urandom(20_000_000)
    assert executor.submit(lambda given: given[::-1], data).result() == data[::-1]


def test_exceptions_are_those_that_were_raised(executor: kon.Executor) -> None:
    def fails() -> None:
        raise ZeroDivisionError("no luck")

    with pytest.raises(ZeroDivisionError, match="no luck") as raised:
        executor.submit(fails).result()
    assert "in fails" in str(raised.value.__cause__)
    with pytest.raises(ZeroDivisionError) as raised_elsewhere:
        executor.submit(Fraction, 1, 0).result()
    assert "fractions.py" in str(raised_elsewhere.value.__cause__)


def test_an_exception_that_can_not_be_read_back(executor: kon.Executor) -> None:
    def fails() -> None:
        raise Odd(1, 2)

    with pytest.raises(kon.TaskFailed, match="Odd: 1"):
        executor.submit(fails).result()


def test_a_result_that_can_not_be_read_back(executor: kon.Executor) -> None:
    with pytest.raises(ValueError, match="no number"):
        executor.submit(unreadable).result()


def test_what_can_not_be_pickled(executor: kon.Executor) -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        executor.submit(id, threading.Lock()).result()
    with pytest.raises(TypeError, match="cannot pickle"):
        executor.submit(threading.Lock).result()


def test_a_call_that_kills_its_process_fails_alone(executor: kon.Executor) -> None:
    with pytest.raises(kon.TaskFailed, match="its process ended during the call: exit 3"):
        executor.submit(os._exit, 3).result()
    assert executor.submit(abs, -1).result() == 1


def test_callbacks_and_cancelling(executor: kon.Executor) -> None:
    told: list[Any] = []
    first = [executor.submit(time.sleep, 0.3) for _ in range(2)]
    many = [executor.submit(time.sleep, 0.1) for _ in range(60)]
    assert not first[0].cancel()
    assert many[-1].cancel()
    many[-1].add_done_callback(lambda future: told.append(future.cancelled()))
    first[0].add_done_callback(lambda future: told.append(future.result()))
    for future in many[10:]:
        future.cancel()
    done, _ = concurrent.futures.wait([*first, *many[:10]], timeout=60)
    assert len(done) == 12
    assert told == [True, None]


def later(text: str) -> int:
    time.sleep(0.2)
    return int(text)


@pytest.mark.parametrize("raised", [asyncio.CancelledError, SystemExit])
@pytest.mark.parametrize("call", ["1", "no number"])
def test_what_a_callback_raises_breaks_no_other_call(
    executor: kon.Executor, raised: type[BaseException], call: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A group of tasks takes a CancelledError for a wish: the client's others went on without it."""

    def fails(future: concurrent.futures.Future[int]) -> None:
        raise raised

    first = executor.submit(later, call)
    first.add_done_callback(fails)
    assert (first.exception(timeout=60) is None) == (call == "1")
    assert executor.submit(abs, -1).result(timeout=60) == 1
    assert "a callback of a future has raised" in caplog.text


def test_chunks_and_the_order_of_results(executor: kon.Executor) -> None:
    assert list(executor.map(pow, range(10), range(10), chunksize=3)) == [n**n for n in range(10)]
    with pytest.raises(ValueError, match="chunksize"):
        executor.map(abs, [1], chunksize=0)


def test_arguments_that_are_none() -> None:
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        kon.Executor(0)
    with pytest.raises(TypeError, match="initializer must be a callable"):
        kon.Executor(initializer=3)  # type: ignore[arg-type]
    with pytest.raises(
        kon.ConfigurationError, match=r"calls travel as pickles, which are code.* allow_pickle"
    ):
        kon.Executor(backend="aws")


def test_an_initializer() -> None:
    with kon.Executor(2, backend="memory", initializer=os.putenv, initargs=("X_OF_TEST", "7")) as executor:
        shown = executor.submit(lambda: subprocess.check_output(["sh", "-c", "echo $X_OF_TEST"])).result()
        assert shown == b"7\n"


def test_an_initializer_that_fails() -> None:
    with kon.Executor(1, backend="memory", initializer=int, initargs=("x",)) as executor:
        with pytest.raises(concurrent.futures.BrokenExecutor):
            executor.submit(abs, 1).result()
        with pytest.raises(concurrent.futures.BrokenExecutor):
            executor.submit(abs, 1)


def test_records_that_are_kept(tmp_path: Path) -> None:
    with kon.Executor(2, backend="memory", out=tmp_path / "out") as executor:
        assert executor.submit(abs, -3).result() == 3
        assert executor.submit(int, "x").exception() is not None
    folder = RunFolder(tmp_path / "out" / "executor")
    assert folder.read_run().spec.tasks == 2
    assert sorted((outcome.index, str(outcome.state)) for _, outcome in folder.outcomes()) == [
        (0, "done"),
        (1, "failed"),
    ]
    with (
        kon.Executor(2, backend="memory", out=tmp_path / "out") as executor,
        pytest.raises(kon.ConfigurationError, match="has records already"),
    ):
        executor.submit(abs, 1)


def test_attempts(tmp_path: Path) -> None:
    def third_time(log: Path) -> int:
        with log.open("a") as file:
            file.write("x")
        if len(log.read_text()) < 3:
            raise ValueError("not yet")
        return len(log.read_text())

    with kon.Executor(1, backend="memory", attempts=3) as executor:
        assert executor.submit(third_time, tmp_path / "log").result() == 3


def test_a_time_limit() -> None:
    with kon.Executor(1, backend="memory", timeout_s=2, attempts=1) as executor:
        late = executor.submit(time.sleep, 60)
        assert executor.submit(abs, 1).result() == 1, "it runs next"
        with pytest.raises(kon.TaskFailed, match="timed out after 2"):
            late.result()


def test_a_call_that_is_too_large_for_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with kon.Executor(1, backend="memory") as executor:
        executor.submit(abs, 1).result()
        monkeypatch.setattr("kon.kinds.pickled.INLINE_BYTES", 1 << 40)
        with pytest.raises(MessageTooLarge, match="and a message of this backend takes"):
            executor.submit(len, bytes(20 << 20)).result()
        assert executor.submit(abs, -1).result() == 1


def test_after_its_end() -> None:
    executor = kon.Executor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(abs, 1)


def test_one_that_nobody_holds_comes_to_its_end(temporary: Path) -> None:
    executor = kon.Executor(1, backend="memory")
    future = executor.submit(abs, -1)
    del executor
    assert future.result(60) == 1
    give_up_s = time.monotonic() + 60
    while list(temporary.iterdir()):
        assert time.monotonic() < give_up_s
        time.sleep(0.05)


def test_functions_of_the_program_itself(tmp_path: Path) -> None:
    script = tmp_path / "p.py"
    script.write_text(
        "import kon\n"
        "class Point:\n"
        "    def __init__(self, x): self.x = x\n"
        "def moved(point): print('moved'); return Point(point.x + 1)\n"
        "if __name__ == '__main__':\n"
        "    with kon.Executor(1) as executor:\n"
        "        made = executor.submit(moved, Point(2)).result()\n"
        "        print(made.x, type(made) is Point)\n"
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
    assert sorted(ran.stdout.splitlines()) == ["3 True", "moved"]
    assert ran.stderr == ""


def test_when_the_program_is_killed_its_workers_end_and_nothing_is_left(
    tmp_path: Path, temporary: Path
) -> None:
    script = (
        "import kon, pathlib, time\n"
        "def work(number):\n"
        "    with open('ran', 'a') as log: log.write('x')\n"
        "    time.sleep(0.3)\n"
        "executor = kon.Executor(2)\n"
        "futures = [executor.submit(work, number) for number in range(100)]\n"
        "time.sleep(100)\n"
    )
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=environment)
    give_up_s = time.monotonic() + 60
    while not (tmp_path / "ran").exists():
        assert time.monotonic() < give_up_s
        time.sleep(0.05)
    process.kill()
    process.wait()
    while list(temporary.iterdir()):
        assert time.monotonic() < give_up_s
        time.sleep(0.05)
    assert len((tmp_path / "ran").read_text()) < 60


def run_program(*words: str | Path, cwd: Path) -> str:
    """What a Python program prints, which must end well."""
    ended = subprocess.run(
        [sys.executable, *words], cwd=cwd, capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


class TestWhereFunctionsComeFrom:
    def test_an_archive(self, tmp_path: Path) -> None:
        """A program in one file, as zipapp makes it, and the modules that it brings along."""
        main = (
            "import kon\nfrom lib import one\ndef two(x): return one(x) + 1\n"
            "if __name__ == '__main__':\n"
            "    with kon.Executor(1) as e: print(*e.map(one, [1]), *e.map(two, [1]))\n"
        )
        with zipfile.ZipFile(tmp_path / "program.pyz", "w") as archive:
            archive.writestr("__main__.py", main)
            archive.writestr("lib.py", "def one(x): return x + 1\n")
        assert run_program(tmp_path / "program.pyz", cwd=tmp_path) == "2 3\n"

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_a_process_that_multiprocessing_has_started(self, tmp_path: Path, method: str) -> None:
        (tmp_path / "program.py").write_text(
            "import kon, multiprocessing\n"
            "def double(x): return 2 * x\n"
            "def work():\n"
            "    with kon.Executor(1) as executor: print(executor.submit(double, 4).result(), flush=True)\n"
            "if __name__ == '__main__':\n"
            f"    process = multiprocessing.get_context({method!r}).Process(target=work)\n"
            "    process.start()\n"
            "    process.join()\n"
            "    raise SystemExit(process.exitcode)\n"
        )
        assert run_program("program.py", cwd=tmp_path) == "8\n"
