"""`Run`: a program's hold on a run, begun here or anywhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from kon.api.background import Background, TemporaryFolder, in_private_loop, running_in
from kon.api.relay import Relay
from kon.api.values import whole
from kon.core.errors import Interrupted
from kon.core.lock import FolderLock, client_lock
from kon.core.plugins import open_backend
from kon.core.spec import RunSpec
from kon.core.task import Outcome, State
from kon.engine.control import Control, Status
from kon.engine.records.records import RunFolder
from kon.engine.tally import Tally
from kon.launch.crew import NothingToQueue
from kon.launch.guard import RunGuard
from kon.report.read.reader import Tail

_OTHERS_POLL_S: Final = 0.2
"""Between two looks at the records of a run whose client is another program."""


class RunStatus(msgspec.Struct, frozen=True):
    """How far a run is: how many of its tasks ended how, and how many are left.

    state: `running`: a client collects its answers, here or in another program. `finished`: every task
        is accounted for. `left`: none of these; whoever asks for its results takes it up again.
    """

    state: Literal["running", "finished", "left"]
    tasks: int
    done: int
    failed: int
    dead: int
    lost: int
    cancelled: int
    left: int


class Run:
    """One run: its status, its results as they come, its end. Methods may be called from any thread."""

    def __init__(
        self,
        folder: RunFolder,
        spec: RunSpec,
        background: Background | None = None,
        temporary: TemporaryFolder | None = None,
        guard: RunGuard | None = None,
    ) -> None:
        """guard: over a run that is taken up by this object."""
        self._folder = folder
        self._spec = spec
        self._background = background
        self._temporary = temporary
        self._guard = guard or RunGuard()
        self._seen = Tail(folder, spec.tasks)
        self.output = Relay(folder.path / "live", skips=temporary is None)
        """What its functions write, from here on, on this machine."""
        self._looking = threading.Lock()
        self._has_output = spec.kind.name == "shell"

    @property
    def id(self) -> str:
        """The run's name, that of its folder."""
        return self._spec.run

    @property
    def path(self) -> Path:
        """The folder of its records."""
        return self._folder.path

    @property
    def tasks(self) -> int:
        return self._spec.tasks

    def __repr__(self) -> str:
        return f"<kon.Run {self.id} of {self.tasks} tasks in {self.path}>"

    def status(self) -> RunStatus:
        """How far it is by its records. Starts nothing."""
        with self._looking:
            while self._seen.news():
                pass
            left = self._seen.tally.left
            counts = {str(state): count for state, count in self._seen.tally.counts.items()}
        return RunStatus(self._state(left), self.tasks, left=left, **counts)

    def _state(self, left: int) -> Literal["running", "finished", "left"]:
        if not left:
            return "finished"
        return "running" if self._is_attended() else "left"

    def results(self, timeout_s: float | None = None) -> Iterator[Outcome]:
        """The outcome of each task as it is recorded, the recorded ones first, until every task has one.

        In order of their ends; `index` says whose it is. A task that was given up as dead or lost and
        then turns out done is there twice: the later outcome is the one that stands.

        Raises TimeoutError when `timeout_s` seconds pass, whereupon the run goes on; WorkersFailed,
        StoreError, ... when the run can't go on, or output of a command can't be read.
        """
        return self.watched(timeout_s)

    def watched(
        self,
        timeout_s: float | None = None,
        look: Callable[[Tally], None] = lambda tally: None,
        every_s: float | None = None,
    ) -> Iterator[Outcome]:
        """What `results` yields; `look` gets the tally after all news, and at least every `every_s`."""
        give_up_s = None if timeout_s is None else time.monotonic() + timeout_s
        tail = Tail(self._folder, self.tasks)

        def patience_s() -> float | None:
            if give_up_s is None:
                return every_s
            left_s = give_up_s - time.monotonic()
            return left_s if every_s is None else min(left_s, every_s)

        for news in self.follow(tail, patience_s):
            look(tail.tally)
            yield from (whole(each, self.path) for each in news) if self._has_output else news
            if not news and give_up_s is not None and time.monotonic() >= give_up_s:
                raise TimeoutError(
                    f"run {self.id} still has {tail.tally.left} of {self.tasks} tasks to do; it goes on"
                )
        self.finish()

    def to_frame(self, timeout_s: float | None = None) -> Any:
        """A DataFrame of pandas, or of polars where pandas is not installed: a row for each task, in order.

        Its columns are those of `kon.report.frames`. Waits until every task has ended; raises as `results`
        does, and ConfigurationError where neither package is installed.
        """
        from kon.report.frames import frame

        values: list[Any] = [None] * self.tasks
        for outcome in self.results(timeout_s):
            values[outcome.index] = outcome.result if outcome.state is State.DONE else None
        return frame(self._folder, values)

    def follow(self, tail: Tail, patience_s: Callable[[], float | None]) -> Iterator[Sequence[Outcome]]:
        """Outcomes beyond those that `tail` has seen, as they are recorded, until every task has one.

        Nothing, when there was none for `patience_s()` seconds. Raises as `results` does.
        """
        while True:
            background = self._attached()
            # in this order: what is recorded after the look wakes the wait
            beat, ended = (background.beat, background.ended) if background else (0, False)
            news = tail.news()
            if news:
                yield news
            if not tail.tally.left:
                return
            if news:
                continue
            if background is not None and ended:
                self._given_up(background, tail.tally.left)
            if not self._wait(background, beat, patience_s()):
                yield ()

    def _given_up(self, background: Background, left: int) -> None:
        if background.error is not None:
            raise background.error
        raise Interrupted(
            f"run {self.id} was left with {left} of {self.tasks} tasks unaccounted for; its records are in "
            f"{self.path}"
        )

    def _wait(self, background: Background | None, beat: int, patience_s: float | None) -> bool:
        """Wait for news. False where none has come for so long."""
        if patience_s is not None and patience_s <= 0:
            return False
        if background is not None:
            return background.wait(beat, patience_s)
        time.sleep(_OTHERS_POLL_S if patience_s is None else min(patience_s, _OTHERS_POLL_S))
        return patience_s is None or patience_s > _OTHERS_POLL_S

    def call_off(self, at_once: bool = False) -> None:
        """What `cancel` does, for a run begun by this program, and without waiting for it.

        at_once: what runs gets no time to end.
        """
        if self._background is not None:
            self._background.cancel(at_once)

    def leave(self) -> bool:
        """Leave the run to its workers, as the end of the program does; wait until that is done.

        False where it can't go on without this program.
        """
        background = self._background
        if background is None or not self.is_kept or not background.leave():
            return False
        background.join()
        return True

    def cancel(self) -> None:
        """Give the run up: nothing more is started; what runs has the run's `drain_s` seconds to end.

        Returns when that is done. Tasks that had not ended are recorded as cancelled.
        """
        background = self._background or running_in(self._folder)
        if background is not None:
            background.cancel()
        elif self._lock().is_held():  # another program is its client, and hears of it
            in_private_loop(self._call_off())
            while self._lock().is_held():
                time.sleep(_OTHERS_POLL_S)
        elif self.status().left:
            background = Background(self._folder, self._spec, NothingToQueue())
            background.begin(cancelled=True)
        if background is not None:
            background.join()
            if background.error is not None:
                raise background.error

    async def _call_off(self) -> None:
        backend = open_backend(self._spec.backend, self.path.parent)
        try:
            channel = await backend.open(self.id)
            await Control(channel.control).close(Status.CANCELLED)
        finally:
            await backend.close()

    def finish(self) -> None:
        """Wait for what this program's client does after the last outcome: workers end, the records get
        their summary."""
        if self._background is not None:
            self._background.join()
            if self._background.error is not None:
                raise self._background.error

    def discard(self) -> None:
        """End it now: the workers, what they have started, and records that were only to last as long."""
        if self._background is not None:
            try:
                self._background.cancel(at_once=True)
                self._background.join()
            except KeyboardInterrupt:
                self._background.stop()
                raise
        if self._temporary is not None:
            self._temporary.remove()

    @property
    def is_kept(self) -> bool:
        """Whether its records outlive this program."""
        return self._temporary is None

    # --- who is the client? ------------------------------------------------------------------------

    def _is_attended(self) -> bool:
        if self._background is not None and not self._background.ended:
            return True
        return running_in(self._folder) is not None or self._lock().is_held()

    def _attached(self) -> Background | None:
        """This program's client of the run, made where nobody else is; None while another program is."""
        if self._background is None:
            self._background = running_in(self._folder)
        # the lock first: another client records everything before it lets go of it
        if self._background is None and not self._lock().is_held() and self.status().left:
            self._guard.check()
            self._background = Background(self._folder, self._spec, NothingToQueue(), guard=self._guard)
            self._background.begin()
        return self._background

    def _lock(self) -> FolderLock:
        return client_lock(self.path.parent)
