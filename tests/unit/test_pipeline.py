"""The live pipeline with real threads: what hangs is named, what is lost comes back, no score outlives its picture."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from monitor.clock import FakeClock
from monitor.errors import AssetError, SourceError
from monitor.perceive import Perceived
from monitor.pipeline import Look, LookMailbox, Monitor
from monitor.sampling import sampled_indices
from monitor.settings import Settings
from monitor.types import Frame, Reason, RunState, Snapshot, SourceKind, StageHealth, State
from monitor.windows import RATE_TOLERANCE
from tests.fakes import (
    FakeDetector,
    FakePerceiver,
    Lost,
    ScriptedSource,
    Step,
    Wait,
    face,
    frames,
    make_stages,
    status,
)

SETTINGS = Settings()
PATIENCE_S = 10.0


@contextmanager
def running(monitor: Monitor) -> Iterator[Monitor]:
    monitor.start()
    try:
        yield monitor
    finally:
        monitor.stop()


def until(monitor: Monitor, wanted: Callable[[Snapshot], bool]) -> Snapshot:
    """The first snapshot that is as wanted; fails after `PATIENCE_S`."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        snapshot = monitor.snapshot()
        if wanted(snapshot):
            return snapshot
        time.sleep(0.002)
    pytest.fail(f"not seen within {PATIENCE_S} s; the last snapshot was {monitor.snapshot()}")


def stage(snapshot: Snapshot, name: str) -> StageHealth:
    return next(one for one in snapshot.health if one.name == name)


def frame(seq: int) -> Frame:
    made = frames(1, start_seq=seq)[0]
    assert isinstance(made, Frame)
    return made


class InStep:
    """Lets a source give its next frame only once the detector has the one before: no drops by luck."""

    def __init__(self, logits: dict[int, float] | None = None) -> None:
        self.turn = threading.Semaphore(1)
        self.perceiver = FakePerceiver()
        self.detector = FakeDetector(logits=logits or {}, before=self.turn.release)

    def monitor(self, script: list[Step], clock: FakeClock) -> Monitor:
        source = ScriptedSource(script, clock=clock, pace_s=1 / 15, turn=self.turn)
        stages = make_stages(source, perceiver=self.perceiver, detector=self.detector, clock=clock)
        return Monitor("fake:", SETTINGS, clock=clock, stages=stages)


def judged(snapshot: Snapshot) -> bool:
    return bool(snapshot.verdicts) and snapshot.verdicts[0].suspicion is not None


def test_a_call_runs_from_its_first_picture_to_a_verdict() -> None:
    pace, hold = InStep(), threading.Event()
    with running(pace.monitor([*frames(40), Wait(hold)], FakeClock())) as monitor:
        snapshot = until(monitor, lambda s: bool(s.verdicts) and s.verdicts[0].state is State.NO_SIGN)
        assert snapshot.run_state is RunState.RUNNING
        assert snapshot.source is not None
        assert snapshot.source.title == "a scripted source"
        assert (snapshot.model_id, snapshot.runtime) == ("fake-1", "a fake runtime (1 thread)")
        assert snapshot.verdicts[0].suspicion == pytest.approx(0.047, abs=0.001)
        assert snapshot.latency_p95_ms is not None
        assert [one.name for one in snapshot.health] == ["capture", "perceive", "encode", "head", "infer"]
        last = until(monitor, lambda s: s.caption == "frame 39")
        assert last.thumbnails[1].shape == (64, 64, 3)
    assert pace.perceiver.closed


def test_the_most_suspicious_person_leads_and_an_alert_opens() -> None:
    pace, hold = InStep(logits={2: 3.0}), threading.Event()
    pace.perceiver.people = (1, 2)
    with running(pace.monitor([*frames(120), Wait(hold)], FakeClock())) as monitor:
        snapshot = until(monitor, lambda s: bool(s.open_alerts))
        assert snapshot.worst is not None
        assert (snapshot.worst.track_id, snapshot.worst.state) == (2, State.SUSPECT)
        assert snapshot.open_alerts[0].track_id == 2


def test_the_end_of_a_file_is_the_end_of_the_run_and_its_score_fades() -> None:
    clock, pace = FakeClock(), InStep()
    source = ScriptedSource(frames(60), kind=SourceKind.FILE, turn=pace.turn)
    monitor = Monitor("fake:", SETTINGS, clock=clock, stages=make_stages(source, detector=pace.detector, clock=clock))
    with running(monitor):
        assert monitor.wait(PATIENCE_S)
        assert monitor.snapshot().verdicts != ()
        assert until(monitor, lambda s: s.run_state is RunState.ENDED).message is None
        clock.advance(3.0)
        faded = until(monitor, lambda s: all(v.suspicion is None for v in s.verdicts))
        assert {v.state for v in faded.verdicts} <= {State.CANNOT_TELL}


def test_who_has_waited_for_the_end_reads_of_the_end() -> None:
    class Slow(Monitor):
        def refresh(self) -> None:
            if threading.current_thread().name == "unmask-infer" and self._over.is_set():
                time.sleep(0.15)
            super().refresh()

    with running(Slow("fake", SETTINGS, stages=make_stages(ScriptedSource(frames(20))))) as monitor:
        assert monitor.wait(PATIENCE_S)
        assert monitor.snapshot().run_state is RunState.ENDED


def test_a_watched_file_keeps_the_pace_of_its_own_timeline() -> None:
    clock = FakeClock()
    source = ScriptedSource(frames(31, fps=30.0), kind=SourceKind.FILE)
    monitor = Monitor("fake:", SETTINGS, clock=clock, stages=make_stages(source, clock=clock))
    with running(monitor):
        assert monitor.wait(PATIENCE_S)
    assert clock.now_ns() / 1e9 == pytest.approx(1.0, abs=0.05)


def test_a_hole_of_an_hour_in_a_file_is_not_waited_for() -> None:
    clock = FakeClock()
    source = ScriptedSource([*frames(5), *frames(5, start_seq=5, start_s=3600.0)], kind=SourceKind.FILE)
    with running(Monitor("fake:", SETTINGS, clock=clock, stages=make_stages(source, clock=clock))) as monitor:
        assert monitor.wait(PATIENCE_S)
    assert clock.now_ns() / 1e9 < 3.0


def test_why_a_file_could_be_read_only_in_part_is_said_at_its_end() -> None:
    source = ScriptedSource(frames(5), kind=SourceKind.FILE, incomplete="the file is cut short after 0.3 s")
    with running(Monitor("fake:", SETTINGS, clock=FakeClock(), stages=make_stages(source))) as monitor:
        assert monitor.wait(PATIENCE_S)
        ended = until(monitor, lambda s: s.run_state is RunState.ENDED)
        assert ended.message == "the file is cut short after 0.3 s"
        assert monitor.error is None


@pytest.mark.parametrize("hangs", ["perceive", "encode"])
def test_a_stage_that_hangs_is_named_and_its_scores_are_cleared(hangs: str) -> None:
    clock, pace = FakeClock(), InStep()
    hang, hanging, gate, go_on = threading.Event(), threading.Event(), threading.Event(), threading.Event()

    def maybe_hang() -> None:
        if hang.is_set():
            hanging.set()
            gate.wait(PATIENCE_S)

    if hangs == "perceive":
        pace.perceiver.before = lambda _frame: maybe_hang()
    else:
        pace.detector.before = lambda: (pace.turn.release(), maybe_hang())[0]
    with running(pace.monitor([*frames(30), Wait(go_on), *frames(3000, start_seq=30, start_s=2.0)], clock)) as monitor:
        until(monitor, judged)
        hang.set()
        go_on.set()
        pace.turn.release()
        assert hanging.wait(PATIENCE_S)
        for _ in range(60):  # The camera itself goes on: only the stage is stuck.
            pace.turn.release()
        stalled = until(monitor, lambda s: any(v.reasons == (Reason.STALLED,) for v in s.verdicts))
        assert all(v.suspicion is None and v.state is State.CANNOT_TELL for v in stalled.verdicts)
        assert "no result for" in str(stage(stalled, hangs).degraded_reason)
        assert stage(stalled, hangs).alive
        hang.clear()
        gate.set()
        back = until(monitor, judged)
        assert stage(back, hangs).degraded_reason is None
        assert stage(back, "perceive").dropped + stage(back, "infer").dropped > 20


def test_a_camera_that_gives_no_picture_any_more_clears_the_scores() -> None:
    clock, pace, hold = FakeClock(), InStep(), threading.Event()
    with running(pace.monitor([*frames(30), Wait(hold)], clock)) as monitor:
        until(monitor, judged)
        until(monitor, lambda s: s.caption == "frame 29")
        clock.advance(3.0)
        silent = until(monitor, lambda s: s.verdicts[0].reasons == (Reason.STALLED,))
        assert silent.verdicts[0].suspicion is None
        assert stage(silent, "capture").degraded_reason == "no picture for 3 s"


def test_a_camera_that_is_unplugged_is_waited_for_and_taken_up_again() -> None:
    clock, hold = FakeClock(), threading.Event()
    unplugged = SourceError("the camera was unplugged; plug it in again", retryable=True)
    first = ScriptedSource([*frames(30), Lost(unplugged)], clock=clock, pace_s=1 / 15)
    gone = [ScriptedSource([Lost(unplugged)], clock=clock) for _ in range(6)]
    again = ScriptedSource([*frames(30), Wait(hold)], clock=clock, pace_s=1 / 15)
    perceiver, states = FakePerceiver(), []
    stages = make_stages(first, *gone, again, perceiver=perceiver, clock=clock)
    monitor = Monitor("fake:", SETTINGS, clock=clock, stages=stages)
    draw = monitor._draw

    def spied() -> Snapshot:
        snapshot = draw()
        states.append((snapshot.run_state, snapshot.message))
        return snapshot

    monitor._draw = spied  # type: ignore[method-assign]
    began_ns = clock.now_ns()
    with running(monitor):
        until(monitor, lambda s: s.media_ns > 10e9 and s.run_state is RunState.RUNNING)
        assert monitor.error is None
    waits_s = 0.5 + 1 + 2 + 4 + 8 + 8 + 8
    assert (clock.now_ns() - began_ns) / 1e9 == pytest.approx(waits_s + 4, abs=1.5)
    assert perceiver.seen == sorted(perceiver.seen)
    assert len(set(perceiver.seen)) == len(perceiver.seen)


def test_between_two_tries_the_state_says_what_is_waited_for() -> None:
    unplugged = SourceError("the camera was unplugged; plug it in again", retryable=True)
    clock = FakeClock()
    opened = threading.Event()
    proceed = threading.Event()

    class Slow(ScriptedSource):
        def frames(self) -> Iterator[Frame]:
            opened.set()
            proceed.wait(PATIENCE_S)
            return super().frames()

    first = ScriptedSource([*frames(3), Lost(unplugged)], clock=clock)
    stages = make_stages(first, Slow(frames(3), clock=clock), clock=clock)
    with running(Monitor("fake:", SETTINGS, clock=clock, stages=stages)) as monitor:
        assert opened.wait(PATIENCE_S)
        lost = until(monitor, lambda s: s.run_state is RunState.RECONNECTING)
        assert lost.message == "the camera was unplugged; plug it in again; trying again in 0.5 s"
        assert stage(lost, "capture").degraded_reason == "the source is lost"
        proceed.set()
        assert monitor.wait(PATIENCE_S)


@pytest.mark.parametrize("retryable", [True, False])
def test_a_source_that_never_opened_fails_at_once(retryable: bool) -> None:
    busy = SourceError("webcam:0 is busy; close the other program", retryable=retryable)
    stages = make_stages(ScriptedSource([Lost(busy)]))
    with running(Monitor("fake:", SETTINGS, stages=stages)) as monitor:
        assert monitor.wait(PATIENCE_S)
        failed = until(monitor, lambda s: s.run_state is RunState.FAILED)
        assert failed.message == "webcam:0 is busy; close the other program"
        assert monitor.error is busy


def test_a_loss_for_good_in_the_middle_fails() -> None:
    script: list[Step] = [*frames(20), Lost(SourceError("the window was closed"))]
    with running(Monitor("fake:", SETTINGS, stages=make_stages(ScriptedSource(script)))) as monitor:
        assert monitor.wait(PATIENCE_S)
        assert until(monitor, lambda s: s.run_state is RunState.FAILED).message == "the window was closed"


def test_a_model_that_is_missing_fails_with_its_own_error() -> None:
    missing = AssetError("face_landmarker.task: no such file; run unmask doctor --fetch")

    def raises() -> FakePerceiver:
        raise missing

    from dataclasses import replace

    hold = threading.Event()
    source = ScriptedSource([Wait(hold)])
    stages = replace(make_stages(source), perceiver=raises)
    with running(Monitor("fake:", SETTINGS, stages=stages)) as monitor:
        assert monitor.wait(PATIENCE_S)
        failed = until(monitor, lambda s: s.run_state is RunState.FAILED)
        assert failed.message == str(missing)
        assert monitor.error is missing
        assert stage(failed, "perceive").degraded_reason == str(missing)


@pytest.mark.logs_errors
def test_a_stage_that_crashes_on_one_frame_is_logged_once_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    pace = InStep()

    def before(one: Frame) -> None:
        if one.seq in (5, 6):
            pace.turn.release()
            raise ZeroDivisionError("a fault")

    pace.perceiver.before = before
    with running(pace.monitor([*frames(40)], FakeClock())) as monitor:
        assert monitor.wait(PATIENCE_S)
        snapshot = until(monitor, lambda s: s.run_state is RunState.ENDED)
        assert monitor.error is None
        assert stage(snapshot, "perceive").degraded_reason is None
    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == ["stage perceive failed on a frame"]
    assert len(pace.perceiver.seen) == 40


@pytest.mark.logs_errors
def test_a_stage_that_crashes_on_every_frame_ends_the_run() -> None:
    pace = InStep()

    def before(_frame: Frame) -> None:
        pace.turn.release()
        raise ZeroDivisionError("a fault")

    pace.perceiver.before = before
    with running(pace.monitor(frames(400), FakeClock())) as monitor:
        assert monitor.wait(PATIENCE_S)
        failed = until(monitor, lambda s: s.run_state is RunState.FAILED)
        assert failed.message == "unexpected ZeroDivisionError: a fault"
        assert "ZeroDivisionError: a fault" in str(stage(failed, "perceive").degraded_reason)


def test_a_slow_detector_costs_drops_and_never_delay() -> None:
    clock = FakeClock()
    lags_ms: list[float] = []

    def slow(one: Frame) -> None:
        lags_ms.append((clock.now_ns() - one.recv_ns) / 1e6)
        time.sleep(0.004)

    perceiver = FakePerceiver(before=slow)
    source = ScriptedSource(frames(200), clock=clock, pace_s=1 / 15, pause_s=0.001)
    stages = make_stages(source, perceiver=perceiver, clock=clock)
    with running(Monitor("fake:", SETTINGS, clock=clock, stages=stages)) as monitor:
        assert monitor.wait(PATIENCE_S)
        snapshot = until(monitor, lambda s: s.run_state is RunState.ENDED)
    dropped = stage(snapshot, "perceive").dropped
    assert dropped + len(perceiver.seen) == 200
    assert dropped > 20
    # What is taken is the newest there is: were there a queue, the age would be that of the whole queue.
    assert sorted(lags_ms)[len(lags_ms) // 2] <= 2 * 1e3 / 15


def test_a_busy_device_is_asked_less_often_but_a_lost_frame_costs_no_window() -> None:
    monitor = Monitor("fake", SETTINGS, stages=make_stages())
    monitor._inference = SimpleNamespace(stretch=1.5)  # type: ignore[assignment]
    monitor._heed_the_device()
    rate_hz = monitor._capture._new_rate_hz
    assert rate_hz is not None
    assert rate_hz < SETTINGS.sample_rate_hz
    media_ns = [round(at * 1e9 / 30) for at in range(3000)]
    looked_at = sampled_indices(media_ns, rate_hz)
    one_in_16_lost = len(looked_at) * 15 / 16
    assert one_in_16_lost / 100.0 >= SETTINGS.min_rate_hz * RATE_TOLERANCE


def test_frames_that_the_source_dropped_are_counted() -> None:
    script: list[Step] = [*frames(3), *frames(3, start_seq=7, start_s=0.5)]
    with running(Monitor("fake:", SETTINGS, stages=make_stages(ScriptedSource(script)))) as monitor:
        assert monitor.wait(PATIENCE_S)
        assert stage(until(monitor, lambda s: s.run_state is RunState.ENDED), "capture").dropped == 4


def test_stop_ends_every_thread_within_two_seconds_also_where_one_hangs() -> None:
    hold = threading.Event()
    source = ScriptedSource([*frames(1000), Wait(hold)])
    monitor = Monitor("fake:", SETTINGS, stages=make_stages(source))
    monitor.start()
    until(monitor, lambda s: s.run_state is RunState.RUNNING)
    began = time.monotonic()
    monitor.stop()
    monitor.stop()
    assert time.monotonic() - began < 3.0
    assert [t.name for t in threading.enumerate() if t.name.startswith("unmask-")] == []
    assert monitor.snapshot().run_state is RunState.ENDED


def test_a_stage_that_hangs_does_not_hold_up_the_stop() -> None:
    gate = threading.Event()
    perceiver = FakePerceiver(before=lambda _one: gate.wait(PATIENCE_S) and None)
    hold = threading.Event()
    monitor = Monitor(
        "fake:", SETTINGS, stages=make_stages(ScriptedSource([*frames(5), Wait(hold)]), perceiver=perceiver)
    )
    monitor.start()
    until(monitor, lambda s: bool(perceiver.seen))
    began = time.monotonic()
    monitor.stop()
    assert time.monotonic() - began < 4.0
    gate.set()


def test_a_monitor_is_used_once() -> None:
    monitor = Monitor("fake:", SETTINGS, stages=make_stages(ScriptedSource(frames(1))))
    with running(monitor), pytest.raises(RuntimeError, match="make a new one"):
        monitor.start()


def test_a_cut_that_nobody_took_is_carried_on_by_the_next_look() -> None:
    first, second = frame(1), frame(2)
    lost = Look(0, 1, Perceived((), (status(first, 1, cut=True), status(first, 2, ended=True), status(first, 3)), True))
    newer = Look(0, 2, Perceived((face(second, 1),), (status(second, 1),), False))
    mailbox = LookMailbox()
    mailbox.put(lost)
    mailbox.put(newer)
    taken = mailbox.take()
    assert mailbox.dropped == 1
    assert taken.perceived.cut
    assert [(s.track_id, s.cut, s.ended) for s in taken.perceived.statuses] == [(2, False, True), (1, True, False)]
    assert taken.perceived.faces == newer.perceived.faces


def test_after_a_cut_no_window_spans_it() -> None:
    pace = InStep()

    def plan(one: Frame) -> Perceived:
        return Perceived((face(one, 1),), (status(one, 1),), cut=one.seq == 20)

    pace.perceiver.plan = plan
    with running(pace.monitor(frames(60), FakeClock())) as monitor:
        assert monitor.wait(PATIENCE_S)
    assert len(pace.detector.windows) > 10
    assert [w for w in pace.detector.windows if w.seqs[0] < 20 <= w.seqs[-1]] == []
