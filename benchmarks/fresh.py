"""A measurement in an interpreter of its own: `python -m benchmarks.fresh MODULE FUNCTION < OPTIONS`.

What one measurement leaves behind (a heap, warm caches, threads) is then no other's concern, and its
peak of memory is its own. Options, the function's keyword arguments, and figures travel as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from typing import Any


class MeasurementFailed(Exception):
    """A measurement ended with an error; what it said is the message."""


def call(function: str, options: dict[str, Any]) -> dict[str, Any]:
    """What `module:function` returns for these keyword arguments. Raises MeasurementFailed."""
    module, _, name = function.partition(":")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fresh", module, name],
        input=json.dumps(options).encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise MeasurementFailed(f"{function} with {options} ended with exit code {done.returncode}: {said}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def main() -> None:
    module, name = sys.argv[1:]
    json.dump(getattr(import_module(module), name)(**json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
