"""Figures of other systems, for tables and plots to stand next to: `--reference FILE`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import yaml

from kon.core.errors import ConfigurationError
from kon.report.columns import Row

_LOCAL = frozenset({"memory", "sqlite"})

_ByWorkers = dict[int, float]


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one system measured.

    local: whether it ran on one machine; else over a network.
    tasks_per_s: of tasks that take no time, by the number of workers.
    efficiency_percent: ideal time / measured time, by the tasks' seconds and the number of workers.
    minutes: by the kind of work, the number of tasks and the number of workers.
    """

    system: str
    local: bool = False
    tasks_per_s: _ByWorkers = {}
    efficiency_percent: Mapping[float, _ByWorkers] = {}
    minutes: Mapping[str, Mapping[int, _ByWorkers]] = {}

    def is_of(self, row: Row) -> bool:
        """Whether it ran where this run did: on one machine, or over a network."""
        return self.local == (row["backend"] in _LOCAL)

    def efficiency_by_length(self, workers: int) -> dict[float, float]:
        """In percent, by the tasks' seconds."""
        return {
            seconds: by_workers[workers]
            for seconds, by_workers in self.efficiency_percent.items()
            if workers in by_workers
        }


def references(file: Path) -> list[Reference]:
    """The systems in a file of YAML. Raises ConfigurationError, which says what is wrong in which of them."""
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
        return msgspec.convert(found, list[Reference])
    except OSError as error:
        raise ConfigurationError(f"{file}: can't be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: is no YAML: {' '.join(str(error).split())}") from error
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"{file}: {error}. Expected a list of systems, as workloads/published.yml has it"
        ) from error


def is_comparable(row: Row) -> bool:
    """Whether others' figures may stand next to this run: they put no faults into theirs."""
    return not row.get("faults")
