"""A worker process: `python -m kon.launch.process FOLDER NAME` works on the run whose folder that is.

It imports no more than it needs, because its start is part of every run. The timers of its event loop go off
when they are due, not up to a millisecond later.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import random
import secrets
import select
import selectors
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from kon.core.backend import Backend
from kon.core.clock import Clock
from kon.core.errors import BackendDenied, KonError, first_cause
from kon.core.journal import FileJournal, Journal
from kon.core.kind import Kind
from kon.core.ledger import Ledger
from kon.core.plugins import kind_class, open_backend, strategy_class
from kon.core.spec import RunSpec
from kon.core.strategy import Strategy
from kon.core.task import Outcome, Task
from kon.engine.patience import DENIED_S, Patience
from kon.engine.peek import answering
from kon.engine.records.events import Event, Life, Named, Recorder, Watcher, spent
from kon.engine.records.records import RunFolder
from kon.engine.watchers import logs
from kon.engine.worker import StrategyMaker, Worker
from kon.launch.holds import Notes, noted
from kon.launch.sentry import over_commands

ORPHAN_PAUSE_S: Final = 0.5
"""Between two looks at whether the process that started this one is there, in seconds."""

ORPHAN_IDLE_S: Final = 10.0
"""How long a worker whose supervisor is gone may be idle, in seconds."""

DENIED: Final = 77
"""The exit code of a worker that was denied what it needs, patient as it was: another would fare no better.
(EX_NOPERM of sysexits.h.) Whoever supervises it tells 3."""


class DoomedRecorder(Recorder):
    """Ends this process by SIGKILL as its n-th task starts: the fault `kill_workers`."""

    def __init__(self, journal: Journal, clock: Clock, watches: Sequence[Watcher], starts: int) -> None:
        super().__init__(journal, clock, watches=watches)
        self._starts_left = starts

    def tasks(self, event: Event, tasks: Sequence[Task | Outcome] | Named, **fields: Any) -> None:
        super().tasks(event, tasks, **fields)
        if event is Event.START:
            self._starts_left -= len(tasks.indexes if isinstance(tasks, Named) else tasks)
            if self._starts_left <= 0:
                self.flush()
                os.kill(os.getpid(), signal.SIGKILL)


def strategy_maker(spec: RunSpec) -> StrategyMaker:
    """Makes the run's strategy for a worker."""
    cls = strategy_class(spec.strategy.name)

    def make(ledger: Ledger, worker: str, clock: Clock) -> Strategy:
        return cls(ledger, worker, clock, **spec.strategy.options)

    return make


def make_kind(spec: RunSpec) -> Kind:
    """The run's kind, for one worker."""
    return kind_class(spec.kind.name)({**spec.kind.options, "slots": spec.slots})


async def work(
    folder: RunFolder,
    name: str,
    kill_after: int | None = None,
    idle_s: float | None = None,
    metrics: str | None = None,
    *,
    parent: int,
    outlives: bool = True,
    holds: Path | None = None,
) -> None:
    """Be one worker of the run until it is over, idle for too long, or told to stop.

    idle_s: how long that is, in seconds, in place of what the run says; None for what it says.
    metrics: where Prometheus may ask for them meanwhile.
    parent: the process that has started this one.
    outlives: whether it works on when that is gone, until it has been idle; otherwise it ends at once, with
        its tasks.
    holds: the file in which it notes what it holds (see kon.launch.holds); None for nowhere.
    """
    spec = folder.read_run().worker_spec
    if idle_s is not None:
        spec = msgspec.structs.replace(spec, idle_s=idle_s)
    life = f"{name}.{secrets.token_hex(3)}"
    clock = Clock.of_this_host()
    backend = open_backend(spec.backend, folder.path.parent)
    for secret in backend.secrets:
        os.environ.pop(secret, None)  # kinds hand their environment on to tasks
    kind = make_kind(spec)
    journal = FileJournal(folder.events / f"{life}.jsonl")
    logs.about(worker=life)
    watches: list[Watcher] = logs.logged(spec.run, life)
    endpoint: Callable[[Sequence[Worker], Backend], AbstractContextManager[None]] = _no_endpoint
    if metrics is not None:
        from kon.engine.watchers.endpoint import Address, serving
        from kon.engine.watchers.meter import EventMeter

        watches.append(meter := EventMeter())
        endpoint = partial(serving, Address.parse(metrics), spec, meter)
    if kill_after is None:
        recorder = Recorder(journal, clock, watches=watches)
    else:
        recorder = DoomedRecorder(journal, clock, watches, kill_after)

    def usage() -> dict[str, Any]:
        return spent(backend, time.process_time())

    main = asyncio.current_task()
    assert main is not None
    watching = [] if outlives else [asyncio.create_task(_when_orphaned(parent, main.cancel))]
    try:
        rng = random.Random(f"{spec.seed}:{life}")
        patience = Patience(0.0, rng, lambda error, pause_s: None, DENIED_S)
        channel = await patience.while_denied(lambda: backend.open(spec.run))
        if holds is not None:
            channel = noted(channel, Notes(holds, life))
        worker = Worker(
            Life(life, clock, recorder, rng, usage),
            spec,
            channel,
            strategy_maker(spec),
            kind,
        )
        loop = asyncio.get_running_loop()
        told = iter([worker.stop])
        # once: drain; twice: end now, and leave what is held to its timeouts
        loop.add_signal_handler(signal.SIGTERM, lambda: next(told, main.cancel)())
        # Ctrl-C reaches the whole group; the client decides what becomes of its workers
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        watching.append(
            asyncio.create_task(_when_orphaned(parent, lambda: worker.end_when_idle(ORPHAN_IDLE_S)))
        )
        watching.append(asyncio.create_task(answering(folder, kind.output)))
        with endpoint([worker], backend):
            await worker.run()
    finally:
        for each in watching:
            each.cancel()
        await backend.close()
        journal.close()


def _no_endpoint(workers: Sequence[Worker], backend: Backend) -> AbstractContextManager[None]:
    return contextlib.nullcontext()


async def _when_orphaned(parent: int, act: Callable[[], object]) -> None:
    """Act once the parent of this process is gone."""
    while os.getppid() == parent:  # noqa: ASYNC110 # nothing but a look tells
        await asyncio.sleep(ORPHAN_PAUSE_S)
    act()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="kon.launch.process", description="One worker of a run.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--kill-after", type=int, metavar="TASKS")
    parser.add_argument("--idle", type=float, metavar="SECONDS")
    parser.add_argument("--metrics", metavar="HOST:PORT")
    parser.add_argument("--parent", type=int, metavar="PID", default=os.getppid())
    parser.add_argument(
        "--lifeline", type=int, metavar="FD", help="to be held; it ends with its parent, then"
    )
    parser.add_argument("--holds", type=Path, metavar="FILE", help="where it notes what it holds")
    args = parser.parse_args(argv)
    if args.lifeline is not None:
        os.set_inheritable(args.lifeline, False)  # no command holds it
    try:
        logs.set_up()
        logs.log_faults()
        logs.about(run=args.folder.name, worker=args.name)
        sentry = over_commands() if os.getsid(0) == os.getpid() else None
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(
                work(
                    RunFolder(args.folder),
                    args.name,
                    args.kill_after,
                    args.idle,
                    args.metrics,
                    parent=args.parent,
                    outlives=args.lifeline is None,
                    holds=args.holds,
                )
            )
        if sentry is not None:
            sentry.dismiss()
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    except (KonError, BaseExceptionGroup) as error:
        cause = first_cause(error)
        if not isinstance(cause, KonError):
            raise
        text = f"worker {args.name}: {cause}"
        if logs.is_json():
            logging.getLogger("kon.worker").error(text, extra={"exit_code": cause.exit_code})
        else:
            with contextlib.suppress(OSError):  # on a full disk the log of this process has no room either
                print(text, file=sys.stderr, flush=True)
        return DENIED if isinstance(cause, BackendDenied) else cause.exit_code
    return 0


SELECT_LIMIT: Final = 1_024
"""File descriptors from here on are too large for select()."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop for a program's first thread, to be handed to `asyncio.Runner(loop_factory=...)`.

    On Linux, asyncio waits in whole milliseconds, rounded up: whenever something else ends a wait, what
    is left of a timer grows by half a millisecond on average. Tasks of 10 ms took 10.42 ms so, between
    the worker's own messages, and take 10.13 ms in this loop.
    """
    if sys.platform != "linux":
        return asyncio.new_event_loop()
    _wake_promptly()
    return asyncio.SelectorEventLoop(FineSelector())


def _wake_promptly() -> None:
    """Have the kernel not gather this thread's timers, which lets them be 50 us late."""
    try:
        Path("/proc/self/timerslack_ns").write_text("1")
    except OSError:
        pass  # some containers do not let us, and 50 us are no harm


if sys.platform == "linux":

    class FineSelector(selectors.EpollSelector):
        """Waits to the microsecond, by a select() on the epoll object itself."""

        def __init__(self) -> None:
            super().__init__()
            self._number = self.fileno()

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0 and self._number < SELECT_LIMIT:
                ready, _, _ = select.select((self._number,), (), (), timeout)
                if not ready:
                    return []
                timeout = 0
            return super().select(timeout)


if __name__ == "__main__":
    sys.exit(main())
