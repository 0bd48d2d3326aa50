"""Raw window logits of every person of a recording, through the product's own windows and gates, kept a model.

    SeenFaces -> Inference (gates, encoder, windows, head; calibration left neutral) -> Scored -> Track

A model is scored once; calibration, p-values and alarm thresholds are then fitted from the raw logits in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.card import Calibration, ModelCard
from engines.choose import choose
from engines.detector_engine import Engine
from engines.forge.nuisances import Nuisance, through
from engines.window_input import CROP_SCALE
from monitor.calibration.perceived import Recording, SeenFaces, perceived, save_arrays
from monitor.detector import Detector
from monitor.evidence import OperatingPoint
from monitor.inference import Inference
from monitor.quality import Gates
from monitor.types import WindowScore
from monitor.verdict import Judge
from monitor.windows import WindowBuilder

Floats = npt.NDArray[np.float64]

_ANY_POINT = OperatingPoint(cusum_h=1e6, cusum_drift=0.0, low=0.5, high=0.9)
"""The judge of the inference stage is not asked here."""
SEED = 20261123
_OF_A_WINDOW = ("raw", "start_ns", "end_ns", "face_px", "blur", "luma", "rate_hz", "yaw_deg")


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """All judged windows of one recording, in order of time; arrays of length W."""

    person: npt.NDArray[np.int64]
    """Which person, and which part of them between two cuts: 0, 1, ..."""
    raw: Floats
    """The head's logit, not calibrated."""
    start_ns: npt.NDArray[np.int64]
    end_ns: npt.NDArray[np.int64]
    face_px: Floats
    blur: Floats
    luma: Floats
    rate_hz: Floats
    yaw_deg: Floats
    """NaN where no frame had a pose."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One person of one recording: what the sequential test walks through. Arrays as in `Scored`."""

    recording: str
    family: str
    group: str
    fake: bool
    training: bool
    """From held-out people of the training data."""
    simulated: bool
    """A real recording sent through a simulated call: counted apart from genuine ones."""
    raw: Floats
    start_ns: npt.NDArray[np.int64]
    end_ns: npt.NDArray[np.int64]
    face_px: Floats
    blur: Floats
    luma: Floats
    rate_hz: Floats
    yaw_deg: Floats

    @property
    def judged_s(self) -> float:
        """From the first picture of the first window to the end of the last one, without longer holes between."""
        if len(self.raw) == 0:
            return 0.0
        steps_s = np.diff(self.end_ns) / 1e9
        return float((self.end_ns[0] - self.start_ns[0]) / 1e9 + np.minimum(steps_s, 1.0).sum())


def score(seen: SeenFaces, card: ModelCard, engine: Engine) -> Scored:
    """Judge every window of what was perceived. Raises EngineError."""
    neutral = replace(card, calibration=Calibration(scale=1.0, bias=0.0))
    gates = Gates()
    inference = Inference(
        Detector(engine, neutral), WindowBuilder(gates, steps=card.head.steps), Judge(_ANY_POINT), gates=gates
    )
    people: dict[tuple[int, int], int] = {}
    cuts: dict[int, list[int]] = {}
    kept: list[tuple[int, WindowScore]] = []
    for at_ns, step in seen.steps():
        for status in step.statuses:
            if status.cut:
                cuts.setdefault(status.track_id, []).append(at_ns)
        for one in inference.step(step, at_ns).scores:
            part = sum(one.start_ns >= cut for cut in cuts.get(one.track_id, []))
            kept.append((people.setdefault((one.track_id, part), len(people)), one))
    windows = [one for _, one in kept]
    yaws = [np.nan if w.quality.yaw_deg is None else w.quality.yaw_deg for w in windows]
    return Scored(
        person=np.array([who for who, _ in kept], np.int64),
        raw=np.array([w.logit for w in windows], np.float64),
        start_ns=np.array([w.start_ns for w in windows], np.int64),
        end_ns=np.array([w.end_ns for w in windows], np.int64),
        face_px=np.array([w.quality.face_px for w in windows], np.float64),
        blur=np.array([w.quality.blur for w in windows], np.float64),
        luma=np.array([w.quality.luma for w in windows], np.float64),
        rate_hz=np.array([w.quality.rate_hz for w in windows], np.float64),
        yaw_deg=np.array(yaws, np.float64),
    )


def simulated_call(seen: SeenFaces, rng: np.random.Generator) -> SeenFaces:
    """The same people through another call: every person's pictures through one drawn nuisance, with real codecs."""
    crops, box = seen.crops.copy(), seen.box.copy()
    size_px = crops.shape[1]
    stored_face_px = size_px / CROP_SCALE
    for track in np.unique(seen.track):
        rows = np.flatnonzero(seen.track == track)
        nuisance = Nuisance.draw(rng, len(rows))
        points = np.asarray(seen.landmarks[rows], np.float32)
        crops[rows] = through(nuisance, crops[rows], points, size_px)
        if nuisance.face_scale < 1.0:
            sides = np.maximum(box[rows, 2] - box[rows, 0], box[rows, 3] - box[rows, 1])
            shrink = np.minimum(1.0, stored_face_px * nuisance.face_scale / np.maximum(sides, 1.0))
            centre = (box[rows, :2] + box[rows, 2:]) / 2
            half = (box[rows, 2:] - box[rows, :2]) / 2 * shrink[:, None]
            box[rows] = np.concatenate([centre - half, centre + half], 1)
    return replace(seen, crops=crops, box=box, still=np.full_like(seen.still, -1))


def model_key(card: ModelCard) -> str:
    """Names the folder of one model's logits: both graphs."""
    return f"{card.encoder.sha256[:12]}-{card.head.sha256[:12]}"


class Scorer:
    """Scores recordings with one model, from the cache or into it. The engine opens when it is first needed."""

    def __init__(self, card: ModelCard, cache: Path, asset: Path) -> None:
        self._card, self._cache, self._asset = card, cache, asset
        self._engine: Engine | None = None

    def tracks(self, recording: Recording, copy: int = 0) -> Iterator[Track]:
        """Everybody with a judged window; a recording in which nobody could be judged gives one empty track.

        `copy` 0 is the recording itself, 1 and up are simulated calls of it. Raises SourceError, AssetError,
        EngineError.
        """
        scored = self._scored(recording, copy)
        for person in range(max(int(scored.person.max(initial=-1)) + 1, 1)):
            rows = np.flatnonzero(scored.person == person)
            rows = rows[np.argsort(scored.end_ns[rows], kind="stable")]
            yield Track(
                recording=recording.name,
                family=recording.family,
                group=recording.group,
                fake=recording.fake,
                training=recording.training,
                simulated=copy > 0,
                **{name: getattr(scored, name)[rows] for name in _OF_A_WINDOW},
            )

    def close(self) -> None:
        """Free the engine."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _scored(self, recording: Recording, copy: int) -> Scored:
        key = recording.key(self._card.encoder.crop_px)
        path = self._cache / "logits" / model_key(self._card) / f"{key}-{copy}.npz"
        if not path.exists():
            seen = perceived(recording, self._cache, self._asset, self._card.encoder.crop_px)
            if copy:
                seen = simulated_call(seen, np.random.default_rng([SEED, copy, int(key[-12:], 16)]))
            if self._engine is None:
                self._engine = choose(self._card, "auto", 2).engine
            save_arrays(path, score(seen, self._card, self._engine))
        with np.load(path, allow_pickle=False) as stored:
            return Scored(**{name: stored[name] for name in stored.files})
