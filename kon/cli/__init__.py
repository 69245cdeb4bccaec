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

from kon.cli.group import main

if _is_own:
    signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["main"]
