"""Faces that a generator made again, kept beside the corpus: made once by a slow network, read by every training run.

    <corpus>/remade/<generator>/<entry>-<start>.npy : uint8 (n, 192, 192, 3)

One file holds the entry's pictures `start .. start + n`, the whole stored crop each, at 192 px: where the stored
crop is cut to the product's, that is 144 px, one to one. A block that is there already is not made again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.files import replaced
from engines.forge.masks import Image
from engines.training.entries import Corpus, Entry

REMADE_PX = 192
ALIGNED = "aligned"
"""Name of the generator that makes an aligned face alone and pastes it back."""
RESTORER = "real-esrgan"
"""Name of the generator that `engines.training.restore` runs."""
_STILLS_A_BLOCK = 50


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of one entry."""

    entry: Entry
    start: int
    count: int

    def path(self, corpus: Path, generator: str) -> Path:
        return corpus / "remade" / generator / f"{self.entry.key}-{self.start}.npy"

    def pictures(self) -> Image:
        """The entry's own pictures at 192 px: uint8 (count, 192, 192, 3)."""
        import cv2

        size = (REMADE_PX, REMADE_PX)
        stored = self.entry.images[self.start : self.start + self.count]
        return np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in stored])


def blocks(corpus: Corpus, *, every_still: int = 1, clip_frames: int = 32, stretches: int = 2) -> Iterator[Block]:
    """Stretches of every clip, spread over its length, and every `every_still`-th block of 50 stills; the last
    stills, which validate, are among them."""
    for entry in corpus.stills:
        starts = list(range(0, entry.count, _STILLS_A_BLOCK))
        for index, start in enumerate(reversed(starts)):
            if index % every_still == 0:
                yield Block(entry, start, min(_STILLS_A_BLOCK, entry.count - start))
    for entry in corpus.clips:
        frames = min(clip_frames, entry.count)
        room = entry.count - frames
        for index in range(min(stretches, room // frames + 1)):
            yield Block(entry, round(room * (index + 0.5) / stretches), frames)


def write_block(path: Path, pictures: Image) -> None:
    """Store one block by an atomic rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as handle:
        np.save(handle, pictures)


def stored_blocks(corpus: Corpus) -> dict[str, list[tuple[Block, Path]]]:
    """What is there, by generator. Files of entries that the corpus does not hold are passed over."""
    entries = {e.key: e for e in (*corpus.clips, *corpus.stills)}
    found: dict[str, list[tuple[Block, Path]]] = {}
    for path in sorted((corpus.folder / "remade").glob("*/*.npy")):
        key, _, start = path.stem.rpartition("-")
        if key in entries and start.isdigit():
            count = int(np.load(path, mmap_mode="r", allow_pickle=False).shape[0])
            found.setdefault(path.parent.name, []).append((Block(entries[key], int(start), count), path))
    return found
