"""One session's rows as they are written: bounded in number, and score points thinned out evenly as a call grows long.

All methods run inside the caller's transaction. What is beyond a bound is counted, not kept.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from monitor.history.faces import seal
from monitor.history.records import (
    AlertRecord,
    CueRecord,
    FaceRecord,
    Heartbeat,
    Record,
    ScorePoint,
    SessionEnd,
    SessionSource,
    SessionStart,
    VerdictChange,
)

STEP_S = 1.0
"""What a score point stands for at first; twice as long each time a session has reached its bound of points."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many rows one session may have; at most about 3 MB in all."""

    points: int = 10_000
    verdicts: int = 10_000
    alerts: int = 1_000
    cues: int = 2_000
    faces: int = 32


@dataclass(frozen=True, slots=True)
class FaceKeeping:
    """How faces are kept, where that was asked for."""

    key: bytes
    keep_s: float


class SessionRows:
    """The rows of one session that is being recorded."""

    def __init__(
        self, connection: sqlite3.Connection, start: SessionStart, bounds: Bounds, faces: FaceKeeping | None
    ) -> None:
        """Inserts the session, or finds it again after the file was opened anew."""
        self._db = connection
        self._start = start
        self._bounds = bounds
        self._faces = faces
        self._db.execute(
            "INSERT INTO sessions (key, source, started_at, seen_at, settings, version, step_s) VALUES (?,?,?,?,?,?,?)"
            " ON CONFLICT (key) DO NOTHING",
            (
                start.key,
                start.source,
                start.started_at,
                start.started_at,
                json.dumps(dict(start.settings), ensure_ascii=False, sort_keys=True),
                start.version,
                STEP_S,
            ),
        )
        found = self._db.execute("SELECT id, step_s FROM sessions WHERE key = ?", (start.key,)).fetchone()
        self.session_id, self._step_s = int(found[0]), float(found[1])
        self._points = self._count("points")
        self._counts = {"verdicts": self._count("verdicts"), "faces": self._count("faces")}
        self._seen = {"alerts": self._numbers("alerts", "alert_id"), "cues": self._numbers("cues", "number")}

    def add(self, record: Record) -> bool:
        """Write one value. False where it is beyond a bound and was left out."""
        match record:
            case SessionSource():
                return self._source(record)
            case VerdictChange():
                return self._verdict(record)
            case ScorePoint():
                return self._point(record)
            case AlertRecord():
                return self._alert(record)
            case CueRecord():
                return self._cue(record)
            case FaceRecord():
                return self._face(record)
            case Heartbeat():
                return self._update("seen_at = max(seen_at, ?)", record.seen_at)
            case SessionEnd():
                return self._update(
                    "seen_at = max(seen_at, ?), ended_at = ?, ending = ?, message = ?, dropped = ?",
                    record.ended_at,
                    record.ended_at,
                    record.ending.value,
                    record.message,
                    record.dropped,
                )

    def _update(self, what: str, *values: object) -> bool:
        self._db.execute(f"UPDATE sessions SET {what} WHERE id = ?", (*values, self.session_id))
        return True

    def _source(self, one: SessionSource) -> bool:
        what = "kind = ?, title = ?, model_id = ?, runtime = ?, encoder_sha256 = ?, head_sha256 = ?"
        return self._update(what, one.kind, one.title, one.model_id, one.runtime, one.encoder_sha256, one.head_sha256)

    def _verdict(self, one: VerdictChange) -> bool:
        if not self._room("verdicts", self._bounds.verdicts):
            return False
        self._db.execute(
            "INSERT INTO verdicts VALUES (?,?,?,?,?,?,?,?)",
            (
                self.session_id,
                one.at_s,
                one.track_id,
                None if one.state is None else one.state.value,
                one.suspicion,
                one.p_real,
                " ".join(reason.value for reason in one.reasons),
                one.coverage,
            ),
        )
        return True

    def _point(self, one: ScorePoint) -> bool:
        slot = int(one.at_s // self._step_s)
        here = (self.session_id, one.track_id, slot)
        known = self._db.execute(
            "UPDATE points SET count = count + 1, total = total + ?, peak = max(peak, ?)"
            " WHERE session_id = ? AND track_id = ? AND slot = ?",
            (one.suspicion, one.peak, *here),
        ).rowcount
        if known:
            return True
        self._db.execute("INSERT INTO points VALUES (?,?,?,1,?,?)", (*here, one.suspicion, one.peak))
        self._points += 1
        if self._points > self._bounds.points:
            self._thin_out()
        return True

    def _thin_out(self) -> None:
        """Every two neighbouring points become one: the mean of both, the higher peak."""
        mine = (self.session_id,)
        pairs = self._db.execute(
            "SELECT session_id, track_id, slot / 2, sum(count), sum(total), max(peak) FROM points"
            " WHERE session_id = ? GROUP BY track_id, slot / 2",
            mine,
        ).fetchall()
        self._db.execute("DELETE FROM points WHERE session_id = ?", mine)
        self._db.executemany("INSERT INTO points VALUES (?,?,?,?,?,?)", pairs)
        self._points = len(pairs)
        self._step_s *= 2.0
        self._update("step_s = ?", self._step_s)

    def _alert(self, one: AlertRecord) -> bool:
        if not self._known("alerts", one.alert_id, self._bounds.alerts):
            return False
        self._db.execute(
            "INSERT OR REPLACE INTO alerts VALUES (?,?,?,?,?,?,?,?,?)",
            (
                self.session_id,
                one.alert_id,
                one.track_id,
                one.kind.value,
                one.level.value,
                one.opened_s,
                one.closed_s,
                one.peak,
                one.text,
            ),
        )
        return True

    def _cue(self, one: CueRecord) -> bool:
        if not self._known("cues", one.number, self._bounds.cues):
            return False
        self._db.execute(
            "INSERT OR REPLACE INTO cues VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                self.session_id,
                one.number,
                one.track_id,
                one.name,
                one.start_s,
                one.end_s,
                one.value,
                one.unit,
                one.z,
                one.severity.value,
                one.text,
                one.innocent,
            ),
        )
        return True

    def _face(self, one: FaceRecord) -> bool:
        if self._faces is None or not self._room("faces", self._bounds.faces):
            return False
        sealed = seal(self._faces.key, one.picture, face_binding(self._start.key, one.track_id))
        expires_at = self._start.started_at + one.at_s + self._faces.keep_s
        row = (self.session_id, one.track_id, one.at_s, expires_at, sealed)
        self._db.execute("INSERT INTO faces VALUES (?,?,?,?,?)", row)
        return True

    def _count(self, table: str) -> int:
        found = self._db.execute(f"SELECT count(*) FROM {table} WHERE session_id = ?", (self.session_id,))
        return int(found.fetchone()[0])

    def _numbers(self, table: str, column: str) -> set[int]:
        found = self._db.execute(f"SELECT {column} FROM {table} WHERE session_id = ?", (self.session_id,))
        return {int(row[0]) for row in found}

    def _room(self, table: str, bound: int) -> bool:
        if self._counts[table] >= bound:
            return False
        self._counts[table] += 1
        return True

    def _known(self, table: str, number: int, bound: int) -> bool:
        seen = self._seen[table]
        if number not in seen and len(seen) >= bound:
            return False
        seen.add(number)
        return True


def is_kept(connection: sqlite3.Connection, session_key: str) -> bool:
    """False once somebody has deleted the session: nothing more may be kept of it."""
    return connection.execute("SELECT 1 FROM sessions WHERE key = ?", (session_key,)).fetchone() is not None


def face_binding(session_key: str, track_id: int) -> str:
    """What a kept face is bound to, so that it cannot be moved to another session or person."""
    return f"{session_key}/{track_id}"
