"""The crops of one row as the encoder sees them, and which of them make which window, kept in a file.

    Row -> its first seconds -> sampler, tracker and cropper of the product -> the windows it would judge -> .npz

The shortcut tests change these crops and judge the same windows again: what may be judged was decided on the
pictures as they are, so that a test never measures the gates.
"""

from __future__ import annotations

import math
import zipfile
from contextlib import closing
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.calibration import QualityRange
from engines.card import ModelCard
from engines.files import replaced
from engines.window_input import AUX_DIM
from monitor.bench.judging import open_limited
from monitor.bench.manifest import Row
from monitor.bench.work import digest, row_key
from monitor.perceive import Perceived
from monitor.quality import Gates, measure
from monitor.sampling import FrameSampler
from monitor.settings import Settings
from monitor.stages import Models, make_perceiver
from monitor.types import Float32Array, Quality, Refusal, TrackedFace, UInt8Array, Window
from monitor.windows import Sample, WindowBuilder

MAX_PEOPLE = 4
"""People whose crops are held while a row is read; who comes later is passed over."""
MAX_CROPS = 2000
"""Of one person: 133 s at 15 Hz, 124 MB."""
_FIGURES = tuple(one.name for one in fields(Quality))


@dataclass(frozen=True, slots=True, eq=False)
class CropSequence:
    """The person of a row who was seen for longest. N samples, W windows of T steps."""

    crops: UInt8Array
    """uint8 (N, S, S, 3) RGB."""
    landmarks: Float32Array
    """float32 (N, 478, 2) in pixels of the crop."""
    face_px: Float32Array
    """float32 (N,) size of the face in the frame."""
    steps: npt.NDArray[np.int64]
    """int64 (W, T): which samples make each window."""
    media_ns: npt.NDArray[np.int64]
    """int64 (W, T): the times of each window's steps."""
    dt: Float32Array
    """float32 (W, T): the time column of each window, as the head is given it."""
    quality: Float32Array
    """float32 (W, Q): the figures of `Quality` in its order; NaN for a yaw that is not known."""

    def __post_init__(self) -> None:
        n, side, (w, t) = len(self.crops), self.crops.shape[1], self.steps.shape
        arrays = (self.crops, self.landmarks, self.face_px, self.media_ns, self.dt, self.quality)
        shapes = tuple(array.shape for array in arrays)
        expected = ((n, side, side, 3), (n, self.landmarks.shape[1], 2), (n,), (w, t), (w, t), (w, len(_FIGURES)))
        if shapes != expected or (w and not 0 <= int(self.steps.min()) <= int(self.steps.max()) < n):
            raise ValueError(f"CropSequence: expected the shapes {expected} and steps below {n}, got {shapes}")

    def windows(self, features: Float32Array) -> list[Window]:
        """The windows around other features, float32 (W, T, D). Raises ValueError for another number of them."""
        return [
            Window(
                track_id=0,
                seqs=steps,
                media_ns=media_ns,
                features=window,
                quality=Quality(*(None if math.isnan(v) else v for v in figures)),  # type: ignore[arg-type]
            )
            for steps, media_ns, window, figures in zip(
                self.steps, self.media_ns, features, self.quality.tolist(), strict=True
            )
        ]


def read_row(row: Row, settings: Settings, models: Models, limit_s: float) -> CropSequence:
    """The crops of a row; empty where nobody could be judged. Raises SourceError, AssetError."""
    sampler = FrameSampler(settings.sample_rate_hz)
    with (
        closing(open_limited(row, settings, limit_s)) as source,
        closing(make_perceiver(models.face_asset, models.card, settings, live=False)) as perceiver,
    ):
        collector = Collector(settings, models.card.head.steps, models.card.quality_range)
        for frame in source.frames():
            if sampler.take(frame.media_ns):
                collector.add(perceiver.step(frame))
    return collector.longest(models.card.encoder.crop_px)


@dataclass(slots=True)
class _Person:
    faces: list[TrackedFace] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)


class Collector:
    """Puts together the windows of each person as `monitor.inference` does, and keeps their crops."""

    def __init__(self, settings: Settings, steps: int, seen: QualityRange | None = None) -> None:
        """`seen` is the range of the model card, beyond which the product judges nothing."""
        gates = Gates.from_settings(
            min_face_px=settings.min_face_px,
            max_yaw_deg=settings.max_yaw_deg,
            min_rate_hz=settings.min_rate_hz,
            seen=seen,
        )
        self._steps = steps
        self._builder = WindowBuilder(gates, steps=steps, hop_frames=settings.hop_frames)
        self._people: dict[int, _Person] = {}

    def add(self, perceived: Perceived) -> None:
        """Take one perceived frame."""
        broken = {status.track_id for status in perceived.statuses if status.cut or status.ended}
        for track_id in set(self._people) if perceived.cut else broken & set(self._people):
            self._flush(track_id)
            self._builder.cut(track_id)
        for face in perceived.faces:
            self._push(face)

    def longest(self, crop_px: int) -> CropSequence:
        """The person with most samples, at the end of the recording."""
        for track_id in self._people:
            self._flush(track_id)
        person = max(self._people.values(), key=lambda one: len(one.faces), default=_Person())
        return _sequence(person, crop_px, self._steps)

    def _push(self, face: TrackedFace) -> None:
        if face.observation.landmarks is None:
            return
        if face.track_id not in self._people and len(self._people) >= MAX_PEOPLE:
            return
        person = self._people.setdefault(face.track_id, _Person())
        if len(person.faces) >= MAX_CROPS:
            return
        sample = Sample(len(person.faces), face.media_ns, np.zeros(1, np.float32), measure(face))
        person.faces.append(face)
        self._keep(person, self._builder.push(face.track_id, sample))

    def _flush(self, track_id: int) -> None:
        self._keep(self._people[track_id], self._builder.flush(track_id))

    @staticmethod
    def _keep(person: _Person, result: Window | Refusal | None) -> None:
        if isinstance(result, Window):
            person.windows.append(result)


def _sequence(person: _Person, crop_px: int, steps: int) -> CropSequence:
    if not person.windows:
        return CropSequence(
            np.zeros((0, crop_px, crop_px, 3), np.uint8),
            np.zeros((0, 0, 2), np.float32),
            np.zeros(0, np.float32),
            np.zeros((0, steps), np.int64),
            np.zeros((0, steps), np.int64),
            np.zeros((0, steps), np.float32),
            np.zeros((0, len(_FIGURES)), np.float32),
        )
    return CropSequence(
        crops=np.stack([face.crop for face in person.faces]),
        landmarks=np.stack([_crop_points(face) for face in person.faces]),
        face_px=np.array([face.observation.face_px for face in person.faces], np.float32),
        steps=np.stack([window.seqs for window in person.windows]),
        media_ns=np.stack([window.media_ns for window in person.windows]),
        dt=np.stack([window.features[:, -AUX_DIM] for window in person.windows]),
        quality=np.array([_figures(window.quality) for window in person.windows], np.float32),
    )


def _figures(quality: Quality) -> list[float]:
    values = (getattr(quality, name) for name in _FIGURES)
    return [math.nan if value is None else float(value) for value in values]


def _crop_points(face: TrackedFace) -> Float32Array:
    """Landmarks (L, 2) in pixels of the crop, which is not rotated."""
    landmarks = face.observation.landmarks
    assert landmarks is not None
    scale = np.array([face.crop_to_frame[0, 0], face.crop_to_frame[1, 1]], np.float32)
    return np.asarray((landmarks[:, :2] - face.crop_to_frame[:, 2]) / scale, np.float32)


def save(path: Path, sequence: CropSequence) -> None:
    """Write in one step. Raises OSError."""
    with replaced(path) as file:
        np.savez(file, **{one.name: getattr(sequence, one.name) for one in fields(sequence)})


def load(path: Path) -> CropSequence | None:
    """What was saved; None where there is nothing whole."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return CropSequence(**{one.name: stored[one.name] for one in fields(CropSequence)})
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def crops_key(row: Row, settings: Settings, card: ModelCard, limit_s: float) -> str:
    """Names the crops of a row: its pictures, and all that decides which crops and windows are made of them."""
    return digest(
        row_key(row, settings, limit_s),
        card.encoder.crop_px,
        card.head.steps,
        card.quality_range,
        settings.sample_rate_hz,
        settings.hop_frames,
        settings.min_face_px,
        settings.max_yaw_deg,
        settings.min_rate_hz,
    )


def sequence_of(row: Row, settings: Settings, models: Models, limit_s: float, path: Path) -> CropSequence:
    """The crops of a row from `path`, or read now and kept there. Raises SourceError, AssetError, OSError."""
    kept = load(path)
    if kept is not None:
        return kept
    sequence = read_row(row, settings, models, limit_s)
    save(path, sequence)
    return sequence
