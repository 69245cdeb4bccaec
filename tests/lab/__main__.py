"""`python -m tests.lab [--can | -- COMMAND ...]`: --can says whether the lab can run here."""

from __future__ import annotations

import argparse
import sys

from tests.lab.addresses import lab_home
from tests.lab.image import unavailable
from tests.lab.machine import missing, this_machine
from tests.lab.outside import CANT, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description="A private EC2 on one machine.")
    parser.add_argument("--can", action="store_true", help="Only say whether it can run here.")
    parser.add_argument("command", nargs="*", metavar="COMMAND")
    args = parser.parse_args()
    if args.can:
        wanting = missing() or unavailable(lab_home(), this_machine())
        print("; ".join(wanting) or "the lab can run here")
        return CANT if wanting else 0
    if not args.command:
        parser.error("a command is needed")
    return run(args.command)


if __name__ == "__main__":
    sys.exit(main())
