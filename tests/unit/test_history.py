"""The history of sessions: what is kept of a call, what never is, and what becomes of a broken file."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from monitor.history import database, writer
from monitor.history.addresses import kept_address, kept_title
from monitor.history.database import MIGRATIONS, DamagedError, HistoryError, history_path, key_path, open_database
from monitor.history.faces import face_key, seal, unseal
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
from monitor.types import (
    AlertKind,
    AlertLevel,
    Reason,
    Severity,
    State,
)

NOW = 1_790_000_000.0
FACE = np.arange(64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(64, 64, 3)
END = SessionEnd(NOW + 60, Ending.STOPPED, None, 0)


def start(key: str = "one", at: float = NOW) -> SessionStart:
    return SessionStart(key, "webcam:0", at, {"sensitivity": "medium"}, "0.1.0")


def the_history(now: float = NOW) -> History:
    history = open_history(now=lambda: now)
    assert history is not None
    return history


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
        one.close(END, 30)


def keep(make_writer: Callable[..., HistoryWriter], *records: Record, **arguments: object) -> None:
    """One whole session."""
    one = make_writer(**arguments)
    for record in records:
        one.put(record)
    assert one.close(END, 30)


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
    one.close(END, 30)
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
        assert one.close(SessionEnd(NOW + index * DAY_S, Ending.ENDED, None, 0), 30)
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
    assert one.close(END, 30)
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
    assert one.close(END, 30)
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
    assert one.close(END, 30)
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
    assert one.close(END, 30)
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
    assert one.close(END, 30)
    assert len(told) == 1
    assert "cannot be opened" in told[0]
    assert one.dropped >= 1


def has_a_session() -> bool:
    if not history_path().exists():
        return False
    with the_history() as history:
        return history.sessions() != ()


@pytest.mark.parametrize("everything", [True, False])
def test_a_recording_whose_session_was_deleted_keeps_no_more(
    make_writer: Callable[..., HistoryWriter], told: list[str], everything: bool
) -> None:
    one = make_writer()
    one.put(ScorePoint(1.0, 1, 0.5, 0.5))
    wait_for(has_a_session)
    if everything:
        delete_everything()
    else:
        with the_history() as history:
            history.delete(1)
    one.put(ScorePoint(2.0, 1, 0.5, 0.5))
    wait_for(lambda: told)
    assert "nothing more is kept of this session" in told[0]
    assert one.close(END, 30)
    history = open_history()
    assert history is None if everything else history is not None and history.sessions() == ()
    if history is not None:
        history.close()


@pytest.mark.parametrize("everything", [True, False])
def test_a_session_that_is_deleted_while_the_file_is_locked_does_not_come_back(
    make_writer: Callable[..., HistoryWriter],
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
    everything: bool,
) -> None:
    monkeypatch.setattr(
        writer, "open_database", lambda path, *, create: open_database(path, create=create, wait_s=0.01)
    )
    one = make_writer()
    one.put(ScorePoint(1.0, 1, 0.5, 0.5))
    wait_for(has_a_session)
    lock = sqlite3.connect(history_path(), isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    one.put(ScorePoint(2.0, 1, 0.5, 0.5))
    wait_for(lambda: one.problem)
    if everything:
        lock.execute("ROLLBACK")
        for path in database.family(history_path()):
            path.unlink(missing_ok=True)
    else:
        lock.execute("DELETE FROM sessions")
        lock.execute("COMMIT")
    lock.close()
    assert one.close(END, 30)
    assert "nothing more is kept of this session" in told[-1]
    assert not has_a_session()


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
    assert all(one.close(END, 30) for one in both)
    assert told == []
    with the_history() as history:
        assert [len(history.session(one.session_id).verdicts) for one in history.sessions()] == [300, 300]
