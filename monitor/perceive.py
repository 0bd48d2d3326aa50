"""Frame in, tracked faces out: one step of the perceive thread.

    frame -> follow known faces in their own regions -> scan tiles for new ones -> who is who -> crops

Live calls have a budget of time a step. When more people are in the picture than can be followed, a few are
followed at the full rate for some seconds and then the next few: each is judged in turn, and is told apart as
waiting until then. Files have no budget: everybody is followed all the time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from monitor import appearance
from monitor.crops import CROP_PX, CROP_SCALE, Square, crop, follow
from monitor.faces import Detection, FaceFinder, Finder, Tile, plan_tiles
from monitor.quality import stood_still
from monitor.tracks import (
    CONFIRM_SAMPLES,
    LOST_S,
    MAX_TRACKS,
    LookCheck,
    Track,
    TrackState,
    check_look,
    match,
    returning,
    same_place,
)
from monitor.types import FaceObservation, Float32Array, Frame, Reason, TrackedFace, TrackStatus, UInt8Array

SCENE_CUT = 0.45
"""Change of the frame's thumbnail (1 - correlation) beyond which every track is broken."""
TURN_S = 4.0
"""How long a person is followed before the next one has a turn, where not all can be followed."""
DOUBT_S = 0.4
"""How long a detection that the landmarker did not confirm is left alone in a live call, where time is short."""
LOOK_PX = 48
EAGER_TILES = 6
"""Tiles scanned a step while nobody is followed."""
READ_MIN_PX = 36.0
"""Faces smaller than this are listed but not read: landmarks mean nothing there."""


@dataclass(frozen=True, slots=True)
class Perceived:
    """What one sampled frame showed."""

    faces: tuple[TrackedFace, ...]
    statuses: tuple[TrackStatus, ...]
    cut: bool


class Perceiver:
    """Follows everybody in a stream of sampled frames (15 Hz). Not for use from two threads.

    `budget_ms` is the time that one step may take (None: no limit, for files). `tiles_per_step` tiles are
    scanned for new faces in each step, in rotation; all of them at the start and after a cut.
    """

    def __init__(
        self,
        asset: Path,
        *,
        budget_ms: float | None = None,
        min_face_px: float = 56.0,
        tiles_per_step: int = 2,
        crop_px: int = CROP_PX,
        crop_scale: float = CROP_SCALE,
        finder: Finder | None = None,
    ) -> None:
        self._finder: Finder = finder if finder is not None else FaceFinder(asset)
        self._budget_ms = budget_ms
        self._min_face_px = min_face_px
        self._tiles_per_step = tiles_per_step
        self._crop_px = crop_px
        self._crop_scale = crop_scale
        self._tracks: list[Track] = []
        self._next_id = 1
        self._tiles: tuple[Tile, ...] = ()
        self._shape: tuple[int, int] = (0, 0)
        self._cursor = 0
        self._first = True
        self._thumbnail: UInt8Array | None = None
        self._before: UInt8Array | None = None
        self._read_ms = 12.0
        self._doubted: deque[tuple[int, Detection]] = deque(maxlen=32)

    def close(self) -> None:
        """Release the models."""
        self._finder.close()

    def step(self, frame: Frame) -> Perceived:
        """Perceive one sampled frame. Frames must come in order of `media_ns`."""
        image, now = frame.image, frame.media_ns
        ended: list[Track] = []
        cut = self._look_for_cut(image)
        cut_ids = {t.track_id for t in self._tracks if t.known} if cut else set()
        if cut:
            # A cut may keep the scene (a flash) or replace it: everybody must be found and recognised again.
            for track in self._tracks:
                track.state = TrackState.LOST if track.state is not TrackState.TENTATIVE else track.state
            self._doubted.clear()
            ended.extend(t for t in self._tracks if t.state is TrackState.TENTATIVE)
            self._tracks = [t for t in self._tracks if t.state is TrackState.LOST]
        active = self._whose_turn(now)
        crops: dict[int, TrackedFace] = {}
        full_scan = cut or self._first
        self._first = False
        for track in sorted(active, key=lambda t: t.track_id):
            if self._follow(track, frame, crops) is LookCheck.OTHER:
                # Somebody else sits there now: this person is missing, and the newcomer is found by the scan.
                track.state = TrackState.LOST
            full_scan = full_scan or track.state is TrackState.LOST
        self._part_those_who_share_a_face(crops)
        self._find_new(frame, full_scan, crops)
        ended.extend(self._forget(now))
        self._before = image
        return Perceived(
            faces=tuple(crops[k] for k in sorted(crops)),
            statuses=tuple(self._statuses(frame, crops, ended, {t.track_id for t in active}, cut_ids)),
            cut=cut,
        )

    # ------------------------------------------------------------------------------------------ pieces

    def _look_for_cut(self, image: UInt8Array) -> bool:
        shape = (image.shape[1], image.shape[0])
        resized = shape != self._shape
        if resized:
            self._shape, self._tiles, self._cursor = shape, plan_tiles(*shape), 0
        thumbnail = appearance.thumbnail(image)
        change = appearance.frame_change(self._thumbnail, thumbnail)
        first = self._thumbnail is None
        self._thumbnail = thumbnail
        return not first and (resized or change > SCENE_CUT)

    def _whose_turn(self, now_ns: int) -> list[Track]:
        """The tracks to follow in this step: all that the budget allows, in turns of `TURN_S`."""
        can = [t for t in self._tracks if t.state is not TrackState.LOST and t.face_px >= READ_MIN_PX]
        if self._budget_ms is None:
            return can
        seats = max(1, int(self._budget_ms / max(self._read_ms, 1.0)))
        if len(can) <= seats:
            for track in can:
                track.turn_ns = track.turn_ns or now_ns
            return can
        seated = [t for t in can if t.turn_ns and now_ns - t.turn_ns < TURN_S * 1e9]
        seated.sort(key=lambda t: t.turn_ns)
        seated = seated[:seats]
        waiting = [t for t in can if t not in seated]
        waiting.sort(key=lambda t: (t.turn_ns, t.track_id))
        for track in waiting[: seats - len(seated)]:
            track.turn_ns = now_ns
            seated.append(track)
        return seated

    def _read(self, image: UInt8Array, track: Track, now_ns: int) -> FaceObservation | None:
        began = time.perf_counter()
        observation = self._finder.read(image, track.predicted(now_ns))
        took_ms = (time.perf_counter() - began) * 1e3
        self._read_ms += 0.05 * (took_ms * 1.5 - self._read_ms)  # half as much again for the crop and encoder
        return observation

    def _follow(self, track: Track, frame: Frame, crops: dict[int, TrackedFace]) -> LookCheck | None:
        observation = self._read(frame.image, track, frame.media_ns)
        if observation is None or not 0.5 < observation.face_px / max(track.face_px, 1.0) < 2.0:
            track.misses += 1
            if track.misses > 3 or track.state is TrackState.TENTATIVE:
                track.state = TrackState.LOST
            return None
        return self._accept(track, observation, frame, crops)

    def _accept(
        self, track: Track, observation: FaceObservation, frame: Frame, crops: dict[int, TrackedFace]
    ) -> LookCheck:
        """Take a read face for a track, unless its look has broken."""
        square = follow(track.square, Square.of_box(observation.box_px))
        picture, matrix = crop(frame.image, square, size_px=self._crop_px, scale=self._crop_scale)
        verdict = check_look(track, self._look(frame.image, observation), frame.media_ns)
        if verdict is LookCheck.OTHER:
            return verdict
        track.moved_to(observation.box_px, frame.media_ns)
        track.square = square
        track.misses = 0
        if verdict is LookCheck.HOLD:
            track.state = TrackState.HELD
            return verdict
        track.hits += 1
        if track.state is not TrackState.TENTATIVE or track.hits >= CONFIRM_SAMPLES:
            track.state = TrackState.LIVE
            crops[track.track_id] = TrackedFace(
                track_id=track.track_id,
                frame_seq=frame.seq,
                recv_ns=frame.recv_ns,
                media_ns=frame.media_ns,
                observation=observation,
                crop=picture,
                crop_to_frame=matrix,
                still=None if self._before is None else stood_still(self._before, frame.image, observation.box_px),
            )
        return verdict

    def _part_those_who_share_a_face(self, crops: dict[int, TrackedFace]) -> None:
        """Two tracks on one face (two people crossing): the one that looks less like its memory is lost."""
        present = [t for t in self._tracks if t.track_id in crops or t.state in (TrackState.HELD, TrackState.TENTATIVE)]
        for i, a in enumerate(present):
            for b in present[i + 1 :]:
                if TrackState.LOST in (a.state, b.state) or not same_place(a.box_px, b.box_px):
                    continue
                loser = min((a, b), key=lambda t: (self._self_likeness(t), t.hits))
                loser.state = TrackState.LOST
                crops.pop(loser.track_id, None)

    @staticmethod
    def _self_likeness(track: Track) -> float:
        if track.state is TrackState.HELD or track.look is None or track.last_look is None:
            return -1.0
        return round(appearance.likeness(track.last_look, track.look), 3)

    @staticmethod
    def _look(image: UInt8Array, observation: FaceObservation) -> Float32Array:
        """The look of a face, locked to it: in the smoothed crop a mover's background would change it."""
        square = Square.of_box(observation.box_px)
        return appearance.signature(crop(image, square, size_px=LOOK_PX)[0])

    def _find_new(self, frame: Frame, full_scan: bool, crops: dict[int, TrackedFace]) -> None:
        tiles: Iterable[Tile]
        if full_scan:
            tiles = self._tiles
        else:
            count = len(self._tiles)
            alone = not any(t.state in (TrackState.LIVE, TrackState.TENTATIVE) for t in self._tracks)
            wanted = max(EAGER_TILES, self._tiles_per_step) if alone else self._tiles_per_step
            tiles = [self._tiles[(self._cursor + i) % count] for i in range(min(wanted, count))]
            self._cursor = (self._cursor + wanted) % count
        found = self._finder.scan(frame.image, list(tiles))
        now = frame.media_ns
        followed = [t for t in self._tracks if t.state is not TrackState.LOST and t.seen_ns == now]
        fresh = [d for d in found if not any(same_place(d.box_px, t.box_px) for t in followed)]
        waiting = [t for t in self._tracks if t.state is not TrackState.LOST and t.seen_ns != now]
        pairs, strangers = match(waiting, fresh, now)
        for index, detection in pairs.items():
            waiting[index].moved_to(detection.box_px, now)
        for detection in strangers:
            self._meet(detection, frame, crops)

    def _meet(self, detection: Detection, frame: Frame, crops: dict[int, TrackedFace]) -> None:
        """A face that no track accounts for: a person who is back, or a new one."""
        if len(self._tracks) >= MAX_TRACKS:
            return
        size = float(max(detection.box_px[2:] - detection.box_px[:2]))
        now = frame.media_ns
        if size < READ_MIN_PX:
            self._tracks.append(Track(self._take_id(), TrackState.LIVE, detection.box_px, now))
            return
        doubt = self._budget_ms is not None
        if doubt and any(
            now - then < DOUBT_S * 1e9 and same_place(detection.box_px, d.box_px) for then, d in self._doubted
        ):
            return
        observation = self._finder.read(frame.image, detection.box_px)
        if observation is None:
            self._doubted.append((now, detection))
            return
        taken = [t for t in self._tracks if t.state is not TrackState.LOST and t.seen_ns == now]
        if any(same_place(observation.box_px, t.box_px) for t in taken):
            return
        look = self._look(frame.image, observation)
        missing = [t for t in self._tracks if t.state is TrackState.LOST and t.hits >= CONFIRM_SAMPLES]
        track = returning(look, missing)
        if track is not None:
            track.state, track.square, track.last_look = TrackState.LIVE, None, look
        else:
            track = Track(self._take_id(), TrackState.TENTATIVE, observation.box_px, now)
            self._tracks.append(track)
        self._accept(track, observation, frame, crops)

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _forget(self, now_ns: int) -> list[Track]:
        gone = [t for t in self._tracks if now_ns - t.seen_ns > LOST_S * 1e9]
        self._tracks = [t for t in self._tracks if now_ns - t.seen_ns <= LOST_S * 1e9]
        return gone

    def _statuses(
        self,
        frame: Frame,
        crops: dict[int, TrackedFace],
        ended: list[Track],
        active: set[int],
        cut_ids: set[int],
    ) -> list[TrackStatus]:
        told = [t for t in self._tracks if t.hits >= CONFIRM_SAMPLES or t.look is None or t.track_id in crops]
        for track in told:
            track.known = True
        return [
            TrackStatus(
                track_id=track.track_id,
                media_ns=frame.media_ns,
                recv_ns=frame.recv_ns,
                box_px=(
                    float(track.box_px[0]),
                    float(track.box_px[1]),
                    float(track.box_px[2]),
                    float(track.box_px[3]),
                ),
                face_px=track.face_px,
                reason=None if gone else self._reason(track, crops, active),
                cut=track.track_id in cut_ids,
                ended=gone,
            )
            for group, gone in ((told, False), (ended, True))
            for track in group
            if track.known
        ]

    def _reason(self, track: Track, crops: dict[int, TrackedFace], active: set[int]) -> Reason | None:
        if track.track_id in crops:
            return None
        if track.state is TrackState.LOST:
            return Reason.NO_FACE
        if track.state is TrackState.HELD:
            return Reason.CUT
        if track.face_px < max(READ_MIN_PX, self._min_face_px):
            return Reason.FACE_TOO_SMALL
        return Reason.NO_FACE if track.track_id in active else Reason.WAITING_TURN
