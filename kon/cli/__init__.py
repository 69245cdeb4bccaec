"""The command `kon`: each module is one of its commands; they parse, call and print.

`kon.cli:main` is what the installed script calls. Commands are imported when they are used.
"""

import signal
import threading

if _is_own := (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):  # Ctrl-C ends a program that has not begun: Python would show where in its imports
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from kon.cli import program

if _is_own:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> None:
    """The installed script. Ends the process."""
    try:
        program.main()
    finally:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(
                signal.SIGINT, signal.SIG_DFL
            )  # all is said: one more ends it, and shows no traceback


__all__ = ["main"]
