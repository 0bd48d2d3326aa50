"""The capture thread's work: open the source, keep its time, choose the frames to look at, reconnect when it is lost.

    Source.frames -> one timeline over all connections -> FrameSampler -> mailbox

A file that is watched plays at the pace of its own timeline, so that a person can follow; live sources are taken
as they come. After a reconnection numbers and times go on from where they stopped, with a gap.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from monitor.clock import Clock
from monitor.errors import SourceError, UnmaskError
from monitor.health import StageMeter
from monitor.mailbox import Closed, LatestMailbox
from monitor.sampling import FrameSampler
from monitor.sources.base import Source, Standing, Telling
from monitor.sources.geometry import Region, cut_out
from monitor.types import Frame, RunState, SourceInfo, SourceKind

log = logging.getLogger(__name__)

RETRY_FIRST_S = 0.5
RETRY_MOST_S = 8.0
RECONNECT_GAP_NS = 1_000_000_000
"""The least hole that a reconnection leaves in the timeline: longer than any window may span."""
LONGEST_WAIT_S = 1.0
"""A hole in a recording is not waited for longer than this."""
_SLICE_S = 0.05
_FOLLOWS_A_TIMELINE = (SourceKind.FILE, SourceKind.DEMO)
"""Sources that begin when they are read: they are held until all stages are ready, so that nothing is missed."""


class Capture:
    """One source's life. `run` is the thread's body; everything else may be read from any thread.

    `state` goes STARTING, RUNNING, RECONNECTING ..., ENDED or FAILED; `message` says why in one line.
    """

    def __init__(
        self,
        open_source: Callable[[], Source],
        out: LatestMailbox[Frame],
        *,
        rate_hz: float,
        clock: Clock,
        stop: threading.Event,
        ready: threading.Event,
    ) -> None:
        self._open_source = open_source
        self._out = out
        self._sampler = FrameSampler(rate_hz)
        self._rate_hz: float | None = rate_hz
        self._new_rate_hz: float | None = rate_hz
        self._clock = clock
        self._stop = stop
        self._ready = ready
        self._source: Source | None = None
        self._lock = threading.Lock()
        self._came = 0
        self._next_seq = 0
        self._lost = 0
        self.meter = StageMeter("capture", clock)
        self.state = RunState.STARTING
        self.info: SourceInfo | None = None
        self.message: str | None = None
        self.error: UnmaskError | None = None
        self.caption: str | None = None
        self.media_ns = 0
        self.last_frame_ns: int | None = None
        """When the newest frame came, by the clock."""
        self.newest: Frame | None = None
        self._cut_out: tuple[Region, ...] = ()

    def run(self) -> None:
        """Read the source until it ends, fails or is stopped; then close the mailbox."""
        try:
            self._keep_reading()
        except Exception as error:
            log.exception("the source failed unexpectedly")
            self._fail(SourceError(f"the source failed unexpectedly ({type(error).__name__}: {error})"))
        finally:
            self._out.close()
            self.meter.finished()

    def set_rate(self, rate_hz: float | None) -> None:
        """How many frames a second are handed on from now on; None: none, the source is only kept drained. Safe from
        any thread."""
        self._new_rate_hz = rate_hz

    def cut_out(self, regions: tuple[Region, ...]) -> None:
        """Paint these parts of every picture grey from now on. Safe from any thread."""
        self._cut_out = regions

    @property
    def standing(self) -> Standing:
        """How the open source stands, as far as it tells."""
        with self._lock:
            source = self._source
        return source.standing if isinstance(source, Telling) else Standing()

    def close(self) -> None:
        """Make `run` come to its end soon. Safe from any thread."""
        with self._lock:
            source = self._source
        if source is not None:
            source.close()

    # ------------------------------------------------------------------------------------------

    def _keep_reading(self) -> None:
        delay_s = RETRY_FIRST_S
        while not self._stop.is_set():
            came = self._came
            try:
                self._read_once()
            except SourceError as error:
                if self._stop.is_set():
                    break
                if not (error.retryable and self._came):
                    self._fail(error)
                    return
                delay_s = RETRY_FIRST_S if self._came > came else min(2 * delay_s, RETRY_MOST_S)
                self.message = f"{error}; trying again in {delay_s:.1f} s"
                self.state = RunState.RECONNECTING
                self.meter.set_fault("the source is lost")
                private = self.info is not None and self.info.kind is SourceKind.WINDOW
                what = "the window is closed" if private else str(error)  # titles of windows name people
                log.warning("source lost: %s; trying again in %.1f s", what, delay_s)
                self._pause(delay_s)
                continue
            break
        self.state = RunState.ENDED

    def _fail(self, error: UnmaskError) -> None:
        self.error, self.message = error, str(error)
        self.state = RunState.FAILED
        self.meter.set_fault(str(error))

    def _read_once(self) -> None:
        """One connection, from opening to its end."""
        source = self._open_source()
        with self._lock:
            self._source = source
        try:
            self.info = source.info
            if source.info.kind in _FOLLOWS_A_TIMELINE:
                while not (self._ready.is_set() or self._stop.is_set()):
                    self._ready.wait(_SLICE_S)
            if not self._stop.is_set():
                self._read(source)
                self.message = source.incomplete
        except Closed:
            pass
        finally:
            with self._lock:
                self._source = None
            source.close()

    def _read(self, source: Source) -> None:
        paced = source.info.kind is SourceKind.FILE
        seq_base, media_base_ns, began_ns, previous = self._next_seq, None, 0, None
        asked_ns = self._clock.now_ns()
        for frame in source.frames():
            now_ns = self._clock.now_ns()
            if media_base_ns is None:
                media_base_ns = self._media_base(frame, now_ns)
                began_ns = now_ns - frame.media_ns
            if paced:
                self.meter.took((now_ns - asked_ns) / 1e6)
                now_ns, began_ns = self._wait_for(frame, began_ns)
            if self._stop.is_set():
                return
            self._count(frame, previous, now_ns)
            previous = frame
            self._offer(frame, seq_base, media_base_ns, now_ns if paced else frame.recv_ns)
            asked_ns = self._clock.now_ns()

    def _media_base(self, frame: Frame, now_ns: int) -> int:
        """What to add to this connection's media times so that the timeline goes on from the one before."""
        if self.last_frame_ns is None:
            return 0
        return self.media_ns + max(now_ns - self.last_frame_ns, RECONNECT_GAP_NS) - frame.media_ns

    def _wait_for(self, frame: Frame, began_ns: int) -> tuple[int, int]:
        """Wait until the frame's time has come. Returns that moment, and when media time 0 was."""
        wait_s = (began_ns + frame.media_ns - self._clock.now_ns()) / 1e9
        self._pause(min(wait_s, LONGEST_WAIT_S))
        now_ns = self._clock.now_ns()
        return now_ns, now_ns - frame.media_ns if wait_s > LONGEST_WAIT_S else began_ns

    def _count(self, frame: Frame, previous: Frame | None, now_ns: int) -> None:
        self.meter.offered()
        if previous is not None:
            self._lost += max(0, frame.seq - previous.seq - 1)
            self.meter.set_dropped(self._lost)
        self.last_frame_ns = now_ns
        self.caption = frame.caption
        if self.state is not RunState.RUNNING and self._ready.is_set():
            self.state, self.message = RunState.RUNNING, None
            self.meter.set_fault(None)

    def _offer(self, frame: Frame, seq_base: int, media_base_ns: int, recv_ns: int) -> None:
        frame = replace(frame, seq=seq_base + frame.seq, media_ns=media_base_ns + frame.media_ns, recv_ns=recv_ns)
        if self._cut_out:
            frame = replace(frame, image=cut_out(frame.image, self._cut_out))
        self._next_seq, self.media_ns, self.newest = frame.seq + 1, frame.media_ns, frame
        if not self._ready.is_set():
            return
        self._came += 1
        if not self._wanted(frame.media_ns):
            return
        self.meter.passed()
        self._out.put(frame)

    def _wanted(self, media_ns: int) -> bool:
        """Whether the frame at `media_ns` is to be looked at, at the rate that is set now."""
        rate_hz = self._new_rate_hz
        if rate_hz != self._rate_hz:
            if rate_hz is not None:
                self._sampler.set_rate(rate_hz)
            self._rate_hz = rate_hz
        return rate_hz is not None and self._sampler.take(media_ns)

    def _pause(self, seconds: float) -> None:
        """Wait by the clock, in slices, so that a stop is heard soon."""
        until_ns = self._clock.now_ns() + int(seconds * 1e9)
        while not self._stop.is_set() and (left_ns := until_ns - self._clock.now_ns()) > 0:
            self._clock.sleep(min(left_ns / 1e9, _SLICE_S))
