"""`watch` without a window: the monitor runs, and every change of what it says becomes a line.

Monitor.snapshot -> Changes -> TextSink or JsonLinesSink -> standard output
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from monitor.clock import Clock, MonotonicClock
from monitor.errors import UnmaskError
from monitor.sinks.changes import Changes, Event
from monitor.types import Snapshot

LOOK_EVERY_S = 0.1


class MonitorLike(Protocol):
    """What is needed of `monitor.pipeline.Monitor`."""

    @property
    def error(self) -> UnmaskError | None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def wait(self, timeout_s: float | None = None) -> bool: ...

    def snapshot(self) -> Snapshot: ...


def run_headless(
    monitor: MonitorLike,
    write: Callable[[Event], None],
    *,
    duration_s: float | None = None,
    clock: Clock | None = None,
) -> None:
    """Run until the source ends, `duration_s` has passed, or the process is interrupted; the monitor is stopped.

    Raises the error that the run failed with, after the event that tells of it.
    """
    clock = clock if clock is not None else MonotonicClock()
    changes = Changes()

    def tell() -> None:
        for event in changes.of(monitor.snapshot()):
            write(event)

    until_ns = None if duration_s is None else clock.now_ns() + int(duration_s * 1e9)
    try:
        monitor.start()
        over = False
        while not over and (until_ns is None or clock.now_ns() < until_ns):
            over = monitor.wait(LOOK_EVERY_S)
            tell()
        error = monitor.error
    finally:
        monitor.stop()
    if error is not None:
        raise error
    tell()
