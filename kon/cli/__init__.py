"""The command `kon`: each module is one of its commands; they parse, call and print.

`kon.cli:main` is what the installed script calls. Commands are imported when they are used.
"""

from kon.cli.group import main

__all__ = ["main"]
