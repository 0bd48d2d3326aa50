"""Stored validation windows of a training run: are they the card's, and what does the card's head say of them?"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.card import ModelCard
from engines.detector_engine import DetectorEngine
from engines.errors import AssetError
from engines.training.data import window_labels

Floats = npt.NDArray[np.float64]

TOLERANCE = 0.1
"""Largest difference of a feature that another runtime or number format may make."""
_AT_ONCE = 64


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What the file holds, N windows."""

    windows: npt.NDArray[np.float32]
    """(N, T, D)"""
    labels: Floats
    origin: tuple[str, ...]
    """Where each window comes from: `clip`, `live-pair`, the name of a forgery."""
    people: int | None
    """How many identities; None where the file does not say."""
    encoder: str | None
    """First 16 digits of the sha256 of the trained encoder's state; None where the file does not say."""


def read_features(path: Path) -> Features:
    """Raises AssetError, one line, for a file that is not what `engines.training.head` writes."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            names = set(stored.files)
            windows, labels = stored["windows"], window_labels(stored["frame_labels"]).astype(np.float64)
            origin = tuple(str(one) for one in stored["origin"])
            encoder = str(np.asarray(stored["encoder"]).ravel()[0]) if "encoder" in names else None
            people = len(set(stored["identity"].tolist())) if "identity" in names else None
    except (OSError, KeyError, ValueError) as error:
        raise AssetError(
            f"features {path}: expected what engines.training.head writes, found: {error}; run it once more"
        ) from None
    return Features(windows, labels, origin, people, encoder)


def check_encoder(features: Features, path: Path, card: ModelCard, engine: DetectorEngine) -> str:
    """Do these features come from the card's encoder? Returns how that was told.

    By the hash of the trained state, where card and file both have it; else by encoding the first stored window
    beside the features anew. Raises AssetError where they do not belong together.
    """
    advice = "export the run whose features these are, or give the features of the run that was exported"
    if features.windows.shape[1:] != (card.head.steps, card.window_dim):
        raise AssetError(
            f"features {path}: found windows of shape {features.windows.shape[1:]}, "
            f"expected {(card.head.steps, card.window_dim)} for the model {card.id}; {advice}"
        )
    if features.encoder is not None and card.encoder.state is not None:
        if features.encoder[:16] != card.encoder.state[:16]:
            raise AssetError(
                f"features {path}: found the encoder {features.encoder[:16]}, "
                f"expected {card.encoder.state[:16]} as in the card of {card.id}; {advice}"
            )
        return f"same encoder state {features.encoder[:16]}"
    shard = next(iter(sorted((path.parent / "windows-validation").glob("*.npz"))), None)
    if shard is None:
        print(
            f"warning: {path} or the card does not name its encoder and no windows-validation lies beside it: "
            f"that these features belong to {card.id} is not checked",
            file=sys.stderr,
        )
        return "not checked"
    with np.load(shard, allow_pickle=False) as stored:
        crops = stored["crops"][0]
    wanted = features.windows[0, :, : card.encoder.feature_dim]
    if crops.shape[1:] != (card.encoder.crop_px, card.encoder.crop_px, 3) or len(crops) != len(wanted):
        raise AssetError(f"{shard}: found crops of shape {crops.shape}, not those of the model {card.id}; {advice}")
    worst = float(np.abs(engine.encode(crops).features - wanted).max())
    if worst > TOLERANCE * max(1.0, float(np.abs(wanted).max())):
        raise AssetError(
            f"features {path}: the card's encoder gives others for the same pictures (differences up to {worst:.2f}); "
            f"{advice}"
        )
    return f"the card's encoder gives the same features (differences up to {worst:.3f})"


def head_logits(features: Features, engine: DetectorEngine) -> Floats:
    """Raw head logits (N,). Raises EngineError."""
    windows = features.windows
    parts = [engine.judge(windows[i : i + _AT_ONCE]).logit for i in range(0, len(windows), _AT_ONCE)]
    return np.concatenate(parts).astype(np.float64)
