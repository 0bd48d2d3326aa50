"""The logistic fit that turns raw logits into log-odds, by the size of the face (Platt 1999; Guo et al., ICML 2017).

Every bin of sizes is drawn towards the fit of all windows, the more so the fewer windows it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.calibration import Calibration, QualityBin

Floats = npt.NDArray[np.float64]

BIN_EDGES_PX = (80.0, 128.0, 200.0)
"""Faces up to 80 px, to 128, to 200, and larger."""
SHRINKAGE_WINDOWS = 300.0
"""A bin with so many windows lies about half way between its own fit and the fit of all."""
MIN_BIN_WINDOWS = 30
MIN_SCALE, MAX_SCALE = 0.05, 100.0
"""What a card may hold. A scale at its lower end says that the detector cannot tell."""
MAX_BIAS = 20.0
_RIDGE = 1e-3
_INFORMATION = 0.1
"""What one window tells of scale and bias near even odds: p (1 - p) is 0.25 at most, less where it is sure."""


@dataclass(frozen=True, slots=True)
class Line:
    """scale * logit + bias."""

    scale: float
    bias: float

    def of(self, logits: Floats) -> Floats:
        return np.asarray(self.scale * logits + self.bias)


_START = Line(1.0, 0.0)


def class_weights(labels: Floats, origins: Sequence[str] | None = None) -> Floats:
    """Weights (N,) that make both classes weigh the same, and within each class every origin; their sum is N."""
    keys = [f"{label > 0.5}" if origins is None else f"{label > 0.5} {origins[i]}" for i, label in enumerate(labels)]
    names, member, counts = np.unique(np.asarray(keys), return_inverse=True, return_counts=True)
    fake = np.array([name.startswith("True") for name in names])
    share = np.where(fake, 0.5 / max(int(fake.sum()), 1), 0.5 / max(int((~fake).sum()), 1))
    return np.asarray((share / counts)[member] * len(labels), np.float64)


def fit_logistic(
    logits: Floats,
    labels: Floats,
    weights: Floats,
    *,
    towards: Line = _START,
    strength: float = _RIDGE,
    steps: int = 200,
) -> Line:
    """Logistic regression of `labels` on `logits` (N,) by Newton's method, drawn `towards` a line by `strength`."""
    goal = np.array([towards.scale, towards.bias])
    found = goal.copy()
    x = np.stack([logits, np.ones_like(logits)], 1)

    def loss(line: Floats) -> float:
        z = x @ line
        own = float((weights * (np.logaddexp(0.0, z) - labels * z)).sum())
        return own + 0.5 * strength * float(((line - goal) ** 2).sum())

    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x @ found, -30, 30)))
        gradient = x.T @ (weights * (p - labels)) + strength * (found - goal)
        hessian = (x * (weights * p * (1 - p))[:, None]).T @ x + strength * np.eye(2)
        move = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and loss(found - size * move) > loss(found):
            size /= 2
        found = found - size * move
        if np.abs(size * move).max() < 1e-9:
            break
    scale = min(max(float(found[0]), MIN_SCALE), MAX_SCALE)
    return Line(scale, min(max(float(found[1]), -MAX_BIAS), MAX_BIAS))


def fit_calibration(logits: Floats, labels: Floats, face_px: Floats, weights: Floats) -> Calibration:
    """The fit of all windows, and one a bin of face sizes that has both classes and `MIN_BIN_WINDOWS` windows.

    Raises ValueError where a class is missing.
    """
    if not 0.0 < labels.mean() < 1.0:
        raise ValueError(f"calibration: expected real and forged windows, found {len(labels)} of one kind only")
    whole = fit_logistic(logits, labels, weights)
    bins = []
    member = np.searchsorted(np.asarray(BIN_EDGES_PX), face_px, side="left")
    for index in range(len(BIN_EDGES_PX) + 1):
        rows = np.flatnonzero(member == index)
        if len(rows) < MIN_BIN_WINDOWS or not 0.0 < labels[rows].mean() < 1.0:
            continue
        # The bias shifts with the mix of a bin unless both classes weigh the same in it, too.
        own = weights[rows].copy()
        for kind in (labels[rows] > 0.5, labels[rows] <= 0.5):
            own[kind] *= len(rows) / 2 / own[kind].sum()
        line = fit_logistic(logits[rows], labels[rows], own, towards=whole, strength=_INFORMATION * SHRINKAGE_WINDOWS)
        centre = float(2.0 ** np.median(np.log2(face_px[rows])))
        bins.append(QualityBin(face_px=round(centre, 1), scale=line.scale, bias=line.bias, windows=len(rows)))
    return Calibration(scale=whole.scale, bias=whole.bias, bins=tuple(bins) if len(bins) > 1 else ())


def expected_error(probabilities: Floats, labels: Floats, weights: Floats, bins: int = 10) -> float:
    """Expected calibration error: the mean gap between what was said and what was so, over bins of equal width."""
    member = np.minimum((probabilities * bins).astype(int), bins - 1)
    gap = 0.0
    for index in range(bins):
        rows = member == index
        if rows.any():
            share = weights[rows].sum() / weights.sum()
            said = float(np.average(probabilities[rows], weights=weights[rows]))
            gap += float(share) * abs(said - float(np.average(labels[rows], weights=weights[rows])))
    return gap
