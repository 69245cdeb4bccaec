"""Output of `kon map`: printing it, and noting what has been printed of a run whose records are kept."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from kon.api import streams
from kon.cli.kept import STDERR, STDOUT, parts_of, print_kept, written
from kon.cli.map_sources import Item, shown
from kon.cli.output import is_stdout_closed
from kon.core.errors import ConfigurationError
from kon.core.journal import FileJournal, scan
from kon.core.task import Outcome, State
from kon.engine.records.records import RunFolder
from kon.kinds.capture import STREAMS

MOST_TOLD: Final = 10
"""Failures that are told one by one; the others are counted."""

_LONGEST_ITEM: Final = 200
_NOTHING: Final = Outcome(-1, 1, State.DONE)


class Printer:
    """Prints outcomes; each task's stdout to stdout, its stderr to stderr, byte for byte."""

    def __init__(
        self,
        items: Sequence[Item],
        *,
        keep_order: bool = False,
        tag: bool = False,
        is_shown: bool = True,
        results: Path | None = None,
        files_go: bool = False,
        may_cut: bool = False,
    ) -> None:
        """is_shown: output is to be printed; where it is not, it was shown as it came, or nobody wants it.
        results: the folder where it is kept, a folder for each task. files_go: the files of long output are
        removed once they are printed. may_cut: the middle of long output may be missing; else what is not
        whole, which its task has failed of, is not taken for output.

        Raises ConfigurationError where there is nowhere to print to, StoreError for such a folder.
        """
        if is_shown and is_stdout_closed():
            raise ConfigurationError(
                "standard output is closed, so that nothing could be printed; nothing was run. Send it to "
                "/dev/null to run commands without their output"
            )
        if results is not None:
            with written(f"--results {results}"):
                results.mkdir(parents=True, exist_ok=True)
                if not os.access(results, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        self._items = items
        self._keep_order = keep_order
        self._tag = tag
        self._is_shown = is_shown
        self._results = results
        self._files_go = files_go
        self._may_cut = may_cut
        self._early: dict[int, Outcome] = {}
        self._next = 0
        self._printed_files: list[Path] = []
        self.printed: list[Outcome] = []
        """What is printed, and had something to print; who notes that takes it out."""
        self.failures = 0
        self.is_mid_line = False
        """Whether what was printed last did not end with a line end."""

    def skip(self, outcomes: Iterable[Outcome]) -> None:
        """These were printed by the run that recorded them."""
        if self._keep_order:
            self._early.update((outcome.index, _NOTHING) for outcome in outcomes)

    def print(self, outcomes: Iterable[Outcome]) -> None:
        """Raises BrokenPipeError when nobody reads it any more, StoreError where it can't be written."""
        for outcome in self._in_turn(outcomes) if self._keep_order else outcomes:
            self._remove_printed()
            if outcome is _NOTHING:
                continue
            # both streams may go to one terminal, where stderr belongs between this task and the next
            result = outcome.result if isinstance(outcome.result, dict) else {}
            for stream in STREAMS:
                text, file = str(result.get(stream) or ""), result.get(f"{stream}_file")
                if file is None and f"{stream}_bytes" in result and not self._may_cut:
                    continue
                self._keep(outcome.index, stream, text, file)
                if self._is_shown:
                    self._show(outcome.index, stream, text, file)
                if self._files_go and file is not None:
                    self._printed_files.append(Path(file))
            self._say(b"".join(self._comments(outcome, result)))
            self.printed.append(outcome)
        self._remove_printed()
        self.flush()

    def is_silent(self, outcome: Outcome) -> bool:
        """Whether nothing is to be printed or kept for a task."""
        if outcome.state is not State.DONE:
            return False
        result = outcome.result if isinstance(outcome.result, dict) else {}
        shown = (result.get(stream) or f"{stream}_bytes" in result for stream in STREAMS)
        return self._results is None and not any(shown) and not any(self._comments(outcome, result))

    def _remove_printed(self) -> None:
        """Remove the files of output that is printed and counted: until then, a signal may have it printed
        again."""
        for file in self._printed_files:
            file.unlink(missing_ok=True)
        self._printed_files.clear()

    def tell_the_rest(self) -> str:
        """How many failures were not told one by one, for the last line; nothing where there are none."""
        more = self.failures - MOST_TOLD
        return f"; {more:,} more than are named above" if more > 0 else ""

    def _in_turn(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        self._early.update((outcome.index, outcome) for outcome in outcomes)
        while (outcome := self._early.get(self._next)) is not None:
            yield outcome
            del self._early[self._next]  # now that it is printed: a signal may have come in between
            self._next += 1

    def _show(self, index: int, stream: str, text: str, file: str | None) -> None:
        if not (text or file):
            return
        to, name = (sys.stdout.buffer, STDOUT) if stream == "stdout" else (sys.stderr.buffer, STDERR)
        if stream == "stderr":
            self.flush()
        if file is not None and not self._tag:
            self.is_mid_line = print_kept(Path(file), to, name)
        else:
            parts = iter((text.encode(),)) if file is None else parts_of(Path(file))
            for part in self._tagged(index, parts) if self._tag else parts:
                with written(name):
                    streams.write(to, part)
                self.is_mid_line = not part.endswith(b"\n")
        if stream == "stderr":  # at once, as stderr is read, and so that a full disk is known
            with written(STDERR):
                streams.flush(sys.stderr.buffer)

    def _say(self, text: bytes) -> None:
        if text:
            self.flush()
            with written(STDERR):
                streams.write(sys.stderr.buffer, text)
                streams.flush(sys.stderr.buffer)
            self.is_mid_line = False

    def flush(self) -> None:
        """Raises StoreError where what is printed can't be written."""
        if self._is_shown:
            with written(STDOUT):
                streams.flush(sys.stdout.buffer)

    def _keep(self, index: int, stream: str, text: str, file: str | None) -> None:
        if self._results is None:
            return
        kept = self._results / str(index + 1) / stream
        with written(f"--results {kept}"):
            kept.parent.mkdir(parents=True, exist_ok=True)
            if file is not None:
                shutil.copyfile(file, kept)
            else:
                kept.write_bytes(text.encode())

    def _comments(self, outcome: Outcome, result: dict[str, object]) -> Iterator[bytes]:
        """What there is to say about it."""
        for warning in _warnings(result) if self._may_cut else ():
            yield f"kon: task {outcome.index + 1}: {warning}\n".encode()
        if result.get("output_open"):
            yield (
                b"kon: task %d: it left a process running that held its output open; what that writes is not "
                b"read\n" % (outcome.index + 1)
            )
        if outcome.state is State.DONE or outcome.state is State.CANCELLED:
            return
        self.failures += 1
        if self.failures <= MOST_TOLD:
            item = os.fsencode(shown(self._items[outcome.index]))[:_LONGEST_ITEM]
            said = _ending(outcome, result).encode(errors="backslashreplace")
            yield b"kon: task %d (%s): %s\n" % (outcome.index + 1, item, said)

    def _tagged(self, index: int, parts: Iterator[bytes]) -> Iterator[bytes]:
        tag = os.fsencode(shown(self._items[index])) + b"\t"
        rest = b""
        for part in parts:
            *lines, rest = (rest + part).split(b"\n")
            yield b"".join(tag + line + b"\n" for line in lines)
        if rest:
            yield tag + rest


def _ending(outcome: Outcome, result: dict[str, object]) -> str:
    """How a task ended, without what it said itself, which has just been printed."""
    said = outcome.error or str(outcome.state)
    lines = str(result.get("stderr") or "").rstrip().splitlines()
    head, found, last = said.partition(": ")
    return head if found and lines and lines[-1].strip().startswith(last) else said


def _warnings(result: dict[str, object]) -> list[str]:
    found = []
    if result.get("truncated") and not (result.get("stdout_file") or result.get("stderr_file")):
        found.append("its output is longer than --max-output allows, and the middle is left out")
    if result.get("encoding_errors") and not (result.get("stdout_file") or result.get("stderr_file")):
        found.append("its output was not UTF-8; other bytes stand there as \\xff. Leave out --max-output")
    return found


End = tuple[int, float]
"""A task and when it ended, which tells an end from that of a later try."""

_line: Final = msgspec.json.Decoder(list[End] | dict[str, int])


class Printed:
    """`printed.jsonl` in a run's folder. A line is written after its output is: a kill between the two has
    that output printed twice, and never lost."""

    def __init__(self, folder: RunFolder) -> None:
        """Raises StoreError where it can't be read or written."""
        self._folder = folder
        self._path = folder.path / "printed.jsonl"
        self._journal: FileJournal | None = None
        self._ends: set[End] = set()
        self.shown: dict[str, int] = {}
        """How far each file of output that is shown as it comes has been read, in bytes."""
        for line in scan(self._path, _line):
            if isinstance(line, dict):
                self.shown.update(line)
            else:
                self._ends.update(line)

    def of(self, recorded: Iterable[Outcome]) -> Iterator[Outcome]:
        """Those of the recorded outcomes that are printed: all, where no file says which."""
        is_known = self._path.exists()
        return (each for each in recorded if not is_known or _end(each) in self._ends)

    def begin(self, printed: Iterable[Outcome]) -> None:
        """Note these where nothing is noted yet: from now on the file says which. Raises StoreError."""
        is_known = self._path.exists()
        self._journal = FileJournal(self._path)
        if not is_known:
            self.add(printed)

    def add(self, outcomes: Iterable[Outcome], shown: Mapping[str, int] | None = None) -> None:
        """These are printed, and output that is shown as it comes is up to there. Raises StoreError."""
        ends = [_end(each) for each in outcomes]
        lines = [msgspec.json.encode(ends)] if ends else []
        if shown and shown != self.shown:
            self.shown = dict(shown)
            lines.append(msgspec.json.encode(self.shown))
        if self._journal is not None:
            self._journal.append(lines)

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()


def _end(outcome: Outcome) -> End:
    return outcome.index, outcome.ended_s
