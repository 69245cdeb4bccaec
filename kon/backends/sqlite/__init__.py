"""The backend `sqlite`: one database file for each run, for any number of processes of one machine.

`schema` is the file's layout, `connection` its one thread for each open channel, `spans` has the
statements of a queue, `queue` and `ledger` what kon sees of them.
"""

from kon.backends.sqlite.backend import SqliteBackend

__all__ = ["SqliteBackend"]
