"""Training samples from a corpus of face crops: pairs forged on the fly, and frames of the few real forgeries.

    <corpus>/index.json -> Corpus -> region with jitter -> make_pair -> uint8 crops, labels, where-maps

A corpus is what `monitor.corpus` writes. Entries are split by identity: nobody is in both halves.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.forge.families import Clip, Family
from engines.forge.masks import Image, Rng
from engines.forge.nuisances import Nuisance, through
from engines.forge.pairs import WHERE_STRIDE, Pair, draw_family, make_pair
from engines.training.split import VALIDATION_SHARE, held_out
from engines.window_input import CROP_SCALE

CORPUS_SCALE = 2.0
"""Side of a stored crop in face sizes: wider than the product's, so that training can shift and scale it."""
_FORGED_SHARE = 0.3
_STILL_VALIDATION = 300


@dataclass(slots=True, eq=False)
class Entry:
    """One person's crops in one file, opened lazily as a memory map."""

    key: str
    split: str
    label: str
    identity: str
    family: str
    count: int
    folder: Path
    _images: Image | None = field(default=None, repr=False)
    _meta: dict[str, npt.NDArray[np.generic]] | None = field(default=None, repr=False)

    @property
    def images(self) -> Image:
        """uint8 (N, 256, 256, 3), a memory map."""
        if self._images is None:
            self._images = np.load(self.folder / f"{self.key}.images.npy", mmap_mode="r", allow_pickle=False)
        return self._images

    def meta(self, name: str) -> npt.NDArray[np.generic]:
        """`landmarks` (N, 478, 2), `media_ns` (N,) or `face_px` (N,)."""
        if self._meta is None:
            with np.load(self.folder / f"{self.key}.meta.npz", allow_pickle=False) as stored:
                self._meta = {k: stored[k] for k in stored.files}
        return self._meta[name]

    @property
    def held_out(self) -> bool:
        """True where this identity belongs to validation: by a hash of its name, the same on every machine."""
        # Few targets of live pairs: a larger share, so that validation has some at all.
        return held_out(self.identity, VALIDATION_SHARE * (2 if self.split == "live-pair" else 1))


@dataclass(frozen=True, slots=True)
class Corpus:
    """All entries, by kind."""

    clips: tuple[Entry, ...]
    stills: tuple[Entry, ...]
    live_pairs: tuple[Entry, ...]
    forgeries: tuple[Entry, ...]

    @staticmethod
    def load(folder: Path) -> Corpus:
        content = json.loads((folder / "index.json").read_text())
        entries = []
        for listed in content["files"].values():
            for e in listed:
                entries.append(Entry(e["key"], e["split"], e["label"], e["identity"], e["family"], e["count"], folder))
        return Corpus(
            clips=tuple(e for e in entries if e.split == "clip"),
            stills=tuple(e for e in entries if e.split == "still"),
            live_pairs=tuple(e for e in entries if e.split == "live-pair"),
            forgeries=tuple(e for e in entries if e.split == "forgery"),
        )


def region(entry: Entry, start: int, frames: int, rng: Rng, *, jitter: bool = True, scale: float = CROP_SCALE) -> Clip:
    """A stretch of an entry as the product would crop it, with a little shift and scale where `jitter`."""
    images = np.asarray(entry.images[start : start + frames])
    points = np.asarray(entry.meta("landmarks")[start : start + frames], np.float32)
    full = images.shape[1]
    side = full * scale / CORPUS_SCALE
    if jitter:
        side *= float(rng.uniform(0.9, 1.1))
    whole = min(2 * round(side / 2), full)
    slack = 0.04 * whole if jitter else 0.0
    left, top = (int(np.clip((full - whole) / 2 + rng.uniform(-slack, slack), 0, full - whole)) for _ in range(2))
    cut = np.ascontiguousarray(images[:, top : top + whole, left : left + whole])
    return Clip(cut, np.asarray(points - np.array([left, top], np.float32), np.float32))


@dataclass(frozen=True, slots=True)
class Mix:
    """What a training batch is made of, in pictures."""

    pairs: int = 14
    live_pairs: int = 2
    """Pictures of each half of a live pair."""
    forgeries: int = 4
    still_share: float = 0.45
    """Share of the pairs that come from stills; the rest come from clips."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """crops uint8 (N, S, S, 3), labels (N,), where (N, S/8, S/8), has_where (N,): 1 where `where` is known."""

    crops: Image
    labels: npt.NDArray[np.float32]
    where: npt.NDArray[np.float32]
    has_where: npt.NDArray[np.float32]


class Sampler:
    """Draws batches and validation sets from a corpus. `validation` chooses the held-out identities instead."""

    def __init__(
        self,
        corpus: Corpus,
        *,
        size_px: int,
        mix: Mix,
        validation: bool = False,
        left_out: frozenset[str] = frozenset(),
    ) -> None:
        def chosen(entries: tuple[Entry, ...]) -> list[Entry]:
            return [e for e in entries if e.held_out == validation and e.family not in left_out]

        self.size_px = size_px
        self.mix = mix
        self.clips = chosen(corpus.clips)
        self.stills = list(corpus.stills)
        self.live = {label: [e for e in chosen(corpus.live_pairs) if e.label == label] for label in ("real", "fake")}
        self.forgeries = {
            label: [e for e in chosen(corpus.forgeries) if e.label == label] for label in ("real", "fake")
        }
        self._validation = validation
        self._weights = np.array([min(e.count, 200) ** 0.5 for e in self.clips])

    def clip_entry(self, rng: Rng) -> Entry:
        """A clip, longer ones somewhat more often."""
        return self.clips[int(rng.choice(len(self.clips), p=self._weights / self._weights.sum()))]

    def _still(self, rng: Rng) -> Clip:
        entry = self.stills[int(rng.integers(len(self.stills)))]
        low, high = (
            (entry.count - _STILL_VALIDATION, entry.count)
            if self._validation
            else (
                0,
                entry.count - _STILL_VALIDATION,
            )
        )
        return region(entry, int(rng.integers(max(low, 0), max(high, 1))), 1, rng)

    def still_or_frame(self, rng: Rng, still_share: float) -> Clip:
        """One picture, from the stills or from a clip."""
        if self.stills and rng.random() < still_share:
            return self._still(rng)
        entry = self.clip_entry(rng)
        return region(entry, int(rng.integers(entry.count)), 1, rng)

    def pair(self, rng: Rng, family: Family | None = None) -> Pair:
        """One forged pair of single pictures."""
        family = family or draw_family(rng, stills=False)
        if family is Family.OTHER_TIME:
            return self.clip_pair(rng, 6, family)
        clip = self.still_or_frame(rng, self.mix.still_share)
        other = self.still_or_frame(rng, 0.7) if family is Family.OTHER_PERSON else None
        return make_pair(clip, rng, size_px=self.size_px, other=other, family=family)

    def clip_pair(self, rng: Rng, frames: int, family: Family | None = None) -> Pair:
        """One forged pair of a stretch of a clip."""
        family = family or draw_family(rng, stills=False)
        entry = self.clip_entry(rng)
        frames = min(frames, entry.count)
        clip = region(entry, int(rng.integers(entry.count - frames + 1)), frames, rng)
        other = None
        if family is Family.OTHER_PERSON:
            if self.stills and rng.random() < 0.5:
                other = self._still(rng)
            else:
                stranger = self.clip_entry(rng)
                length = min(frames, stranger.count)
                other = region(stranger, int(rng.integers(stranger.count - length + 1)), length, rng)
        return make_pair(clip, rng, size_px=self.size_px, other=other, family=family)

    def single(self, entry: Entry, rng: Rng, frames: int = 1, *, clean: bool = False) -> Image:
        """Frames of one entry through a call of their own, uint8 (frames, S, S, 3); unharmed where `clean`."""
        import cv2

        frames = min(frames, entry.count)
        clip = region(entry, int(rng.integers(entry.count - frames + 1)), frames, rng, jitter=not clean)
        if clean:
            size = (self.size_px, self.size_px)
            return np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in clip.images])
        return through(Nuisance.draw(rng, frames), clip.images, clip.landmarks, self.size_px)

    def batch(self, rng: Rng) -> Batch:
        """One training batch: forged pairs, both halves of live pairs, and other forgeries with real clips."""
        crops: list[Image] = []
        labels: list[float] = []
        where: list[npt.NDArray[np.float32]] = []
        known: list[float] = []
        cells = self.size_px // WHERE_STRIDE
        empty = np.zeros((cells, cells), np.float32)

        def add(crop: Image, label: float, map_: npt.NDArray[np.float32], has_map: float) -> None:
            crops.append(crop)
            labels.append(label)
            where.append(map_)
            known.append(has_map)

        for _ in range(self.mix.pairs):
            pair = self.pair(rng)
            index = int(np.argmax(pair.frame_labels))
            add(pair.real[index], 0.0, empty, 1.0)
            add(pair.fake[index], float(pair.frame_labels[index]), pair.where[index], 1.0)
        for label, value in (("real", 0.0), ("fake", 1.0)):
            for entries, count in ((self.live, self.mix.live_pairs), (self.forgeries, self.mix.forgeries // 2)):
                pool = entries[label]
                if not pool and label == "real":
                    pool = self.clips
                for _ in range(count if pool else 0):
                    entry = _by_family(pool, rng)
                    if value == 0.0 and entries is self.forgeries and rng.random() < 0.5:
                        entry = self.clip_entry(rng)
                    add(self.single(entry, rng)[0], value, empty, 1.0 - value)
        return Batch(np.stack(crops), np.array(labels, np.float32), np.stack(where), np.array(known, np.float32))


def _by_family(pool: list[Entry], rng: Rng) -> Entry:
    """An entry of a family drawn first: one tool with many clips does not outweigh another with few."""
    families = sorted({e.family for e in pool})
    family = families[int(rng.integers(len(families)))]
    members = [e for e in pool if e.family == family]
    return members[int(rng.integers(len(members)))]


def window_labels(frame_labels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Frame labels (N, T) -> (N,): a window counts as forged where at least 0.3 of its frames are."""
    return (frame_labels.mean(1) >= _FORGED_SHARE).astype(np.float32)


def boundary(where: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Where the blend runs: 4 m (1 - m), as in LAA-Net (Nguyen et al., CVPR 2024)."""
    return np.asarray(4 * where * (1 - where), np.float32)
