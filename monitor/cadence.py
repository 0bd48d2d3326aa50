"""How often the video on a screen really changes: what moves is told from a cursor, a caption or a spinner.

    grabbed pictures -> which cells changed -> lively cells -> moving parts -> cadence, and the time of each picture

A screen is looked at more often than a video changes, and other things on it change too. The picture is divided into
cells; cells that go on changing at the pace of a video form moving parts. Only a change of a moving part is a new
picture. Its time is narrowed down to the interval between the two looks in which it appeared, by the part's own
period: so a video of 15 pictures a second on a screen of 60 gives even times 67 ms apart.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.types import UInt8Array

BoolArray = npt.NDArray[np.bool_]

CELLS = 64
"""Cells along the longer side, as long as each keeps `MIN_CELL_PX`."""
MIN_CELL_PX = 8
SAMPLES = 6
"""Pixels compared along the side of a cell."""
SPAN_NS = 2_000_000_000
"""How far back the estimate reads."""
BIN_NS = 250_000_000
LIVELY_SHARE = 0.75
"""Share of quarters of a second in which a cell must have changed to be lively: a cursor passes, a caption blinks."""
LIVELY_HZ = 4.5
SETTLE_NS = 1_000_000_000
"""Before so much has been seen, every change counts as a new picture."""
REGROUP_NS = 250_000_000
MIN_PART_CELLS = 6
"""Fewer lively cells are a spinner, a clock or a cursor held still."""
TOUCHED_SHARE = 0.10
"""Share of a moving part's cells that change with each of its pictures, at least."""
SWEEPING_SHARE = 0.30
"""Share of all cells that is a new picture whoever changes it: a cut, a new layout."""
MIN_EVENTS = 8
LIVELIEST = 0.75
"""The cell of a part that speaks for it, by its rank: above still background, below those that a cursor crosses."""


class Step(enum.Enum):
    """What a look at the screen brought."""

    SAME = "same"
    MINOR = "minor"
    """Something changed that is no video: a cursor, a caption."""
    PICTURE = "picture"


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. `appeared_ns` is when its picture came, in the interval between the look before and this one."""

    step: Step
    appeared_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class MovingPart:
    """A part of the picture that moves like a video."""

    cells: BoolArray
    """bool (rows, columns)."""
    count: int
    hz: float
    """Changes a second of its livelier cells: those over a still background change less often."""


class CadenceMeter:
    """Looks at pictures in order of time. Not for two threads. Memory is constant."""

    def __init__(self) -> None:
        self._shape: tuple[int, ...] = ()
        self._samples: npt.NDArray[np.uint32] | None = None
        self._parts: tuple[MovingPart, ...] = ()
        self._reset((0, 0))

    @property
    def cadence_hz(self) -> float | None:
        """Pictures a second of the largest moving part; None while nothing moves or too little was seen."""
        return self._parts[0].hz if self._parts else None

    @property
    def parts(self) -> tuple[MovingPart, ...]:
        """The moving parts, largest first."""
        return self._parts

    def step(self, pixels: UInt8Array, after_ns: int, at_ns: int) -> Seen:
        """Take the picture (H, W, 4) grabbed at `at_ns`, where the one before was grabbed at `after_ns`."""
        if pixels.shape != self._shape:
            self._shape = pixels.shape
            self._reset(pixels.shape[:2])
            self._began_ns = at_ns
        samples = _thinned(pixels, self._stride)
        before = self._samples
        self._samples = samples
        if before is None:
            return self._picture(at_ns, at_ns, at_ns)
        changed = self._cells_of(samples != before)
        self._remember(changed, at_ns)
        if not changed.any():
            return Seen(Step.SAME, at_ns)
        if self._is_picture(changed, at_ns):
            return self._picture(after_ns, at_ns, self._predicted_ns(after_ns, at_ns))
        return Seen(Step.MINOR, at_ns)

    # ------------------------------------------------------------------------------------------

    def _reset(self, size: tuple[int, ...]) -> None:
        longer = max(*size, 1)
        cell_px = max(MIN_CELL_PX, math.ceil(longer / CELLS))
        self._stride = max(1, cell_px // SAMPLES)
        per_cell = max(1, round(cell_px / self._stride))
        rows, columns = (math.ceil(side / self._stride) for side in size)
        self._row_starts = np.arange(0, max(rows, 1), per_cell)
        self._column_starts = np.arange(0, max(columns, 1), per_cell)
        self._samples = None
        self._history: deque[tuple[int, BoolArray]] = deque()
        self._counts = np.zeros((len(self._row_starts), len(self._column_starts)), np.int32)
        self._parts = ()
        self._began_ns = self._grouped_ns = self._last_ns = 0

    def _cells_of(self, changed: BoolArray) -> BoolArray:
        rows = np.logical_or.reduceat(changed, self._row_starts, axis=0)
        return np.asarray(np.logical_or.reduceat(rows, self._column_starts, axis=1), np.bool_)

    def _remember(self, changed: BoolArray, at_ns: int) -> None:
        while self._history and at_ns - self._history[0][0] > SPAN_NS:
            self._counts -= self._history.popleft()[1]
        if changed.any():
            self._history.append((at_ns, changed))
            self._counts += changed
        if at_ns - self._grouped_ns >= REGROUP_NS and at_ns - self._began_ns >= SETTLE_NS:
            self._grouped_ns = at_ns
            self._parts = self._group(at_ns)

    def _group(self, at_ns: int) -> tuple[MovingPart, ...]:
        """The moving parts: lively cells that lie together, with one quiet cell between them at most."""
        import cv2

        lively = self._lively(at_ns)
        if np.count_nonzero(lively) < MIN_PART_CELLS:
            return ()
        near = cv2.dilate(lively.astype(np.uint8), np.ones((3, 3), np.uint8))
        count, labels = cv2.connectedComponents(near, connectivity=8)
        parts = []
        for label in range(1, count):
            cells = lively & (np.asarray(labels) == label)
            size = int(np.count_nonzero(cells))
            hz = self._rate_hz(cells) if size >= MIN_PART_CELLS else None
            if hz is not None:
                parts.append(MovingPart(cells, size, hz))
        return tuple(sorted(parts, key=lambda part: -part.count))

    def _lively(self, at_ns: int) -> BoolArray:
        span_ns = min(SPAN_NS, at_ns - self._began_ns)
        bins = max(1, span_ns // BIN_NS)
        seen = np.zeros((bins, *self._counts.shape), np.bool_)
        for then_ns, changed in self._history:
            seen[min((at_ns - then_ns) // BIN_NS, bins - 1)] |= changed
        often = seen.sum(axis=0) >= math.ceil(LIVELY_SHARE * bins)
        return np.asarray(often & (self._counts >= LIVELY_HZ * span_ns / 1e9), np.bool_)

    def _rate_hz(self, cells: BoolArray) -> float | None:
        """Changes a second of the cell that changes more often than `LIVELIEST` of the others."""
        counts = np.where(cells, self._counts, 0).ravel()
        ranked = np.argsort(counts, kind="stable")[-int(np.count_nonzero(cells)) :]
        chosen = int(ranked[int(LIVELIEST * (len(ranked) - 1))])
        times = [then_ns for then_ns, changed in self._history if changed.flat[chosen]]
        if len(times) < MIN_EVENTS:
            return None
        return (len(times) - 1) * 1e9 / (times[-1] - times[0])

    def _is_picture(self, changed: BoolArray, at_ns: int) -> bool:
        if not self._parts or at_ns - self._began_ns < SETTLE_NS:
            return True
        if np.count_nonzero(changed) >= SWEEPING_SHARE * changed.size:
            return True
        return any(np.count_nonzero(changed & part.cells) >= max(2, TOUCHED_SHARE * part.count) for part in self._parts)

    def _predicted_ns(self, after_ns: int, at_ns: int) -> int:
        """When the next picture of the largest part was due, within the interval in which it did come."""
        if not self._parts or not self._last_ns:
            return at_ns
        period_ns = 1e9 / self._parts[0].hz
        steps = max(1, round(((after_ns + at_ns) / 2 - self._last_ns) / period_ns))
        return round(self._last_ns + steps * period_ns)

    def _picture(self, after_ns: int, at_ns: int, predicted_ns: int) -> Seen:
        """A new picture, at the predicted time as far as that lies between the two looks."""
        self._last_ns = min(at_ns, max(predicted_ns, after_ns, self._last_ns + 1))
        return Seen(Step.PICTURE, self._last_ns)


def _thinned(pixels: UInt8Array, stride: int) -> npt.NDArray[np.uint32]:
    """Every `stride`-th pixel of every `stride`-th row, as one number each; alpha is left out."""
    words = np.ascontiguousarray(pixels[::stride]).view(np.uint32)[:, ::stride, 0]
    return np.asarray(words & np.uint32(0x00FFFFFF), np.uint32)
