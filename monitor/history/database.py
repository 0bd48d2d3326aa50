"""The file of the history: where it lies, who may read it, its tables, and what becomes of a damaged one.

SQLite in WAL mode, so that a list can be shown while a call is recorded; `secure_delete`, so that what is deleted is
overwritten in the file. The file and its companions are readable by their owner only.
"""

from __future__ import annotations

import datetime
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from monitor.errors import UnmaskError

APPLICATION_ID = 0x756E6D6B
"""Marks the file as ours ('unmk')."""
WAIT_S = 2.0
"""How long a connection waits for another one's lock."""
COMPANIONS = ("-wal", "-shm", "-journal")

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        source TEXT NOT NULL,
        kind TEXT NOT NULL DEFAULT '',
        title TEXT NOT NULL DEFAULT '',
        started_at REAL NOT NULL,
        seen_at REAL NOT NULL,
        ended_at REAL,
        ending TEXT NOT NULL DEFAULT 'open',
        message TEXT,
        model_id TEXT NOT NULL DEFAULT '',
        runtime TEXT NOT NULL DEFAULT '',
        encoder_sha256 TEXT NOT NULL DEFAULT '',
        head_sha256 TEXT NOT NULL DEFAULT '',
        settings TEXT NOT NULL,
        version TEXT NOT NULL,
        step_s REAL NOT NULL,
        dropped INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE verdicts (
        session_id INTEGER NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
        at_s REAL NOT NULL,
        track_id INTEGER NOT NULL,
        state TEXT,
        suspicion REAL,
        p_real REAL,
        reasons TEXT NOT NULL,
        coverage REAL NOT NULL
    );
    CREATE INDEX verdicts_of ON verdicts (session_id);
    CREATE TABLE points (
        session_id INTEGER NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
        track_id INTEGER NOT NULL,
        slot INTEGER NOT NULL,
        count INTEGER NOT NULL,
        total REAL NOT NULL,
        peak REAL NOT NULL,
        PRIMARY KEY (session_id, track_id, slot)
    ) WITHOUT ROWID;
    CREATE TABLE alerts (
        session_id INTEGER NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
        alert_id INTEGER NOT NULL,
        track_id INTEGER NOT NULL,
        kind TEXT NOT NULL,
        level TEXT NOT NULL,
        opened_s REAL NOT NULL,
        closed_s REAL,
        peak REAL NOT NULL,
        text TEXT NOT NULL,
        PRIMARY KEY (session_id, alert_id)
    ) WITHOUT ROWID;
    CREATE TABLE cues (
        session_id INTEGER NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        track_id INTEGER NOT NULL,
        name TEXT NOT NULL,
        start_s REAL NOT NULL,
        end_s REAL NOT NULL,
        value REAL NOT NULL,
        unit TEXT NOT NULL,
        z REAL,
        severity TEXT NOT NULL,
        text TEXT NOT NULL,
        innocent TEXT NOT NULL,
        PRIMARY KEY (session_id, number)
    ) WITHOUT ROWID;
    CREATE TABLE faces (
        session_id INTEGER NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
        track_id INTEGER NOT NULL,
        at_s REAL NOT NULL,
        expires_at REAL NOT NULL,
        sealed BLOB NOT NULL
    );
    CREATE INDEX faces_of ON faces (session_id);
    """,
)
"""Script n brings a file of version n to version n + 1. A script that has been released is never changed."""


class HistoryError(UnmaskError):
    """The history cannot be read or written."""

    exit_code = 7


class DamagedError(HistoryError):
    """The file is no SQLite database, or a damaged one."""


def history_path() -> Path:
    """Where the history lies, whether or not it exists: the user's data folder."""
    return Path(platformdirs.user_data_dir("unmask", appauthor=False)) / "history.sqlite3"


def key_path(path: Path) -> Path:
    """The key of the faces of this history."""
    return path.with_name("history.key")


def open_database(path: Path, *, create: bool, wait_s: float = WAIT_S) -> sqlite3.Connection:
    """Open, check and bring up to date. Raises DamagedError, HistoryError; FileNotFoundError without `create`.

    The connection may be used on the thread that opened it only.
    """
    try:
        if create:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if path.stat().st_mode & 0o077 and os.name == "posix":
            path.chmod(0o600)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise HistoryError(f"{path}: the history cannot be opened ({error.strerror}); check the folder") from error
    with _told(path):
        connection = sqlite3.connect(path, timeout=wait_s, isolation_level=None)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA foreign_keys = ON")
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if owner != APPLICATION_ID and (owner or tables):
        raise HistoryError(f"{path}: a database of another program; move it away, the history needs its place")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    if _version(connection) != len(MIGRATIONS):
        _migrate(connection, path)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """All missing steps in one transaction; another process may be doing the same."""
    with transaction(connection):
        version = _version(connection)
        if version > len(MIGRATIONS):
            raise HistoryError(f"{path}: written by a newer unmask (version {version}); update, or move the file away")
        for script in MIGRATIONS[version:]:
            for statement in script.split(";"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One write that happens as a whole or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise history_error(error, path) from error


def history_error(error: sqlite3.Error, path: Path) -> HistoryError:
    """What went wrong with the file, in words."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DamagedError(f"{path}: the history is damaged ({error})")
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return HistoryError(f"{path}: another program holds the history locked; close it and try again")
    if primary == sqlite3.SQLITE_FULL:
        return HistoryError(f"{path}: the disk is full; make room, or delete sessions ('unmask sessions delete')")
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return HistoryError(f"{path}: the history cannot be written ({error}); check file and folder")
    return HistoryError(f"{path}: the history does not answer ({error})")


def family(path: Path) -> tuple[Path, ...]:
    """The file and its companions."""
    return (path, *(path.with_name(path.name + end) for end in COMPANIONS))


def put_aside(path: Path) -> Path:
    """Rename a damaged file and its companions, so that nothing is lost; returns the new name. Raises HistoryError."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    try:
        for old, new in zip(family(path), family(aside), strict=True):
            if old.exists():
                os.replace(old, new)
    except OSError as error:
        raise HistoryError(f"{path}: damaged, and cannot be put aside ({error.strerror})") from error
    return aside


def damaged_files(path: Path) -> list[Path]:
    """What `put_aside` has left."""
    return sorted(path.parent.glob(f"{path.name}.damaged-*"))
