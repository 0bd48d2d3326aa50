"""A real clip in, a training pair out: the clip through a call, and the same clip forged, through the same call.

clip -> base (sometimes softened) -> forged layer -> live faults -> blend -> the same nuisance on both halves
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.forge.colour import change_colour, draw_colour
from engines.forge.families import SHARES, Clip, Family, Layer, blend, make_layer
from engines.forge.masks import Image, Mask, Rng
from engines.forge.nuisances import Nuisance, through

WHERE_STRIDE = 8
"""The where-map has one cell for 8x8 pixels of the crop."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A real clip and its forgery after the same call: uint8 (T, S, S, 3) each."""

    real: Image
    fake: Image
    where: Mask
    """float32 (T, S/8, S/8): how much of each cell was replaced in the forged half, 0..1."""
    frame_labels: npt.NDArray[np.float32]
    """float32 (T,): 1 where the forged half's frame is forged."""
    family: Family
    face_scale: float
    """Size of the face as the codec saw it, in parts of the given picture."""


def draw_family(rng: Rng, *, stills: bool, shares: dict[Family, float] | None = None) -> Family:
    """A family by its share; stills cannot be forged from another time."""
    table = dict(shares or SHARES)
    if stills:
        table.pop(Family.OTHER_TIME, None)
    names = list(table)
    weights = np.array([table[n] for n in names])
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]


def make_pair(clip: Clip, rng: Rng, *, size_px: int, other: Clip | None = None, family: Family | None = None) -> Pair:
    """Forge `clip` (a region about the face) and send both halves through one call."""
    if family is None:
        family = draw_family(rng, stills=len(clip.images) == 1)
    if family in (Family.OTHER_PERSON, Family.REMADE, Family.ANIMATED) and other is None:
        family = Family.SELF_BLEND if family is Family.OTHER_PERSON else Family.RESYNTH
    base = clip.images
    if family is Family.CLEAN and rng.random() < 0.7:
        base = _soften(base, rng)
    elif family is Family.SELF_BLEND and rng.random() < 0.5:
        colour = draw_colour(rng)
        base = np.stack([change_colour(image, colour) for image in base])
    layer = live_faults(make_layer(family, clip, rng, other), rng)
    labels = (layer.masks.max((1, 2)) > 0.1).astype(np.float32)
    fake = blend(base, layer.images, layer.masks)
    nuisance = Nuisance.draw(rng, len(base))
    return Pair(
        real=through(nuisance, base, clip.landmarks, size_px),
        fake=through(nuisance, fake, clip.landmarks, size_px),
        where=_cells(layer.masks, size_px // WHERE_STRIDE, nuisance.mirror),
        frame_labels=labels,
        family=family,
        face_scale=nuisance.face_scale,
    )


def _soften(images: Image, rng: Rng) -> Image:
    """A soft webcam: what stands around a crisp forged face."""
    import cv2

    factor = float(rng.uniform(1.3, 3.0))
    out = np.empty_like(images)
    for i, image in enumerate(images):
        small = cv2.resize(image, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
        out[i] = cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    return out


def live_faults(layer: Layer, rng: Rng) -> Layer:
    """Half of the clips: the swap drops out for moments, lags behind, flickers; or only a part is forged."""
    count = len(layer.images)
    if count < 8 or rng.random() < 0.5:
        return layer
    masks, images = layer.masks.copy(), layer.images
    fault = int(rng.integers(4))
    if fault == 0:
        for _ in range(int(rng.integers(1, 4))):
            start = int(rng.integers(count))
            masks[start : start + int(rng.integers(1, 4))] = 0
    elif fault == 1:
        lag = int(rng.integers(1, 3))
        masks = np.concatenate([masks[:1]] * lag + [masks[:-lag]])
    elif fault == 2:
        gains = 1 + rng.uniform(-0.06, 0.06, (count, 1, 1, 1))
        images = np.clip(images * gains, 0, 255).astype(np.uint8)
    else:
        first = int(rng.integers(0, count * 7 // 10))
        length = int(rng.integers(count * 3 // 10, count + 1))
        keep = np.zeros(count, bool)
        keep[first : first + length] = True
        masks[~keep] = 0
    return Layer(images, masks, layer.family)


def _cells(masks: Mask, cells: int, mirror: bool) -> Mask:
    import cv2

    small = np.stack([cv2.resize(m, (cells, cells), interpolation=cv2.INTER_AREA) for m in masks])
    return np.ascontiguousarray(small[:, :, ::-1]) if mirror else small
