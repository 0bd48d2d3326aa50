"""Whole windows for the head: 32 crops at 8 to 15 Hz, real and forged, made once and kept beside the run.

    python -m engines.training.windows CORPUS RUN --pairs 1200

Writes RUN/windows-train and RUN/windows-validation: numpy shards of crops, labels, frame labels and the head's
auxiliary input. Pairs are forged from real clips. The recorded forgeries are left out unless `--recorded` asks for
them: the encoder knows them by heart, so a head would learn from them that everything is certain. A shard that is
there already is kept, so a stopped run goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.files import replaced
from engines.forge.families import Clip, Family
from engines.forge.masks import Image, Rng
from engines.forge.nuisances import Nuisance, through
from engines.forge.pairs import draw_family, make_pair
from engines.network import STEPS
from engines.training.data import Mix, Sampler, another_time, region
from engines.training.entries import Corpus, Entry
from engines.window_input import CROP_SCALE, aux_rows, blur_and_luma

STORED_FACE_PX = 128.0
"""Side of the face in a stored crop."""
_PAIRS_A_SHARD = 25


@dataclass(frozen=True, slots=True, eq=False)
class WindowSample:
    """crops uint8 (32, S, S, 3), frame labels (32,), aux (32, 4), and where it comes from."""

    crops: Image
    frame_labels: npt.NDArray[np.float32]
    aux: npt.NDArray[np.float32]
    origin: str


def _aux(crops: Image, media_ns: npt.NDArray[np.int64], face_px: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    figures = [blur_and_luma(crop) for crop in crops]
    return aux_rows(media_ns, [float(v) for v in face_px], [f[0] for f in figures], [f[1] for f in figures])


def _start(entry: Entry, rng: Rng, frames: int = STEPS) -> int:
    return int(rng.integers(entry.count - frames + 1))


def _times(entry: Entry, start: int, frames: int) -> npt.NDArray[np.int64]:
    return np.asarray(entry.meta("media_ns")[start : start + frames], np.int64)


def _steady(times: npt.NDArray[np.int64]) -> bool:
    """True where no gap lies inside the window."""
    return bool(np.diff(times).max() < 0.35e9)


def _face_px(entry: Entry, start: int, frames: int, scale: float) -> npt.NDArray[np.float32]:
    own = np.asarray(entry.meta("face_px")[start : start + frames], np.float32)
    return own if scale >= 1.0 else np.minimum(own, STORED_FACE_PX) * np.float32(scale)


def draw_steps(rng: Rng, room: int) -> npt.NDArray[np.int64]:
    """Which samples of a 15 Hz recording a window takes: all 32 mostly, else with some left out as at 8 to 14 Hz.

    `room` is how many samples there are, at least 32. Steps of more than 3 samples (0.2 s) do not occur.
    """
    span = STEPS if rng.random() < 0.6 else int(rng.integers(STEPS, min(room, 2 * STEPS) + 1))
    kept = np.round(np.linspace(0, span - 1, STEPS)).astype(np.int64)
    if span > STEPS + 4:
        inner = kept[1:-1] + rng.integers(-1, 2, STEPS - 2)
        kept[1:-1] = np.clip(inner, 1, span - 2)
        kept = np.unique(kept)
        rest = np.setdiff1d(np.arange(span), kept)
        missing = STEPS - len(kept)
        kept = np.sort(np.concatenate([kept, rng.permutation(rest)[:missing]]))
    return np.asarray(kept, np.int64)


def synthesised(sampler: Sampler, rng: Rng) -> Iterator[tuple[WindowSample, WindowSample]]:
    """Endless (real, forged) windows of clips."""
    clips = [e for e in sampler.clips if e.count >= STEPS]
    weights = np.array([min(e.count, 200) ** 0.5 for e in clips])
    weights /= weights.sum()
    while True:
        family = draw_family(rng, stills=False, shares=sampler.shares)
        found = sampler.made_again(rng, STEPS) if family is Family.REMADE else None
        if found is not None:
            pair = make_pair(found[0], rng, size_px=sampler.size_px, other=found[1], family=family)
            times = np.round(np.arange(STEPS) * 1e9 / 15).astype(np.int64)
            kept = np.arange(STEPS)
            face_px = np.full(STEPS, STORED_FACE_PX * pair.face_scale, np.float32)
        else:
            entry = clips[int(rng.choice(len(clips), p=weights))]
            kept = draw_steps(rng, entry.count)
            span = int(kept[-1]) + 1
            start = _start(entry, rng, span)
            times = _times(entry, start, span)[kept]
            if not _steady(times):
                continue
            other = sampler.still_or_frame(rng, 0.6)
            seed = int(rng.integers(2**31))
            if family is Family.ANIMATED:
                elsewhere = another_time(entry, start, rng)
                other = region(entry, elsewhere, 1, np.random.default_rng(seed), scale=sampler.scale)
            family = Family.RESYNTH if family is Family.REMADE else family
            clip = region(entry, start, span, np.random.default_rng(seed), scale=sampler.scale)
            clip = Clip(clip.images[kept], clip.landmarks[kept])
            pair = make_pair(clip, rng, size_px=sampler.size_px, other=other, family=family)
            face_px = _face_px(entry, start, span, pair.face_scale)[kept]
        zeros = np.zeros(STEPS, np.float32)
        yield (
            WindowSample(pair.real, zeros, _aux(pair.real, times, face_px), "clip"),
            WindowSample(pair.fake, pair.frame_labels, _aux(pair.fake, times, face_px), pair.family.value),
        )


def recorded(entry: Entry, sampler: Sampler, rng: Rng, count: int) -> Iterator[WindowSample]:
    """Windows of one entry, each through a call of its own, as the forged ones go: none is cleaner than those."""
    if entry.count < STEPS:
        return
    for _ in range(count):
        start = _start(entry, rng)
        times = _times(entry, start, STEPS)
        if not _steady(times):
            continue
        clip = region(entry, start, STEPS, rng, scale=sampler.scale)
        nuisance = Nuisance.draw(rng, STEPS)
        crops = through(nuisance, clip.images, clip.landmarks, sampler.size_px)
        label = 1.0 if entry.label == "fake" else 0.0
        origin = entry.family if label else f"real-{entry.split}"
        face_px = _face_px(entry, start, STEPS, nuisance.face_scale)
        yield WindowSample(crops, np.full(STEPS, label, np.float32), _aux(crops, times, face_px), origin)


def real_windows(sampler: Sampler, rng: Rng, each: int) -> Iterator[WindowSample]:
    """`each` windows of every real clip."""
    for entry in sampler.clips:
        yield from recorded(entry, sampler, rng, each)


def recorded_windows(sampler: Sampler, rng: Rng, each: int) -> Iterator[WindowSample]:
    """`each` windows of every recorded forgery and of the real recordings beside them."""
    for real, fake in sampler.live:
        yield from recorded(real, sampler, rng, each)
        yield from recorded(fake, sampler, rng, each)
    for label in ("real", "fake"):
        for entry in sampler.forgeries[label]:
            yield from recorded(entry, sampler, rng, each)


def forged_windows(sampler: Sampler, rng: Rng, pairs: int) -> Iterator[WindowSample]:
    """`pairs` forged pairs, twice as many windows."""
    source = synthesised(sampler, rng)
    for _ in range(pairs):
        yield from next(source)


def write(folder: Path, name: str, samples: Iterator[WindowSample]) -> int:
    """Store windows as one shard, by an atomic rename. Returns how many."""
    shard = list(samples)
    if not shard:
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    with replaced(folder / f"{name}.npz") as handle:
        np.savez(
            handle,
            crops=np.stack([s.crops for s in shard]),
            frame_labels=np.stack([s.frame_labels for s in shard]),
            aux=np.stack([s.aux for s in shard]),
            origin=np.array([s.origin for s in shard]),
        )
    print(f"{folder.name}/{name}: {len(shard)} windows", flush=True)
    return len(shard)


def main() -> int:
    """Command line of the window maker."""
    parser = argparse.ArgumentParser(prog="python -m engines.training.windows", description="Make windows.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--size", type=int, default=144)
    parser.add_argument("--pairs", type=int, default=1200)
    parser.add_argument("--recorded", action="store_true", help="recorded forgeries too, which the encoder knows")
    parser.add_argument("--leave-out", default="", help="comma-separated families, as for the encoder")
    parser.add_argument("--scale", type=float, default=CROP_SCALE, help="side of the crop in face sizes")
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    corpus = Corpus.load(arguments.corpus)
    left_out = frozenset(filter(None, arguments.leave_out.split(",")))
    if not arguments.recorded:
        left_out |= {"live-pair"}
    for name, validation, pairs in (("validation", True, arguments.pairs // 4), ("train", False, arguments.pairs)):
        sampler = Sampler(
            corpus,
            size_px=arguments.size,
            mix=Mix(),
            validation=validation,
            left_out=left_out,
            scale=arguments.scale,
        )
        folder = arguments.run / f"windows-{name}"
        shards = [f"forged-{i:04d}" for i in range(-(-pairs // _PAIRS_A_SHARD))]
        for index, shard in enumerate(["real", *(["recorded"] if arguments.recorded else []), *shards]):
            if (folder / f"{shard}.npz").exists():
                continue
            rng = np.random.default_rng([arguments.seed, validation, index])
            if shard == "real":
                write(folder, shard, real_windows(sampler, rng, 10 if validation else 3))
            elif shard == "recorded":
                write(folder, shard, recorded_windows(sampler, rng, 4))
            else:
                write(folder, shard, forged_windows(sampler, rng, _PAIRS_A_SHARD))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
