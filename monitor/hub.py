"""Many sources, one detector: each source has a monitor of its own, and the hub says how often each is looked at.

    add(name, make_source) -> Monitor (capture, faces, verdicts) --crops, windows--> the one batcher of all
    every half second: what the looks cost -> Budget -> Turns -> each monitor's pace

Where this machine cannot look at all of them often enough for a verdict, the oldest sources keep their seats and the
others take turns on the last one; a source that waits is kept drained, has no verdicts, and says so (`shed`).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from monitor.admission import EMPTY_TURN_S, TURN_S, Budget, Span, Turns
from monitor.clock import Clock, MonotonicClock
from monitor.errors import SourceError, UnmaskError
from monitor.pipeline import Monitor
from monitor.settings import Settings
from monitor.shared import MakeSource, Shared, SharedLike
from monitor.types import RunState, Snapshot, StageHealth

log = logging.getLogger(__name__)

MAX_SOURCES = 16
TICK_S = 0.5
SPAN_TICKS = 6
"""Ticks over which processor time is taken: the three seconds that `StageHealth` takes its rates over."""
LEARN_EVERY_TICKS = 2
STEADY_S = 4.0
"""A source that has been looked at for less is not yet asked whether it kept up."""
MAX_NAME = 64


@dataclass(frozen=True, slots=True, eq=False)
class SourceState:
    """One source at this moment."""

    source_id: int
    name: str
    snapshot: Snapshot
    shed: str | None
    """Why nobody of this source is judged now, although it gives pictures; None where it is looked at."""
    duty: float
    """Share of the time, 0..1, that this source is looked at as things stand: 1, or its share of a seat."""


@dataclass(frozen=True, slots=True, eq=False)
class HubSnapshot:
    """All sources at this moment, in the order in which they were added."""

    sources: tuple[SourceState, ...]
    notice: str | None = None
    """What a shortage costs, in a sentence; None where every source is looked at."""


@dataclass(slots=True, eq=False)
class _Watched:
    name: str
    monitor: Monitor
    rate_hz: float | None = None
    since_s: float = 0.0
    """Since when it is looked at as often as now."""
    shed: str | None = None
    duty: float = 0.0
    empty: bool = False
    over: bool = False
    freed: bool = False
    """Whether it was stopped after its end, as soon as nothing was said of anybody in it."""


class Hub:
    """Every method may be called from any thread. `snapshot` never blocks on a source."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        shared: SharedLike | None = None,
        cores: int | None = None,
        cpu_s: Callable[[], float] = time.process_time,
    ) -> None:
        """The last three are seams for tests: by default the real detector, the cores that this process may use, and
        the processor time that it has used."""
        self._settings = settings
        self._clock = clock if clock is not None else MonotonicClock()
        cores = cores if cores is not None else usable_cores()
        self._shared = shared if shared is not None else Shared(settings, self._clock, finders=cores)
        self._budget = Budget(cores, settings.sample_rate_hz, settings.min_rate_hz)
        self._turns = Turns()
        self._lock = threading.Lock()
        self._sources: dict[int, _Watched] = {}
        self._next_id = 1
        self._cpu_s = cpu_s
        self._cpu: deque[tuple[float, float]] = deque(maxlen=SPAN_TICKS + 1)
        self._notice: str | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # ------------------------------------------------------------------------------------ sources

    def add(self, name: str, make_source: MakeSource) -> int:
        """Watch one more source from now on; returns its number. `make_source` is called on the source's own thread,
        again after each loss. Returns at once: what goes wrong is in the source's snapshot.

        Raises SourceError where `MAX_SOURCES` are watched or the hub was stopped.
        """
        name = " ".join(name.split())[:MAX_NAME] or "unnamed"
        with self._lock:
            if self._stop.is_set():
                raise SourceError("the monitor has been stopped; start it again")
            if len(self._sources) >= MAX_SOURCES:
                raise SourceError(f"{MAX_SOURCES} sources are watched already; remove one first", retryable=True)
            source_id, self._next_id = self._next_id, self._next_id + 1
            stages = self._shared.stages(name, make_source)
            monitor = Monitor(name, self._settings, clock=self._clock, stages=stages)
            monitor.set_pace(None)
            self._sources[source_id] = _Watched(name, monitor)
            monitor.start()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="unmask-hub", daemon=True)
                self._thread.start()
        return source_id

    def remove(self, source_id: int) -> None:
        """Stop watching a source; waits two seconds at most. Removing what is not there is harmless."""
        with self._lock:
            watched = self._sources.pop(source_id, None)
        if watched is not None:
            watched.monitor.stop()

    def snapshot(self) -> HubSnapshot:
        """Everything as it stands."""
        with self._lock:
            watched = list(self._sources.items())
            notice = self._notice
        return HubSnapshot(
            tuple(SourceState(key, one.name, one.monitor.snapshot(), one.shed, one.duty) for key, one in watched),
            notice,
        )

    def monitor(self, source_id: int) -> Monitor | None:
        """What watches this source; None where it is not there."""
        with self._lock:
            watched = self._sources.get(source_id)
        return None if watched is None else watched.monitor

    def error(self, source_id: int) -> UnmaskError | None:
        """Why this source has failed; None where it has not or is not there."""
        with self._lock:
            watched = self._sources.get(source_id)
        return None if watched is None else watched.monitor.error

    def stop(self) -> None:
        """Stop every source and free the detector. Calling it again is harmless."""
        self._stop.set()
        with self._lock:
            watched, self._sources = list(self._sources.values()), {}
            thread = self._thread
        for one in watched:
            one.monitor.halt()
        for one in watched:
            one.monitor.stop()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._shared.close()

    # ------------------------------------------------------------------------------------ the hub's thread

    def _run(self) -> None:
        ticks = 0
        failed = False
        while not self._stop.wait(TICK_S):
            ticks += 1
            try:
                self.tick(learn=ticks % LEARN_EVERY_TICKS == 0)
            except Exception:
                if not failed:
                    log.exception("the hub failed to share out its looks; it goes on")
                failed = True

    def tick(self, *, learn: bool) -> None:
        """Let go of what is over once its scores have faded, learn from the last seconds, and pace every source. The
        hub's thread calls it."""
        now_s = self._clock.now_ns() / 1e9
        with self._lock:
            watched = dict(self._sources)
        for one in watched.values():
            one.over = one.over or one.monitor.wait(0.0)
        snapshots = {key: one.monitor.snapshot() for key, one in watched.items()}
        for key, one in watched.items():
            if one.over and not (one.freed or snapshots[key].verdicts or snapshots[key].open_alerts):
                one.freed = True
                one.monitor.stop()
        running = [key for key, one in watched.items() if not one.over and _gives_pictures(snapshots[key])]
        self._cpu.append((now_s, self._cpu_s()))
        if learn and all(one.over or one.monitor.ready for one in watched.values()):
            self._learn({key: watched[key] for key in running}, snapshots, now_s)
        allowance = self._budget.allow(len(running))
        alarmed = {key for key in running if snapshots[key].open_alerts}
        empty = {key for key in running if self._is_empty(watched[key], snapshots[key], now_s)}
        running.sort(key=lambda key: (key in empty, key))
        seated = self._turns.seat(running, allowance.seats, now_s, alarmed, empty)
        self._notice = _notice(len(seated), len(running))
        shared = len(running) - allowance.seats + 1
        for key, one in watched.items():
            if key not in running:
                one.shed, one.duty = None, 0.0  # a source that is lost keeps its pace, and its people until they fade
                if one.rate_hz is None:
                    one.monitor.set_pace(None)
                continue
            one.duty = 1.0 if key in running[: allowance.seats - 1] or shared <= 1 else 1.0 / shared
            one.shed = None if key in seated else _why_shed(allowance.seats, len(running))
            self._pace(one, allowance.rate_hz if key in seated else None, now_s)

    @staticmethod
    def _is_empty(one: _Watched, snapshot: Snapshot, now_s: float) -> bool:
        """Whether nobody was seen when the source was last looked at for a while."""
        if snapshot.verdicts:
            one.empty = False
        elif one.rate_hz is not None and now_s - one.since_s >= EMPTY_TURN_S:
            one.empty = True
        return one.empty

    def _learn(self, running: dict[int, _Watched], snapshots: dict[int, Snapshot], now_s: float) -> None:
        began_s, began_cpu_s = self._cpu[0]
        if len(self._cpu) <= SPAN_TICKS or now_s <= began_s:
            return
        shares = []
        looks_hz = 0.0
        for key, one in running.items():
            health = {stage.name: stage for stage in snapshots[key].health}
            looks_hz += health["infer"].fps_out
            if one.rate_hz is not None and now_s - one.since_s >= STEADY_S:
                shares.append(_share(one.rate_hz, health))
        cpu = (self._cpu_s() - began_cpu_s) / (now_s - began_s)
        self._budget.learn(Span(cpu, looks_hz, tuple(shares)), len(running))

    def _pace(self, one: _Watched, rate_hz: float | None, now_s: float) -> None:
        if rate_hz is not None:
            stretched_hz = self._settings.sample_rate_hz / self._shared.stretch
            rate_hz = min(rate_hz, max(stretched_hz, self._budget.lowest_hz))
        if rate_hz != one.rate_hz:
            one.rate_hz, one.since_s = rate_hz, now_s
        one.monitor.set_pace(rate_hz, one.shed or "")


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gives_pictures(snapshot: Snapshot) -> bool:
    """A call whose camera is off, or a screen that stands still, costs nothing and takes nobody's seat."""
    coming = any(stage.name == "capture" and stage.fps_in > 0.0 for stage in snapshot.health)
    return snapshot.run_state is RunState.RUNNING and coming


def _share(rate_hz: float, health: dict[str, StageHealth]) -> float:
    """Looks that came through as a share of those that the source could have given at this rate."""
    asked_hz = min(rate_hz, health["capture"].fps_in)
    return health["infer"].fps_out / asked_hz if asked_hz > 0.0 else 1.0


def _why_shed(seats: int, count: int) -> str:
    fixed = seats - 1
    others = count - fixed - 1
    turns = f"this one takes turns of {TURN_S:g} s with {others} other{'s'[: others != 1]}"
    return f"not judged for now: this computer can judge {seats} of {count} sources at once, and {turns}"


def _notice(seated: int, count: int) -> str | None:
    if seated == count:
        return None
    return f"this computer can judge {seated} of {count} sources at once; the newest take turns of {TURN_S:g} s"
