"""A recording as the product's perceive stage saw it, kept on disk: finding faces is the slow part, and it does not
depend on the detector.

    recording -> open_source -> FrameSampler -> Perceiver -> <cache>/perceived/<key>.npz -> the same steps again

The files hold faces: they stay on the machine that made them and never enter the repository.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.files import fingerprint, replaced
from monitor.clock import MonotonicClock
from monitor.corpus import to_crop_px
from monitor.perceive import Perceived, Perceiver
from monitor.sampling import FrameSampler
from monitor.sources import open_source
from monitor.stages import Region
from monitor.types import FaceObservation, TrackedFace, TrackStatus, UInt8Array

VERSION = 2
SAMPLE_RATE_HZ = 15.0
MAX_FRAME_PX = 1920
_NO_POSE = np.full((4, 4), np.nan, np.float32)
_UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Recording:
    """One file, or a part of its picture, that shows real faces or forged ones."""

    path: Path
    region: Region | None
    fake: bool
    family: str
    group: str
    """Recordings of one person or take share it."""
    training: bool
    """From the training data's held-out people, rather than from the set that measures."""

    @property
    def name(self) -> str:
        """Such as `clip.mp4` or `clip.mp4@0.5,0,0.5,1`."""
        part = "" if self.region is None else "@" + ",".join(f"{v:g}" for v in self.region)
        return self.path.name + part

    def key(self, crop_px: int) -> str:
        """A file name that changes with the recording, the region and the size of the crops."""
        text = repr((VERSION, crop_px, fingerprint(self.path), self.region))
        return f"{self.path.stem[:40]}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True, eq=False)
class SeenFaces:
    """All steps of one recording as arrays; F faces and C changes (a cut, or a person who left) over S steps."""

    media_ns: npt.NDArray[np.int64]
    """(S,)"""
    cut: npt.NDArray[np.bool_]
    """(S,)"""
    step: npt.NDArray[np.int64]
    """(F,) the step that each face belongs to."""
    track: npt.NDArray[np.int64]
    box: npt.NDArray[np.float32]
    """(F, 4)"""
    pose: npt.NDArray[np.float32]
    """(F, 4, 4), NaN where there was none."""
    still: npt.NDArray[np.int8]
    """(F,) 1, 0, or -1 where it was not compared."""
    landmarks: npt.NDArray[np.float16]
    """(F, 478, 2) pixels of the crop."""
    crops: UInt8Array
    """(F, P, P, 3)"""
    change_step: npt.NDArray[np.int64]
    """(C,)"""
    change_track: npt.NDArray[np.int64]
    change_ended: npt.NDArray[np.bool_]
    """(C,) True where the person left, False where the picture of the person changed abruptly."""

    def steps(self) -> Iterator[tuple[int, Perceived]]:
        """(media_ns, what was perceived), in order, as the infer stage takes it."""
        for index, at_ns in enumerate(self.media_ns.tolist()):
            faces = tuple(self._face(int(i), index, at_ns) for i in np.flatnonzero(self.step == index))
            changes = tuple(self._change(int(i), at_ns) for i in np.flatnonzero(self.change_step == index))
            yield at_ns, Perceived(faces, changes, bool(self.cut[index]))

    def _face(self, index: int, step: int, at_ns: int) -> TrackedFace:
        pose = None if np.isnan(self.pose[index]).any() else self.pose[index]
        observation = FaceObservation(self.box[index], 1.0, pose=pose)
        still = None if self.still[index] == _UNKNOWN else bool(self.still[index])
        track = int(self.track[index])
        place = np.eye(2, 3, dtype=np.float32)
        return TrackedFace(track, step, at_ns, at_ns, observation, self.crops[index], place, still)

    def _change(self, index: int, at_ns: int) -> TrackStatus:
        ended = bool(self.change_ended[index])
        track = int(self.change_track[index])
        return TrackStatus(track, at_ns, at_ns, (0.0, 0.0, 1.0, 1.0), 1.0, cut=not ended, ended=ended)


def perceive(recording: Recording, asset: Path, crop_px: int) -> SeenFaces:
    """Run the product's own perceive stage over a recording. Raises SourceError where it cannot be read."""
    source = open_source(
        recording.path.absolute().as_uri(), clock=MonotonicClock(), max_frame_px=MAX_FRAME_PX, region=recording.region
    )
    perceiver = Perceiver(asset, crop_px=crop_px)
    sampler = FrameSampler(SAMPLE_RATE_HZ)
    seen: list[tuple[int, Perceived]] = []
    try:
        for frame in source.frames():
            if sampler.take(frame.media_ns):
                seen.append((frame.media_ns, perceiver.step(frame)))
    finally:
        source.close()
        perceiver.close()
    return as_arrays(seen, crop_px)


def as_arrays(seen: list[tuple[int, Perceived]], crop_px: int) -> SeenFaces:
    """The steps of one recording put together; `SeenFaces.steps` gives them back."""
    faces = [(index, face) for index, (_, perceived) in enumerate(seen) for face in perceived.faces]
    changes = [
        (index, status)
        for index, (_, perceived) in enumerate(seen)
        for status in perceived.statuses
        if status.cut or status.ended
    ]
    poses = [_NO_POSE if f.observation.pose is None else f.observation.pose for _, f in faces]
    return SeenFaces(
        media_ns=np.array([at_ns for at_ns, _ in seen], np.int64),
        cut=np.array([perceived.cut for _, perceived in seen], np.bool_),
        step=np.array([index for index, _ in faces], np.int64),
        track=np.array([f.track_id for _, f in faces], np.int64),
        box=np.array([f.observation.box_px for _, f in faces], np.float32).reshape(-1, 4),
        pose=np.array(poses, np.float32).reshape(-1, 4, 4),
        still=np.array([_UNKNOWN if f.still is None else int(f.still) for _, f in faces], np.int8),
        landmarks=np.array([_points(f) for _, f in faces], np.float16).reshape(len(faces), -1, 2),
        crops=np.array([f.crop for _, f in faces], np.uint8).reshape(-1, crop_px, crop_px, 3),
        change_step=np.array([index for index, _ in changes], np.int64),
        change_track=np.array([s.track_id for _, s in changes], np.int64),
        change_ended=np.array([s.ended for _, s in changes], np.bool_),
    )


def _points(face: TrackedFace) -> npt.NDArray[np.float32]:
    if face.observation.landmarks is None:
        return np.zeros((478, 2), np.float32)
    return to_crop_px(face.observation.landmarks, face.crop_to_frame)


def perceived(recording: Recording, cache: Path, asset: Path, crop_px: int) -> SeenFaces:
    """What was perceived, from the cache or into it. Raises SourceError where the recording cannot be read."""
    path = cache / "perceived" / f"{recording.key(crop_px)}.npz"
    if not path.exists():
        save_arrays(path, perceive(recording, asset, crop_px))
    with np.load(path, allow_pickle=False) as stored:
        return SeenFaces(**{name: stored[name] for name in stored.files})


def save_arrays(path: Path, value: object) -> None:
    """Write the arrays of a dataclass as one .npz, by an atomic rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as handle:
        np.savez(handle, **{name: getattr(value, name) for name in value.__dataclass_fields__})  # type: ignore[attr-defined]
