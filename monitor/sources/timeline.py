"""The source's own timeline: raw timestamps go in, media times from 0 that never go back come out.

Files carry timestamps that are missing, repeat, go back or leap ahead; cameras carry timestamps of a clock of their
own, or none. Both are repaired here, without touching the honest ones: a variable frame rate stays variable.
"""

from __future__ import annotations

MAX_STEP_NS = 600_000_000_000
"""Ten minutes: a longer leap between two frames of a file is a broken timestamp."""

MAX_DRIFT_NS = 500_000_000
"""Camera timestamps that leave the arrival time by more than this are not believed."""

MIN_STEP_NS = 1_000_000


class FileTimeline:
    """Timestamps of a file, in order of presentation. Missing and impossible ones follow the average rate.

    Where a timestamp goes back and the next ones go on from there (two recordings put together), their own spacing
    is kept; one stray timestamp disturbs nobody but itself.
    """

    def __init__(self, step_ns: int) -> None:
        """`step_ns` is the average time between two frames."""
        self._step_ns = step_ns
        self._shift_ns: int | None = None
        self._raw_ns = 0
        self._last_ns = -step_ns
        self.repaired = 0
        """How many timestamps were not used as they stood."""

    @property
    def last_ns(self) -> int:
        """Media time of the newest frame."""
        return max(0, self._last_ns)

    def place(self, raw_ns: int | None) -> int:
        """Media time in nanoseconds of the next frame, which the file says is at `raw_ns` (None: it says nothing)."""
        if raw_ns is None:
            self.repaired += 1
            self._raw_ns += self._step_ns
            self._last_ns += self._step_ns
            return self._last_ns
        if self._shift_ns is None:
            self._raw_ns = raw_ns - self._step_ns
            self._shift_ns = self._last_ns - self._raw_ns
        step_ns, self._raw_ns = raw_ns - self._raw_ns, raw_ns
        straight_ns = raw_ns + self._shift_ns
        if 0 < straight_ns - self._last_ns <= MAX_STEP_NS:
            self._last_ns = straight_ns
            return straight_ns
        self.repaired += 1
        self._last_ns += step_ns if 0 < step_ns <= MAX_STEP_NS else self._step_ns
        return self._last_ns


class LiveTimeline:
    """Timestamps of a camera, which are steadier than arrival times, held to the clock of the computer."""

    def __init__(self) -> None:
        self._first_arrival_ns: int | None = None
        self._offset_ns = 0
        self._last_ns = 0

    def place(self, raw_ns: int | None, arrival_ns: int) -> int:
        """Media time in nanoseconds of a frame stamped `raw_ns` by the device that arrived at `arrival_ns`."""
        if self._first_arrival_ns is None:
            self._first_arrival_ns = arrival_ns
            self._offset_ns = -(raw_ns or 0)
            return 0
        arrived_ns = arrival_ns - self._first_arrival_ns
        stamped_ns = arrived_ns if raw_ns is None else raw_ns + self._offset_ns
        if abs(stamped_ns - arrived_ns) > MAX_DRIFT_NS or stamped_ns <= self._last_ns:
            stamped_ns = max(arrived_ns, self._last_ns + MIN_STEP_NS)
            if raw_ns is not None:
                self._offset_ns = stamped_ns - raw_ns
        self._last_ns = stamped_ns
        return stamped_ns
