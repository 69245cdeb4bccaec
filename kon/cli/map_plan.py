"""From what was asked of `kon map` to a plan. It does without the experiments' forms, which would take
longer to load than all the rest: what there is to check, the options of the command line have checked.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from kon.api.begin import PREFETCH, Plan, processors, run_name
from kon.api.items import Bodies, for_command
from kon.core.errors import ConfigurationError, WorkloadError
from kon.core.kind import Kind
from kon.core.plugins import kind_class, strategy_class
from kon.core.spec import Plugin, RunSpec

_MOST_BAD: Final = 10


class ItemSource:
    """The bodies of the items, made whenever they are asked for."""

    def __init__(self, items: Sequence[str], kind: Kind) -> None:
        """Raises WorkloadError for items that no command can take."""
        self._bodies = Bodies(items, for_command, "kon map")
        digest = hashlib.sha256()
        bad: list[str] = []
        for number, body in enumerate(self._bodies, start=1):
            try:
                kind.check(body)
            except ConfigurationError as error:
                bad.append(f"kon map: item {number}: {error}")
                if len(bad) == _MOST_BAD:
                    break
            digest.update(msgspec.json.encode(body))
            digest.update(b"\n")
        if bad:
            raise WorkloadError("\n".join(bad))
        self.digest = digest.hexdigest()[:32]

    def bodies(self, workers: int) -> Iterable[Any]:
        return self._bodies

    def __len__(self) -> int:
        return len(self._bodies)


def make_plan(
    command: str,
    items: Sequence[str],
    *,
    slots: int,
    strategy: str,
    attempts: int,
    timeout_s: float | None,
    drain_s: float,
    max_output_bytes: int,
    out: Path | None,
    rerun_failed: bool,
) -> Plan:
    """Raises ConfigurationError for a command or a strategy that can't be, WorkloadError for items."""
    strategy_class(strategy)
    options = {"command": command, "max_output_bytes": max_output_bytes}
    source = ItemSource(items, kind_class("shell")(options))
    name = run_name(os.path.basename(command.split()[0]))  # noqa: PTH119 - it need not be a path at all
    workers = share(slots, processors())
    spec = RunSpec(
        run=name,
        experiment=name,
        backend=Plugin("sqlite"),
        strategy=Plugin(strategy),
        kind=Plugin("shell", options),
        tasks=len(source),
        workers=workers,
        slots=slots // workers,
        prefetch=PREFETCH,
        attempts=attempts,
        timeout_s=timeout_s,
        drain_s=drain_s,
        workload_digest=source.digest,
    )
    return Plan("kon map", spec, source, out, rerun_failed)


def share(slots: int, processors: int) -> int:
    """How many worker processes share the slots evenly: one alone starts some 1,000 commands a second."""
    return max(count for count in range(1, min(slots, processors) + 1) if slots % count == 0)
