"""The live pipeline: three threads joined by mailboxes, a watchdog, and one snapshot that everybody reads.

    capture --Frame--> perceive --Look--> infer --> Snapshot
    (source)           (faces, tracks,    (windows, detector,
                        crops)             cues, verdict)

Between two threads waits one value at most and the newest wins, so a slow stage costs drops, which are counted, and
never delay. The watchdog publishes five times a second whatever the stages do: a stage that hangs is named, and
no score outlives it. A stage that fails on a frame is logged once and goes on; one that fails on ten in a row
ends the run.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol, TypeVar

from monitor.admission import LOWEST_RATE_MARGIN
from monitor.capture import Capture
from monitor.clock import Clock, MonotonicClock
from monitor.errors import UnmaskError
from monitor.health import STUCK_S, Percentiles, Ring, StageMeter
from monitor.inference import Inference
from monitor.mailbox import Closed, LatestMailbox
from monitor.perceive import Perceived
from monitor.settings import Settings
from monitor.stages import PerceiverLike, Region, Stages, live_stages
from monitor.types import Frame, RunState, Snapshot, TrackStatus

log = logging.getLogger(__name__)

REFRESH_S = 0.2
STOP_S = 2.0
LATENCY_RING = 200
MAX_FAILURES = 10
"""A stage that fails on so many pieces of work in a row has failed for good."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One perceived frame on its way to the infer thread."""

    recv_ns: int
    media_ns: int
    perceived: Perceived

    def after(self, lost: Look) -> Look:
        """This look in place of `lost`, which nobody took: a cut or a leaving that it told of is kept."""
        mine = {status.track_id: status for status in self.perceived.statuses}
        carried: list[TrackStatus] = []
        for status in lost.perceived.statuses:
            if status.ended and status.track_id not in mine:
                carried.append(status)
            elif status.cut and status.track_id in mine:
                mine[status.track_id] = replace(mine[status.track_id], cut=True)
            elif status.cut:
                carried.append(status)
        statuses = (*carried, *mine.values())
        cut = self.perceived.cut or lost.perceived.cut
        return replace(self, perceived=replace(self.perceived, statuses=statuses, cut=cut))


class LookMailbox(LatestMailbox[Look]):
    """Latest wins, but what must not be forgotten goes on with the newer look."""

    def put(self, value: Look) -> None:
        with self._condition:
            waiting = self._value if self._full else None
            super().put(value if waiting is None else value.after(waiting))


class _Closable(Protocol):
    def close(self) -> None: ...


Tool = TypeVar("Tool", bound=_Closable)
Work = TypeVar("Work")


class Monitor:
    """Watches one source address until it ends or is stopped. Use once: `start`, any number of `snapshot`, `stop`.

    `start` returns at once: what goes wrong while a part is loaded or a source is opened is in the snapshot
    (`run_state` FAILED, `message`) and in `error`.
    """

    def __init__(
        self,
        uri: str,
        settings: Settings,
        *,
        clock: Clock | None = None,
        region: Region | None = None,
        stages: Stages | None = None,
    ) -> None:
        self._clock = clock if clock is not None else MonotonicClock()
        self._stages = stages if stages is not None else live_stages(uri, settings, self._clock, region)
        self._frames: LatestMailbox[Frame] = LatestMailbox()
        self._looks = LookMailbox()
        self._stopping = threading.Event()
        self._closing = threading.Event()
        self._settings = settings
        self._paced = False
        self._held: str | None = None
        self._over = threading.Event()
        self._ready = threading.Event()
        self._waiting_for = 2
        self._capture = Capture(
            self._stages.source,
            self._frames,
            rate_hz=settings.sample_rate_hz,
            clock=self._clock,
            stop=self._stopping,
            ready=self._ready,
        )
        self._perceive_meter = StageMeter("perceive", self._clock)
        self._infer_meter = StageMeter("infer", self._clock)
        self._inference: Inference | None = None
        self._latency = Ring(LATENCY_RING)
        self._latencies = Percentiles(None, None)
        self._failure: Exception | None = None
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._publish_lock = threading.Lock()
        self._snapshot = self._draw()

    # ------------------------------------------------------------------------------------ life

    def start(self) -> None:
        """Start the threads. Returns at once."""
        if self._threads:
            raise RuntimeError("this Monitor was started before; make a new one")
        works = (
            ("unmask-capture", self._run_capture),
            ("unmask-perceive", self._run_perceive),
            ("unmask-infer", self._run_infer),
            ("unmask-watchdog", self._run_watchdog),
        )
        self._threads = [threading.Thread(target=work, name=name, daemon=True) for name, work in works]
        for thread in self._threads:
            thread.start()
        self.refresh()

    def stop(self) -> None:
        """End every thread and free what they hold; waits two seconds at most. Calling it again is harmless."""
        self.halt()
        deadline_ns = MonotonicClock().now_ns() + int(STOP_S * 1e9)
        for thread in self._threads:
            thread.join(max(0.0, (deadline_ns - MonotonicClock().now_ns()) / 1e9))
        late = [thread.name for thread in self._threads if thread.is_alive()]
        if late:
            level = logging.WARNING if self._ready.is_set() else logging.INFO  # libraries load as long as they load
            log.log(level, "still busy %s s after the stop: %s", STOP_S, ", ".join(late))
        self._over.set()
        self.refresh()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the source has ended or the run has failed: the snapshot then says so. False after `timeout_s`."""
        over = self._over.wait(timeout_s)
        if over:
            self.refresh()
        return over

    def halt(self) -> None:
        """Ask every thread to end, without waiting for it; `stop` must still be called."""
        self._halt()
        self._closing.set()

    @property
    def ready(self) -> bool:
        """Whether everything that looks at the source is loaded."""
        return self._ready.is_set()

    def set_pace(self, rate_hz: float | None, held: str = "") -> None:
        """Look at the source `rate_hz` times a second, or not at all for now (None), and why not, in a sentence.

        From the first call on, the caller alone paces this monitor. Nobody of a source that is not looked at has a
        verdict, and whoever is seen afterwards is judged afresh.
        """
        self._paced = True
        before, self._held = self._held, held if rate_hz is None else None
        self._capture.set_rate(rate_hz)
        if self._held != before:
            self.refresh()

    def snapshot(self) -> Snapshot:
        """The newest picture of everything. Never blocks."""
        return self._snapshot

    def newest_frame(self) -> Frame | None:
        """The newest picture of the source, whether or not it is looked at; None before the first."""
        return self._capture.newest

    def cut_out(self, regions: tuple[Region, ...]) -> None:
        """Paint these parts of every picture grey from now on: what must not be judged, such as the overlay itself."""
        self._capture.cut_out(regions)

    @property
    def error(self) -> UnmaskError | None:
        """Why the run has failed, None where it has not."""
        failure = self._failure if self._failure is not None else self._capture.error
        if failure is None or isinstance(failure, UnmaskError):
            return failure
        return UnmaskError(f"unexpected {type(failure).__name__}: {failure}")

    def refresh(self) -> None:
        """Draw and publish a new snapshot. The watchdog calls this five times a second."""
        with self._publish_lock:
            self._snapshot = self._draw()

    # ------------------------------------------------------------------------------------ threads

    def _run_capture(self) -> None:
        self._capture.run()
        self.refresh()

    def _run_perceive(self) -> None:
        def step(perceiver: PerceiverLike, frame: Frame) -> None:
            perceived = perceiver.step(frame)
            self._looks.put(Look(frame.recv_ns, frame.media_ns, perceived))

        self._run_stage(self._perceive_meter, self._stages.perceiver, self._frames, step)
        self._looks.close()

    def _run_infer(self) -> None:
        def make() -> Inference:
            self._inference = self._stages.inference()
            return self._inference

        def step(inference: Inference, look: Look) -> None:
            outcome = inference.step(look.perceived, look.recv_ns)
            if outcome.scores:
                self._latency.add((self._clock.now_ns() - look.recv_ns) / 1e6)
                self._latencies = self._latency.percentiles()
            self.refresh()

        self._run_stage(self._infer_meter, make, self._looks, step)
        self._over.set()
        self.refresh()

    def _run_watchdog(self) -> None:
        failed = False
        while not self._closing.wait(REFRESH_S):
            try:
                self._heed_the_device()
                self.refresh()
            except Exception:
                if not failed:
                    log.exception("the watchdog failed; it goes on")
                failed = True

    def _heed_the_device(self) -> None:
        """Look less often, evenly, where the device asks for it: better than losing frames at random."""
        if not self._paced and self._inference is not None:
            settings = self._settings
            stretched_hz = settings.sample_rate_hz / self._inference.stretch
            lowest_hz = min(settings.min_rate_hz * LOWEST_RATE_MARGIN, settings.sample_rate_hz)
            self._capture.set_rate(max(stretched_hz, lowest_hz))

    def _run_stage(
        self,
        meter: StageMeter,
        make: Callable[[], Tool],
        inbox: LatestMailbox[Work],
        step: Callable[[Tool, Work], None],
    ) -> None:
        """The life of a stage: make its tool, work until the mailbox is closed, free the tool."""
        try:
            tool = make()
        except Exception as error:
            self._fail(meter, error)
            meter.finished()
            return
        try:
            self._one_more_is_ready()
            self._work(meter, tool, inbox, step)
        finally:
            meter.finished()
            tool.close()

    def _work(
        self, meter: StageMeter, tool: Tool, inbox: LatestMailbox[Work], step: Callable[[Tool, Work], None]
    ) -> None:
        failures = 0
        while True:
            try:
                work = inbox.take()
            except Closed:
                return
            meter.offered()
            try:
                with meter.working():
                    step(tool, work)
            except Closed:
                return
            except Exception as error:
                failures += 1
                if failures == 1:
                    log.exception("stage %s failed on a frame", meter.name)
                meter.set_fault(f"failed on the last frame ({_one_line(error)})")
                if failures >= MAX_FAILURES:
                    self._fail(meter, error)
                    return
            else:
                if failures:
                    failures = 0
                    meter.set_fault(None)

    def _one_more_is_ready(self) -> None:
        with self._lock:
            self._waiting_for -= 1
            if self._waiting_for == 0:
                self._ready.set()

    def _fail(self, meter: StageMeter, error: Exception) -> None:
        """End the whole run because of one stage."""
        meter.set_fault(_one_line(error))
        with self._lock:
            first = self._failure is None
            self._failure = self._failure if self._failure is not None else error
        if first and not isinstance(error, UnmaskError):
            log.error("stage %s cannot go on", meter.name, exc_info=error)
        self._halt()
        self._over.set()
        self.refresh()

    def _halt(self) -> None:
        self._stopping.set()
        self._capture.close()
        self._frames.close()
        self._looks.close()

    # ------------------------------------------------------------------------------------ what is shown

    def _draw(self) -> Snapshot:
        """Everything as it stands now. Takes no lock that is held while a model works."""
        now_ns = self._clock.now_ns()
        capture, inference = self._capture, self._inference
        state = self._run_state()
        self._perceive_meter.set_dropped(self._frames.dropped)
        self._infer_meter.set_dropped(self._looks.dropped)
        stalled = self._mark_silent_source(now_ns, state)
        meters = (capture.meter, self._perceive_meter, *(inference.meters if inference else ()), self._infer_meter)
        stalled = stalled or any(meter.stuck_s() is not None for meter in meters)
        if inference is not None and self._held is not None:
            inference.put_aside(now_ns)
        verdicts = inference.verdicts(now_ns, stalled=stalled) if inference else ()
        opened, closed = inference.alerts() if inference else ((), ())
        return Snapshot(
            run_state=state,
            taken_ns=now_ns,
            media_ns=capture.media_ns,
            source=capture.info,
            verdicts=verdicts,
            open_alerts=opened,
            closed_alerts=closed,
            health=tuple(meter.health() for meter in meters),
            runtime=inference.runtime if inference else "",
            runtimes=inference.candidates if inference else (),
            model_id=inference.model_id if inference else "",
            latency_p50_ms=self._latencies.p50_ms,
            latency_p95_ms=self._latencies.p95_ms,
            message=self._message(),
            caption=capture.caption,
            thumbnails=inference.thumbnails if inference and self._held is None else MappingProxyType({}),
            cadence_hz=capture.standing.cadence_hz,
        )

    def _run_state(self) -> RunState:
        if self.error is not None:
            return RunState.FAILED
        state = self._capture.state
        if state is RunState.ENDED and not self._over.is_set():
            return RunState.RUNNING
        return state

    def _message(self) -> str | None:
        if self._failure is not None:
            return str(self.error)
        if self._capture.message is not None:
            return self._capture.message
        standing = self._capture.standing
        if standing.waiting is not None:
            return standing.waiting
        if not self._ready.is_set() and self._threads and not self._stopping.is_set():
            return "loading the face model and the detector"
        if self._held and self._capture.state is RunState.RUNNING:
            return self._held
        if self._inference is not None and self._inference.notice is not None:
            return self._inference.notice
        return standing.remark or (self._capture.info.notice if self._capture.info is not None else None)

    def _mark_silent_source(self, now_ns: int, state: RunState) -> bool:
        """True where a running source has given no picture for too long, or says that it waits; told in the stage's
        health."""
        last_ns = self._capture.last_frame_ns
        if state is not RunState.RUNNING or last_ns is None or self._capture.state is not RunState.RUNNING:
            return False
        silent_s = (now_ns - last_ns) / 1e9
        waiting = self._capture.standing.waiting
        silent = silent_s > STUCK_S or waiting is not None
        self._capture.meter.set_fault((waiting or f"no picture for {silent_s:.0f} s") if silent else None)
        return silent


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, UnmaskError) else f"{type(error).__name__}: {text}"
