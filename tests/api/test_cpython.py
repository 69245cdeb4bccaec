"""CPython's own tests of executors, on `kon.Executor`: those that say nothing of how a pool is made inside.

They come with Python's `test` package; where an installation lacks it, nothing is tested here.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import kon

pytestmark = pytest.mark.slow

if sys.version_info >= (3, 12):  # a package since then
    executor_tests: Any = pytest.importorskip("test.test_concurrent_futures.executor")
    shutdown: Any = pytest.importorskip("test.test_concurrent_futures.test_shutdown")
    wait: Any = pytest.importorskip("test.test_concurrent_futures.test_wait")
    completed: Any = pytest.importorskip("test.test_concurrent_futures.test_as_completed")
    initialized: Any = pytest.importorskip("test.test_concurrent_futures.test_init")
    deadlock: Any = pytest.importorskip("test.test_concurrent_futures.test_deadlock")
    util: Any = pytest.importorskip("test.test_concurrent_futures.util")
else:
    executor_tests = shutdown = wait = completed = initialized = deadlock = util = pytest.importorskip(
        "test.test_concurrent_futures"
    )

LEFT_OUT = {
    "test_interpreter_shutdown": "its script imports concurrent.futures by name; see TestProgram below",
    "test_submit_after_interpreter_shutdown": "the same",
    "test_hang_gh83386": "the same",
    "test_killed_child": "it kills a process of the pool's own list, and expects the whole pool to break",
    "test_traceback": "it wants the very class of concurrent.futures.process; see test_executor.py",
    "test_ressources_gced_in_workers": "it needs a multiprocessing context",
    "test_saturation": "it counts the processes of a pool's own list",
    "test_idle_process_reuse_one": "the same",
    "test_idle_process_reuse_multiple": "the same",
    "test_max_workers_too_large": "Windows",
    "test_max_tasks_per_child": "processes are not renewed by number of calls",
    "test_max_tasks_per_child_defaults_to_spawn_context": "the same",
    "test_max_tasks_early_shutdown": "the same",
    "test_exit_at_task_unpickle": "it expects the pool to break: here the call has the exception",
    "test_error_at_task_unpickle": "the same",
    "test_crash_at_task_unpickle": "it expects the pool to break: here one call fails alone",
    "test_crash_during_func_exec_on_worker": "the same",
    "test_crash_during_result_pickle_on_worker": "the same",
    "test_error_during_result_unpickle_in_result_handler": "it expects the pool to break: here the call has "
    "the exception",
    "test_exit_during_result_unpickle_in_result_handler": "the same",
    "test_shutdown_deadlock": "it expects the pool to break",
    "test_shutdown_deadlock_pickle": "it looks at the pool's own threads",
    "test_error_during_result_pickle_on_worker": "pickle's error arrives as what cloudpickle makes of it",
}
"""Tests of CPython's that can't be passed, and why."""


class Mixin(util.ExecutorMixin):  # type: ignore[misc, name-defined]
    executor_type = kon.Executor


def applicable(mixin: type, *others: type) -> type:
    """A test case of a mixin's tests, without those that are left out."""
    case: type = type(f"Kon{mixin.__name__}", (*others, mixin, util.BaseTestCase), {})
    for name in dir(case):
        if name in LEFT_OUT:
            setattr(case, name, None)
    return case


TestExecutor = applicable(executor_tests.ExecutorTest, Mixin)
TestWait = applicable(wait.WaitTests, Mixin)
TestAsCompleted = applicable(completed.AsCompletedTests, Mixin)
TestShutdown = applicable(shutdown.ExecutorShutdownTest, Mixin)
TestInitializer = applicable(type("Init", (Mixin, initialized.InitializerMixin), {}))


class TestChunks(Mixin, util.BaseTestCase):  # type: ignore[misc, name-defined]
    if sys.version_info < (3, 12):
        test_map_chunksize = executor_tests.ProcessPoolExecutorTest.test_map_chunksize


def test_what_is_left_out_is_still_there() -> None:
    """A reason for a test that no Python has any more is none."""
    if sys.version_info < (3, 12):
        names = {name for each in vars(util).values() if isinstance(each, type) for name in dir(each)}
        assert {name for name in LEFT_OUT if name not in names} == set()


class TestProgram:
    """CPython's three tests of a program's end, with kon's name in them."""

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False
        )

    def test_interpreter_shutdown(self) -> None:
        ran = self.run(
            "import kon, time\n"
            "t = kon.Executor(2)\n"
            "t.submit(lambda: (time.sleep(1), print('apple')))\n"
        )  # fmt: skip
        assert (ran.stdout.strip(), ran.stderr) == ("apple", "")

    def test_hang_gh83386(self) -> None:
        ran = self.run(
            "import kon, time\n"
            "t = kon.Executor(2)\n"
            "t.submit(lambda: (time.sleep(1), print('apple')))\n"
            "t.shutdown(wait=False)\n"
        )
        assert (ran.stdout.strip(), ran.stderr) == ("apple", "")

    def test_submit_after_interpreter_shutdown(self) -> None:
        ran = self.run(
            "import atexit\n"
            "@atexit.register\n"
            "def run_last():\n"
            "    try:\n"
            "        t.submit(id, None)\n"
            "    except RuntimeError:\n"
            "        print('runtime-error')\n"
            "        raise\n"
            "import kon\n"
            "t = kon.Executor(2)\n"
            "t.submit(id, 42).result()\n"
        )
        assert "RuntimeError: cannot schedule new futures" in ran.stderr
        assert ran.stdout.strip() == "runtime-error"
