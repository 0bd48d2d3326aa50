"""The detector as the pipeline sees it: crops become features once, windows of features become calibrated scores.

    TrackedFace -> encode -> Encoded (kept in the windows' rings);  Window -> score -> WindowScore

The engine knows arrays and raw logits only; what a logit is worth for a face of this size comes from the model card.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines.card import ModelCard
from engines.detector_engine import Engine
from engines.errors import EngineError
from monitor.types import Float32Array, TrackedFace, Window, WindowScore

MAX_AT_ONCE = 8
"""Crops or windows given to the engine in one call: more are split, so that memory and latency stay bounded."""
_LOGIT_BOUND = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What the encoder says of one crop."""

    features: Float32Array
    """float32 (D,): the row that a Window keeps; its last value is the frame logit."""
    logit: float
    """Raw frame logit, not calibrated."""
    where: Float32Array
    """float32 (w, w) 0..1 over the crop: where the picture may be forged."""


class Detector:
    """Encoder, head and calibration of one model. The caller owns the engine and closes it."""

    def __init__(self, engine: Engine, card: ModelCard) -> None:
        self._engine = engine
        self._card = card

    @property
    def model_id(self) -> str:
        return self._card.id

    @property
    def runtime(self) -> str:
        """What runs it, such as `OpenVINO CPU (2 threads)`."""
        return self._engine.name

    def encode(self, faces: Sequence[TrackedFace]) -> list[Encoded]:
        """One Encoded a face, in order. Raises EngineError for a crop of another size than the card's."""
        side = self._card.encoder.crop_px
        for face in faces:
            if face.crop.shape != (side, side, 3):
                raise EngineError(
                    f"track {face.track_id}: found a crop of shape {face.crop.shape}, expected ({side}, {side}, 3) "
                    f"for the model {self._card.id}; make the cropper and the model card agree"
                )
        encoded: list[Encoded] = []
        for start in range(0, len(faces), MAX_AT_ONCE):
            out = self._engine.encode(np.stack([face.crop for face in faces[start : start + MAX_AT_ONCE]]))
            encoded += [
                Encoded(features=out.features[i], logit=float(out.logits[i]), where=out.where[i])
                for i in range(len(out.logits))
            ]
        return encoded

    def score(self, window: Window) -> WindowScore:
        """The calibrated score of one window. Raises EngineError for a window of another shape than the card's."""
        return self.score_many([window])[0]

    def score_many(self, windows: Sequence[Window]) -> list[WindowScore]:
        """One WindowScore a window, in order. Raises EngineError as `score` does."""
        expected = (self._card.head.steps, self._card.window_dim)
        for window in windows:
            if window.features.shape != expected:
                raise EngineError(
                    f"track {window.track_id}: found a window of shape {window.features.shape}, expected {expected} "
                    f"for the model {self._card.id}; make the window builder and the model card agree"
                )
        scores: list[WindowScore] = []
        for start in range(0, len(windows), MAX_AT_ONCE):
            part = windows[start : start + MAX_AT_ONCE]
            out = self._engine.judge(np.stack([window.features for window in part]))
            scores += [
                self._calibrated(window, float(out.logit[i]), out.frame_logits[i]) for i, window in enumerate(part)
            ]
        return scores

    def _calibrated(self, window: Window, raw_logit: float, frame_logits: Float32Array) -> WindowScore:
        logit = self._card.calibration.apply(raw_logit, window.quality.face_px)
        logit = min(max(logit, -_LOGIT_BOUND), _LOGIT_BOUND)
        reference = self._card.reference
        return WindowScore(
            track_id=window.track_id,
            start_ns=int(window.media_ns[0]),
            end_ns=int(window.media_ns[-1]),
            logit=logit,
            suspicion=1.0 / (1.0 + math.exp(-logit)),
            frame_logits=frame_logits,
            quality=window.quality,
            model_id=self._card.id,
            runtime=self._engine.name,
            p_real=None if reference is None else reference.p_window(raw_logit, window.quality.face_px),
        )
