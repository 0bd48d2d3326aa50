"""All cues of everybody in the picture: samples in, one reading a cue and person every few samples out.

Only judged samples count (those that pass the quality gates), and a gap starts the window anew. Memory is bounded:
a ring of figures and the last sample as a grey picture of 72 px, for at most `max_tracks` people.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.cues import flicker, residual, sharpness, slip
from monitor.cues.baseline import Baseline, severity
from monitor.cues.motion import Flow, Motion, small_grey
from monitor.types import CueReading, Severity, TrackedFace, UInt8Array

STEPS = 32
MIN_STEPS = 16
MAX_GAP_S = 0.35
MAX_TRACKS = 64


@dataclass(frozen=True, slots=True)
class Cue:
    """One cue: its names and its pure functions. `look` reads a crop, `follow` the motion from the sample before."""

    name: str
    unit: str
    min_spread: float
    look: Callable[[UInt8Array], Any] | None
    follow: Callable[[Motion], Any] | None
    value: Callable[[Sequence[Any]], float]
    scale: Callable[[float], float]
    texts: Callable[[float | None, Severity], tuple[str, str]]


CUES = (
    *(Cue(c.NAME, c.UNIT, c.MIN_SPREAD, c.measure, None, c.value, c.scale, c.texts) for c in (sharpness, flicker)),
    *(Cue(c.NAME, c.UNIT, c.MIN_SPREAD, None, c.measure, c.value, c.scale, c.texts) for c in (residual, slip)),
)


class _Track:
    """One person's last figures of every cue, and their baselines."""

    def __init__(self) -> None:
        self.times_ns: deque[int] = deque(maxlen=STEPS)
        self.figures: dict[str, deque[Any]] = {cue.name: deque(maxlen=STEPS) for cue in CUES}
        self.baselines = {cue.name: Baseline(cue.min_spread) for cue in CUES}
        self.grey: UInt8Array | None = None
        self.pushes = 0

    def restart(self) -> None:
        self.times_ns.clear()
        self.grey = None
        for figures in self.figures.values():
            figures.clear()
        self.pushes = 0


class CueReader:
    """Reads the cues of every tracked face. Deterministic; costs about a millisecond a face and sample."""

    def __init__(self, *, hop_frames: int = 5, max_tracks: int = MAX_TRACKS) -> None:
        if hop_frames < 1 or max_tracks < 1:
            raise ValueError(f"CueReader: expected hop_frames and max_tracks >= 1, got {hop_frames}, {max_tracks}")
        self._hop_frames = hop_frames
        self._max_tracks = max_tracks
        self._tracks: OrderedDict[int, _Track] = OrderedDict()
        self._flow = Flow()

    def __len__(self) -> int:
        """People remembered."""
        return len(self._tracks)

    def push(self, face: TrackedFace, *, judged: bool) -> tuple[CueReading, ...]:
        """Take one sampled face; `judged` says whether it passes the quality gates. Readings come every
        `hop_frames` judged samples once there is a second of them, else nothing."""
        track = self._track(face.track_id)
        if not judged:
            track.restart()
            return ()
        if track.times_ns and not 0 < face.media_ns - track.times_ns[-1] <= MAX_GAP_S * 1e9:
            track.restart()
        track.times_ns.append(face.media_ns)
        self._measure(track, face.crop)
        track.pushes += 1
        if len(track.times_ns) < MIN_STEPS or track.pushes < self._hop_frames:
            return ()
        seconds = (track.times_ns[-1] - track.times_ns[-min(track.pushes + 1, len(track.times_ns))]) / 1e9
        track.pushes = 0
        readings = (self._read(face.track_id, track, cue, seconds) for cue in CUES)
        return tuple(r for r in readings if r is not None)

    def cut(self, track_id: int) -> None:
        """Forget this person, baseline included: the picture may show someone else now."""
        self._tracks.pop(track_id, None)

    end = cut

    def _track(self, track_id: int) -> _Track:
        track = self._tracks.get(track_id)
        if track is None:
            while len(self._tracks) >= self._max_tracks:
                self._tracks.popitem(last=False)
            track = self._tracks[track_id] = _Track()
        self._tracks.move_to_end(track_id)
        return track

    def _measure(self, track: _Track, crop: UInt8Array) -> None:
        before, track.grey = track.grey, small_grey(crop)
        motion = self._flow.between(before, track.grey) if before is not None else None
        for cue in CUES:
            if cue.look is not None:
                track.figures[cue.name].append(cue.look(crop))
            if cue.follow is not None and motion is not None:
                track.figures[cue.name].append(cue.follow(motion))

    def _read(self, track_id: int, track: _Track, cue: Cue, seconds: float) -> CueReading | None:
        value = cue.value(list(track.figures[cue.name]))
        if not math.isfinite(value):
            return None
        baseline = track.baselines[cue.name]
        z = baseline.z(cue.scale(value))
        baseline.learn(cue.scale(value), seconds)
        level = severity(z)
        text, innocent = cue.texts(z, level)
        return CueReading(
            track_id=track_id,
            name=cue.name,
            value=value,
            unit=cue.unit,
            z=z,
            severity=level,
            start_ns=track.times_ns[0],
            end_ns=track.times_ns[-1],
            text=text,
            innocent=innocent,
        )
