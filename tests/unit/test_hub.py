"""Many sources, one detector: each has its own verdicts, what does not fit waits and says so, nothing leaks."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from monitor.clock import MonotonicClock
from monitor.errors import EngineError, SourceError
from monitor.faces import Detection, Finder
from monitor.hub import MAX_SOURCES, Hub, HubSnapshot, SourceState
from monitor.settings import Settings
from monitor.shared import FinderPool, MakeSource, Shared
from monitor.stages import Stages
from monitor.types import FaceObservation, Float32Array, Frame, RunState, State, UInt8Array
from tests.fakes import (
    FakeDetector,
    FakePerceiver,
    Lost,
    ScriptedSource,
    Step,
    Wait,
    frames,
    make_inference,
    skip_where_busy,
)

PATIENCE_S = 30.0
LOOK_CPU_S = 0.04


@dataclass
class FakeShared:
    """Perceivers and detectors of the fakes; each source's person is suspicious where its name says so."""

    stretch: float = 1.0
    perceivers: list[FakePerceiver] = field(default_factory=list)
    closed: int = 0
    broken: bool = False

    def stages(self, name: str, make_source: MakeSource) -> Stages:
        perceiver = FakePerceiver()
        self.perceivers.append(perceiver)
        detector = FakeDetector(default_logit=3.0 if "forged" in name else -3.0)

        def inference() -> object:
            if self.broken:
                raise EngineError("no runtime can run the detector")
            return make_inference(detector, clock=MonotonicClock())

        return Stages(make_source, lambda: perceiver, inference)  # type: ignore[arg-type]

    def close(self) -> None:
        self.closed += 1

    def cpu_s(self) -> float:
        """As much processor time as if every look cost what is taken for granted before anything is measured."""
        return LOOK_CPU_S * sum(len(one.seen) for one in self.perceivers)


class Camera(ScriptedSource):
    """Gives 30 frames a second by the real clock, until it is closed or has given `count`; or plays a script."""

    def __init__(self, script: list[Step] | None = None, *, count: int | None = None) -> None:
        super().__init__(script if script is not None else [], pause_s=1 / 30)
        self._scripted = script is not None
        self._count = count

    def frames(self) -> Iterator[Frame]:
        if self._scripted:
            yield from super().frames()
            return
        image = np.full((160, 160, 3), 90, np.uint8)
        for seq in itertools.count() if self._count is None else range(self._count):
            if self.closed.wait(1 / 30):
                return
            now_ns = time.monotonic_ns()
            yield Frame("camera", seq, now_ns, now_ns, image)


@contextmanager
def hub_of(shared: FakeShared, cores: int = 16) -> Iterator[Hub]:
    hub = Hub(Settings(), shared=shared, cores=cores, cpu_s=shared.cpu_s)
    try:
        yield hub
    finally:
        hub.stop()


def until(hub: Hub, wanted: Callable[[HubSnapshot], bool]) -> HubSnapshot:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        snapshot = hub.snapshot()
        if wanted(snapshot):
            return snapshot
        time.sleep(0.01)
    pytest.fail(f"not seen within {PATIENCE_S} s; the last snapshot was {hub.snapshot()}")


def judged(state: SourceState) -> bool:
    return any(verdict.suspicion is not None for verdict in state.snapshot.verdicts)


def test_every_source_has_its_own_verdicts_and_leaves_alone() -> None:
    shared = FakeShared()
    with hub_of(shared) as hub:
        ids = [hub.add(name, Camera) for name in ("Ada", "a forged Bob", "Cyd")]
        snapshot = until(hub, lambda s: all(judged(one) for one in s.sources))
        assert [one.name for one in snapshot.sources] == ["Ada", "a forged Bob", "Cyd"]
        assert [one.source_id for one in snapshot.sources] == ids
        states = [one.snapshot.verdicts[0].state for one in snapshot.sources]
        assert states[0] is states[2] is State.NO_SIGN
        assert states[1] in (State.UNCERTAIN, State.SUSPECT)
        assert all(one.shed is None and one.duty == 1.0 for one in snapshot.sources)
        assert snapshot.notice is None
        hub.remove(ids[1])
        hub.remove(ids[1])
        assert [one.name for one in hub.snapshot().sources] == ["Ada", "Cyd"]
        assert shared.perceivers[1].closed
        until(hub, lambda s: all(judged(one) for one in s.sources))
    assert shared.closed == 1
    assert hub.snapshot().sources == ()


def test_what_does_not_fit_waits_says_so_and_gets_its_turn() -> None:
    shared = FakeShared()
    with hub_of(shared, cores=1) as hub:
        hub._turns._turn_s = 2.0
        for name in ("Ada", "Bob", "Cyd", "Dan"):
            hub.add(name, Camera)
        running = until(hub, lambda s: sum(one.shed is not None for one in s.sources) == 2)
        assert running.notice is not None
        assert "can judge 2 of 4 sources at once" in running.notice
        for one in running.sources:
            if one.shed is not None:
                assert "takes turns of 12 s with 2 others" in one.shed
                assert one.snapshot.message == one.shed
                assert one.snapshot.verdicts == ()
        assert [round(one.duty, 2) for one in running.sources] == [1.0, 0.33, 0.33, 0.33]
        seen: set[str] = set()

        def everybody_once(snapshot: HubSnapshot) -> bool:
            assert snapshot.sources[0].shed is None
            assert sum(one.shed is None for one in snapshot.sources) <= 3  # the states are read one after another
            seen.update(one.name for one in snapshot.sources if judged(one))
            return len(seen) == 4

        until(hub, everybody_once)


def test_a_camera_that_is_off_or_shows_nobody_takes_no_seat_from_somebody() -> None:
    shared = FakeShared()
    quiet = threading.Event()
    with hub_of(shared, cores=1) as hub:
        hub.add("camera off", lambda: Camera([*frames(3), Wait(quiet)]))
        hub.add("empty room", Camera)
        shared.perceivers[1].people = ()
        for name in ("Ada", "Bob"):
            hub.add(name, Camera)
        snapshot = until(hub, lambda s: judged(s.sources[2]) and s.sources[2].duty == 1.0 and s.sources[1].duty == 0.5)
        off, room, ada, bob = snapshot.sources
        assert (off.shed, off.duty) == (None, 0.0)
        assert ada.shed is None
        assert (room.duty, bob.duty) == (0.5, 0.5)
        shared.perceivers[1].people = (1,)
        until(hub, lambda s: judged(s.sources[1]))


def test_a_source_that_is_lost_before_its_turn_is_opened_again() -> None:
    shared = FakeShared()
    broken = [*frames(3), Lost(SourceError("unplugged", retryable=True))]
    cameras = [Camera(broken), Camera()]
    with hub_of(shared, cores=1) as hub:
        hub.add("Ada", Camera)
        hub.add("Bob", lambda: cameras.pop(0))
        until(hub, lambda s: s.sources[1].snapshot.run_state is RunState.RUNNING and not cameras)


def test_a_device_that_asks_for_it_stretches_the_time_between_two_looks() -> None:
    shared = FakeShared(stretch=1.5)
    with hub_of(shared) as hub:
        source_id = hub.add("Ada", Camera)
        until(hub, lambda s: judged(s.sources[0]))
        assert hub._sources[source_id].rate_hz == pytest.approx(10.5)
        shared.stretch = 1.0
        until(hub, lambda _: hub._sources[source_id].rate_hz == 15.0)


def test_a_source_that_ends_or_fails_holds_nothing_and_says_why() -> None:
    shared = FakeShared()
    with hub_of(shared) as hub:
        ended = hub.add("ended", lambda: Camera(frames(20)))
        failed = hub.add("failed", _no_such_camera)
        hub.add("goes on", Camera)
        over = {RunState.ENDED, RunState.FAILED}
        snapshot = until(hub, lambda s: {one.snapshot.run_state for one in s.sources[:2]} == over)
        assert snapshot.sources[1].snapshot.message == "no such camera"
        assert isinstance(hub.error(failed), SourceError)
        assert hub.error(ended) is None
        until(hub, lambda s: judged(s.sources[2]) and all(one.closed for one in shared.perceivers[:2]))
        names = [thread.name for thread in threading.enumerate()]
        deadline = time.monotonic() + PATIENCE_S
        while names.count("unmask-watchdog") > 1 and time.monotonic() < deadline:
            time.sleep(0.01)
            names = [thread.name for thread in threading.enumerate()]
        assert names.count("unmask-watchdog") == 1


def test_no_score_outlives_a_source_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.verdict.STALE_S", 1.0)
    monkeypatch.setattr("monitor.verdict.LEAVE_S", 2.0)
    with hub_of(FakeShared()) as hub:
        hub.add("a forged Bob", lambda: Camera(count=150))
        hub.add("goes on", Camera)
        until(hub, lambda s: bool(s.sources[0].snapshot.open_alerts))
        until(hub, lambda s: s.sources[0].snapshot.run_state is RunState.ENDED)
        gone = until(hub, lambda s: s.sources[0].snapshot.verdicts == ()).sources[0].snapshot
        assert gone.open_alerts == ()
        assert len(gone.closed_alerts) == 1


def _no_such_camera() -> ScriptedSource:
    raise SourceError("no such camera")


def test_a_detector_that_does_not_open_is_told_by_every_source() -> None:
    with hub_of(FakeShared(broken=True)) as hub:
        hub.add("Ada", Camera)
        hub.add("Bob", Camera)
        snapshot = until(hub, lambda s: all(one.snapshot.run_state is RunState.FAILED for one in s.sources))
        assert snapshot.sources[0].snapshot.message == "no runtime can run the detector"


def test_sources_come_and_go_by_the_hundred_without_a_thread_left() -> None:
    with hub_of(FakeShared()) as hub:
        stays = hub.add("stays", Camera)
        until(hub, lambda s: judged(s.sources[0]))
        before = threading.active_count()
        for round_ in range(40):
            ids = [hub.add(f"guest {round_}-{one}", Camera) for one in range(5)]
            for source_id in ids:
                hub.remove(source_id)
        assert [one.source_id for one in hub.snapshot().sources] == [stays]
        deadline = time.monotonic() + PATIENCE_S
        while threading.active_count() > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert threading.active_count() <= before
        until(hub, lambda s: judged(s.sources[0]))


def test_no_more_sources_than_the_bound_and_none_after_the_end() -> None:
    with hub_of(FakeShared()) as hub:
        for one in range(MAX_SOURCES):
            hub.add(f"source {one}", lambda: Camera([]))
        with pytest.raises(SourceError, match="16 sources are watched already; remove one first"):
            hub.add("one more", Camera)
    with pytest.raises(SourceError, match="has been stopped"):
        hub.add("too late", Camera)


# ------------------------------------------------------------------------------------------ shared face models


class ClosedWhileHeld:
    """A lock in whose last moment somebody closes what it guards."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.shared: Shared | None = None

    def acquire(self, *, blocking: bool) -> bool:
        return self._lock.acquire(blocking=blocking)

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        shared, self.shared = self.shared, None
        if shared is not None:
            shared.close()
        self._lock.release()


def test_a_detector_that_is_there_in_the_moment_of_the_end_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = SimpleNamespace(engine=ScriptedEngine())
    monkeypatch.setattr("monitor.shared.load_card", lambda: None)
    monkeypatch.setattr("monitor.shared.switch_over", lambda *_: None)
    monkeypatch.setattr("engines.choose.choose", lambda *_: choice)
    shared, lock = Shared(Settings(), MonotonicClock(), 1), ClosedWhileHeld()
    lock.shared, shared._lock = shared, lock  # type: ignore[assignment]
    with pytest.raises(EngineError):
        shared.stages("Ada", Camera).inference()
    assert choice.engine.closed.wait(PATIENCE_S)


class ScriptedEngine:
    name = "scripted"

    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


class CountingFinder:
    """Notes whether two threads were ever inside it at once."""

    def __init__(self) -> None:
        self.inside = threading.Lock()
        self.calls = 0
        self.closed = False

    def scan(self, image: UInt8Array, tiles: object) -> list[Detection]:
        assert self.inside.acquire(blocking=False), "two threads in one finder"
        time.sleep(0.001)
        self.calls += 1
        self.inside.release()
        return []

    def read(self, image: UInt8Array, box_px: Float32Array) -> FaceObservation | None:
        raise ValueError("nothing to read")

    def close(self) -> None:
        self.closed = True


def test_a_pool_makes_few_finders_and_lends_each_to_one_thread_at_a_time() -> None:
    made: list[CountingFinder] = []

    def make() -> Finder:
        made.append(CountingFinder())
        return made[-1]

    pool = FinderPool(make, 2)
    shares = [pool.share() for _ in range(5)]
    picture = frames(1)[0]
    assert isinstance(picture, Frame)
    threads = [
        threading.Thread(target=lambda one=one: [one.scan(picture.image, []) for _ in range(20)]) for one in shares
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2
    assert sum(one.calls for one in made) == 100
    with pytest.raises(ValueError, match="nothing to read"):
        shares[0].read(picture.image, None)  # type: ignore[arg-type]
    shares[0].close()
    assert not any(one.closed for one in made)
    with pool.borrowed() as lent:
        pool.close()
        assert [one.closed for one in made].count(True) == 1
        assert lent in made
    assert all(one.closed for one in made)
    with pytest.raises(EngineError, match="has been stopped"):
        shares[1].scan(picture.image, [])


# ------------------------------------------------------------------------------------------ a machine made of sleep


class SleepyMachine(FakeShared):
    """Two cores, on each of which one look at a time takes 40 ms."""

    def __init__(self) -> None:
        super().__init__()
        self._cores = threading.Semaphore(2)

    def stages(self, name: str, make_source: MakeSource) -> Stages:
        stages = super().stages(name, make_source)
        self.perceivers[-1].before = self._look
        return stages

    def _look(self, _frame: Frame) -> None:
        with self._cores:
            time.sleep(LOOK_CPU_S)


def test_eight_sources_on_two_cores_are_judged_each_second_or_told_that_they_wait() -> None:
    skip_where_busy()
    with hub_of(SleepyMachine(), cores=2) as hub:
        for one in range(8):
            hub.add(f"source {one}", Camera)
        until(hub, lambda s: s.notice is not None)
        time.sleep(6.0)  # until rates are settled and windows are full
        newest: dict[int, int] = {}
        steady: set[int] = {one.source_id for one in hub.snapshot().sources if one.shed is None and one.duty == 1.0}
        assert len(steady) >= 2
        ended_s = time.monotonic() + 8.0
        while time.monotonic() < ended_s:
            for one in hub.snapshot().sources:
                assert one.shed is not None or one.duty < 1.0 or one.source_id in steady
                for verdict in one.snapshot.verdicts:
                    if verdict.suspicion is not None:
                        assert one.shed is None
                        newest[one.source_id] = verdict.as_of_ns
                if one.source_id in steady and one.source_id in newest:
                    assert time.monotonic_ns() - newest[one.source_id] < 1.5e9
            time.sleep(0.05)
        assert steady <= newest.keys()
