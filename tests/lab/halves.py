"""`make test-fleet`: the tests of hosts, in two labs side by side, as half of their time is waiting.

`python -m tests.lab.halves [PYTEST'S OPTIONS]`. Labs share nothing but the image. What the second one says is
shown once the first has ended. Where a file is named, that runs alone, in one lab.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.lab.addresses import lab_home
from tests.lab.image import base_image
from tests.lab.machine import missing, this_machine
from tests.lab.outside import CANT

PROJECT: Final = Path(__file__).parents[2]

MARKED: Final = "tests/*/test_fleet_*.py"
"""The files with tests of hosts. To look through all others takes 20 s."""

FIRST: Final = ("test_fleet_day.py", "test_fleet_elastic.py")
"""Those of the first lab, which take as long as all others."""

NO_TESTS: Final = 5
"""pytest's exit code where no test was chosen."""


def halves(options: Sequence[str]) -> list[list[str]]:
    """What pytest is called with, for each lab."""
    if any((PROJECT / each.partition("::")[0]).is_file() for each in options):
        return [list(options)]
    files = sorted(str(each.relative_to(PROJECT)) for each in PROJECT.glob(MARKED))
    first = [each for each in files if Path(each).name in FIRST]
    return [[*first, *options], [*(each for each in files if each not in first), *options]]


def verdict(exit_codes: Sequence[int]) -> int:
    """The first that tells of a failure; else whether any test ran."""
    failed = [code for code in exit_codes if code not in (0, NO_TESTS)]
    return failed[0] if failed else min(exit_codes)


def main() -> int:
    if wanting := missing():
        print(f"the lab can't run here: {'; '.join(wanting)}", file=sys.stderr)
        return CANT
    base_image(lab_home(), this_machine())
    lab = [sys.executable, "-m", "tests.lab", "--", "pytest"]
    ways = halves(["-m", "fleet and not slow", "--timeout", "0", *sys.argv[1:]])
    with tempfile.TemporaryFile() as later:
        processes = [
            subprocess.Popen([*lab, *way], stdout=later if number else None, stderr=subprocess.STDOUT)
            for number, way in enumerate(ways)
        ]
        exit_codes = [each.wait() for each in processes]
        later.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(later.read())
    return verdict(exit_codes)


if __name__ == "__main__":
    sys.exit(main())
