"""`watch` without a window: the monitor runs, and every change of what it says becomes a line.

Monitor.snapshot -> Changes -> TextSink or JsonLinesSink -> standard output
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from monitor.clock import Clock, MonotonicClock
from monitor.errors import UnmaskError
from monitor.hub import HubSnapshot
from monitor.sinks.changes import Changes, Event
from monitor.types import Snapshot

LOOK_EVERY_S = 0.1


class MonitorLike(Protocol):
    """What is needed of `monitor.pipeline.Monitor`."""

    @property
    def error(self) -> UnmaskError | None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def wait(self, timeout_s: float) -> bool: ...

    def snapshot(self) -> Snapshot: ...


class GatheringLike(Protocol):
    """What is needed of `monitor.gathering.Gathering`."""

    @property
    def error(self) -> UnmaskError | None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def wait(self, timeout_s: float) -> bool: ...

    def states(self) -> HubSnapshot: ...


def run_headless_many(
    gathering: GatheringLike,
    write: Callable[[Event, str], None],
    *,
    duration_s: float | None = None,
    clock: Clock | None = None,
) -> None:
    """As `run_headless`, for several sources: each event comes with its source's name.

    Ends when every source is over. Raises the error of the first that failed, after the event that tells of it.
    """
    changes: dict[int, Changes] = {}

    def tell() -> None:
        sources = gathering.states().sources
        for gone in changes.keys() - {one.source_id for one in sources}:
            del changes[gone]
        for one in sources:
            for event in changes.setdefault(one.source_id, Changes()).of(one.snapshot):
                write(event, one.name)

    _run(gathering, tell, duration_s, clock)


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
    changes = Changes()

    def tell() -> None:
        for event in changes.of(monitor.snapshot()):
            write(event)

    _run(monitor, tell, duration_s, clock)


class _Runs(Protocol):
    @property
    def error(self) -> UnmaskError | None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def wait(self, timeout_s: float) -> bool: ...


def _run(monitor: _Runs, tell: Callable[[], None], duration_s: float | None, clock: Clock | None) -> None:
    clock = clock if clock is not None else MonotonicClock()
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
