"""Where in the face the picture looks replaced: the encoder's maps, smoothed over a second, and put into words.

    encoder's map of each crop (w, w) -> exponential mean per person, in head-crop coordinates -> WhereMap

The map explains a verdict and never triggers one. Regions come from the landmarks of the same sample, so that
"around the mouth" means this person's mouth, wherever the head has turned.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from engines.forge.masks import OVAL
from monitor.crops import CROP_SCALE
from monitor.types import FaceRegion, Float32Array, TrackedFace, WhereMap

SMOOTHING_S = 1.0
FORGET_S = 1.0
"""After so long without a judged sample the mean begins anew."""
MAX_TRACKS = 64
MIN_PEAK = 0.3
"""Below this the map says nothing: genuine faces reach 0.1 to 0.2."""
WHOLE_SHARE = 0.5
"""All regions within this share of the strongest one: the whole face."""
NEAR_SHARE = 0.7
"""A region this close to the strongest one is named beside it."""
OUTSIDE_SHARE = 0.5
LABEL_PX = 36

Labels = npt.NDArray[np.uint8]

INSIDE = (FaceRegion.FOREHEAD, FaceRegion.EYES, FaceRegion.NOSE, FaceRegion.MOUTH, FaceRegion.CHEEKS)
_OUTSIDE = len(INSIDE)
_FOREHEAD, _EYES, _NOSE, _MOUTH, _CHEEKS = range(len(INSIDE))
_EYE_CORNERS, _BROW_TOPS, _NOSE_WINGS, _NOSE_BASE, _LIP_CORNERS = (33, 263), (105, 334), (64, 294), 2, (61, 291)


@dataclass(slots=True)
class _Track:
    total: Float32Array
    weight: float
    last_ns: int
    pushes: int = 0


class WhereReader:
    """The smoothed map of everybody in the picture. Bounded: a grid a person, for at most `max_tracks` people."""

    def __init__(self, *, hop_frames: int = 5, max_tracks: int = MAX_TRACKS) -> None:
        if hop_frames < 1 or max_tracks < 1:
            raise ValueError(f"WhereReader: expected hop_frames and max_tracks >= 1, got {hop_frames}, {max_tracks}")
        self._hop_frames = hop_frames
        self._max_tracks = max_tracks
        self._tracks: OrderedDict[int, _Track] = OrderedDict()

    def __len__(self) -> int:
        """People remembered."""
        return len(self._tracks)

    def push(self, face: TrackedFace, grid: Float32Array) -> WhereMap | None:
        """Take the encoder's map, float32 (w, w) 0..1, of one sample that passes the quality gates. The smoothed map
        comes every `hop_frames` of them, else None."""
        track = self._tracks.get(face.track_id)
        step_s = math.inf if track is None else (face.media_ns - track.last_ns) / 1e9
        if track is None or not 0.0 < step_s <= FORGET_S:
            track = self._tracks[face.track_id] = _Track(np.zeros_like(grid), 0.0, face.media_ns)
        fade = math.exp(-step_s / SMOOTHING_S) if track.weight else 0.0
        track.total = track.total * np.float32(fade) + grid
        track.weight = track.weight * fade + 1.0
        track.last_ns = face.media_ns
        track.pushes += 1
        self._tracks.move_to_end(face.track_id)
        while len(self._tracks) > self._max_tracks:
            self._tracks.popitem(last=False)
        if track.pushes < self._hop_frames:
            return None
        track.pushes = 0
        mean = np.clip(track.total / np.float32(track.weight), 0.0, 1.0)
        return WhereMap(face.track_id, face.media_ns, mean, regions(mean, layout_of(face)))

    def cut(self, track_id: int) -> None:
        """Forget this person: the picture may show someone else now."""
        self._tracks.pop(track_id, None)


def regions(grid: Float32Array, labels: Labels) -> tuple[FaceRegion, ...]:
    """The regions in which a map float32 (w, w) is strong, the strongest first; none below `MIN_PEAK`.

    A region counts by its mean. One name stands for all where eyes, nose and mouth are about equally strong, as in a
    swap, or where no region lies far below the strongest.
    """
    import cv2

    fine = cv2.resize(grid, (LABEL_PX, LABEL_PX), interpolation=cv2.INTER_LINEAR)
    if float(fine.max()) < MIN_PEAK:
        return ()
    strong = np.where(fine >= MIN_PEAK / 2, fine, 0.0)
    if float(strong[labels == _OUTSIDE].sum()) > OUTSIDE_SHARE * float(strong.sum()):
        return (FaceRegion.OUTSIDE,)
    means = np.array([float(fine[labels == k].mean()) if (labels == k).any() else 0.0 for k in range(len(INSIDE))])
    near = [k for k in np.argsort(-means, kind="stable") if means[k] >= NEAR_SHARE * means.max()]
    if means.min() >= WHOLE_SHARE * means.max() or {_EYES, _NOSE, _MOUTH} <= set(near):
        return (FaceRegion.WHOLE_FACE,)
    return tuple(INSIDE[k] for k in near)


def layout_of(face: TrackedFace) -> Labels:
    """Which region each place of the crop belongs to: uint8 (36, 36), an index into `INSIDE`, or 5 for outside."""
    landmarks = face.observation.landmarks
    if landmarks is None:
        return _usual_layout()
    matrix = face.crop_to_frame
    in_crop = (landmarks[:, :2] - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    points = (in_crop + 0.5) / face.crop.shape[0]
    if np.linalg.norm(points[_EYE_CORNERS[1]] - points[_EYE_CORNERS[0]]) < 0.02:
        return _usual_layout()
    return layout(points.astype(np.float32))


def layout(points: Float32Array) -> Labels:
    """The same from landmarks float32 (478, 2) in shares of the crop. The eyes' outer corners give the axes."""
    import cv2

    first, second = points[_EYE_CORNERS[0]], points[_EYE_CORNERS[1]]
    middle, unit = (first + second) / 2, float(np.linalg.norm(second - first))
    across = (second - first) / unit
    axes = np.array([across, [-across[1], across[0]]], np.float32) / unit
    cells = (np.stack(np.meshgrid(np.arange(LABEL_PX), np.arange(LABEL_PX)), -1) + 0.5) / LABEL_PX
    u, v = np.moveaxis((cells - middle) @ axes.T, -1, 0)
    at = (points - middle) @ axes.T
    inside = np.zeros((LABEL_PX, LABEL_PX), np.uint8)
    cv2.fillPoly(inside, [np.round(points[list(OVAL)] * LABEL_PX).astype(np.int32)], 1)

    def beside(pair: tuple[int, int], reach: float) -> npt.NDArray[np.bool_]:
        centre, half = at[list(pair), 0].mean(), abs(at[pair[1], 0] - at[pair[0], 0]) / 2
        return np.asarray(np.abs(u - centre) < reach * half)

    brow, base = at[list(_BROW_TOPS), 1].mean(), at[_NOSE_BASE, 1]
    labels = np.full((LABEL_PX, LABEL_PX), _CHEEKS, np.uint8)
    labels[v < 0.22] = _EYES
    labels[v < brow] = _FOREHEAD
    labels[beside(_NOSE_WINGS, 1.15) & (v >= 0.08) & (v < base)] = _NOSE
    labels[beside(_LIP_CORNERS, 1.2) & (v >= base)] = _MOUTH
    labels[inside == 0] = _OUTSIDE
    return labels


@lru_cache(maxsize=1)
def _usual_layout() -> Labels:
    """Of a face without landmarks: a frontal one, in the middle of its crop."""
    points = np.zeros((478, 2), np.float32)
    angles = np.linspace(0, 2 * np.pi, len(OVAL), endpoint=False)
    points[list(OVAL)] = np.stack([0.40 * np.sin(angles), -0.50 * np.cos(angles)], -1)
    for pair, half, height in (
        (_EYE_CORNERS, 0.25, -0.14),
        (_BROW_TOPS, 0.20, -0.27),
        (_NOSE_WINGS, 0.08, 0.08),
        (_LIP_CORNERS, 0.17, 0.22),
    ):
        points[list(pair)] = [(-half, height), (half, height)]
    points[_NOSE_BASE] = (0.0, 0.11)
    labels = layout(points / CROP_SCALE + 0.5)
    labels.setflags(write=False)
    return labels
