"""Draw what the forgeries look like: a row a family, real | forged | where, on a public-domain face.

python scripts/contact_sheet.py OUT.png [--seed 1] [--size 144]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from skimage import data, io

from engines.forge.families import Clip, Family
from engines.forge.pairs import make_pair

LANDMARKS = Path(__file__).resolve().parent.parent / "tests" / "golden" / "astronaut_landmarks.npy"
FRAMES = 6
ACROSS = 4


def astronaut_clip() -> Clip:
    """The astronaut's face as a short clip that moves by a pixel a frame: uint8 (6, 192, 192, 3)."""
    image, points = data.astronaut(), np.load(LANDMARKS)[:, :2]
    left, top = (int(v) for v in np.maximum((points.min(0) + points.max(0)) / 2 - 96, 0))
    cuts = [image[top : top + 192, left + i : left + i + 192] for i in range(FRAMES)]
    return Clip(np.stack(cuts), np.stack([points - [left + i, top] for i in range(FRAMES)]).astype(np.float32))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=144)
    arguments = parser.parse_args()
    clip, rng, rows = astronaut_clip(), np.random.default_rng(arguments.seed), []
    # Stands in for a generator, whose pictures lie beside a corpus.
    smooth = Clip(np.stack([cv2.bilateralFilter(image, 9, 60, 7) for image in clip.images]), clip.landmarks)
    for family in Family:
        row = []
        for _ in range(ACROSS):
            pair = make_pair(clip, rng, size_px=arguments.size, other=smooth, family=family)
            scale = arguments.size // pair.where.shape[1]
            where = np.kron(pair.where[-1], np.ones((scale, scale)))[..., None].repeat(3, 2) * 255
            row += [pair.real[-1], pair.fake[-1], where.astype(np.uint8)]
        rows.append(np.concatenate(row, 1))
        print(family.value)
    io.imsave(arguments.out, np.concatenate(rows, 0), check_contrast=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
