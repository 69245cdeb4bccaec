"""kon runs a bag of tasks to the end, each one once in effect, on one machine or on a fleet.

    import kon

    squares = kon.map(square, range(100))           # like map(), over processes, with records
    run = kon.submit("gzip -k {}", files)           # a shell command for each file, in the background
    results = kon.gather(run)

See docs/python-api.md. What stands here is loaded when it is first used, so that `import kon` is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kon.api.calls import gather, map, open_run, submit
    from kon.api.executor import Executor
    from kon.api.handle import Run, RunStatus
    from kon.api.joblib_backend import register_joblib
    from kon.core.errors import ConfigurationError, KonError, OverBudget, TaskFailed
    from kon.core.task import Outcome, State

__all__ = [
    "ConfigurationError",
    "Executor",
    "KonError",
    "Outcome",
    "OverBudget",
    "Run",
    "RunStatus",
    "State",
    "TaskFailed",
    "gather",
    "map",
    "open_run",
    "register_joblib",
    "submit",
]

_HOME = {
    **dict.fromkeys(("gather", "map", "open_run", "submit"), "kon.api.calls"),
    "Executor": "kon.api.executor",
    "register_joblib": "kon.api.joblib_backend",
    **dict.fromkeys(("Run", "RunStatus"), "kon.api.handle"),
    **dict.fromkeys(("ConfigurationError", "KonError", "OverBudget", "TaskFailed"), "kon.core.errors"),
    **dict.fromkeys(("Outcome", "State"), "kon.core.task"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from kon.core.distribution import version

        return version()
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
