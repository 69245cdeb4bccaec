"""Counts a run from its raw files alone: nothing of kon is used, so that no mistake of kon's is shared.

python tests/launch/raw_records.py RUN_FOLDER EFFECTS TASKS

RUN_FOLDER/results.jsonl has a packet of answers a line: [worker, [[index, attempt, state, ...], ...]].
EFFECTS has a line for each execution that came to its end: the task's index.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

ENDED = ("done", "failed")


def problems(run: Path, effects: Path, tasks: int) -> tuple[list[str], int]:
    """What is wrong, and how many executions there were beyond the first of each task."""
    wrong: list[str] = []
    last: dict[int, str] = {}
    for number, line in enumerate((run / "results.jsonl").read_bytes().split(b"\n"), start=1):
        try:
            packet = json.loads(line)
        except ValueError:  # half a line of a killed client: what follows is recorded again
            continue
        for index, _attempt, state, *_ in packet[1]:
            if last.get(index) in ENDED:
                wrong.append(f"line {number}: task {index} is recorded a second time, as {state}")
            last[index] = state
    executed = Counter(int(line) for line in effects.read_text().split())
    for index in range(tasks):
        if last.get(index) != "done":
            wrong.append(f"task {index} is {last.get(index, 'not recorded')}")
        if not executed[index]:
            wrong.append(f"task {index} never ran to its end")
    wrong += [f"task {index} was never submitted" for index in set(last) | set(executed) if index >= tasks]
    return wrong, sum(executed.values()) - len(executed)


if __name__ == "__main__":
    found, repeats = problems(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    print("\n".join(found) or f"{sys.argv[3]} tasks, each done once in the records; {repeats} ran once more")
    sys.exit(1 if found else 0)
