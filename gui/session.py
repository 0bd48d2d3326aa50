"""The life of the monitor behind the window, on a thread of its own: made, started, paused, stopped.

Making and starting a monitor imports mediapipe and opens a camera, which takes seconds, and stopping waits for
threads; none of that may hold up the window. Nothing here touches Qt: the window asks `view()` ten times a
second and draws what it gets.
"""

from __future__ import annotations

import enum
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from monitor.errors import UnmaskError
from monitor.types import Snapshot

log = logging.getLogger(__name__)


class MonitorLike(Protocol):
    """What the window needs of `monitor.pipeline.Monitor`."""

    def start(self) -> None:
        """May take seconds; raises UnmaskError."""

    def stop(self) -> None:
        """May take seconds; safe to call once after `start`, also after it raised."""

    def snapshot(self) -> Snapshot:
        """Never blocks."""

    @property
    def error(self) -> UnmaskError | None:
        """Why the run has failed, None where it has not."""


class Phase(enum.Enum):
    """Where the session stands, as its owner asked for it."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SessionView:
    """One look at the session. `generation` grows by 1 with every monitor: person numbers start afresh."""

    phase: Phase
    snapshot: Snapshot | None = None
    error: str | None = None
    generation: int = 0


class MonitorSession:
    """Runs monitors one after another. All methods return at once, except `close`."""

    def __init__(self, make_monitor: Callable[[], MonitorLike]) -> None:
        self._make_monitor = make_monitor
        self._orders: queue.SimpleQueue[Phase | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._phase = Phase.STARTING
        self._running: MonitorLike | None = None
        """Belongs to the session's own thread."""
        self._shown: MonitorLike | None = None
        """The same for `view`, which lets go of it as soon as something else is ordered."""
        self._error: str | None = None
        self._exit_code = 0
        self._generation = 0
        self._thread = threading.Thread(target=self._work, name="unmask-session", daemon=True)
        self._thread.start()

    def start(self) -> None:
        """Start, or start again after a pause, an end or a failure, with a new monitor."""
        self._order(Phase.STARTING)

    def pause(self) -> None:
        """Stop the monitor and let go of the camera or screen."""
        self._order(Phase.PAUSED)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Stop for good. Returns False where the monitor has not stopped within `timeout_s`."""
        self._orders.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def view(self) -> SessionView:
        """What there is to draw now."""
        with self._lock:
            phase, monitor, error, generation = self._phase, self._shown, self._error, self._generation
        if phase is Phase.FAILED:
            return SessionView(phase, None, error, generation)
        if phase is Phase.PAUSED or monitor is None:
            return SessionView(phase, None, None, generation)
        try:
            return SessionView(phase, monitor.snapshot(), None, generation)
        except Exception as exc:
            self._fail(exc)
            return SessionView(Phase.FAILED, None, _one_line(exc), generation)

    @property
    def monitor(self) -> MonitorLike | None:
        """The monitor that `view` shows, None while there is none."""
        with self._lock:
            return self._shown

    @property
    def exit_code(self) -> int:
        """The process's exit status: 0, or that of the error which the session ended on."""
        with self._lock:
            phase, monitor, exit_code = self._phase, self._shown, self._exit_code
        if phase is Phase.FAILED:
            return exit_code
        error = monitor.error if monitor is not None else None
        return error.exit_code if error is not None else 0

    def _order(self, phase: Phase) -> None:
        with self._lock:
            self._phase, self._shown = phase, None
        self._orders.put(phase)

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            self._stop_monitor()
            if order is Phase.STARTING:
                self._start_monitor()
        self._stop_monitor()

    def _start_monitor(self) -> None:
        with self._lock:
            self._generation += 1
            self._error = None
        try:
            self._running = monitor = self._make_monitor()
            with self._lock:
                self._shown = monitor
            monitor.start()
        except Exception as exc:
            self._fail(exc)
            return
        with self._lock:
            if self._phase is Phase.STARTING:
                self._phase = Phase.RUNNING

    def _stop_monitor(self) -> None:
        monitor, self._running = self._running, None
        if monitor is None:
            return
        with self._lock:
            if self._shown is monitor:
                self._shown = None
        try:
            monitor.stop()
        except Exception:
            log.exception("the monitor did not stop cleanly")

    def _fail(self, exc: Exception) -> None:
        if not isinstance(exc, UnmaskError):
            log.error("unexpected error in the monitor", exc_info=exc)
        with self._lock:
            if self._phase is Phase.PAUSED:
                return
            self._phase = Phase.FAILED
            self._error = _one_line(exc)
            self._exit_code = exc.exit_code if isinstance(exc, UnmaskError) else 1


def _one_line(exc: Exception) -> str:
    text = " ".join(str(exc).split())
    return text if isinstance(exc, UnmaskError) else f"a fault in unmask itself ({type(exc).__name__}: {text})"
