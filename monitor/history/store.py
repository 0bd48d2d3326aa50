"""The history as it is read: the list, one session whole, its faces; and deleting one of them, or everything."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from monitor.history.database import (
    DamagedError,
    HistoryError,
    damaged_files,
    family,
    history_error,
    history_path,
    key_path,
    open_database,
    transaction,
)
from monitor.history.faces import face_key, unseal
from monitor.history.records import (
    AlertRecord,
    CueRecord,
    Ending,
    FaceRecord,
    ScorePoint,
    Session,
    SessionSummary,
    VerdictChange,
)
from monitor.history.rows import face_binding
from monitor.history.upkeep import Forgotten, Retention, compact, tend
from monitor.types import AlertKind, AlertLevel, Reason, Severity, State

_SUMMARY = """
    SELECT s.*,
        (SELECT count(DISTINCT track_id) FROM verdicts v WHERE v.session_id = s.id) AS people,
        (SELECT count(*) FROM alerts a WHERE a.session_id = s.id) AS alerts,
        (SELECT max(peak) FROM points p WHERE p.session_id = s.id) AS peak,
        (SELECT count(*) FROM faces f WHERE f.session_id = s.id AND f.expires_at > :now) AS faces
    FROM sessions s
"""


class History:
    """An open history. Use on one thread; every method raises HistoryError."""

    def __init__(self, path: Path, connection: sqlite3.Connection, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._db = connection
        self._db.row_factory = sqlite3.Row
        self._now = now

    def sessions(self) -> tuple[SessionSummary, ...]:
        """All sessions, the newest first."""
        with self._told():
            rows = self._db.execute(f"{_SUMMARY} ORDER BY s.started_at DESC, s.id DESC", {"now": self._now()})
            return tuple(_summary(row) for row in rows)

    def session(self, session_id: int) -> Session:
        """Everything that is kept of one session."""
        with self._told():
            self._db.execute("BEGIN")
            try:
                return self._session(session_id)
            finally:
                self._db.execute("COMMIT")

    def faces(self, session_id: int) -> tuple[FaceRecord, ...]:
        """The kept faces of one session that have not expired."""
        with self._told():
            rows = self._db.execute(
                "SELECT f.*, s.key FROM faces f JOIN sessions s ON s.id = f.session_id"
                " WHERE s.id = ? AND f.expires_at > ? ORDER BY f.at_s",
                (session_id, self._now()),
            ).fetchall()
        key = face_key(key_path(self._path), make=False)
        if rows and key is None:
            raise HistoryError(f"{key_path(self._path)}: the key of the faces is gone; they cannot be opened")
        return tuple(
            FaceRecord(
                row["at_s"], row["track_id"], unseal(key, row["sealed"], face_binding(row["key"], row["track_id"]))
            )
            for row in rows
            if key is not None
        )

    def delete(self, session_id: int) -> None:
        """Delete one session with everything in it; its bytes are overwritten."""
        with self._told():
            with transaction(self._db):
                gone = self._db.execute("DELETE FROM sessions WHERE id = ?", (session_id,)).rowcount
            if not gone:
                raise _unknown(session_id)
            compact(self._db)

    def tend(self, retention: Retention) -> Forgotten:
        """Forget what is due, see `monitor.history.upkeep`."""
        with self._told():
            return tend(self._db, retention, self._now())

    def empty(self) -> None:
        """Delete all sessions; their bytes are overwritten."""
        with self._told():
            with transaction(self._db):
                self._db.execute("DELETE FROM sessions")
            compact(self._db)

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def _session(self, session_id: int) -> Session:
        values = {"id": session_id, "now": self._now()}
        row = self._db.execute(f"{_SUMMARY} WHERE s.id = :id", values).fetchone()
        if row is None:
            raise _unknown(session_id)

        def rows(table: str, order: str) -> list[sqlite3.Row]:
            return self._db.execute(
                f"SELECT * FROM {table} WHERE session_id = ? ORDER BY {order}", (session_id,)
            ).fetchall()

        step_s = float(row["step_s"])
        return Session(
            summary=_summary(row),
            settings=MappingProxyType(json.loads(row["settings"])),
            version=row["version"],
            encoder_sha256=row["encoder_sha256"],
            head_sha256=row["head_sha256"],
            step_s=step_s,
            dropped=row["dropped"],
            verdicts=tuple(_verdict(one) for one in rows("verdicts", "at_s, rowid")),
            points=tuple(_point(one, step_s) for one in rows("points", "slot, track_id")),
            alerts=tuple(_alert(one) for one in rows("alerts", "opened_s, alert_id")),
            cues=tuple(_cue(one) for one in rows("cues", "start_s, number")),
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise history_error(error, self._path) from error
        except (ValueError, TypeError, KeyError) as error:
            raise HistoryError(f"{self._path}: the history holds what unmask never wrote ({error})") from error


def open_history(path: Path | None = None, now: Callable[[], float] = time.time) -> History | None:
    """The history to read, None where there is none yet. Raises HistoryError."""
    path = history_path() if path is None else path
    try:
        return History(path, open_database(path, create=False), now)
    except FileNotFoundError:
        return None


def delete_everything(path: Path | None = None) -> int:
    """Delete the history, its companions, damaged files that were put aside, and the key of the faces. Returns how many
    files went. A recording that is running notices and stops keeping its session. Raises HistoryError."""
    path = history_path() if path is None else path
    try:
        history = open_history(path)
        if history is not None:
            with history:
                history.empty()
    except DamagedError:
        pass  # It goes as it is.
    gone = 0
    for one in (key_path(path), *family(path), *damaged_files(path)):
        try:
            one.unlink()
            gone += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            raise HistoryError(f"{one}: cannot be deleted ({error.strerror}); close what uses it, try again") from error
    return gone


def _unknown(session_id: int) -> HistoryError:
    return HistoryError(f"there is no session {session_id}; 'unmask sessions list' shows them")


def _summary(row: sqlite3.Row) -> SessionSummary:
    return SessionSummary(
        session_id=row["id"],
        source=row["source"],
        kind=row["kind"],
        title=row["title"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        seen_at=row["seen_at"],
        ending=Ending(row["ending"]),
        message=row["message"],
        model_id=row["model_id"],
        runtime=row["runtime"],
        people=row["people"],
        alerts=row["alerts"],
        peak=row["peak"],
        faces=row["faces"],
    )


def _verdict(row: sqlite3.Row) -> VerdictChange:
    return VerdictChange(
        at_s=row["at_s"],
        track_id=row["track_id"],
        state=None if row["state"] is None else State(row["state"]),
        suspicion=row["suspicion"],
        p_real=row["p_real"],
        reasons=tuple(Reason(name) for name in row["reasons"].split()),
        coverage=row["coverage"],
    )


def _point(row: sqlite3.Row, step_s: float) -> ScorePoint:
    return ScorePoint(row["slot"] * step_s, row["track_id"], row["total"] / row["count"], row["peak"])


def _alert(row: sqlite3.Row) -> AlertRecord:
    return AlertRecord(
        alert_id=row["alert_id"],
        track_id=row["track_id"],
        kind=AlertKind(row["kind"]),
        level=AlertLevel(row["level"]),
        opened_s=row["opened_s"],
        closed_s=row["closed_s"],
        peak=row["peak"],
        text=row["text"],
    )


def _cue(row: sqlite3.Row) -> CueRecord:
    return CueRecord(
        number=row["number"],
        track_id=row["track_id"],
        name=row["name"],
        start_s=row["start_s"],
        end_s=row["end_s"],
        value=row["value"],
        unit=row["unit"],
        z=row["z"],
        severity=Severity(row["severity"]),
        text=row["text"],
        innocent=row["innocent"],
    )
