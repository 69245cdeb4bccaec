"""What must hold of the file's own tables at any time, whoever was killed in the midst of what."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from kon.backends.sqlite.schema import QUEUES


def check_file(file: Path) -> None:
    """Every message lies in one span, no two spans overlap, and each knows how many it has."""
    db = sqlite3.connect(file)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for name in QUEUES:
            _check_queue(db, name)
    finally:
        db.close()


def _check_queue(db: sqlite3.Connection, name: str) -> None:
    (next_id,) = db.execute("SELECT next_id FROM queue WHERE name = ?", (name,)).fetchone()
    ids = [key for (key,) in db.execute(f"SELECT id FROM {name} ORDER BY id")]
    covered: list[int] = []
    end = 0
    for first, last, living in db.execute(f"SELECT first, last, living FROM {name}_span ORDER BY first"):
        assert end < first <= last < next_id, f"{name}: the span from {first} to {last} overlaps another"
        end = last
        inside = [key for (key,) in db.execute(f"SELECT id FROM {name} WHERE id BETWEEN {first} AND {last}")]
        assert len(inside) == living > 0, (
            f"{name}: the span from {first} has {len(inside)} living, not {living}"
        )
        covered += inside
    assert covered == ids, f"{name}: messages outside of every span"
