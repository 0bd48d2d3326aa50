"""Which frames of a source are looked at: an even pattern at the detector's rate, by the source's timeline.

The product and the training read clips through this one sampler, so that a window means the same in both.
"""

from __future__ import annotations

from collections.abc import Iterable

_EARLY = 0.22
"""Share of a period by which a frame may come early. At 30 and 60 frames/s this lies between two frames."""
_LOCK = 0.05
"""Share of a period within which a frame is on time and sets the phase anew (for 29.97 frames/s)."""
_CLOSEST = 0.4
"""Share of a period that two chosen frames are apart at least, however late the first was."""
_REWIND_NS = 500_000_000


class FrameSampler:
    """Chooses frames at `rate_hz` by their media time: keeps no frame, only when the next one is due.

    A source of 30 frames/s at 15 Hz gives exactly every second frame, 25 frames/s the steps 2, 1, 2, and a
    source of 15 frames/s or slower gives all its frames. After a pause the pattern starts anew; a timeline
    that jumps back by half a second or more starts it anew too, a smaller step back is passed over.
    """

    def __init__(self, rate_hz: float) -> None:
        if not rate_hz > 0:
            raise ValueError(f"FrameSampler: expected a rate above 0 Hz, got {rate_hz}")
        self._period_ns = 1e9 / rate_hz
        self._due_ns: float | None = None
        self._last_ns = 0

    def set_rate(self, rate_hz: float) -> None:
        """Go on at another rate: the next frame is due one new period after the last one."""
        if not rate_hz > 0:
            raise ValueError(f"FrameSampler: expected a rate above 0 Hz, got {rate_hz}")
        period_ns = 1e9 / rate_hz
        if self._due_ns is not None:
            self._due_ns += period_ns - self._period_ns
        self._period_ns = period_ns

    def reset(self) -> None:
        """Forget the pattern: the next frame is taken."""
        self._due_ns = None

    def take(self, media_ns: int) -> bool:
        """True where the frame at `media_ns` is to be looked at. Call once a frame, in the source's order."""
        if self._due_ns is None or media_ns < self._last_ns - _REWIND_NS:
            self._last_ns, self._due_ns = media_ns, media_ns + self._period_ns
            return True
        if media_ns < self._due_ns - _EARLY * self._period_ns:
            return False
        if media_ns - self._last_ns < _CLOSEST * self._period_ns:
            return False
        late_ns = media_ns - self._due_ns
        on_time = abs(late_ns) <= _LOCK * self._period_ns
        anchor_ns = media_ns if on_time or late_ns > self._period_ns else self._due_ns
        self._last_ns, self._due_ns = media_ns, anchor_ns + self._period_ns
        return True


def sampled_indices(media_ns: Iterable[int], rate_hz: float) -> list[int]:
    """Indices of the frames that a `FrameSampler` takes from a whole clip, given all its media times."""
    sampler = FrameSampler(rate_hz)
    return [index for index, at_ns in enumerate(media_ns) if sampler.take(at_ns)]
