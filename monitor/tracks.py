"""Stable ids: which face of this frame is which person of the last one.

A track is a person in a place with a look. It is followed by place from sample to sample and vouched for by
look (`monitor.appearance`): when the look breaks, nothing is handed on until it is known who is there. In
doubt a person gets a new id; an id is never carried to somebody else.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from monitor.appearance import likeness
from monitor.crops import Square
from monitor.faces import Detection, iou
from monitor.types import Float32Array

MAX_TRACKS = 64
CONFIRM_SAMPLES = 3
"""Samples with landmarks before a new face becomes a person."""
SAME_LOOK = 0.80
"""Likeness to the sample before, under which the look has broken."""
KEPT_LOOK = 0.85
"""Likeness to the remembered look at which a broken look is the same person's after all, in the same place."""
RETURN_LOOK = 0.90
"""Likeness to the remembered look that brings a lost track back. Different people on one set reach 0.88."""
RETURN_MARGIN = 0.05
"""How much better than every other remembered look that likeness must be."""
HOLD_S = 0.6
"""How long a new and steady look stands before the person is declared somebody else."""
HOLD_MOST_S = 2.0
"""How long a look may stay broken at all."""
LOST_S = 3.0
"""How long a track that is not seen keeps its id."""
_LOOK_RATE = 0.1


class TrackState(enum.Enum):
    """TENTATIVE: not yet a person. LIVE: followed. HELD: look broken. LOST: not seen."""

    TENTATIVE = "tentative"
    LIVE = "live"
    HELD = "held"
    LOST = "lost"


@dataclass(slots=True)
class Track:
    """One person. Mutable, owned by the perceive thread alone."""

    track_id: int
    state: TrackState
    box_px: Float32Array
    seen_ns: int
    """Media time of the last sight of any kind."""
    square: Square | None = None
    look: Float32Array | None = None
    """The remembered look: a slow mean of signatures."""
    last_look: Float32Array | None = None
    held_look: Float32Array | None = None
    held_ns: int = 0
    """Since when the held look has been steady."""
    broken_ns: int = 0
    """Since when the look has been broken."""
    known: bool = False
    """True once this track was told of: its end must be told too."""
    hits: int = 0
    misses: int = 0
    velocity: Float32Array = field(default_factory=lambda: np.zeros(2, np.float32))
    """Pixels a second of the box centre."""
    turn_ns: int = 0
    """When this track's turn of being followed began."""

    @property
    def face_px(self) -> float:
        return float(max(self.box_px[2] - self.box_px[0], self.box_px[3] - self.box_px[1]))

    def predicted(self, now_ns: int) -> Float32Array:
        """Where the box should be now, with the motion damped after a fifth of a second."""
        ahead = min(max((now_ns - self.seen_ns) / 1e9, 0.0), 0.2)
        shift = self.velocity * np.float32(ahead)
        return np.asarray(self.box_px + np.concatenate([shift, shift]), np.float32)

    def moved_to(self, box_px: Float32Array, now_ns: int) -> None:
        """Take a new place for the track and update its velocity."""
        dt = (now_ns - self.seen_ns) / 1e9
        if 0 < dt < 0.5:
            step = ((box_px[:2] + box_px[2:]) - (self.box_px[:2] + self.box_px[2:])) / 2 / dt
            self.velocity = np.asarray(0.5 * self.velocity + 0.5 * step, np.float32)
        else:
            self.velocity = np.zeros(2, np.float32)
        self.box_px = box_px
        self.seen_ns = now_ns


class LookCheck(enum.Enum):
    """What a new look says of a track: the same person, not sure yet, or somebody else."""

    SAME = "same"
    HOLD = "hold"
    OTHER = "other"


def check_look(track: Track, look: Float32Array, now_ns: int) -> LookCheck:
    """Compare `look` with what `track` looked like, and update its memory.

    A sudden break puts the track on hold. It ends when the look comes back (SAME: a hand, a flash), or after
    `HOLD_S` of a new and steady look, or `HOLD_MOST_S` of any (OTHER: somebody else sits there now).
    """
    if track.look is None or track.last_look is None:
        track.look = track.last_look = look
        return LookCheck.SAME
    if track.state is TrackState.HELD:
        if likeness(look, track.look) >= KEPT_LOOK or likeness(look, track.last_look) >= SAME_LOOK:
            _remember(track, look)
            return LookCheck.SAME
        if track.held_look is None or likeness(look, track.held_look) < SAME_LOOK:
            track.held_ns = now_ns
        track.held_look = look
        steady = now_ns - track.held_ns >= HOLD_S * 1e9
        return LookCheck.OTHER if steady or now_ns - track.broken_ns >= HOLD_MOST_S * 1e9 else LookCheck.HOLD
    if likeness(look, track.last_look) < SAME_LOOK and likeness(look, track.look) < KEPT_LOOK:
        track.held_ns = track.broken_ns = now_ns
        track.held_look = look
        return LookCheck.HOLD
    _remember(track, look)
    return LookCheck.SAME


def _remember(track: Track, look: Float32Array) -> None:
    assert track.look is not None
    mean = track.look + np.float32(_LOOK_RATE) * (look - track.look)
    track.look = np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-6), np.float32)
    track.last_look = look


def match(
    tracks: Sequence[Track], detections: Sequence[Detection], now_ns: int
) -> tuple[dict[int, Detection], list[Detection]]:
    """Give each detection to the nearest track by place, by the Hungarian method.

    Returns (index of track -> detection, detections that belong to no track). A pair farther apart than the
    face's own size (growing while the track is unseen) is never made.
    """
    from scipy.optimize import linear_sum_assignment

    if not tracks or not detections:
        return {}, list(detections)
    cost = np.full((len(tracks), len(detections)), 1e3, np.float64)
    for i, track in enumerate(tracks):
        place = track.predicted(now_ns)
        reach = 0.8 + min((now_ns - track.seen_ns) / 1e9, 1.0)
        for j, detection in enumerate(detections):
            size = max(track.face_px, 1.0)
            other = float(max(detection.box_px[2] - detection.box_px[0], detection.box_px[3] - detection.box_px[1]))
            offset = (place[:2] + place[2:] - detection.box_px[:2] - detection.box_px[2:]) / 2
            distance = float(np.linalg.norm(offset)) / size
            if distance < reach and 0.4 < other / size < 2.5:
                cost[i, j] = distance - iou(place, detection.box_px)
    rows, columns = linear_sum_assignment(cost)
    pairs = {int(r): detections[int(c)] for r, c in zip(rows, columns, strict=True) if cost[r, c] < 1e3}
    taken = {id(d) for d in pairs.values()}
    return pairs, [d for d in detections if id(d) not in taken]


def returning(look: Float32Array, missing: Sequence[Track]) -> Track | None:
    """The missing track that this look surely belongs to, or None.

    It must be very alike and clearly more alike than any other: a person whose tile has moved comes back with
    the same picture around the face; a stranger does not.
    """
    scored = sorted(((likeness(look, t.look), t) for t in missing if t.look is not None), key=lambda p: -p[0])
    if not scored or scored[0][0] < RETURN_LOOK:
        return None
    if len(scored) > 1 and scored[1][0] > scored[0][0] - RETURN_MARGIN:
        return None
    return scored[0][1]


def same_place(a: Float32Array, b: Float32Array) -> bool:
    """True where two boxes show one face."""
    return iou(a, b) > 0.3
