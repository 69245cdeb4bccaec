"""One run of `kon map`: what ends is printed and logged; it can be halted, interrupted and taken up again."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click

from kon.api.begin import Plan, begin
from kon.api.feed import Feed
from kon.api.progress import EVERY_S, ProgressLine
from kon.api.relay import Relay
from kon.cli.joblog import JobLog, read_joblog
from kon.cli.kept import STDOUT, written
from kon.cli.map_incoming import Incoming
from kon.cli.map_options import MapRequest
from kon.cli.map_output import Printed, Printer
from kon.cli.map_sources import Item
from kon.cli.map_tasks import Commands
from kon.cli.output import can_redraw, note, print_rows
from kon.core.errors import ConfigurationError, Interrupted, StoreError, counted
from kon.core.task import Outcome, State
from kon.engine.records.records import RunFolder
from kon.engine.tally import Tally
from kon.report.read.reader import Tail

_LIVE_S: Final = 0.05
"""Between two looks at output that is shown as it comes."""

_LONGEST_HINT: Final = 1_000


class MapRun:
    """One run, from its start to what is said at its end."""

    def __init__(self, plan: Plan, items: Sequence[Item], commands: Commands, request: MapRequest) -> None:
        """Begins it. Raises ConfigurationError where it can't be begun, or taken up."""
        self._plan = plan
        self._items = items
        self._commands = commands
        self._request = request
        # what can't be printed or logged is told before anything runs
        self._printer = Printer(
            items,
            keep_order=request.keep_order,
            tag=request.tag,
            is_shown=not (request.as_json or request.is_live),
            results=request.results,
            files_go=plan.out is None,
            may_cut=request.max_output_bytes is not None,
        )
        self._told = None if plan.out is None else Printed(RunFolder(plan.out / plan.spec.run))
        recorded = self._recorded()
        self._known = {outcome.index for outcome in recorded if self._stands(outcome)}
        self._joblog = self._open_joblog(recorded)
        self._incoming = items if isinstance(items, Incoming) else None
        self._feed = Feed(plan.spec.workers * plan.spec.slots, lambda call, outcome: None)
        if self._incoming is not None:
            self._incoming.check(commands.body)  # once it has begun, it would have to be ended
            plan = plan._replace(feed=self._feed)
        self._run = begin(plan, () if plan.out else recorded)
        self._tail = Tail(RunFolder(self._run.path), self._run.tasks)
        if self._told is not None:
            self._told.begin(recorded)
        shown = {} if self._told is None else self._told.shown
        self._relay = Relay(self._run.path / "live", at=shown) if request.is_live else None
        self._logged = Tally(self._run.tasks)
        self._printed = Tally(self._run.tasks)
        self._is_counted = False
        if self._incoming is not None:
            self._incoming.follow(self._feed, commands.body)

    def to_its_end(self) -> bool:
        """Whether every command was done.

        Raises Interrupted after Ctrl-C, BrokenPipeError when nobody reads the output any more.
        """
        run = self._run
        try:
            with _as_interrupts():
                try:
                    self._follow()
                    if self._request.as_json:
                        self._print_row()
                except KeyboardInterrupt:
                    raise Interrupted(self._after_interrupt()) from None
                except BrokenPipeError:
                    if not run.leave():
                        self._stop(prints=False)
                    raise
                finally:
                    if not run.is_kept:
                        run.discard()
        finally:
            for file in (self._joblog, self._told):
                if file is not None:
                    file.close()
        self._say_what_failed()
        if self._incoming is not None and self._incoming.problem is not None:
            raise self._incoming.problem
        return self._tail.tally.counts[State.DONE] == len(self._items) or self._is_enough()

    # --- what is known from before -----------------------------------------------------------------

    def _recorded(self) -> list[Outcome]:
        """What is known of this run's tasks from before, and is not to be printed again.

        Raises ConfigurationError where there is something, and nobody asked to go on with it.
        """
        request, plan = self._request, self._plan
        if plan.out is not None and self._told is not None:
            folder = RunFolder(plan.out / plan.spec.run)
            if not folder.exists:
                return []
            if not request.resumes:
                raise ConfigurationError(
                    f"--out {request.out} holds a run {folder.path.name} already; nothing was run. Go on "
                    "with it by --resume, or name a new folder"
                )
            return list(self._told.of(outcome for _, outcome in folder.outcomes()))
        if not request.resumes:
            return []
        if request.joblog is None:
            raise click.UsageError("--resume: with --out or --joblog, which say what is done already")
        return [
            Outcome(entry.task, 1, State.DONE)
            if entry.ok
            else Outcome(entry.task, 1, State.FAILED, None, "failed before, as the job log says")
            for entry in read_joblog(request.joblog, self._commands, len(self._items))
            if entry.ok or not request.resume_failed
        ]

    def _stands(self, outcome: Outcome) -> bool:
        """Whether a task that is recorded is not run again."""
        rerun = self._request.resume_failed or outcome.state is State.CANCELLED
        return outcome.state is State.DONE or not rerun

    def _open_joblog(self, recorded: Sequence[Outcome]) -> JobLog | None:
        """The job log, with a line for each task that is recorded; a crash may have left some out."""
        path = self._request.joblog
        if path is None:
            return None
        if not self._request.resumes:
            return JobLog(path, self._commands, append=False)
        logged = {entry.task for entry in read_joblog(path, self._commands, len(self._items))}
        joblog = JobLog(path, self._commands, append=True)
        for outcome in recorded:
            if outcome.index not in logged:
                joblog.add(outcome)
        return joblog

    # --- while it runs -----------------------------------------------------------------------------

    def _follow(self) -> None:
        """Print and log what ends, until all has ended."""
        request, printer = self._request, self._printer
        redraws = can_redraw()
        line = ProgressLine(
            before=len(self._known),
            redraws=redraws,
            is_shown=request.progress or (redraws and not request.quiet),
        )
        looks = line.is_shown or self._incoming is not None
        pause_s = _LIVE_S if self._relay else EVERY_S if looks else None
        try:
            for news in self._run.follow(self._tail, lambda: pause_s):
                if news or self._relay:
                    line.clear()
                self._print(news)
                self._look_whether_more_come()
                if request.halt.is_due(self._failed, self._succeeded, len(self._items)):
                    self._run.call_off()
                if not (printer.is_mid_line or (self._relay and self._relay.is_mid_line)):
                    line.update(self._tail.tally)
        except Interrupted:  # the run ended before it was known how many items there were
            self._look_whether_more_come()
            if self._tail.tally.left:
                raise
        finally:
            line.clear()
        self._run.finish()
        self._show_live()

    def _print(self, news: Sequence[Outcome]) -> None:
        """Print what has ended, and log it once it is printed: what is logged is not run or printed again.

        What has nothing to print is logged at once, also where others have to be printed before it. Raises
        StoreError where something can't be written.
        """
        self._printer.skip(outcome for outcome in news if outcome.index in self._known)
        silent = [each for each in news if each.index not in self._known and self._printer.is_silent(each)]
        try:
            self._note(silent)
            self._show_live()
            self._printer.print(self._fresh(news, self._printed))
            self._note_printed()
        except StoreError as error:
            raise StoreError(f"{error}. {self._after_full_disk()}") from error

    def _note_printed(self) -> None:
        self._note(self._printer.printed)
        self._printer.printed.clear()  # not before: a signal may come in between

    def _note(self, outcomes: Sequence[Outcome]) -> None:
        """Note that nothing of these is left to be run or printed."""
        if self._told is not None:
            self._told.add(outcomes, None if self._relay is None else self._relay.at)
        self._log(outcomes)

    def _log(self, outcomes: Sequence[Outcome]) -> None:
        if self._joblog is not None:
            for outcome in self._fresh(outcomes, self._logged):
                self._joblog.add(outcome)

    def _fresh(self, news: Sequence[Outcome], taken: Tally) -> Iterator[Outcome]:
        """Outcomes of this call's own commands that are not among those taken.

        Each is counted as taken once the loop over them comes back for the next. An outcome at which a
        signal breaks that loop is so taken again, and not lost.
        """
        for outcome in news:
            if outcome.index not in self._known and taken.state_of(outcome.index) is not outcome.state:
                yield outcome
                taken.count([outcome])

    @property
    def _succeeded(self) -> int:
        return self._printed.counts[State.DONE]

    @property
    def _failed(self) -> int:
        counts = self._printed.counts
        return sum(counts.values()) - counts[State.DONE] - counts[State.CANCELLED]

    def _look_whether_more_come(self) -> None:
        """Say how many items there were, once that is known."""
        if self._incoming is None or self._is_counted:
            return
        if self._incoming.is_over:
            self._feed.close()
        if self._feed.is_closed:  # or by the client, as the run was given up
            self._is_counted = True
            self._tail.tally.close(self._feed.total)

    def _show_live(self) -> None:
        if self._relay is not None:
            with written(STDOUT):
                self._relay.show()

    def _print_row(self) -> None:
        from kon.report.summary import summarise

        print_rows(self._plan.spec.experiment, [summarise(RunFolder(self._run.path))])

    # --- its end -----------------------------------------------------------------------------------

    def _is_enough(self) -> bool:
        """Whether it was halted because the wanted number succeeded."""
        halt = self._request.halt
        return halt.counted == "success" and halt.is_due(0, self._succeeded, len(self._items))

    def _say_what_failed(self) -> None:
        tally, run = self._tail.tally, self._run
        bad = {state: count for state, count in tally.counts.items() if count and state is not State.DONE}
        if not bad or self._request.quiet:
            return
        told = ", ".join(f"{count:,} {state}" for state, count in bad.items())
        where = f" (kon results {run.path} --failed)" if run.is_kept else ""
        note(f"kon: of {counted(tally.tasks, 'task')} {told}{self._printer.tell_the_rest()}{where}")

    def _after_interrupt(self) -> str:
        """What became of a run at Ctrl-C; leaves it to its workers where its records are kept."""
        is_left = self._run.leave()
        if is_left:
            self._printer.flush()
            self._note_printed()
            for _ in self._read_again():
                pass
        else:
            self._stop()
        tally = self._tail.tally
        ended = tally.tasks - tally.left - tally.counts[State.CANCELLED]
        if ended == tally.tasks and (self._incoming is None or self._incoming.is_over):
            return f"interrupted with {ended:,} of {counted(ended, 'task')} ended: nothing is left to run"
        told = f"interrupted with {ended:,} of {counted(tally.tasks, 'task')} ended"
        if is_left:
            return f"{told}; the others go on in the background. To see them end: {_resuming()}"
        if self._request.joblog is not None:
            return f"{told}; those that ran were stopped. To run the rest: {_resuming()}"
        return (
            f"{told}; those that ran were stopped, and of the others nothing is recorded. With --out DIR "
            "they would have gone on, and --resume could take them up"
        )

    def _after_full_disk(self) -> str:
        """What becomes of a run whose output can't be written, and how to have what is not printed."""
        if self._run.leave():
            return f"The commands go on in the background. Make room, then print the rest: {_resuming()}"
        if self._plan.out is not None or self._request.joblog is not None:
            return f"Make room, then run and print the rest: {_resuming()}"
        return "What ran was stopped, and nothing is recorded"

    def _stop(self, *, prints: bool = True) -> None:
        """Stop what runs, and take what had ended by then: the log must not forget it. `prints`: somebody
        reads the output; where nobody does, it counts as printed."""
        # where commands that run may end first, a week is theirs once no more are started
        self._run.call_off(at_once=self._request.halt.when == "soon")
        self._run.finish()
        for news in self._read_again():
            if prints:
                self._print(news)
            else:
                self._log(news)

    def _read_again(self) -> Iterator[Sequence[Outcome]]:
        """What is recorded, from the first line on: a signal may have cut off a look that had moved on in
        the file and had not yet handed out what it read."""
        self._tail = Tail(RunFolder(self._run.path), self._run.tasks)
        self._is_counted = False
        self._look_whether_more_come()
        while news := self._tail.news():
            yield news
        yield ()  # to print what was waiting for its turn


@contextmanager
def _as_interrupts() -> Iterator[None]:
    """Have the other signals that end a program end this one as Ctrl-C does: its workers would not hear of
    them, and run what is queued to its end. What is ignored stays so."""
    before: dict[signal.Signals, Any] = {
        number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _resuming() -> str:
    """The command line of this process, as one that takes up what it leaves."""
    words = sys.argv[1:]
    at = words.index("map") + 1 if "map" in words else 0
    if "--resume" not in words[at:] and "--resume-failed" not in words[at:]:
        words.insert(at, "--resume")
    text = shlex.join(["kon", *words])
    return text if len(text) <= _LONGEST_HINT else "kon map --resume, and the rest as it was"
