"""Fixtures that tests of several folders use, and how tests are shared out among pytest-xdist's processes."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests import loaded
from tests.emulators import inbox, ministack, moto, on_ministack, on_moto, short_pauses
from tests.once import work_out_once

__all__ = ["inbox", "ministack", "moto", "on_ministack", "on_moto", "short_pauses"]

LONGEST: Final = Path(__file__).parent / "playbooks"
"""Whose single tests take up to a minute."""

MEMORY: Final = Path("/dev/shm")
"""A file system in memory, on Linux: an fsync there takes 3 us, and on a virtual machine's disk 5 ms."""

ENOUGH_BYTES: Final = 4 << 30
"""Free there, at least: what three runs of all tests leave is below a tenth of that."""


def pytest_configure() -> None:
    """Keep temporary files in memory where that can be, unless TMPDIR says where. No test cuts the power.

    Processes are as a user's: where Python does not buffer what they say, no write fails at their end. And
    where it keeps nothing that it has compiled, each start of kon costs 1.7 s of a core in place of 0.7.
    Started by a script with `&`, they would ignore Ctrl-C, and so would all that they start.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):
        os.environ.pop(name, None)
    sys.dont_write_bytecode = False
    # each process that reads an experiment looks for pydantic plug-ins everywhere, and there are none
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    if "TMPDIR" not in os.environ and _takes_our_files(MEMORY):
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
    loaded.begin()


def _takes_our_files(folder: Path) -> bool:
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        return False
    runs_programs = not os.statvfs(folder).f_flag & os.ST_NOEXEC  # tests write programs, and run them
    return runs_programs and shutil.disk_usage(folder).free > ENOUGH_BYTES


@pytest.fixture(scope="session", autouse=True)
def _botocore_works_out_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        work_out_once(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def _loaded_processes_end() -> Iterator[None]:
    yield
    loaded.end()


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """`-n auto`: two processes for each core, as half of what the tests take is waiting, for processes that
    start and end and for leases that run out. Three for two cores left a third of these idle."""
    cores = yield
    return cores if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else 2 * cores


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collecting makes a million objects and drops few: without its garbage collector, Python does it in two
    thirds of the time. `gc.freeze` after it saves nothing, and hides from hypothesis what it looks for."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest tests first, so that none of them begins when the other processes are about to end."""
    if hasattr(config, "workerinput"):  # pytest-xdist's
        items.sort(key=lambda item: not item.path.is_relative_to(LONGEST))
