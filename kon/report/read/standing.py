"""What became of each task, in order of tasks, without holding all results in memory."""

from __future__ import annotations

import warnings
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from io import BufferedReader
from typing import Final, NamedTuple

import msgspec

from kon.core.errors import StoreError
from kon.core.task import Answers, Outcome
from kon.engine.records.records import RunFolder
from kon.report.read.counts import Packet

KEPT_BYTES: Final = 32 << 20
"""Lines of results that are kept decoded. Tasks end about in order, so that few lines are read twice."""


class Standing(NamedTuple):
    """The outcome that stands for a task, and who answered it."""

    worker: str
    outcome: Outcome


def standing(folder: RunFolder, tasks: int) -> Iterator[Standing]:
    """The outcome that stands for each of a run's tasks that has one, in order. Raises StoreError.

    Memory: 8 bytes a task, and the lines that are kept.
    """
    try:
        with folder.results.open("rb") as file:
            places = _places(folder, file, tasks)
            packets = _Packets(file)
            for index, place in enumerate(places):
                if place >= 0:
                    yield packets.find(place, index)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{folder.results}: can't be read: {error.strerror}") from error


def _places(folder: RunFolder, file: BufferedReader, tasks: int) -> array[int]:
    """Where the line begins that has the outcome of each task; the last one stands."""
    places = array("q", [-1]) * tasks
    place = 0
    for number, line in enumerate(file, start=1):
        try:
            for outcome in _packets.decode(line).outcomes if line.strip() else ():
                places[outcome.index] = place
        except msgspec.DecodeError:
            warnings.warn(
                f"{folder.results}:{number}: half a line, left by a killed process; read without it",
                stacklevel=3,
            )
        except IndexError as error:
            raise StoreError(
                f"{folder.results}:{number}: names a task beyond the {tasks} of its run; it is of another"
            ) from error
        place += len(line)
    return places


class _Packets:
    """Packets by where their lines begin; those used last are kept."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self._kept: OrderedDict[int, tuple[int, str, dict[int, Outcome]]] = OrderedDict()
        self._kept_bytes = 0

    def find(self, place: int, index: int) -> Standing:
        if place not in self._kept:
            self._read(place)
        self._kept.move_to_end(place)
        _, worker, outcomes = self._kept[place]
        return Standing(worker, outcomes[index])

    def _read(self, place: int) -> None:
        self._file.seek(place)
        line = self._file.readline()
        answers = _answers.decode(line)
        self._kept[place] = (len(line), answers.worker, {each.index: each for each in answers.outcomes})
        self._kept_bytes += len(line)
        while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
            _, (size_bytes, _, _) = self._kept.popitem(last=False)
            self._kept_bytes -= size_bytes


_packets = msgspec.json.Decoder(Packet)
_answers = msgspec.json.Decoder(Answers)
