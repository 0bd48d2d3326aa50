#!/usr/bin/env python3
"""Print what the evidence cues measure on genuine and forged clips: the table of `docs/evidence.md`.

    .venv/bin/python scripts/cue_effects.py CORPUS

CORPUS is what `python -m monitor.corpus` wrote. Paired: both halves of one recording of a live face swap, the genuine
one and the swapped one, so that light, camera and codec are the same. Spread: how far a genuine person's windows lie
from that person's own median, which is what the least spreads of the cues are set from.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

import numpy as np  # noqa: E402

from engines.training.entries import CORPUS_SCALE  # noqa: E402
from monitor.crops import CROP_PX, CROP_SCALE  # noqa: E402
from monitor.cues import flicker, residual, sharpness, slip  # noqa: E402
from monitor.cues.motion import Flow, small_grey  # noqa: E402
from monitor.types import UInt8Array  # noqa: E402

STEPS, HOP = 32, 5
MAX_SAMPLES = 150
MIN_SAMPLES = 60
CUES = {
    sharpness.NAME: sharpness.MIN_SPREAD,
    flicker.NAME: flicker.MIN_SPREAD,
    residual.NAME: residual.MIN_SPREAD,
    slip.NAME: slip.MIN_SPREAD,
}

Values = dict[str, "np.ndarray[tuple[int], np.dtype[np.float64]]"]


@dataclass(frozen=True)
class Recording:
    """One person's windows: the value of each cue on the scale on which it is compared."""

    key: str
    values: Values

    def median(self, cue: str) -> float:
        return float(np.median(self.values[cue]))


def product_crops(images: UInt8Array) -> list[UInt8Array]:
    """The corpus keeps a wider crop than the product's: cut it down and resample it as the product does."""
    import cv2

    side = images.shape[1]
    margin = round(side * (1 - CROP_SCALE / CORPUS_SCALE) / 2)
    inner = (np.ascontiguousarray(image[margin : side - margin, margin : side - margin]) for image in images)
    return [np.asarray(cv2.resize(i, (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA), np.uint8) for i in inner]


def read(folder: Path, key: str) -> Recording | None:
    """All windows of one entry; None where it is too short."""
    images = np.load(folder / f"{key}.images.npy", mmap_mode="r", allow_pickle=False)[:MAX_SAMPLES]
    if len(images) < MIN_SAMPLES:
        return None
    crops, flow = product_crops(images), Flow()
    greys = [small_grey(crop) for crop in crops]
    motions = [flow.between(a, b) for a, b in pairwise(greys)]
    sharp, colour = [sharpness.measure(c) for c in crops], [flicker.measure(c) for c in crops]
    shimmer = [residual.measure(m) for m in motions]

    def windows(value: Callable[[int, int], float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([value(end - STEPS, end) for end in range(STEPS, len(crops) + 1, HOP)])

    values = {
        sharpness.NAME: windows(lambda a, b: sharpness.scale(sharpness.value(sharp[a:b]))),
        flicker.NAME: windows(lambda a, b: flicker.scale(flicker.value(colour[a:b]))),
        residual.NAME: windows(lambda a, b: residual.scale(residual.value(shimmer[a : b - 1]))),
        slip.NAME: windows(lambda a, b: slip.scale(slip.value(motions[a : b - 1]))),
    }
    return Recording(key, values)


def pairs_of(recordings: list[Recording]) -> list[tuple[Recording, Recording]]:
    """The longest-known genuine and forged entry of each live pair: keys `pair-NAME-real-N` and `pair-NAME-fake-N`."""
    halves: dict[str, dict[str, Recording]] = {}
    for recording in recordings:
        name, label, _ = recording.key.rsplit("-", 2)
        halves.setdefault(name, {}).setdefault(label, recording)
    return [(half["real"], half["fake"]) for half in halves.values() if {"real", "fake"} <= half.keys()]


def auc(real: list[float], fake: list[float]) -> float:
    """How often a fake reads higher than a real one, ties half."""
    wins = [1.0 if f > r else 0.5 if f == r else 0.0 for f in fake for r in real]
    return float(np.mean(wins))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpus", type=Path, help="folder that `python -m monitor.corpus` wrote")
    folder: Path = parser.parse_args().corpus
    keys = sorted(path.name.removesuffix(".meta.npz") for path in folder.glob("*.meta.npz"))
    found = [one for key in keys if key.startswith(("pair-", "clip-")) and (one := read(folder, key)) is not None]
    pairs = pairs_of([one for one in found if one.key.startswith("pair-")])
    clips = [one for one in found if one.key.startswith("clip-")]
    if not pairs or not clips:
        print(f"{folder}: found {len(pairs)} live pairs and {len(clips)} clips, expected some of both", file=sys.stderr)
        return 1
    print(f"{len(pairs)} live pairs, {len(clips)} genuine clips, windows of {STEPS} samples\n")
    columns = ("cue", "genuine", "swapped", "paired difference", "swapped is higher", "AUC unpaired")
    print(f"| {' | '.join(columns)} | own spread, 95 % / 99 % | 3 z |")
    print("|---" * (len(columns) + 2) + "|")
    for cue, least in CUES.items():
        real, fake = [r.median(cue) for r, _ in pairs], [f.median(cue) for _, f in pairs]
        difference = np.subtract(fake, real)
        off = np.concatenate([np.abs(c.values[cue] - c.median(cue)) for c in clips])
        low, high = np.quantile(off, [0.95, 0.99])
        print(
            f"| {cue} | {np.median(real):+.2f} | {np.median(fake):+.2f} | {np.median(difference):+.2f} "
            f"| {100 * float((difference > 0).mean()):.0f} % | {auc(real, fake):.2f} | {low:.2f} / {high:.2f} "
            f"| {3 * least:.2f} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
