"""What the history forgets by itself: faces past their expiry, old sessions, and the oldest where it is too large.

Runs when the history is opened for writing, every ten minutes of a recording, and at `unmask sessions list`.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from monitor.history.database import transaction
from monitor.history.records import Ending

DAY_S = 86_400.0
SILENT_S = 120.0
"""A session without a sign of life for so long is no longer recorded by anybody."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept: sessions by age, the file by size. Sessions that go on are never deleted for size."""

    keep_days: float = 30.0
    max_mb: float = 200.0


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What an upkeep has deleted or closed."""

    faces: int = 0
    by_age: int = 0
    by_size: int = 0
    cut_off: int = 0


def tend(connection: sqlite3.Connection, retention: Retention, now: float) -> Forgotten:
    """Do the whole upkeep. `now`: seconds since 1970. Raises sqlite3.Error."""
    with transaction(connection):
        cut_off = connection.execute(
            "UPDATE sessions SET ended_at = seen_at, ending = ? WHERE ended_at IS NULL AND seen_at < ?",
            (Ending.CUT_OFF.value, now - SILENT_S),
        ).rowcount
        faces = connection.execute("DELETE FROM faces WHERE expires_at <= ?", (now,)).rowcount
        oldest = now - retention.keep_days * DAY_S
        by_age = connection.execute(
            "DELETE FROM sessions WHERE ended_at IS NOT NULL AND ended_at < ?", (oldest,)
        ).rowcount
    by_size = 0
    while size_mb(connection) > retention.max_mb and _delete_oldest(connection):
        by_size += 1
    if faces or by_age or by_size:
        compact(connection)
    return Forgotten(faces, by_age, by_size, cut_off)


def size_mb(connection: sqlite3.Connection) -> float:
    """Megabytes in use, free pages not counted."""
    pages, free, page = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return float((pages - free) * page) / 1e6


def compact(connection: sqlite3.Connection) -> None:
    """Give freed space back, and leave nothing of what was deleted in the log beside the file. Where another process
    reads just now, the log is emptied at a later upkeep."""
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _delete_oldest(connection: sqlite3.Connection) -> bool:
    with transaction(connection):
        return bool(
            connection.execute(
                "DELETE FROM sessions WHERE id = (SELECT id FROM sessions WHERE ended_at IS NOT NULL"
                " ORDER BY started_at LIMIT 1)"
            ).rowcount
        )
