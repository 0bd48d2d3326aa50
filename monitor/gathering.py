"""Several addresses watched together: a hub behind the face of a `Monitor`, for the overlay and for `watch --headless`.

addresses -> Hub -> states (each source on its own) or snapshot (all as one)
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from monitor.clock import Clock, MonotonicClock
from monitor.errors import UnmaskError
from monitor.hub import Hub, HubSnapshot
from monitor.merged import OVER, Merger
from monitor.pipeline import Monitor
from monitor.settings import Settings
from monitor.shared import MakeSource
from monitor.stages import reopener
from monitor.types import RunState, Snapshot, SourceKind

POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Wanted:
    """One source that is to be watched."""

    name: str
    make_source: MakeSource


def wanted_of(uris: Sequence[str], settings: Settings, clock: Clock | None = None) -> tuple[Wanted, ...]:
    """The addresses as sources, each named by itself; one that is given twice is told apart by a number."""
    at = clock if clock is not None else MonotonicClock()
    seen: dict[str, int] = {}
    wanted = []
    for uri in uris:
        seen[uri] = seen.get(uri, 0) + 1
        name = uri if seen[uri] == 1 else f"{uri} ({seen[uri]})"
        wanted.append(Wanted(name, reopener(uri, settings, at)))
    return tuple(wanted)


class Gathering:
    """The same sources from its start to its end. Use once, as a `Monitor`."""

    def __init__(self, hub: Hub, wanted: Sequence[Wanted]) -> None:
        """It stops the hub at its end."""
        self._hub = hub
        self._wanted = tuple(wanted)
        self._merger = Merger()
        self._lock = threading.Lock()
        self._last = HubSnapshot(())
        self._error: UnmaskError | None = None
        self._stopped = False

    def start(self) -> None:
        """Returns at once. Raises SourceError for more sources than a hub takes."""
        for one in self._wanted:
            self._hub.add(one.name, one.make_source)

    def stop(self) -> None:
        """End everything; what was seen last can still be read."""
        with self._lock:
            if self._stopped:
                return
            self._error, self._last = self._first_error(), self._hub.snapshot()
            self._stopped = True
        self._hub.stop()

    def states(self) -> HubSnapshot:
        """Each source on its own."""
        with self._lock:
            return self._last if self._stopped else self._hub.snapshot()

    def snapshot(self) -> Snapshot:
        """All sources as one."""
        states = self.states()
        with self._lock:
            return self._merger.merge(states) if states.sources else _NOTHING_YET

    @property
    def on_screen(self) -> Monitor | None:
        """What watches the first screen or window among the sources, None where there is none."""
        kinds = (SourceKind.SCREEN, SourceKind.WINDOW)
        for one in self.states().sources:
            if one.snapshot.source is not None and one.snapshot.source.kind in kinds:
                return self._hub.monitor(one.source_id)
        return None

    def wait(self, timeout_s: float) -> bool:
        """Wait until every source has ended or failed. False after `timeout_s`."""
        clock = MonotonicClock()
        until_ns = clock.now_ns() + int(timeout_s * 1e9)
        while not self._over():
            left_s = (until_ns - clock.now_ns()) / 1e9
            if left_s <= 0:
                return False
            clock.sleep(min(left_s, POLL_S))
        return True

    @property
    def error(self) -> UnmaskError | None:
        """Why the first source failed of those that did, once all are over; None before."""
        with self._lock:
            return self._error if self._stopped else self._first_error()

    def _over(self) -> bool:
        return all(one.snapshot.run_state in OVER for one in self.states().sources)

    def _first_error(self) -> UnmaskError | None:
        sources = self._hub.snapshot().sources
        if any(one.snapshot.run_state not in OVER for one in sources):
            return None
        errors = (self._hub.error(one.source_id) for one in sources)
        return next((error for error in errors if error is not None), None)


_NOTHING_YET = Snapshot(RunState.STARTING, 0, 0, None, (), (), (), (), "", "", None, None)
