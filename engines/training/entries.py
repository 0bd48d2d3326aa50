"""The corpus as training reads it: what `monitor.corpus` wrote, opened lazily.

Entries are split by identity: nobody is in both halves.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.forge.masks import Image
from engines.training.split import VALIDATION_SHARE, held_out

CORPUS_SCALE = 2.0
"""Side of a stored crop in face sizes: wider than the product's, so that training can shift and scale it."""
STILL_VALIDATION = 300
"""So many of the last stills validate."""


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
        """True where this identity belongs to validation: by a hash of its name, the same on every machine.

        Recorded forgeries never do: they are few, and the same drivers, targets and takes run through them, so
        that any part of them held out would flatter.
        """
        return self.split in ("clip", "still") and held_out(self.identity, VALIDATION_SHARE)


@dataclass(frozen=True, slots=True)
class Corpus:
    """All entries, by kind."""

    folder: Path
    clips: tuple[Entry, ...]
    stills: tuple[Entry, ...]
    live_pairs: tuple[Entry, ...]
    forgeries: tuple[Entry, ...]
    measured: tuple[Entry, ...]
    """Rows of a manifest: training never reads these."""

    @staticmethod
    def load(folder: Path) -> Corpus:
        content = json.loads((folder / "index.json").read_text())
        entries = []
        for listed in content["files"].values():
            for e in listed:
                entries.append(Entry(e["key"], e["split"], e["label"], e["identity"], e["family"], e["count"], folder))
        return Corpus(
            folder=folder,
            clips=tuple(e for e in entries if e.split == "clip"),
            stills=tuple(e for e in entries if e.split == "still"),
            live_pairs=tuple(e for e in entries if e.split == "live-pair"),
            forgeries=tuple(e for e in entries if e.split == "forgery"),
            measured=tuple(e for e in entries if e.split == "measure"),
        )
