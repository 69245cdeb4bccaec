"""Errors reach a Python program by themselves, never in a group: it names them in `except`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import pytest

import kon
from kon.core.errors import ConfigurationError, ungrouped
from kon.core.plugins import open_backend
from kon.core.spec import Plugin, RunSpec
from kon.engine.control import Control
from kon.engine.records.records import RunFolder
from kon.launch.local import LocalRun

Call = Callable[[dict[str, Any], Path], object]


class NoTasks:
    def bodies(self, workers: int) -> list[Any]:
        return []


def local_run(backend: dict[str, Any], out: Path) -> LocalRun:
    name, options = backend["name"], {key: value for key, value in backend.items() if key != "name"}
    spec = RunSpec(
        run="true",
        experiment="true",
        backend=Plugin(name, options),
        strategy=Plugin("lease"),
        kind=Plugin("sleep"),
        tasks=1,
        workers=1,
    )
    return LocalRun(RunFolder(out / "true"), spec, NoTasks())


CALLS: dict[str, Call] = {
    "kon.map": lambda backend, out: kon.map("true", [1], backend=backend, out=out, workers=1),
    "kon.gather": lambda backend, out: kon.gather(
        kon.submit("true", [1], backend=backend, out=out, workers=1)
    ),
    "Run.results": lambda backend, out: list(
        kon.submit("true", [1], backend=backend, out=out, workers=1).results()
    ),
    "LocalRun.run": lambda backend, out: asyncio.run(local_run(backend, out).run()),
    "LocalRun.submit": lambda backend, out: asyncio.run(local_run(backend, out).submit()),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_store_that_another_run_uses(name: str, tmp_path: Path) -> None:
    backend = {"name": "sqlite", "path": str(tmp_path / "store")}

    async def submitted_by_another() -> None:
        store = open_backend(Plugin("sqlite", {"path": backend["path"]}), tmp_path)
        await store.create("true", spec.channel_options)
        await Control((await store.open("true")).control).submitted(1)
        await store.close()

    spec = local_run(backend, tmp_path / "other").spec
    asyncio.run(submitted_by_another())
    with pytest.raises(ConfigurationError, match='there is a run "true" on sqlite already'):
        CALLS[name](backend, tmp_path / "out")


def test_an_executor_tells_why_it_is_broken(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    executor = kon.Executor(max_workers=1, backend={"name": "sqlite", "path": str(blocked / "store")})
    with executor, pytest.raises(BrokenExecutor) as raised:
        executor.submit(len, "").result()
    assert isinstance(raised.value.__cause__, kon.KonError)


def test_what_came_with_an_error_is_noted() -> None:
    with pytest.raises(KeyError) as raised, ungrouped():
        raise ExceptionGroup("tasks", [ExceptionGroup("inner", [KeyError("first")]), ValueError("second")])
    assert raised.value.__notes__ == ["with it: ValueError('second')"]
