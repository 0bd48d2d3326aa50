"""How much memory this process holds: read from the system, without a package for it."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monitor.clock import Clock, MonotonicClock

MIB = 1024.0 * 1024.0
SHORTEST_S = 30.0
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What a run held. `slope_mib_per_min` is over its last two thirds; None where the system does not say."""

    peak_mib: float | None
    slope_mib_per_min: float | None


def resident_mib() -> float | None:
    """Resident memory now; None where the system does not say (all but Linux)."""
    return _status_field("VmRSS:")


def peak_mib() -> float | None:
    """Most resident memory of this process so far; None on Windows."""
    value = _status_field("VmHWM:")
    if value is not None or sys.platform == "win32":
        return value
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / MIB if sys.platform == "darwin" else used / 1024.0


def _status_field(name: str) -> float | None:
    """A field of /proc/self/status that is given in kB, in MiB."""
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) / 1024.0 for line in lines if line.startswith(name)), None)


def slope_per_minute(times_s: list[float], values: list[float]) -> float | None:
    """Least-squares slope of the last two thirds, a minute; None for a run too short to tell loading from leaking."""
    start = len(times_s) // 3
    if len(times_s) - start < 10 or times_s[-1] - times_s[start] < SHORTEST_S:
        return None
    return float(np.polyfit(np.asarray(times_s[start:]) / 60.0, np.asarray(values[start:]), 1)[0])


class MemoryWatch:
    """Reads the resident memory twice a second while it is open."""

    def __init__(self, clock: Clock | None = None, *, every_s: float = 0.5) -> None:
        self._clock = clock if clock is not None else MonotonicClock()
        self._every_s = every_s
        self._stop = threading.Event()
        self._times_s: list[float] = []
        self._values: list[float] = []
        self._thread = threading.Thread(target=self._run, name="unmask-memory", daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def use(self) -> MemoryUse:
        """What was seen so far."""
        return MemoryUse(peak_mib(), slope_per_minute(self._times_s, self._values))

    def _run(self) -> None:
        began_ns = self._clock.now_ns()
        while not self._stop.wait(self._every_s):
            value = resident_mib()
            if value is not None:
                self._times_s.append((self._clock.now_ns() - began_ns) / 1e9)
                self._values.append(value)
