"""The recorder of a session: what snapshots become, and monitors that are recorded without noticing."""

from __future__ import annotations

import time
from dataclasses import replace
from types import MappingProxyType

import pytest

from monitor.clock import MonotonicClock
from monitor.headless import run_headless, run_headless_many
from monitor.history.database import history_path
from monitor.history.recorded import RecordedMonitor, recorded, recorded_gathering, recorded_service
from monitor.history.recorder import SessionRecorder
from monitor.history.records import (
    AlertRecord,
    CueRecord,
    Ending,
    FaceRecord,
    Record,
    ScorePoint,
    Session,
    SessionSource,
    VerdictChange,
)
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
from tests.unit.test_history import FACE, NOW, the_history, wait_for

S = 1_000_000_000
CAMERA = SourceInfo("cam", SourceKind.WEBCAM, "Webcam 0", 640, 480, 30.0)


def kept_sessions(count: int = 1) -> tuple[Session, ...]:
    """So many sessions, oldest first, once all have been written to their ends: a busy machine may take its time."""

    def ended() -> bool:
        with the_history() as history:
            return [one.ended_at is not None for one in history.sessions()] == [True] * count

    wait_for(ended)
    with the_history() as history:
        return tuple(history.session(one.session_id) for one in reversed(history.sessions()))


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
    (session,) = kept_sessions()
    summary = session.summary
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
    (session,) = kept_sessions()
    summary = session.summary
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
    (session,) = kept_sessions()
    summary = session.summary
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
    both = kept_sessions(2)
    assert {one.summary.source for one in both} == {"webrtc:"}
    assert {one.summary.ending for one in both} == {Ending.STOPPED}
    short, long = sorted(len(one.points) for one in both)
    assert long > short >= 1


def test_a_service_that_is_over_begins_no_session() -> None:
    service = recorded_service(ScriptedService(), "webrtc:", Settings(history=True))
    run_headless_many(service, lambda event, name: None, duration_s=0.3)
    service.states()
    (session,) = kept_sessions(1)
    assert session.summary.ending is Ending.STOPPED


def test_who_stops_a_session_has_stopped_it_although_the_monitor_ends() -> None:
    class Ends(ScriptedMonitor):
        def snapshot(self) -> Snapshot:
            return replace(super().snapshot(), run_state=RunState.ENDED if self.stopped else RunState.RUNNING)

    monitor = recorded(Ends(), "webcam:0", Settings(history=True))
    monitor.snapshot()
    monitor.stop()
    (session,) = kept_sessions()
    assert session.summary.ending is Ending.STOPPED
