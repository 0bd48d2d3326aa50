"""Whole windows for the head: 32 crops at 15 Hz, real and forged, made once and kept beside the run.

    python -m engines.training.windows CORPUS RUN --pairs 1200

Writes RUN/windows-train and RUN/windows-validation: numpy shards of crops, labels, frame labels and the head's
auxiliary input. Synthesised pairs come from real clips; the real forgeries are cut into windows of their own.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.forge.masks import Image, Rng
from engines.forge.nuisances import Nuisance, through
from engines.forge.pairs import draw_family, make_pair
from engines.network import STEPS
from engines.training.data import Corpus, Entry, Mix, Sampler, region
from engines.window_input import aux_rows, blur_and_luma

_STORED_FACE_PX = 128.0
_SHARD = 50


@dataclass(frozen=True, slots=True, eq=False)
class WindowSample:
    """crops uint8 (32, S, S, 3), frame labels (32,), aux (32, 4), and where it comes from."""

    crops: Image
    frame_labels: npt.NDArray[np.float32]
    aux: npt.NDArray[np.float32]
    origin: str


def _aux(crops: Image, media_ns: npt.NDArray[np.int64], face_px: float) -> npt.NDArray[np.float32]:
    figures = [blur_and_luma(crop) for crop in crops]
    return aux_rows(media_ns, [face_px] * len(crops), [f[0] for f in figures], [f[1] for f in figures])


def _start(entry: Entry, rng: Rng) -> int:
    return int(rng.integers(entry.count - STEPS + 1))


def _times(entry: Entry, start: int) -> npt.NDArray[np.int64]:
    return np.asarray(entry.meta("media_ns")[start : start + STEPS], np.int64)


def _steady(times: npt.NDArray[np.int64]) -> bool:
    """True where no gap lies inside the window."""
    return bool(np.diff(times).max() < 0.35e9)


def _face_px(entry: Entry, start: int, scale: float) -> float:
    own = float(np.median(np.asarray(entry.meta("face_px")[start : start + STEPS], np.float32)))
    return own if scale >= 1.0 else min(own, _STORED_FACE_PX * scale)


def synthesised(sampler: Sampler, rng: Rng) -> Iterator[tuple[WindowSample, WindowSample]]:
    """Endless (real, forged) windows of clips."""
    clips = [e for e in sampler.clips if e.count >= STEPS]
    weights = np.array([min(e.count, 200) ** 0.5 for e in clips])
    weights /= weights.sum()
    while True:
        entry = clips[int(rng.choice(len(clips), p=weights))]
        start = _start(entry, rng)
        times = _times(entry, start)
        if not _steady(times):
            continue
        other = sampler.still_or_frame(rng, 0.6)
        pair = make_pair(
            region(entry, start, STEPS, rng),
            rng,
            size_px=sampler.size_px,
            other=other,
            family=draw_family(rng, stills=False),
        )
        face_px = _face_px(entry, start, 1.0)
        zeros = np.zeros(STEPS, np.float32)
        yield (
            WindowSample(pair.real, zeros, _aux(pair.real, times, face_px), "clip"),
            WindowSample(pair.fake, pair.frame_labels, _aux(pair.fake, times, face_px), pair.family.value),
        )


def recorded(entry: Entry, sampler: Sampler, rng: Rng, count: int) -> Iterator[WindowSample]:
    """Windows of one entry as it is (the first) and through calls of its own."""
    import cv2

    if entry.count < STEPS:
        return
    for index in range(count):
        start = _start(entry, rng)
        times = _times(entry, start)
        if not _steady(times):
            continue
        clip = region(entry, start, STEPS, rng, jitter=index > 0)
        size = (sampler.size_px, sampler.size_px)
        if index == 0:
            crops = np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in clip.images])
            scale = 1.0
        else:
            nuisance = Nuisance.draw(rng, STEPS)
            crops, scale = through(nuisance, clip.images, clip.landmarks, sampler.size_px), nuisance.face_scale
        label = 1.0 if entry.label == "fake" else 0.0
        origin = entry.family if label else f"real-{entry.split}"
        yield WindowSample(
            crops, np.full(STEPS, label, np.float32), _aux(crops, times, _face_px(entry, start, scale)), origin
        )


def all_windows(sampler: Sampler, rng: Rng, pairs: int, each: int) -> Iterator[WindowSample]:
    """`each` windows of every recording (two of a real clip), then `pairs` synthesised pairs."""
    for pool in (sampler.live["real"], sampler.live["fake"], sampler.forgeries["real"], sampler.forgeries["fake"]):
        for entry in pool:
            yield from recorded(entry, sampler, rng, each)
    for entry in sampler.clips:
        yield from recorded(entry, sampler, rng, 2)
    source = synthesised(sampler, rng)
    for _ in range(pairs):
        yield from next(source)


def write(folder: Path, samples: Iterator[WindowSample]) -> int:
    """Store windows in shards of 50 in place of what was there, each by an atomic rename. Returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9]*.npz"):
        old.unlink()
    shard: list[WindowSample] = []
    count = 0

    def flush() -> None:
        nonlocal shard
        if not shard:
            return
        name = folder / f"{count // _SHARD:04d}.npz"
        with (folder / "partial").open("wb") as handle:
            np.savez(
                handle,
                crops=np.stack([s.crops for s in shard]),
                frame_labels=np.stack([s.frame_labels for s in shard]),
                aux=np.stack([s.aux for s in shard]),
                origin=np.array([s.origin for s in shard]),
            )
        os.replace(folder / "partial", name)
        print(f"{folder.name}: {count} windows", flush=True)
        shard = []

    for sample in samples:
        shard.append(sample)
        count += 1
        if len(shard) == _SHARD:
            flush()
    flush()
    return count


def main() -> int:
    """Command line of the window maker."""
    parser = argparse.ArgumentParser(prog="python -m engines.training.windows", description="Make windows.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--size", type=int, default=144)
    parser.add_argument("--pairs", type=int, default=1200)
    parser.add_argument("--own-only", action="store_true", help="only forgeries made here, no real ones")
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    corpus = Corpus.load(arguments.corpus)
    for name, validation, pairs in (("validation", True, arguments.pairs // 8), ("train", False, arguments.pairs)):
        sampler = Sampler(corpus, size_px=arguments.size, mix=Mix(), validation=validation)
        if arguments.own_only:
            sampler.live = {"real": [], "fake": []}
            sampler.forgeries = {"real": [], "fake": []}
        rng = np.random.default_rng([arguments.seed, validation])
        write(arguments.run / f"windows-{name}", all_windows(sampler, rng, pairs, 6))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
