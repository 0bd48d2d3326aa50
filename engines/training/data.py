"""Training samples from a corpus of face crops: pairs forged on the fly, and frames of the few real forgeries.

    <corpus>/index.json -> Corpus -> region with jitter -> make_pair -> uint8 crops, labels, where-maps

A corpus is what `monitor.corpus` writes. Entries are split by identity: nobody is in both halves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.forge.families import SHARES, Clip, Family, Made
from engines.forge.masks import Image, Points, Rng
from engines.forge.nuisances import Edge, Nuisance, through
from engines.forge.pairs import WHERE_STRIDE, Pair, draw_family, make_pair
from engines.training.entries import CORPUS_SCALE, STILL_VALIDATION, Corpus, Entry
from engines.training.remade import ALIGNED, RESTORER, Block, stored_blocks
from engines.window_input import CROP_SCALE

_FORGED_SHARE = 0.3


def region(entry: Entry, start: int, frames: int, rng: Rng, *, jitter: bool = True, scale: float = CROP_SCALE) -> Clip:
    """A stretch of an entry as the product would crop it, with a little shift and scale where `jitter`."""
    images = np.asarray(entry.images[start : start + frames])
    points = np.asarray(entry.meta("landmarks")[start : start + frames], np.float32)
    return cut(images, points, rng, jitter=jitter, scale=scale)


def cut(images: Image, points: Points, rng: Rng, *, jitter: bool = True, scale: float = CROP_SCALE) -> Clip:
    """The product's crop of `scale` face sizes out of stored crops (T, H, W, 3), landmarks moved along."""
    full = images.shape[1]
    side = full * scale / CORPUS_SCALE
    if jitter:
        side *= float(rng.uniform(0.9, 1.1))
    whole = min(2 * round(side / 2), full)
    slack = 0.04 * whole if jitter else 0.0
    left, top = (int(np.clip((full - whole) / 2 + rng.uniform(-slack, slack), 0, full - whole)) for _ in range(2))
    cut = np.ascontiguousarray(images[:, top : top + whole, left : left + whole])
    return Clip(cut, np.asarray(points - np.array([left, top], np.float32), np.float32))


_APART = 8


def another_time(entry: Entry, start: int, rng: Rng) -> int:
    """A sample of the entry at least half a second from sample `start`, where it is long enough for one."""
    far = [i for i in range(entry.count) if abs(i - start) >= _APART]
    return int(rng.choice(far)) if far else (entry.count - 1 if start < entry.count // 2 else 0)


def same_frames(real: Entry, fake: Entry) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of the samples that both halves of a live pair have: (K,) of the real one, (K,) of the swapped one."""
    a, b = (np.asarray(e.meta("media_ns"), np.int64) for e in (real, fake))
    _, of_real, of_fake = np.intersect1d(a, b, assume_unique=False, return_indices=True)
    return of_real.astype(np.int64), of_fake.astype(np.int64)


def _runs(indices: npt.NDArray[np.int64], frames: int) -> npt.NDArray[np.int64]:
    """Positions in `indices` from which `frames` consecutive samples follow."""
    if len(indices) < frames:
        return np.zeros(0, np.int64)
    last = len(indices) - frames
    return np.flatnonzero(indices[frames - 1 :] - indices[: last + 1] == frames - 1)


@dataclass(frozen=True, slots=True)
class Mix:
    """What a training batch is made of."""

    pairs: int = 12
    """Forged pairs, two pictures each."""
    live_pairs: int = 3
    """Frames of live pairs, two pictures each."""
    forgeries: int = 10
    """Pictures of other recorded forgeries, and as many real ones among them."""
    blanks: int = 4
    """Pictures of recordings whose face is painted out: what stands around a face must say nothing."""
    still_share: float = 0.45
    """Share of the pairs that come from stills; the rest come from clips."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """crops uint8 (N, S, S, 3), labels (N,), where (N, S/8, S/8), has_where (N,): 1 where `where` is known.

    A label of 0.5 stands for "cannot be told". The first `2 * pairs` pictures are real, forged, real, forged: each
    two the same moment through the same call.
    """

    crops: Image
    labels: npt.NDArray[np.float32]
    where: npt.NDArray[np.float32]
    has_where: npt.NDArray[np.float32]
    pairs: int


class Sampler:
    """Draws batches and validation sets from a corpus. `validation` chooses the held-out identities instead.

    `left_out` names families of recorded forgeries, forgery families (`self-blend`) and generators
    (`remade:aligned`) that are not to be drawn. `scale` is the side of the crop in face sizes.
    """

    def __init__(
        self,
        corpus: Corpus,
        *,
        size_px: int,
        mix: Mix,
        validation: bool = False,
        left_out: frozenset[str] = frozenset(),
        scale: float = CROP_SCALE,
    ) -> None:
        def chosen(entries: tuple[Entry, ...]) -> list[Entry]:
            return [e for e in entries if e.held_out == validation and e.family not in left_out]

        self.size_px = size_px
        self.scale = scale
        self.mix = mix
        self.clips = chosen(corpus.clips)
        self.stills = list(corpus.stills)
        self.live = [] if validation or "live-pair" in left_out else _live_pairs(corpus.live_pairs)
        self.forgeries = {
            label: [e for e in chosen(corpus.forgeries) if e.label == label] for label in ("real", "fake")
        }
        self.shares = {f: share for f, share in SHARES.items() if f.value not in left_out}
        self.remade = _remade_blocks(corpus, validation, self.clips, left_out)
        self._validation = validation
        self._weights = np.array([min(e.count, 200) ** 0.5 for e in self.clips])

    def clip_entry(self, rng: Rng) -> Entry:
        """A clip, longer ones somewhat more often."""
        return self.clips[int(rng.choice(len(self.clips), p=self._weights / self._weights.sum()))]

    def _region(self, entry: Entry, start: int, frames: int, rng: Rng, *, jitter: bool = True) -> Clip:
        return region(entry, start, frames, rng, jitter=jitter, scale=self.scale)

    def _still(self, rng: Rng) -> Clip:
        entry = self.stills[int(rng.integers(len(self.stills)))]
        low, high = (
            (entry.count - STILL_VALIDATION, entry.count) if self._validation else (0, entry.count - STILL_VALIDATION)
        )
        return self._region(entry, int(rng.integers(max(low, 0), max(high, 1))), 1, rng)

    def still_or_frame(self, rng: Rng, still_share: float) -> Clip:
        """One picture, from the stills or from a clip."""
        if self.stills and rng.random() < still_share:
            return self._still(rng)
        entry = self.clip_entry(rng)
        return self._region(entry, int(rng.integers(entry.count)), 1, rng)

    def made_again(self, rng: Rng, frames: int) -> tuple[Clip, Clip] | None:
        """`frames` samples of one person and the same samples as a generator made them, or None without any.

        A recorded live swap of the same frames counts as a generator. Generators are drawn evenly, the restorer,
        which is the finest of them, twice as often.
        """
        usable = {
            name: [f for f in found if f[0].count >= frames and (frames == 1 or f[0].entry.split == "clip")]
            for name, found in self.remade.items()
        }
        names = [name for name, found in usable.items() if found]
        names += [n for n in names if n == RESTORER]
        choice = int(rng.integers(len(names) + bool(self.live))) if names or self.live else -1
        if choice < 0:
            return None
        if choice == len(names):
            return self._live_stretch(rng, frames)
        found = usable[names[choice]]
        # Clips first: the stills' blocks are many.
        moving = [f for f in found if f[0].entry.split == "clip"]
        pool = moving if moving and rng.random() < 0.5 else found
        block, path = pool[int(rng.integers(len(pool)))]
        offset = int(rng.integers(block.count - frames + 1))
        first = block.start + offset
        if block.entry.split == "still" and (first >= block.entry.count - STILL_VALIDATION) != self._validation:
            return None
        made = np.load(path, mmap_mode="r", allow_pickle=False)[offset : offset + frames]
        own = np.asarray(block.entry.images[first : first + frames])
        points = np.asarray(block.entry.meta("landmarks")[first : first + frames], np.float32)
        seed = int(rng.integers(2**31))
        real = cut(_through_px(own, made.shape[1]), points, np.random.default_rng(seed), scale=self.scale)
        fake = cut(_resized(made, own.shape[1]), points, np.random.default_rng(seed), scale=self.scale)
        return real, replace(fake, made=Made.FACE if names[choice] == ALIGNED else Made.PICTURE)

    def _live_stretch(self, rng: Rng, frames: int) -> tuple[Clip, Clip] | None:
        for _ in range(8):
            real, fake = self.live[int(rng.integers(len(self.live)))]
            of_real, of_fake = same_frames(real, fake)
            starts = np.intersect1d(_runs(of_real, frames), _runs(of_fake, frames))
            if len(starts):
                at = int(rng.choice(starts))
                seed = int(rng.integers(2**31))
                swapped = self._region(fake, int(of_fake[at]), frames, np.random.default_rng(seed))
                return (
                    self._region(real, int(of_real[at]), frames, np.random.default_rng(seed)),
                    replace(swapped, made=Made.RECORDED),
                )
        return None

    def live_pair(self, rng: Rng, frames: int) -> tuple[Image, Image] | None:
        """The same frames of a live pair, real and swapped, through the same call: uint8 (frames, S, S, 3) each."""
        found = self._live_stretch(rng, frames)
        if found is None:
            return None
        nuisance = Nuisance.draw(rng, frames)
        real, fake = (through(nuisance, c.images, c.landmarks, self.size_px) for c in found)
        return real, fake

    def pair(self, rng: Rng, frames: int = 1, family: Family | None = None) -> Pair:
        """One forged pair: of one picture, or of a stretch of a clip where `frames` is more."""
        family = family or draw_family(rng, stills=False, shares=self.shares)
        if family is Family.OTHER_TIME:
            frames = max(frames, 6)
        if family is Family.REMADE:
            found = self.made_again(rng, frames)
            if found is not None:
                clip, made = found
                return make_pair(clip, rng, size_px=self.size_px, other=made, family=family)
            family = Family.RESYNTH
        if family is Family.ANIMATED:
            clip, source = self.two_times(rng, frames)
            return make_pair(clip, rng, size_px=self.size_px, other=source, family=family)
        clip = self.still_or_frame(rng, self.mix.still_share) if frames == 1 else self._stretch(rng, frames)
        other = None
        if family is Family.OTHER_PERSON:
            found = self.made_again(rng, 1) if Family.REMADE in self.shares and rng.random() < 0.4 else None
            # Somebody else's face as a generator makes it, or as it was taken.
            other = found[1] if found else self.still_or_frame(rng, 0.7)
            if frames > 1 and not found and rng.random() < 0.5:
                other = self._stretch(rng, frames)
        return make_pair(clip, rng, size_px=self.size_px, other=other, family=family)

    def two_times(self, rng: Rng, frames: int) -> tuple[Clip, Clip]:
        """A stretch of a clip, and one picture of the same person from another part of it, cut alike."""
        entry = self.clip_entry(rng)
        frames = min(frames, entry.count)
        seed = int(rng.integers(2**31))
        start = int(rng.integers(entry.count - frames + 1))
        elsewhere = another_time(entry, start, rng)
        clip = self._region(entry, start, frames, np.random.default_rng(seed))
        return clip, self._region(entry, elsewhere, 1, np.random.default_rng(seed))

    def _stretch(self, rng: Rng, frames: int) -> Clip:
        entry = self.clip_entry(rng)
        frames = min(frames, entry.count)
        return self._region(entry, int(rng.integers(entry.count - frames + 1)), frames, rng)

    def beside(self, fake: Entry, rng: Rng) -> Entry:
        """A real recording to stand beside a recorded forgery: of the same collection where it has any.

        Otherwise the encoding of a collection, whose forgeries outnumber its reals, would tell them apart.
        """
        collection = fake.family.split("-")[0]
        own = [e for e in self.forgeries["real"] if e.family.split("-")[0] == collection]
        if not own or (len(own) == 1 and rng.random() < 0.5):
            return self.clip_entry(rng)
        return _by_family(own, rng)

    def single(self, entry: Entry, rng: Rng, frames: int = 1, *, nuisance: Nuisance | None = None) -> Image:
        """Frames of one entry through a call, uint8 (frames, S, S, 3)."""
        frames = min(frames, entry.count)
        clip = self._region(entry, int(rng.integers(entry.count - frames + 1)), frames, rng)
        nuisance = nuisance or Nuisance.draw(rng, frames)
        if entry.split != "forgery" and rng.random() < 0.2:
            # Some of the recorded forgeries are cut close to the face: an edge must not tell them.
            nuisance = replace(nuisance, edge=Edge.draw(rng))
        return through(nuisance, clip.images, clip.landmarks, self.size_px)

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
            real, fake = hide(rng, pair.real[index], pair.fake[index])
            add(real, 0.0, empty, 1.0)
            add(fake, float(pair.frame_labels[index]), pair.where[index], 1.0)
        for _ in range(self.mix.live_pairs if self.live else 0):
            found = self.live_pair(rng, 1)
            if found is not None:
                real, fake = hide(rng, found[0][0], found[1][0])
                add(real, 0.0, empty, 1.0)
                add(fake, 1.0, empty, 0.0)
        paired = len(crops) // 2
        for _ in range(self.mix.forgeries // 2 if self.forgeries["fake"] else 0):
            fake_entry = _by_family(self.forgeries["fake"], rng)
            nuisance = Nuisance.draw(rng, 1)
            for entry, value in ((self.beside(fake_entry, rng), 0.0), (fake_entry, 1.0)):
                (picture,) = hide(rng, self.single(entry, rng, nuisance=nuisance)[0])
                add(picture, value, empty, 1.0 - value)
        recorded = crops[2 * paired :]
        for _ in range(self.mix.blanks if recorded else 0):
            add(without_face(rng, recorded[int(rng.integers(len(recorded)))]), 0.5, empty, 0.0)
        return Batch(
            np.stack(crops), np.array(labels, np.float32), np.stack(where), np.array(known, np.float32), paired
        )


def without_face(rng: Rng, crop: Image) -> Image:
    """The crop, uint8 (S, S, 3), with an ellipse in place of the face, in its own mean colour, noise or another's."""
    import cv2

    side = crop.shape[0]
    mask = np.zeros((side, side), np.uint8)
    centre = (round(side * float(rng.uniform(0.47, 0.53))), round(side * float(rng.uniform(0.5, 0.56))))
    axes = (round(side * float(rng.uniform(0.27, 0.36))), round(side * float(rng.uniform(0.36, 0.44))))
    cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1)
    colour = crop.mean((0, 1)) if rng.random() < 0.5 else rng.integers(0, 256, 3).astype(np.float64)
    fill = np.broadcast_to(colour, crop.shape)
    if rng.random() < 0.4:
        fill = fill + rng.normal(0, float(rng.uniform(2, 20)), (side, side, 1))
    return np.asarray(np.where(mask[..., None] > 0, np.clip(fill, 0, 255), crop), np.uint8)


_HIDDEN_SHARE = 0.3


def hide(rng: Rng, *crops: Image) -> tuple[Image, ...]:
    """With p = .3 the same one or two rectangles of all `crops` become one colour, at most a sixth of the crop each.

    The few recorded forgeries are soon known by their faces; a face with a part missing must be told by its texture.
    """
    if rng.random() >= _HIDDEN_SHARE:
        return crops
    changed = tuple(c.copy() for c in crops)
    side = crops[0].shape[0]
    for _ in range(int(rng.integers(1, 3))):
        height, width = (int(v) for v in rng.integers(side // 8, round(side * 0.4) + 1, 2))
        top, left = int(rng.integers(side - height + 1)), int(rng.integers(side - width + 1))
        colour = rng.integers(0, 256, 3)
        for crop in changed:
            crop[top : top + height, left : left + width] = colour
    return changed


def _live_pairs(entries: tuple[Entry, ...]) -> list[tuple[Entry, Entry]]:
    """Recordings of the unswapped and the swapped half, matched by file and track."""
    fakes = {e.key.replace("-fake-", "-real-"): e for e in entries if e.label == "fake"}
    return [(e, fakes[e.key]) for e in entries if e.label == "real" and e.key in fakes]


def _remade_blocks(
    corpus: Corpus, validation: bool, clips: list[Entry], left_out: frozenset[str]
) -> dict[str, list[tuple[Block, Path]]]:
    """What generators made of the stills and of these clips, by generator."""
    allowed = {e.key for e in (*clips, *corpus.stills)}
    found: dict[str, list[tuple[Block, Path]]] = {}
    for name, blocks in stored_blocks(corpus).items():
        kept = [b for b in blocks if b[0].entry.key in allowed and _still_side(b[0], validation)]
        if kept and f"remade:{name}" not in left_out:
            found[name] = kept
    return found


def _still_side(block: Block, validation: bool) -> bool:
    """Whether any picture of a block of stills lies on this side of the split; clips are split by entry."""
    if block.entry.split != "still":
        return True
    border = block.entry.count - STILL_VALIDATION
    return block.start + block.count > border if validation else block.start < border


def _resized(images: Image, side: int) -> Image:
    import cv2

    return np.stack([cv2.resize(f, (side, side), interpolation=cv2.INTER_CUBIC) for f in images])


def _through_px(images: Image, side: int) -> Image:
    """Down to `side` and back: a real picture keeps no more detail than what a generator's picture could hold."""
    import cv2

    small = (cv2.resize(f, (side, side), interpolation=cv2.INTER_AREA) for f in images)
    return _resized(np.stack(list(small)), images.shape[1])


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
