"""Set a model card's calibration and operating points from measured scores, and write the card anew.

    python -m monitor.calibrate CARD --features RUN/features-validation-*.npz --reals MANIFEST [--data DIR]

Calibration (scale, bias) is a logistic fit on windows of people that training never saw, both classes weighing
the same. The sequential test's thresholds come from real video alone, run through the product's own pipeline:
the peaks of the CUSUM in stretches of 10 s, with an exponential tail fitted beyond the largest quarter of them
(the video at hand is far shorter than ten hours, so the rarer operating points are extrapolated, and said so).
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.card import Calibration, ModelCard, OperatingPoint, OperatingPoints, Thresholds, load_card, write_card
from engines.detector_engine import DetectorEngine, open_engine
from engines.runtimes.onnx import OnnxRuntime
from engines.training.data import window_labels
from monitor.analysis import Analyser
from monitor.errors import SourceError
from monitor.evidence import cusum_path, sigmoid
from monitor.settings import Settings

Floats = npt.NDArray[np.float64]

STRETCH_S = 10.0
RATES_PER_HOUR = {"low": 0.1, "medium": 1.0, "high": 6.0}


def fit_logistic(logits: Floats, labels: Floats, weights: Floats, steps: int = 200) -> tuple[float, float]:
    """Scale and bias of the logistic regression of labels on logits, by Newton's method with a small ridge.

    `weights` (N,) count each window; the scale is kept above 0.05.
    """
    scale, bias = 1.0, 0.0
    x = np.stack([logits, np.ones_like(logits)], 1)
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(scale * logits + bias, -30, 30)))
        gradient = x.T @ (weights * (p - labels)) + 1e-3 * np.array([scale - 1.0, bias])
        hessian = (x * (weights * p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(2)
        move = np.linalg.solve(hessian, gradient)
        scale, bias = scale - float(move[0]), bias - float(move[1])
        if np.abs(move).max() < 1e-9:
            break
    return max(scale, 0.05), bias


def peaks(logits: Sequence[float], ends_ns: Sequence[int], drift: float) -> list[float]:
    """The largest CUSUM of each stretch of 10 s of one real person, the test running on as it does in a call."""
    path = cusum_path(logits, ends_ns, drift)
    out: list[float] = []
    start = 0
    for index in range(1, len(ends_ns) + 1):
        if index == len(ends_ns) or ends_ns[index] - ends_ns[start] > STRETCH_S * 1e9:
            out.append(max(path[start:index]))
            start = index
    return out


def threshold(values: Sequence[float], rate_per_hour: float) -> float:
    """The CUSUM threshold that real stretches pass `rate_per_hour` times an hour, by an exponential tail.

    The tail is fitted to the excess over the upper quartile (its mean, or 1 where there is none).
    """
    peaks_ = np.asarray(values, np.float64)
    knee = float(np.quantile(peaks_, 0.75))
    excess = peaks_[peaks_ > knee] - knee
    mean = max(float(excess.mean()) if len(excess) else 0.0, 1.0)
    share = rate_per_hour * STRETCH_S / 3600
    tail = max(float((peaks_ > knee).mean()), 1.0 / (len(peaks_) + 1))
    return max(knee + mean * float(np.log(tail / share)), 4.0)


Track = tuple[list[float], list[int]]
"""Calibrated window logits and their end times, ns, of one person."""


def real_tracks(files: Sequence[tuple[Path, tuple[float, float, float, float] | None]]) -> Iterator[Track]:
    """Calibrated logits of every person of the files, through the product's own analysis."""
    with Analyser(Settings()) as analyser:
        for path, region in files:
            try:
                analysis = analyser.analyse(path, region)
            except SourceError as error:
                print(f"left out: {error}", file=sys.stderr)
                continue
            for track in analysis.tracks:
                windows = [w for w in track.windows if w.score is not None]
                if len(windows) > 1:
                    scores = np.clip([w.score for w in windows], 1e-7, 1 - 1e-7)
                    yield list(np.log(scores / (1 - scores))), [int(w.end_s * 1e9) for w in windows]


def reals_of(manifest: Path) -> list[tuple[Path, tuple[float, float, float, float] | None]]:
    """The real rows of a manifest: file and region."""
    rows = []
    with manifest.open(newline="") as handle:
        for row in csv.DictReader(handle):
            if row["label"] == "real":
                numbers = [float(v) for v in row["region"].split(",")] if row["region"] else []
                region = (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == 4 else None
                rows.append((manifest.parent / row["file"], region))
    return rows


def window_logits(card: ModelCard, features: Path) -> tuple[Floats, Floats]:
    """Raw head logits and labels of stored validation windows."""
    with np.load(features, allow_pickle=False) as stored:
        windows, labels = stored["windows"], window_labels(stored["frame_labels"]).astype(np.float64)
    with open_engine(OnnxRuntime(), card) as engine:
        logits = _judge(engine, windows)
    return logits, labels


def _judge(engine: DetectorEngine, windows: npt.NDArray[np.float32]) -> Floats:
    parts = [engine.judge(windows[i : i + 64]).logit for i in range(0, len(windows), 64)]
    return np.concatenate(parts).astype(np.float64)


def calibrate(card_path: Path, features: Path, manifests: Sequence[Path], clips: Sequence[Path]) -> ModelCard:
    """Fit, measure, write the card anew and return it."""
    card = load_card(card_path)
    logits, labels = window_logits(card, features)
    weights = np.where(labels > 0.5, 0.5 / labels.sum(), 0.5 / (1 - labels).sum()) * len(labels)
    scale, bias = fit_logistic(logits, labels, weights)
    print(f"calibration: scale {scale:.4f}, bias {bias:.4f} from {len(labels)} windows")
    card = replace(card, calibration=Calibration(scale=scale, bias=bias))
    write_card(card_path, card)
    files = [row for manifest in manifests for row in reals_of(manifest)]
    files += [(clip, None) for clip in clips]
    tracks = list(real_tracks(files))
    hours = sum((ends[-1] - ends[0]) / 3.6e12 for _, ends in tracks)
    means = np.array([float(np.mean(values)) for values, _ in tracks])
    # The drift sits above what most real people show on average, so that the test falls back to zero on them.
    drift = max(float(np.quantile(means, 0.9)), 0.0) + 0.25
    found = [peak for values, ends in tracks for peak in peaks(values, ends, drift)]
    points = {
        name: OperatingPoint(false_alarms_per_hour=rate, cusum_h=threshold(found, rate), cusum_drift=drift)
        for name, rate in RATES_PER_HOUR.items()
    }
    low = float(np.clip(sigmoid(float(np.quantile(means, 0.8))), 0.3, 0.8))
    card = replace(
        card,
        operating_points=OperatingPoints(low=points["low"], medium=points["medium"], high=points["high"]),
        thresholds=Thresholds(low=low, high=float(np.clip(low + 0.25, 0.7, 0.95))),
    )
    write_card(card_path, card)
    print(f"real video: {len(tracks)} people, {hours:.2f} h judged, {len(found)} stretches of {STRETCH_S:g} s")
    for name, point in points.items():
        over = sum(p > point.cusum_h for p in found)
        print(
            f"{name}: {point.false_alarms_per_hour:g} an hour, h {point.cusum_h:.1f}, drift {drift:.2f}; "
            f"passed by {over} stretches here"
        )
    return card


def held_out_clips(data: Path) -> list[Path]:
    """Training's real clips of identities that were held out from the weights."""
    from engines.training.split import held_out

    with (data / "train" / "clips.csv").open(newline="") as handle:
        return [data / "train" / row["file"] for row in csv.DictReader(handle) if held_out(row["identity"])]


def main() -> int:
    """Command line of the calibration."""
    parser = argparse.ArgumentParser(prog="python -m monitor.calibrate", description="Calibrate a model card.")
    parser.add_argument("card", type=Path)
    parser.add_argument("--features", type=Path, required=True, help="RUN/features-validation-*.npz")
    parser.add_argument("--reals", type=Path, action="append", default=[], help="manifest whose real rows to use")
    parser.add_argument("--data", type=Path, help="folder with train/clips.csv, to use its held-out clips too")
    arguments = parser.parse_args()
    clips = held_out_clips(arguments.data) if arguments.data else []
    calibrate(arguments.card, arguments.features, arguments.reals, clips)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
