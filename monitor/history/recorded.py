"""A monitor whose session is kept: the one line with which the window and `watch --headless` get a history.

recorded(Monitor(uri, settings), uri, settings)

Several sources that are watched together are one session.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from monitor.arguments import version
from monitor.errors import UnmaskError
from monitor.headless import MonitorLike
from monitor.history.addresses import kept_address
from monitor.history.database import history_path
from monitor.history.recorder import SessionRecorder
from monitor.history.records import SessionEnd, SessionStart
from monitor.history.upkeep import Retention
from monitor.history.writer import HistoryWriter, Keeping
from monitor.hub import HubSnapshot
from monitor.settings import SECRET_SETTINGS, Settings
from monitor.sources.geometry import Region
from monitor.types import Frame, Snapshot

log = logging.getLogger(__name__)


class GatheringLike(MonitorLike, Protocol):
    """Several sources watched as one: `monitor.gathering.Gathering`."""

    def states(self) -> HubSnapshot: ...


@runtime_checkable
class Pictured(Protocol):
    """A monitor that shows what it sees, and cuts parts out of it."""

    def newest_frame(self) -> Frame | None: ...

    def cut_out(self, regions: tuple[Region, ...]) -> None: ...


@runtime_checkable
class OnScreen(Protocol):
    """A gathering that says which of its sources is a screen."""

    @property
    def on_screen(self) -> Pictured | None: ...


class ServiceLike(Protocol):
    """Sources that come and go: `monitor.webrtc.serve.Service`."""

    @property
    def error(self) -> UnmaskError | None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def wait(self, timeout_s: float) -> bool: ...

    def states(self) -> HubSnapshot: ...


class RecordedMonitor:
    """The same monitor; every snapshot that somebody takes is also seen by the recorder."""

    def __init__(self, monitor: MonitorLike, recorder: SessionRecorder, writer: HistoryWriter) -> None:
        self._monitor = monitor
        self._recorder = recorder
        self._writer = writer
        self._lock = threading.Lock()
        self._over = False

    @property
    def error(self) -> UnmaskError | None:
        return self._monitor.error

    def start(self) -> None:
        self._monitor.start()

    def wait(self, timeout_s: float) -> bool:
        return self._monitor.wait(timeout_s)

    def snapshot(self) -> Snapshot:
        """As the monitor gives it; where it has nothing to say, its message is why the history keeps nothing."""
        snapshot = self._monitor.snapshot()
        self._see(snapshot)
        problem = self._writer.problem
        return replace(snapshot, message=problem) if snapshot.message is None and problem is not None else snapshot

    def newest_frame(self) -> Frame | None:
        """The newest picture, where the monitor shows any."""
        return self._monitor.newest_frame() if isinstance(self._monitor, Pictured) else None

    def cut_out(self, regions: tuple[Region, ...]) -> None:
        """Have these parts painted over, where the monitor can."""
        if isinstance(self._monitor, Pictured):
            self._monitor.cut_out(regions)

    def stop(self) -> None:
        """Stop the monitor, then write the end of the session."""
        try:
            self._see(self._monitor.snapshot())
            self._monitor.stop()
        finally:
            with self._lock:
                over, self._over = self._over, True
                end = None if over else self._recorder.finish()
            if end is not None and not self._writer.close(end):
                log.warning("the history could not be written to its end in time")

    def _see(self, snapshot: Snapshot) -> None:
        with self._lock:
            if not self._over:
                self._recorder.see(snapshot)


class RecordedGathering(RecordedMonitor):
    """The same for several sources, which are kept as one session."""

    def __init__(self, gathering: GatheringLike, recorder: SessionRecorder, writer: HistoryWriter) -> None:
        super().__init__(gathering, recorder, writer)
        self._gathering = gathering

    def states(self) -> HubSnapshot:
        """Each source on its own."""
        self._see(self._gathering.snapshot())
        return self._gathering.states()

    @property
    def on_screen(self) -> Pictured | None:
        """What watches the first screen or window among the sources, None where there is none."""
        return self._gathering.on_screen if isinstance(self._gathering, OnScreen) else None


class RecordedService:
    """The same service; a session begins with each source that comes and ends when it goes. `states` on one thread."""

    def __init__(self, service: ServiceLike, make: Callable[[], tuple[SessionRecorder, HistoryWriter]]) -> None:
        self._service = service
        self._make = make
        self._open: dict[int, tuple[SessionRecorder, HistoryWriter]] = {}
        self._ending: list[tuple[HistoryWriter, SessionEnd]] = []
        self._over = False

    @property
    def error(self) -> UnmaskError | None:
        return self._service.error

    def start(self) -> None:
        self._service.start()

    def wait(self, timeout_s: float) -> bool:
        return self._service.wait(timeout_s)

    def states(self) -> HubSnapshot:
        """Each source on its own."""
        states = self._service.states()
        if self._over:
            return states
        here = {one.source_id for one in states.sources}
        for source_id in [one for one in self._open if one not in here]:
            self._finish(source_id)
        for one in states.sources:
            if one.source_id not in self._open:
                self._open[one.source_id] = self._make()
            self._open[one.source_id][0].see(one.snapshot)
        return states

    def stop(self) -> None:
        """Stop the service, then write the ends of all sessions."""
        try:
            self._service.stop()
        finally:
            self._over = True
            for source_id in list(self._open):
                self._finish(source_id)
            ending, self._ending = self._ending, []
            late = [writer for writer, end in ending if not writer.close(end)]
            if late:
                log.warning("the history could not be written to its end in time")

    def _finish(self, source_id: int) -> None:
        """End a session without waiting for it to be written."""
        recorder, writer = self._open.pop(source_id)
        end = recorder.finish()
        if not writer.close(end, timeout_s=0.0):
            self._ending = [(one, its) for one, its in self._ending if not one.close(its, timeout_s=0.0)]
            self._ending.append((writer, end))


def recorded(monitor: MonitorLike, uri: str, settings: Settings) -> MonitorLike:
    """The monitor with a history where the settings ask for one, else the monitor itself."""
    if not settings.history:
        return monitor
    return RecordedMonitor(monitor, *_recorder(kept_address(uri), settings))


def recorded_gathering(gathering: GatheringLike, uris: Sequence[str], settings: Settings) -> GatheringLike:
    """The same for several sources at once."""
    if not settings.history:
        return gathering
    return RecordedGathering(gathering, *_recorder(", ".join(kept_address(uri) for uri in uris), settings))


def recorded_service(service: ServiceLike, source: str, settings: Settings) -> ServiceLike:
    """What `unmask serve` runs, each of its sources kept as a session of its own."""
    return RecordedService(service, lambda: _recorder(source, settings)) if settings.history else service


def _recorder(source: str, settings: Settings) -> tuple[SessionRecorder, HistoryWriter]:
    start = SessionStart(
        key=secrets.token_hex(16),
        source=source,
        started_at=time.time(),
        settings=settings.model_dump(mode="json", exclude={"source", *SECRET_SETTINGS}),
        version=version(),
    )
    writer = HistoryWriter(history_path(), start, keeping(settings))
    return SessionRecorder(writer.put, faces=settings.history_faces), writer


def keeping(settings: Settings) -> Keeping:
    """What the settings say of keeping."""
    return Keeping(
        Retention(settings.history_keep_days, settings.history_max_mb),
        settings.history_faces,
        settings.history_faces_keep_days,
    )
