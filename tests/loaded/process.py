"""The process that has loaded kon. Its forks each run what Python was to run, with all that was handed over.

Between the two stands a keeper for each: it waits for the end, tells it, and kills what runs when nobody
asks for it any more. What Python reads when it starts, such as PYTHONPATH, is as it was when this process
started; who brings something else gets a start of Python.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import runpy
import select
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple, NoReturn

from kon.cli.commands import COMMANDS
from tests.loaded import for_start

MODULES: Final = (
    *sorted({lazy.target.partition(":")[0] for lazy in COMMANDS.values()}),
    "kon.backends.memory",
    "kon.backends.sqlite",
    "kon.kinds.shell",
    "kon.kinds.sleep",
    "kon.launch.local",
    "kon.launch.resume",
    "kon.report.views",
    "kon.strategies.lease",
)
"""Commands, and what most of them import when they run. One that is gone costs time; a test names it."""


class Work(NamedTuple):
    """words: Python's arguments. standard: which of the files 0 to 2 are open. files: the folder to run in,
    and those."""

    words: list[str]
    environment: dict[str, str]
    standard: list[int]
    files: list[int]


def serve(listening: socket.socket, owner: int) -> Work:
    """Returns in each fork, with what it is to run. Ends this process with whoever started it."""
    watched: list[Any] = [listening, owner]
    while True:
        ready, _, _ = select.select(watched, [], [])
        _reap()
        if owner in ready:
            sys.exit()
        asking, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            os.close(owner)
            work = _received(asking)
            if (pid := os.fork()) == 0:
                asking.close()
                return work
            _keep(asking, pid, work)
        asking.close()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _received(asking: socket.socket) -> Work:
    begin, files, _, _ = socket.recv_fds(asking, 4, 4)
    text = b""
    while len(text) < int.from_bytes(begin, "big"):
        text += asking.recv(1 << 20) or os._exit(1)
    standard, count, *rest = [os.fsdecode(part) for part in text.split(b"\0")]
    words, variables = rest[: int(count)], rest[int(count) :]
    environment = dict(each.split("=", 1) for each in variables)
    return Work(words, environment, [int(number) for number in standard], files)


def _keep(asking: socket.socket, pid: int, work: Work) -> NoReturn:
    for each in work.files:
        os.close(each)
    ended = threading.Event()

    def end_with_who_asks() -> None:
        asking.recv(1)
        if not ended.is_set():
            os.kill(pid, signal.SIGKILL)

    threading.Thread(target=end_with_who_asks, daemon=True).start()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    ended.set()
    try:
        asking.send(str(code).encode())
    except OSError:
        pass
    os._exit(0)


# --- in the fork -----------------------------------------------------------------------------------


def take_over(work: Work) -> None:
    """What was handed over becomes this process's own. A start of Python takes it where it has to be one."""
    folder, *files = work.files
    os.fchdir(folder)
    for number in range(3):
        os.close(number)
    for number, handed in zip(work.standard, files):
        os.dup2(handed, number)
    os.closerange(3, max(work.files) + 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    program = work.words[0]
    is_known = program in ("-c", "-m") or not program.startswith("-")
    if not is_known or for_start(work.environment) != for_start(os.environ):
        os.execve(sys.executable, [sys.executable, *work.words], work.environment)
    os.environ.clear()
    os.environ.update(work.environment)
    time.tzset()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        file = _standard(number, getattr(sys, f"__{name}__"))
        setattr(sys, name, file)
        setattr(sys, f"__{name}__", file)
    sys.orig_argv = [sys.executable, *work.words]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]


def _standard(number: int, like: Any) -> Any:
    """One of the standard files, as Python opens it; None where it is closed."""
    try:
        raw = open(number, "wb" if number else "rb", closefd=False)  # noqa: SIM115
    except OSError:
        return None
    lines = number == 2 or raw.isatty()
    return TextIOWrapper(raw, like.encoding, like.errors, "\n", line_buffering=lines)


def run(program: str, *rest: str) -> None:
    """As Python does."""
    if program == "-c":
        sys.path[0] = ""
        sys.argv = ["-c", *rest[1:]]
        main = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), vars(main))
    elif program == "-m":
        sys.path[0] = str(Path.cwd())
        sys.argv = [*rest]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(program).resolve().parent)
        sys.argv = [program, *rest]
        runpy.run_path(program, run_name="__main__")


def end(error: BaseException | None) -> NoReturn:
    """As Python does, but that nothing is cleared away: that takes ten times as long as the fork."""
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    elif error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    else:
        code = 0
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except Exception as fault:
            code = 120
            os.write(2, f"Exception ignored in: {stream!r}\n{fault!r}\n".encode())
    if isinstance(error, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code & 0xFF)


if __name__ == "__main__":
    for each in MODULES:
        with suppress(ModuleNotFoundError):
            importlib.import_module(each)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's is for what runs here
    gc.collect()
    gc.freeze()
    work = serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
    try:
        take_over(work)
        run(*work.words)
    except BaseException as error:
        end(error)
    end(None)
