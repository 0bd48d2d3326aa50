"""What a checkpoint says of a labelled manifest, without head or product: the quick figure for choosing a model.

    python -m monitor.corpus ROWS --manifest DEV/manifest.csv      # once
    python -m engines.training.measure ROWS RUN/encoder_best.pt

Video-level AUC of the mean frame logit, by family. Never a figure to publish: `unmask bench accuracy` runs the
product. Used for choice only; nothing here touches a gradient.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from engines.forge.masks import Image
from engines.metrics import auc
from engines.network import Encoder
from engines.training.data import region
from engines.training.entries import Corpus, Entry
from engines.window_input import CROP_SCALE

_ALL_REALS = frozenset({"reenactment"})
"""Families without reals of their own."""
_GROUPS = ("ffpp",)
"""Families whose name begins so share their reals."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the manifest: its mean logit."""

    key: str
    family: str
    label: str
    score: float


def crops_of(entry: Entry, size_px: int, scale: float, frames: int) -> Image:
    """`frames` crops spread over the entry, as the product would cut them: uint8 (n, S, S, 3)."""
    import cv2

    chosen = np.unique(np.linspace(0, entry.count - 1, frames).astype(int))
    rng = np.random.default_rng(0)
    cuts = [region(entry, int(i), 1, rng, jitter=False, scale=scale).images[0] for i in chosen]
    return np.stack([cv2.resize(c, (size_px, size_px), interpolation=cv2.INTER_AREA) for c in cuts])


@torch.inference_mode()
def measure(encoder: Encoder, rows: Corpus, *, size_px: int, scale: float = CROP_SCALE, frames: int = 16) -> list[Row]:
    """Mean frame logit of the longest-seen person of each row."""
    device = next(encoder.parameters()).device
    encoder.eval()
    longest: dict[str, Entry] = {}
    for entry in rows.measured:
        row = entry.key.rsplit("-", 1)[0]
        if row not in longest or longest[row].count < entry.count:
            longest[row] = entry
    out = []
    for row, entry in sorted(longest.items()):
        crops = crops_of(entry, size_px, scale, frames)
        logits = torch.cat(
            [
                encoder(torch.from_numpy(part).to(device))[1].float()
                for part in np.split(crops, range(16, len(crops), 16))
            ]
        )
        out.append(Row(row, entry.family, entry.label, float(logits.mean())))
    return out


def _base(family: str) -> str:
    return next((g for g in _GROUPS if family.startswith(g)), family)


def table(rows: list[Row]) -> dict[str, float]:
    """AUC by family of forgeries, against the reals of its own group (all reals where it has none), and `all`."""
    reals = [r for r in rows if r.label == "real"]
    fakes = [r for r in rows if r.label == "fake"]

    def area(some_fakes: list[Row], some_reals: list[Row]) -> float:
        scores = np.array([r.score for r in (*some_fakes, *some_reals)])
        labels = np.array([1.0] * len(some_fakes) + [0.0] * len(some_reals))
        return auc(scores, labels)

    found = {}
    for family in sorted({r.family for r in fakes}):
        own = [r for r in reals if _base(r.family) == _base(family)]
        against = reals if family in _ALL_REALS or not own else own
        found[family] = area([r for r in fakes if r.family == family], against)
    if fakes and reals:
        found["all"] = area(fakes, reals)
    return found


def load_encoder(path: Path) -> Encoder:
    """The averaged weights of a checkpoint, newest or best."""
    stored = torch.load(path, map_location="cpu", weights_only=True)
    encoder = Encoder()
    encoder.load_state_dict(stored.get("average") or stored["encoder"])
    return encoder.to(memory_format=torch.channels_last)


def main() -> int:
    """Command line of the quick measure."""
    parser = argparse.ArgumentParser(prog="python -m engines.training.measure", description="AUC of checkpoints.")
    parser.add_argument("rows", type=Path, help="a corpus made with --manifest")
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--size", type=int, default=144)
    parser.add_argument("--scale", type=float, default=CROP_SCALE)
    parser.add_argument("--frames", type=int, default=16)
    arguments = parser.parse_args()
    if not (arguments.rows / "index.json").exists():
        print(f"{arguments.rows}: no rows there; make them with python -m monitor.corpus --manifest", file=sys.stderr)
        return 2
    rows = Corpus.load(arguments.rows)
    tables = {
        path: table(
            measure(load_encoder(path), rows, size_px=arguments.size, scale=arguments.scale, frames=arguments.frames)
        )
        for path in arguments.checkpoints
    }
    for path, found in tables.items():
        print(path)
        for family, area in found.items():
            print(f"  {family:24} {area:.3f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
