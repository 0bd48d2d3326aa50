"""The history of sessions: what is kept of a call, what never is, and what becomes of a broken file."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from monitor.clock import MonotonicClock
from monitor.headless import run_headless
from monitor.history import database, writer
from monitor.history.addresses import kept_address, kept_title
from monitor.history.database import MIGRATIONS, DamagedError, HistoryError, history_path, key_path, open_database
from monitor.history.faces import face_key, seal, unseal
from monitor.history.recorded import RecordedMonitor, recorded, recorded_gathering, recorded_service
from monitor.history.recorder import SessionRecorder
from monitor.history.records import (
    AlertRecord,
    CueRecord,
    Ending,
    FaceRecord,
    Heartbeat,
    Record,
    ScorePoint,
    SessionEnd,
    SessionSource,
    SessionStart,
    VerdictChange,
)
from monitor.history.rows import Bounds, SessionRows
from monitor.history.store import History, delete_everything, open_history
from monitor.history.upkeep import DAY_S, Retention
from monitor.history.writer import HistoryWriter, Keeping
from monitor.hub import HubSnapshot, SourceState
from monitor.pipeline import Monitor
from monitor.settings import Settings
from monitor.types import (
    Alert,
    AlertKind,
    AlertLevel,
    CueReading,
    Reason,
    RunState,
    Severity,
    Snapshot,
    SourceInfo,
    SourceKind,
    State,
    UInt8Array,
    Verdict,
)
from tests.fakes import FakeDetector, ScriptedSource, frames, make_stages

NOW = 1_790_000_000.0
S = 1_000_000_000
CAMERA = SourceInfo("cam", SourceKind.WEBCAM, "Webcam 0", 640, 480, 30.0)
FACE = np.arange(64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(64, 64, 3)
END = SessionEnd(NOW + 60, Ending.STOPPED, None, 0)


def start(key: str = "one", at: float = NOW) -> SessionStart:
    return SessionStart(key, "webcam:0", at, {"sensitivity": "medium"}, "0.1.0")


def the_history(now: float = NOW) -> History:
    history = open_history(now=lambda: now)
    assert history is not None
    return history


def verdict(
    track_id: int,
    state: State,
    suspicion: float | None,
    at_s: float,
    *,
    reasons: tuple[Reason, ...] = (),
    cues: tuple[CueReading, ...] = (),
) -> Verdict:
    at = round(at_s * S)
    return Verdict(
        track_id, state, suspicion, reasons, cues, 0.8, at, at, at, p_real=None if suspicion is None else 0.5
    )


def snapshot(
    at_s: float,
    *verdicts: Verdict,
    state: RunState = RunState.RUNNING,
    message: str | None = None,
    opened: tuple[Alert, ...] = (),
    closed: tuple[Alert, ...] = (),
    thumbnails: dict[int, UInt8Array] | None = None,
) -> Snapshot:
    return Snapshot(
        run_state=state,
        taken_ns=round((1000 + at_s) * S),
        media_ns=round(at_s * S),
        source=CAMERA,
        verdicts=verdicts,
        open_alerts=opened,
        closed_alerts=closed,
        health=(),
        runtime="scripted",
        model_id="tiny-1",
        latency_p50_ms=None,
        latency_p95_ms=None,
        message=message,
        thumbnails=MappingProxyType(thumbnails or {}),
    )


def cue(z: float, severity: Severity = Severity.STRONG) -> CueReading:
    return CueReading(1, "sharpness", -1.5, "log ratio", z, severity, 0, S, "It is softer.", "A filter.")


def alert(peak: float, opened_s: float, closed_s: float | None = None) -> Alert:
    closed = None if closed_s is None else round((1000 + closed_s) * S)
    opened = round((1000 + opened_s) * S)
    return Alert(1, 1, AlertKind.MANIPULATION, AlertLevel.WARNING, opened, closed, "Signs.", peak)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def make_writer(told: list[str]) -> Iterator[Callable[..., HistoryWriter]]:
    made: list[HistoryWriter] = []

    def make(session: SessionStart | None = None, keeping: Keeping | None = None) -> HistoryWriter:
        one = HistoryWriter(
            history_path(),
            session if session is not None else start(),
            keeping if keeping is not None else Keeping(),
            tell=told.append,
            hashes=lambda model_id: ("e" * 64, "h" * 64) if model_id == "tiny-1" else None,
            retry_s=0.02,
            now=lambda: NOW,
        )
        made.append(one)
        return one

    yield make
    for one in made:
        one.close(END)


def keep(make_writer: Callable[..., HistoryWriter], *records: Record, **arguments: object) -> None:
    """One whole session."""
    one = make_writer(**arguments)
    for record in records:
        one.put(record)
    assert one.close(END)


def wait_for(what: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)


# ------------------------------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        ("webcam:0", "webcam:0"),
        ("screen:?region=0,0,10,10", "screen:?region=0,0,10,10"),
        ("file:/home/me/call.mp4", "file:/home/me/call.mp4"),
        ("file:///home/me/call.mp4", "file:///home/me/call.mp4"),
        ("/home/me/call.mp4", "/home/me/call.mp4"),
        ("C:\\call.mp4", "C:\\call.mp4"),
        (
            "whep:https://me:pass@Host.example:8443/live/SECRET?token=SECRET#video=2",
            "whep:https://host.example:8443/...",
        ),
        ("https://host/SECRET", "https://host/..."),
        ("whep:https://[::1]:9/SECRET", "whep:https://[::1]:9/..."),
        ("whep:https://host:SECRET/x", "whep:https://?/..."),
        ("webrtc:?token=SECRET", "webrtc:"),
        ("whep:SECRET", "whep:"),
        ("webcam:a\nb", "webcam:a?b"),
    ],
)
def test_an_address_is_kept_without_what_opens_it(uri: str, kept: str) -> None:
    assert kept_address(uri) == kept
    assert "SECRET" not in kept_address(uri)


def test_a_title_loses_addresses_only() -> None:
    assert kept_title("Call: stream of https://host/SECRET now") == "Call: stream of https://host/... now"
    assert len(kept_address("file:" + "x" * 9000)) <= 512


# ------------------------------------------------------------------------------------ a session, there and back


def test_a_session_is_kept_and_read_back(make_writer: Callable[..., HistoryWriter]) -> None:
    source = SessionSource("webcam", "Webcam 0", "tiny-1", "scripted")
    verdicts = (
        VerdictChange(0.5, 1, State.WARMING_UP),
        VerdictChange(3.0, 1, State.NO_SIGN, 0.2, 0.5, (), 0.9),
        VerdictChange(8.0, 1, State.CANNOT_TELL, None, None, (Reason.TOO_DARK, Reason.GAP), 0.4),
        VerdictChange(9.0, 1, None),
    )
    points = (ScorePoint(3.0, 1, 0.25, 0.5), ScorePoint(4.0, 1, 0.75, 0.75))
    one_alert = AlertRecord(1, 1, AlertKind.MANIPULATION, AlertLevel.ALARM, 4.0, 8.0, 0.75, "Signs.")
    one_cue = CueRecord(1, 1, "slip", 3.0, 5.0, 0.5, "px", None, Severity.NOTABLE, "It slips.", "A shaking camera.")
    keep(make_writer, source, *verdicts, *points, one_alert, one_cue)
    with the_history() as history:
        (summary,) = history.sessions()
        session = history.session(summary.session_id)
    assert session.summary == summary
    assert (summary.source, summary.kind, summary.title, summary.model_id) == (
        "webcam:0",
        "webcam",
        "Webcam 0",
        "tiny-1",
    )
    assert (summary.started_at, summary.ended_at, summary.lasted_s, summary.ending) == (
        NOW,
        NOW + 60,
        60,
        Ending.STOPPED,
    )
    assert (summary.people, summary.alerts, summary.peak, summary.faces) == (1, 1, 0.75, 0)
    assert (session.encoder_sha256, session.head_sha256) == ("e" * 64, "h" * 64)
    assert session.settings == {"sensitivity": "medium"}
    assert session.verdicts == verdicts
    assert session.points == points
    assert session.alerts == (one_alert,)
    assert session.cues == (one_cue,)
    assert session.dropped == 0


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX systems")
def test_only_the_owner_may_read_the_files(make_writer: Callable[..., HistoryWriter]) -> None:
    one = make_writer(keeping=Keeping(faces=True))
    one.put(FaceRecord(1.0, 1, FACE))
    wait_for(lambda: key_path(history_path()).exists() and history_path().with_name("history.sqlite3-wal").exists())
    files = list(history_path().parent.iterdir())
    assert len(files) >= 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    one.close(END)
    history_path().chmod(0o644)
    the_history().close()
    assert stat.S_IMODE(history_path().stat().st_mode) == 0o600


def test_points_of_a_long_session_are_thinned_out_evenly() -> None:
    connection = open_database(history_path(), create=True)
    rows = SessionRows(connection, start(), Bounds(points=64), None)
    for second in range(1000):
        rows.add(ScorePoint(float(second), 1, second / 1000, 1.0 if second == 500 else second / 1000))
    connection.close()
    with the_history() as history:
        session = history.session(1)
    assert 32 <= len(session.points) <= 64
    assert session.step_s == 16.0
    assert session.points[0].suspicion == pytest.approx(np.mean(range(16)) / 1000)
    assert session.points[-1].at_s + session.step_s >= 1000
    assert [round(p.at_s) for p in session.points if p.peak == 1.0] == [496]


def test_rows_beyond_their_bounds_are_counted(make_writer: Callable[..., HistoryWriter]) -> None:
    bounds = Bounds(verdicts=2, cues=1, alerts=1)
    changes = [VerdictChange(float(i), i, State.NO_SIGN, 0.1) for i in range(5)]
    cues = [CueRecord(i, 1, "slip", 0, 1, 0.1, "px", 1.0, Severity.STRONG, "a", "b") for i in (1, 2, 1)]
    keep(make_writer, *changes, *cues, keeping=Keeping(bounds=bounds))
    with the_history() as history:
        session = history.session(1)
    assert (len(session.verdicts), len(session.cues), session.dropped) == (2, 1, 4)


def test_a_session_goes_on_where_it_was_after_the_file_was_opened_anew() -> None:
    for count in (1, 2):
        connection = open_database(history_path(), create=True)
        rows = SessionRows(connection, start(), Bounds(verdicts=2), None)
        assert rows.add(VerdictChange(1.0, 1, State.NO_SIGN, 0.1))
        assert rows.session_id == 1
        assert rows.add(VerdictChange(1.0, 1, State.NO_SIGN, 0.1)) is (count == 1)
        connection.close()
        if count == 1:
            connection = sqlite3.connect(history_path())
            connection.execute("DELETE FROM verdicts WHERE rowid = 1")
            connection.commit()
            connection.close()


# ------------------------------------------------------------------------------------ faces


def test_a_face_opens_with_its_key_session_and_person_only() -> None:
    key = os.urandom(32)
    sealed = seal(key, FACE, "one/1")
    assert FACE.tobytes()[:64] not in sealed
    assert np.array_equal(unseal(key, sealed, "one/1"), FACE)
    for wrong in ((os.urandom(32), sealed, "one/1"), (key, sealed, "one/2"), (key, sealed[:-1] + b"x", "one/1")):
        with pytest.raises(HistoryError, match="cannot be opened"):
            unseal(*wrong)
    with pytest.raises(ValueError, match="expected uint8"):
        seal(key, FACE[:32], "one/1")


def test_faces_are_kept_only_where_asked_for_and_expire(make_writer: Callable[..., HistoryWriter]) -> None:
    keep(make_writer, FaceRecord(1.0, 1, FACE))
    assert not key_path(history_path()).exists()
    keep(make_writer, FaceRecord(2.0, 3, FACE), session=start("two"), keeping=Keeping(faces=True, faces_keep_days=2.0))
    with the_history() as history:
        assert [session.faces for session in history.sessions()] == [1, 0]
        (face,) = history.faces(2)
        assert (face.track_id, face.at_s) == (3, 2.0)
        assert np.array_equal(face.picture, FACE)
    late = NOW + 2.1 * DAY_S
    with the_history(late) as history:
        assert history.faces(2) == ()
        assert history.tend(Retention()).faces == 1
    key_path(history_path()).write_bytes(b"short")
    with pytest.raises(HistoryError, match="this is not the key"):
        face_key(key_path(history_path()), make=False)


# ------------------------------------------------------------------------------------ upkeep and deleting


def test_old_sessions_go_by_age_and_the_oldest_by_size(make_writer: Callable[..., HistoryWriter]) -> None:
    text = "x" * 4000
    for index in range(6):
        alerts = [AlertRecord(i, 1, AlertKind.MANIPULATION, AlertLevel.ALARM, 1.0, 2.0, 0.5, text) for i in range(100)]
        one = make_writer(session=start(str(index), NOW + index * DAY_S))
        for record in alerts:
            one.put(record)
        assert one.close(SessionEnd(NOW + index * DAY_S, Ending.ENDED, None, 0))
    with the_history(NOW + 31.5 * DAY_S) as history:
        assert history.tend(Retention(30.0, 100.0)).by_age == 2
        assert history.tend(Retention(30.0, 1.0)).by_size == 2
        assert [session.session_id for session in history.sessions()] == [6, 5]
    assert history_path().stat().st_size < 1_100_000


def test_a_session_whose_program_was_killed_gets_its_last_sign_of_life_as_end() -> None:
    connection = open_database(history_path(), create=True)
    SessionRows(connection, start(), Bounds(), None).add(Heartbeat(NOW + 33))
    connection.close()
    with the_history(NOW + 60) as history:
        assert history.tend(Retention()).cut_off == 0
    with the_history(NOW + 300) as history:
        assert history.tend(Retention()).cut_off == 1
        (session,) = history.sessions()
    assert (session.ending, session.ended_at) == (Ending.CUT_OFF, NOW + 33)


def test_a_deleted_session_leaves_no_bytes(make_writer: Callable[..., HistoryWriter]) -> None:
    secret = AlertRecord(1, 1, AlertKind.MANIPULATION, AlertLevel.ALARM, 1.0, 2.0, 0.5, "QUITE-UNIQUE-TEXT" * 50)
    keep(make_writer, secret)
    keep(make_writer, ScorePoint(1.0, 1, 0.5, 0.5), session=start("two"))
    content = b"".join(file.read_bytes() for file in history_path().parent.iterdir())
    assert b"QUITE-UNIQUE-TEXT" in content
    with the_history() as history:
        history.delete(1)
        assert [session.session_id for session in history.sessions()] == [2]
        content = b"".join(file.read_bytes() for file in history_path().parent.iterdir())
        assert b"QUITE-UNIQUE-TEXT" not in content
        with pytest.raises(HistoryError, match="there is no session 1"):
            history.delete(1)
        with pytest.raises(HistoryError, match="there is no session 1"):
            history.session(1)


def test_everything_goes_with_the_key_and_what_was_put_aside(make_writer: Callable[..., HistoryWriter]) -> None:
    keep(make_writer, FaceRecord(1.0, 1, FACE), keeping=Keeping(faces=True))
    history_path().with_name("history.sqlite3.damaged-1").write_bytes(b"old")
    assert delete_everything() >= 3
    assert list(history_path().parent.iterdir()) == []
    assert open_history() is None
    assert delete_everything() == 0


def test_a_damaged_history_can_be_deleted_and_another_programs_is_left_alone() -> None:
    history_path().parent.mkdir(parents=True)
    history_path().write_bytes(b"no database at all" * 100)
    with pytest.raises(DamagedError, match="the history is damaged"):
        open_history()
    assert delete_everything() == 1
    other = sqlite3.connect(history_path())
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(HistoryError, match="a database of another program"):
        delete_everything()
    assert history_path().exists()


def test_what_unmask_never_wrote_is_told_in_words(make_writer: Callable[..., HistoryWriter]) -> None:
    keep(make_writer, VerdictChange(1.0, 1, State.NO_SIGN, 0.1))
    connection = sqlite3.connect(history_path())
    connection.execute("UPDATE verdicts SET state = 'GUILTY'")
    connection.commit()
    connection.close()
    with the_history() as history, pytest.raises(HistoryError, match="what unmask never wrote"):
        history.session(1)


# ------------------------------------------------------------------------------------ versions


def test_an_older_file_is_brought_up_to_date(
    make_writer: Callable[..., HistoryWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(make_writer, VerdictChange(1.0, 1, State.NO_SIGN, 0.1))
    step = "ALTER TABLE sessions ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'"
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, step))
    with the_history() as history:
        assert history.sessions()[0].people == 1
    connection = sqlite3.connect(history_path())
    assert connection.execute("SELECT mood FROM sessions").fetchone() == ("calm",)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
    connection.close()


def test_a_step_that_fails_leaves_the_file_as_it_was(
    make_writer: Callable[..., HistoryWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(make_writer)
    step = "ALTER TABLE sessions ADD COLUMN mood TEXT; INSERT INTO nowhere VALUES (1)"
    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", (*MIGRATIONS, step))
        with pytest.raises(HistoryError, match="nowhere"):
            the_history()
    with the_history() as history:
        assert len(history.sessions()) == 1


def test_a_newer_file_is_refused_in_words(make_writer: Callable[..., HistoryWriter], told: list[str]) -> None:
    keep(make_writer)
    connection = sqlite3.connect(history_path())
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(HistoryError, match="written by a newer unmask"):
        the_history()
    one = make_writer(session=start("two"))
    assert one.close(END)
    assert len(told) == 1
    assert "newer unmask" in told[0]


# ------------------------------------------------------------------------------------ a file that does not work


def test_a_locked_file_is_told_once_and_nothing_is_lost(
    make_writer: Callable[..., HistoryWriter], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WAIT_S", 0.01)
    monkeypatch.setattr(
        writer, "open_database", lambda path, *, create: open_database(path, create=create, wait_s=0.01)
    )
    keep(make_writer)
    lock = sqlite3.connect(history_path(), isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    one = make_writer(session=start("two"))
    began = time.monotonic()
    for second in range(20):
        one.put(ScorePoint(float(second), 1, 0.5, 0.5))
    assert time.monotonic() - began < 1.0
    wait_for(lambda: one.problem)
    time.sleep(0.2)
    assert len(told) == 1
    assert "another program holds the history locked" in told[0]
    lock.execute("ROLLBACK")
    lock.close()
    wait_for(lambda: one.problem is None)
    assert one.close(END)
    with the_history() as history:
        assert len(history.session(2).points) == 20
    assert one.dropped == 0


def test_a_queue_that_is_full_drops_and_counts_and_never_waits(
    make_writer: Callable[..., HistoryWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = threading.Event()

    def slow(path: Path, *, create: bool) -> sqlite3.Connection:
        hold.wait(30)
        return open_database(path, create=create)

    monkeypatch.setattr(writer, "open_database", slow)
    one = make_writer()
    began = time.monotonic()
    for second in range(4000):
        one.put(Heartbeat(NOW + second))
    assert time.monotonic() - began < 5.0
    assert 4000 - writer.QUEUE - writer.BATCH <= one.dropped <= 4000 - writer.QUEUE
    hold.set()
    assert one.close(END)
    with the_history() as history:
        assert history.session(1).dropped == one.dropped


def test_a_full_disk_is_told_in_words_and_recovers(
    make_writer: Callable[..., HistoryWriter], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(make_writer)
    full = True

    def cramped(path: Path, *, create: bool) -> sqlite3.Connection:
        connection = open_database(path, create=create)
        if full:
            connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
        return connection

    monkeypatch.setattr(writer, "open_database", cramped)
    one = make_writer(session=start("two"))
    for second in range(500):
        one.put(VerdictChange(float(second), second, State.NO_SIGN, 0.1))
    wait_for(lambda: told)
    assert "the disk is full; make room" in told[0]
    full = False
    wait_for(lambda: one.problem is None)
    assert one.close(END)
    with the_history() as history:
        assert len(history.session(2).verdicts) == 500


def test_a_damaged_file_is_put_aside_and_the_session_kept_in_a_new_one(
    make_writer: Callable[..., HistoryWriter], told: list[str]
) -> None:
    keep(make_writer)
    damaged = b"no database at all" * 100
    history_path().write_bytes(damaged)
    keep(make_writer, ScorePoint(1.0, 1, 0.5, 0.5), session=start("two"))
    assert len(told) == 1
    assert "a new history begins" in told[0]
    (aside,) = history_path().parent.glob("*.damaged-*")
    assert aside.read_bytes() == damaged
    with the_history() as history:
        (session,) = history.sessions()
        assert len(history.session(session.session_id).points) == 1


def test_a_folder_that_cannot_be_written_is_told_once(
    make_writer: Callable[..., HistoryWriter], told: list[str]
) -> None:
    history_path().parent.parent.mkdir(parents=True)
    history_path().parent.write_text("a file where the folder should be")
    one = make_writer()
    one.put(ScorePoint(1.0, 1, 0.5, 0.5))
    wait_for(lambda: told)
    assert one.close(END)
    assert len(told) == 1
    assert "cannot be opened" in told[0]
    assert one.dropped >= 1


@pytest.mark.parametrize("everything", [True, False])
def test_a_recording_whose_session_was_deleted_keeps_no_more(
    make_writer: Callable[..., HistoryWriter], told: list[str], everything: bool
) -> None:
    one = make_writer()
    one.put(ScorePoint(1.0, 1, 0.5, 0.5))
    wait_for(lambda: history_path().exists() and the_history().sessions())
    if everything:
        delete_everything()
    else:
        with the_history() as history:
            history.delete(1)
    one.put(ScorePoint(2.0, 1, 0.5, 0.5))
    wait_for(lambda: told)
    assert "nothing more is kept of this session" in told[0]
    assert one.close(END)
    history = open_history()
    assert history is None if everything else history is not None and history.sessions() == ()
    if history is not None:
        history.close()


def test_an_upkeep_that_is_hindered_keeps_nothing_twice(
    make_writer: Callable[..., HistoryWriter], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hindered(*_: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(writer, "tend", hindered)
    keep(make_writer, VerdictChange(1.0, 1, State.NO_SIGN, 0.1))
    assert told == []
    with the_history() as history:
        assert len(history.session(1).verdicts) == 1


def test_two_programs_record_at_the_same_time(make_writer: Callable[..., HistoryWriter], told: list[str]) -> None:
    both = [make_writer(session=start(key)) for key in ("one", "two")]
    for second in range(300):
        for one in both:
            one.put(VerdictChange(float(second), 1, State.NO_SIGN, 0.1))
        if second % 50 == 0:
            time.sleep(0.02)
    assert all(one.close(END, timeout_s=30) for one in both)
    assert told == []
    with the_history() as history:
        assert [len(history.session(one.session_id).verdicts) for one in history.sessions()] == [300, 300]


# ------------------------------------------------------------------------------------ the recorder


def test_snapshots_become_changes_points_alerts_and_cues() -> None:
    kept: list[Record] = []
    recorder = SessionRecorder(kept.append, now=lambda: NOW)
    for tenth in range(100):
        at_s = tenth / 10
        if at_s < 2:
            recorder.see(snapshot(at_s, verdict(1, State.WARMING_UP, None, at_s)))
        elif at_s < 8:
            cues = (cue(5.0 + at_s / 10),) if at_s < 6 else (cue(0.1, Severity.NORMAL),)
            opened = (alert(0.9, 3.0),) if 3 <= at_s < 7 else ()
            closed = (alert(0.9, 3.0, 7.0),) if at_s >= 7 else ()
            suspicion = 0.8 if tenth % 2 else 0.6
            said = verdict(1, State.SUSPECT, suspicion, at_s, cues=cues)
            recorder.see(snapshot(at_s, said, opened=opened, closed=closed))
        else:
            recorder.see(snapshot(at_s))
    end = recorder.finish()
    assert end.ending is Ending.STOPPED
    assert [r for r in kept if isinstance(r, SessionSource)] == [
        SessionSource("webcam", "Webcam 0", "tiny-1", "scripted")
    ]
    changes = [(r.at_s, r.state) for r in kept if isinstance(r, VerdictChange)]
    assert changes == [(0.0, State.WARMING_UP), (2.0, State.SUSPECT), (8.0, None)]
    points = [r for r in kept if isinstance(r, ScorePoint)]
    assert [p.at_s for p in points] == [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    assert {round(p.suspicion, 6) for p in points} == {0.7}
    assert {p.peak for p in points} == {0.8}
    alerts = [r for r in kept if isinstance(r, AlertRecord)]
    assert [(a.opened_s, a.closed_s) for a in alerts] == [(3.0, None), (3.0, 7.0)]
    cues_kept = [r for r in kept if isinstance(r, CueRecord)]
    assert {c.number for c in cues_kept} == {1}
    assert (cues_kept[-1].start_s, cues_kept[-1].end_s) == (2.0, 5.9)
    assert len(cues_kept) == 2


def test_a_steady_picture_costs_a_point_a_second_and_no_more() -> None:
    kept: list[Record] = []
    recorder = SessionRecorder(kept.append, now=lambda: NOW)
    for tenth in range(36_000):
        recorder.see(snapshot(tenth / 10, *(verdict(i, State.NO_SIGN, 0.2, 0) for i in (1, 2))))
    assert len(kept) <= 2 * 3600 + 3600 / 15 + 3


def test_faces_are_taken_once_a_person_and_only_where_asked_for() -> None:
    for faces, count in ((False, 0), (True, 2)):
        kept: list[Record] = []
        recorder = SessionRecorder(kept.append, faces=faces, now=lambda: NOW)
        for tenth in range(20):
            people = (verdict(1, State.NO_SIGN, 0.2, 0), verdict(2, State.NO_SIGN, 0.2, 0))
            recorder.see(snapshot(tenth / 10, *people, thumbnails={1: FACE, 2: FACE}))
        assert sum(isinstance(r, FaceRecord) for r in kept) == count


@pytest.mark.parametrize(
    ("state", "message", "ending"),
    [
        (RunState.ENDED, "a notice", Ending.ENDED),
        (RunState.FAILED, "the camera is gone", Ending.FAILED),
        (RunState.RUNNING, None, Ending.STOPPED),
    ],
)
def test_how_a_session_ended(state: RunState, message: str | None, ending: Ending) -> None:
    recorder = SessionRecorder(lambda _record: None, now=lambda: NOW)
    recorder.see(snapshot(1.0, state=state, message=message))
    end = recorder.finish()
    assert end.ending is ending
    assert end.message == (message if ending is Ending.FAILED else None)


# ------------------------------------------------------------------------------------ a recorded monitor


class ScriptedMonitor:
    def __init__(self) -> None:
        self.error = None
        self.stopped = 0
        self.message: str | None = None
        self.at_s = 0.0

    def start(self) -> None:
        self.at_s = 0.0

    def stop(self) -> None:
        self.stopped += 1

    def wait(self, timeout_s: float | None = None) -> bool:
        return True

    def snapshot(self) -> Snapshot:
        self.at_s += 0.1
        return snapshot(self.at_s, verdict(1, State.NO_SIGN, 0.2, self.at_s), message=self.message)


def test_without_the_setting_there_is_no_history() -> None:
    monitor = ScriptedMonitor()
    assert recorded(monitor, "webcam:0", Settings()) is monitor
    assert not history_path().exists()


def test_a_recorded_monitor_keeps_its_session_with_settings_and_without_secrets() -> None:
    settings = Settings(history=True, source="whep:https://host/SECRET", whep_token="SECRET-TOKEN")
    monitor = recorded(ScriptedMonitor(), "whep:https://host/SECRET", settings)
    monitor.start()
    for _ in range(30):
        monitor.snapshot()
    monitor.stop()
    monitor.stop()
    with the_history() as history:
        (summary,) = history.sessions()
        session = history.session(summary.session_id)
    assert summary.source == "whep:https://host/..."
    assert summary.ending is Ending.STOPPED
    assert abs(summary.started_at - time.time()) < 120
    assert session.settings["sensitivity"] == "medium"
    assert len(session.points) >= 3
    content = b"".join(file.read_bytes() for file in history_path().parent.iterdir())
    assert b"SECRET" not in content


@pytest.mark.filterwarnings("default")
def test_a_history_that_does_not_work_is_said_where_the_monitor_has_nothing_to_say() -> None:
    history_path().parent.parent.mkdir(parents=True)
    history_path().parent.write_text("a file where the folder should be")
    inner = ScriptedMonitor()
    monitor = recorded(inner, "webcam:0", Settings(history=True))
    assert isinstance(monitor, RecordedMonitor)
    wait_for(lambda: monitor.snapshot().message)
    assert "the history cannot be opened" in str(monitor.snapshot().message)
    inner.message = "this is a demonstration"
    assert monitor.snapshot().message == "this is a demonstration"
    monitor.stop()
    assert inner.stopped == 1
    assert replace(inner.snapshot(), message=None).verdicts


def test_a_run_without_a_window_is_kept() -> None:
    settings = Settings(history=True)
    source = ScriptedSource(frames(90), clock=MonotonicClock(), pace_s=1 / 30)
    stages = make_stages(source, detector=FakeDetector(default_logit=4.0))
    run_headless(recorded(Monitor("demo:", settings, stages=stages), "demo:", settings), lambda _event: None)
    with the_history() as history:
        (summary,) = history.sessions()
        session = history.session(summary.session_id)
    assert (summary.ending, summary.kind, summary.people) == (Ending.ENDED, "demo", 1)
    assert summary.model_id == "fake-1"
    assert session.verdicts[0].track_id == 1


class ScriptedGathering(ScriptedMonitor):
    def states(self) -> HubSnapshot:
        return HubSnapshot((), "a shortage")


def test_several_sources_are_kept_as_one_session() -> None:
    inner = ScriptedGathering()
    assert recorded_gathering(inner, ["webcam:0"], Settings()) is inner
    gathering = recorded_gathering(inner, ["webcam:0", "whep:https://host/SECRET"], Settings(history=True))
    gathering.start()
    for _ in range(30):
        assert gathering.states().notice == "a shortage"
    gathering.stop()
    with the_history() as history:
        (summary,) = history.sessions()
    assert summary.source == "webcam:0, whep:https://host/..."
    assert summary.people == 1


class ScriptedService(ScriptedMonitor):
    """Two publishers; the second comes later and goes before the end."""

    def states(self) -> HubSnapshot:
        now = self.snapshot()
        count = 2 if 1.0 < self.at_s < 2.0 else 1
        return HubSnapshot(tuple(SourceState(i, f"name {i}", now, None, 1.0) for i in range(1, count + 1)))


def test_each_publisher_of_a_service_is_a_session_of_its_own() -> None:
    inner = ScriptedService()
    assert recorded_service(inner, "webrtc:", Settings()) is inner
    service = recorded_service(inner, "webrtc:", Settings(history=True))
    service.start()
    for _ in range(30):
        service.states()
    service.stop()
    with the_history() as history:
        long, short = sorted(history.sessions(), key=lambda one: one.session_id)
        seen = [history.session(one.session_id) for one in (long, short)]
    assert (long.source, short.source) == ("webrtc:", "webrtc:")
    assert (long.ending, short.ending) == (Ending.STOPPED, Ending.STOPPED)
    assert len(seen[0].points) > len(seen[1].points) >= 1


def test_who_stops_a_session_has_stopped_it_although_the_monitor_ends() -> None:
    class Ends(ScriptedMonitor):
        def snapshot(self) -> Snapshot:
            return replace(super().snapshot(), run_state=RunState.ENDED if self.stopped else RunState.RUNNING)

    monitor = recorded(Ends(), "webcam:0", Settings(history=True))
    monitor.snapshot()
    monitor.stop()
    with the_history() as history:
        assert history.sessions()[0].ending is Ending.STOPPED
