"""Where the detector is to be believed: its error by the quality of the picture, and the pictures that training saw.

    windows with size, sharpness, light, rate, yaw -> QualityError rows;  the same of training -> QualityRange

The limits of `monitor.quality.Gates` are read off these rows; nothing beyond the range is judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from engines.calibration import Calibration, QualityError, QualityRange
from engines.metrics import auc
from monitor.calibration.tracks import Track

Floats = npt.NDArray[np.float64]

EDGES: dict[str, tuple[float, ...]] = {
    "face_px": (0.0, 56.0, 80.0, 112.0, 160.0, 224.0, 10000.0),
    "blur": (-5.0, 0.7, 1.3, 1.7, 2.1, 2.5, 10.0),
    "luma": (0.0, 25.0, 60.0, 90.0, 120.0, 150.0, 255.1),
    "rate_hz": (0.0, 10.0, 12.0, 14.0, 120.0),
    "yaw_deg": (0.0, 10.0, 20.0, 30.0, 45.0, 180.1),
}
MIN_A_CLASS = 10
"""With fewer windows of a class an AUC says nothing and is left out."""
ROOM_OCTAVES, ROOM_BLUR, ROOM_LUMA = 0.33, 0.15, 10.0
"""How far beyond the outermost training windows a picture may lie."""
AUX_DT, AUX_FACE, AUX_BLUR, AUX_LUMA = -4, -3, -2, -1
"""Columns of a window's input, as `engines.window_input.aux_row` writes them."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Windows with their quality, arrays (N,); NaN where a figure is not known."""

    logits: Floats
    """Calibrated."""
    labels: Floats
    face_px: Floats
    blur: Floats
    luma: Floats
    rate_hz: Floats
    yaw_deg: Floats


@dataclass(frozen=True, slots=True, eq=False)
class AuxFigures:
    """The quality of stored windows, medians over their steps, arrays (N,)."""

    face_px: Floats
    blur: Floats
    luma: Floats
    rate_hz: Floats


def aux_figures(windows: npt.NDArray[np.float32]) -> AuxFigures:
    """The figures back from the input of the head, float32 (N, T, D)."""
    median = np.median(windows[:, :, AUX_DT:].astype(np.float64), axis=1)
    return AuxFigures(
        face_px=96.0 * 2.0 ** median[:, AUX_FACE],
        blur=median[:, AUX_BLUR] + 2.5,
        luma=(median[:, AUX_LUMA] + 1.0) * 128.0,
        rate_hz=10.0 / np.maximum(median[:, AUX_DT], 0.1),
    )


def of_features(windows: npt.NDArray[np.float32], raw: Floats, labels: Floats, calibration: Calibration) -> Windows:
    """Stored windows with the head's logits."""
    aux = aux_figures(windows)
    logits = np.array([calibration.apply(float(x), float(px)) for x, px in zip(raw, aux.face_px, strict=True)])
    unknown = np.full(len(raw), np.nan)
    return Windows(logits, labels, aux.face_px, aux.blur, aux.luma, aux.rate_hz, unknown)


def of_tracks(tracks: Iterable[Track], calibration: Calibration) -> Windows:
    """The judged windows of recordings, without the simulated ones."""
    kept = [t for t in tracks if not t.simulated and len(t.raw)]
    logits = [calibration.apply(float(x), float(px)) for t in kept for x, px in zip(t.raw, t.face_px, strict=True)]
    labels = np.concatenate([np.full(len(t.raw), float(t.fake)) for t in kept])
    figures = {name: np.concatenate([getattr(t, name) for t in kept]) for name in EDGES}
    return Windows(np.asarray(logits), labels, **figures)


def errors(windows: Windows, source: str) -> tuple[QualityError, ...]:
    """One row a stretch of a figure that has any windows. At even odds, both classes weighing the same."""
    rows = []
    for name, edges in EDGES.items():
        values: Floats = getattr(windows, name)
        for low, high in pairwise(edges):
            inside = (values >= low) & (values < high)
            if not inside.any():
                continue
            logits, labels = windows.logits[inside], windows.labels[inside]
            reals, fakes = int((labels < 0.5).sum()), int((labels > 0.5).sum())
            enough = min(reals, fakes) >= MIN_A_CLASS
            error = _error(logits, labels) if enough else None
            rows.append(
                QualityError(
                    source=source,
                    by=name,
                    low=low,
                    high=high,
                    auc=round(auc(logits, labels), 4) if enough else None,
                    error=error,
                    n_real=reals,
                    n_fake=fakes,
                )
            )
    return tuple(rows)


def _error(logits: Floats, labels: Floats) -> float:
    false, missed = (logits[labels < 0.5] > 0).mean(), (logits[labels > 0.5] <= 0).mean()
    return round(float(false + missed) / 2, 4)


def seen_range(windows: npt.NDArray[np.float32]) -> QualityRange:
    """What the stored windows of training show, (N, T, D), with a little room on both sides."""
    aux = aux_figures(windows)
    room = 2.0**ROOM_OCTAVES
    return QualityRange(
        min_face_px=round(float(aux.face_px.min()) / room, 1),
        max_face_px=round(float(aux.face_px.max()) * room, 1),
        min_blur=round(float(aux.blur.min()) - ROOM_BLUR, 3),
        max_blur=round(float(aux.blur.max()) + ROOM_BLUR, 3),
        min_luma=round(max(float(aux.luma.min()) - ROOM_LUMA, 0.0), 1),
        max_luma=round(min(float(aux.luma.max()) + ROOM_LUMA, 255.0), 1),
        windows=len(windows),
    )


def lines(rows: Sequence[QualityError]) -> list[str]:
    """A table for people."""
    out = [f"{'windows':<18} {'by':<9} {'from':>7} {'to':>7} {'AUC':>6} {'error':>6} {'real':>6} {'fake':>6}"]
    for row in rows:
        auc_, error = ("-" if v is None else f"{v:.2f}" for v in (row.auc, row.error))
        out.append(
            f"{row.source:<18} {row.by:<9} {row.low:>7g} {row.high:>7g} {auc_:>6} {error:>6} "
            f"{row.n_real:>6} {row.n_fake:>6}"
        )
    return out
