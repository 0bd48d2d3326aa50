"""The forgery families: each takes a real clip and returns the same clip with a part of the face replaced.

`SELF_BLEND` blends a slightly changed copy of the same face (Shiohara and Yamasaki, CVPR 2022; as video: Nguyen
et al., ICCV 2025). `BOTTLENECK` passes the inner face through a swapper's small aligned picture and back.
`CLEAN` puts a crisper, smoother face into a softer picture, as live swaps with an enhancer do. `DRIFT` moves
single features in time. `OTHER_TIME` takes the lower face from another moment. `OTHER_PERSON` fits the inner
face of somebody else. `RESYNTH` re-makes the face, or the whole crop, through a coarse code. `REMADE` puts in
what a generator made of this very clip (an autoencoder, a GAN restorer, or a recorded live swap of the same
frames): the inner face, or half of the time the whole crop. `ANIMATED` drives one picture of the person by the
clip's landmarks, as one-shot reenactment does (Siarohin et al., NeurIPS 2019).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.forge.colour import change_colour, draw_colour, match_colour
from engines.forge.masks import (
    BROWS,
    LEFT_EYE,
    LIPS,
    NOSE,
    OVAL,
    RIGHT_EYE,
    SWAPPED,
    Image,
    Mask,
    MaskStyle,
    Points,
    Region,
    Rng,
    draw_mask,
    inter_ocular,
)
from engines.forge.nuisances import jpeg


class Family(enum.Enum):
    """Names of the forgery families."""

    SELF_BLEND = "self-blend"
    BOTTLENECK = "bottleneck"
    CLEAN = "clean"
    DRIFT = "drift"
    OTHER_TIME = "other-time"
    OTHER_PERSON = "other-person"
    RESYNTH = "resynth"
    REMADE = "remade"
    ANIMATED = "animated"


SHARES: dict[Family, float] = {
    Family.SELF_BLEND: 0.20,
    Family.BOTTLENECK: 0.11,
    Family.CLEAN: 0.11,
    Family.DRIFT: 0.06,
    Family.OTHER_TIME: 0.04,
    Family.OTHER_PERSON: 0.13,
    Family.RESYNTH: 0.05,
    Family.REMADE: 0.26,
    Family.ANIMATED: 0.08,
}


class Made(enum.Enum):
    """What of a generator's clip the generator made."""

    PICTURE = "the whole picture"
    FACE = "the face, pasted back where it was"
    RECORDED = "the face, in a recording of its own that may lie a pixel off"


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A person's clip: images uint8 (T, H, W, 3), landmarks float32 (T, 478, 2) in pixels."""

    images: Image
    landmarks: Points
    made: Made = Made.PICTURE
    """Read of what a generator made; of no account for a real clip."""

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8 or len(self.images) != len(self.landmarks):
            raise ValueError(
                f"Clip: expected uint8 images (T, H, W, 3) and T landmarks, got {self.images.shape} "
                f"of {self.images.dtype} and {self.landmarks.shape}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A forged layer before blending: images (T, H, W, 3) and its mask (T, H, W) in 0..1."""

    images: Image
    masks: Mask
    family: Family


def blend(images: Image, layer: Image, masks: Mask) -> Image:
    """`layer` over `images` with `masks` as alpha; all (T, H, W, ...)."""
    alpha = masks[..., None]
    mixed = images.astype(np.float32) * (1 - alpha) + layer.astype(np.float32) * alpha
    return np.asarray(np.clip(mixed + 0.5, 0, 255), np.uint8)


def make_layer(family: Family, clip: Clip, rng: Rng, other: Clip | None = None) -> Layer:
    """The forged layer of `family` for `clip`.

    `other` is another person's clip for OTHER_PERSON, the same person at another time for ANIMATED, and what a
    generator made of `clip` for REMADE (as many frames, of the same size, with its own landmarks). Raises
    `ValueError` where it is missing or does not fit.
    """
    if family is Family.OTHER_PERSON and other is None:
        raise ValueError("OTHER_PERSON needs another person's clip")
    if family is Family.REMADE:
        if other is None or other.images.shape != clip.images.shape:
            raise ValueError("REMADE needs the same clip as a generator made it, frame by frame and of the same size")
        return _remade(clip, other, rng)
    if family is Family.ANIMATED:
        if other is None:
            raise ValueError("ANIMATED needs a picture of the same person")
        return _animated(clip, other, rng)
    if family is Family.SELF_BLEND:
        return _self_blend(clip, rng)
    if family in (Family.BOTTLENECK, Family.CLEAN):
        return _bottleneck(clip, rng, family)
    if family is Family.DRIFT:
        return _drift(clip, rng)
    if family is Family.OTHER_TIME:
        return _other_time(clip, rng)
    if family is Family.OTHER_PERSON:
        assert other is not None
        return _other_person(clip, other, rng)
    return _resynth(clip, rng)


def _masks(clip: Clip, style: MaskStyle) -> Mask:
    shape = clip.images.shape[1:3]
    return np.stack([draw_mask((shape[0], shape[1]), points, style) for points in clip.landmarks])


def _warp(image: Image, matrix: npt.NDArray[np.float32], shape: tuple[int, int] | None = None) -> Image:
    """`image` moved by `matrix` (2, 3), on a canvas of `shape` (H, W): its own where None."""
    import cv2

    size = (image.shape[1], image.shape[0]) if shape is None else (shape[1], shape[0])
    return np.asarray(
        cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101), np.uint8
    )


def _about(centre: Points, scale: float, angle_deg: float, shift: Points) -> npt.NDArray[np.float32]:
    import cv2

    matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), angle_deg, scale)
    matrix[:, 2] += shift
    return np.asarray(matrix, np.float32)


def _wander(rng: Rng, count: int, keep: float = 0.9) -> npt.NDArray[np.float32]:
    """AR(1) noise (count, 2) of unit variance: what a tracker's error does from frame to frame."""
    steps = rng.standard_normal((count, 2)).astype(np.float32)
    for i in range(1, count):
        steps[i] = keep * steps[i - 1] + np.sqrt(1 - keep * keep) * steps[i]
    return steps


def _self_blend(clip: Clip, rng: Rng) -> Layer:
    import cv2

    style = MaskStyle.draw(rng, (*SWAPPED, Region.LOWER_FACE, Region.FACE, Region.MOUTH))
    colour = draw_colour(rng)
    kind = rng.integers(4)
    factor, sigma, amount = rng.uniform(2, 4), rng.uniform(0.5, 1.6), rng.uniform(0.3, 1.2)
    angle, scale = rng.uniform(-2, 2), rng.uniform(0.95, 1.05)
    shift = rng.uniform(-0.03, 0.03, 2)
    wander = _wander(rng, len(clip.images)) * np.float32(rng.uniform(0, 0.012))
    out = np.empty_like(clip.images)
    for i, (image, points) in enumerate(zip(clip.images, clip.landmarks, strict=True)):
        layer = change_colour(image, colour)
        if kind == 0:
            small = cv2.resize(layer, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
            layer = cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_CUBIC)
        elif kind == 1:
            layer = sharpen(layer, amount)
        elif kind == 2:
            layer = cv2.GaussianBlur(layer, (0, 0), sigma)
        unit = inter_ocular(points)
        matrix = _about(points[1], scale, angle, (shift + wander[i]) * unit * 2)
        out[i] = _warp(layer, matrix)
    return Layer(out, _masks(clip, style), Family.SELF_BLEND)


def sharpen(image: Image, amount: float, sigma: float = 1.2) -> Image:
    """Unsharp mask."""
    import cv2

    return np.asarray(cv2.addWeighted(image, 1 + amount, cv2.GaussianBlur(image, (0, 0), sigma), -amount, 0), np.uint8)


def _bottleneck(clip: Clip, rng: Rng, family: Family) -> Layer:
    """Through an aligned square of a swapper's size and back, with a feathered mask and alignment noise."""
    import cv2

    style = MaskStyle.draw(rng, SWAPPED)
    side = int(rng.choice([48, 64, 96, 128])) if family is Family.BOTTLENECK else 160
    noise = _wander(rng, len(clip.images), 0.7) * np.float32(rng.uniform(0.004, 0.015))
    colour = draw_colour(rng, 0.5)
    amount, smooth = rng.uniform(0.3, 1.5), int(rng.integers(4, 9))
    tone = rng.uniform(12, 40)
    up = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]))
    out = np.empty_like(clip.images)
    for i, (image, points) in enumerate(zip(clip.images, clip.landmarks, strict=True)):
        to_square = align(points, side, noise[i])
        face = cv2.warpAffine(image, to_square, (side, side), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT_101)
        if family is Family.CLEAN:
            face = cv2.bilateralFilter(face, smooth, tone, tone / 4)
            face = sharpen(face, amount, 1.0)
        face = change_colour(face, colour)
        back = cv2.invertAffineTransform(to_square)
        size = (image.shape[1], image.shape[0])
        out[i] = cv2.warpAffine(face, back, size, flags=up, borderMode=cv2.BORDER_REPLICATE)
    return Layer(out, _masks(clip, style), family)


def align(points: Points, side: int, noise: Points) -> npt.NDArray[np.float32]:
    """Similarity that brings eyes and mouth into a square of `side` px, as swappers align, with noise in IOD."""
    left, right = points[list(LEFT_EYE)].mean(0), points[list(RIGHT_EYE)].mean(0)
    mouth = points[list(LIPS)].mean(0)
    eyes = (left + right) / 2
    size = max(float(np.linalg.norm(left - right)) * 2.6, float(np.linalg.norm(mouth - eyes)) * 3.0, 8.0)
    direction = (left - right) / max(float(np.linalg.norm(left - right)), 1e-3)
    centre = eyes + (mouth - eyes) * 0.35 + noise * inter_ocular(points)
    scale = side / size
    cos, sin = float(direction[0]) * scale, float(direction[1]) * scale
    matrix = np.array([[cos, sin, 0], [-sin, cos, 0]], np.float32)
    matrix[:, 2] = side / 2 - matrix[:, :2] @ centre
    return matrix


_FEATURES = (LEFT_EYE, RIGHT_EYE, BROWS[:10], BROWS[10:], NOSE, LIPS)


def _drift(clip: Clip, rng: Rng) -> Layer:
    """Move one to three features by a few hundredths of an IOD, correlated in time, by a smooth local warp."""
    import cv2

    count = len(clip.images)
    chosen = rng.choice(len(_FEATURES), size=int(rng.integers(1, 4)), replace=False)
    paths = [
        (rng.standard_normal(2) * 0.5 + _wander(rng, count, 0.85)) * rng.uniform(0.02, 0.06) for _ in range(len(chosen))
    ]
    scales = rng.uniform(0.88, 1.14, len(chosen))
    height, width = clip.images.shape[1:3]
    grid_y, grid_x = np.mgrid[0:height, 0:width].astype(np.float32)
    out, masks = np.empty_like(clip.images), np.zeros((count, height, width), np.float32)
    for i, (image, points) in enumerate(zip(clip.images, clip.landmarks, strict=True)):
        unit = inter_ocular(points)
        map_x, map_y = grid_x.copy(), grid_y.copy()
        for feature, path, scale in zip(chosen, paths, scales, strict=True):
            group = points[list(_FEATURES[feature])]
            centre = group.mean(0)
            reach = max(float(np.ptp(group, axis=0).max()) * 0.6, 0.3 * unit)
            dx, dy = grid_x - centre[0], grid_y - centre[1]
            weight = np.exp(-(((dx * dx + dy * dy) / (2 * reach * reach)) ** 2)).astype(np.float32)
            map_x -= weight * (np.float32(path[i, 0] * unit) + dx * np.float32(scale - 1))
            map_y -= weight * (np.float32(path[i, 1] * unit) + dy * np.float32(scale - 1))
            masks[i] = np.maximum(masks[i], weight)
        out[i] = cv2.remap(image, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return Layer(out, masks, Family.DRIFT)


def _fit(source: Points, target: Points) -> npt.NDArray[np.float32]:
    """Least-squares similarity that maps `source` points (K, 2) onto `target` (Umeyama 1991)."""
    mean_s, mean_t = source.mean(0), target.mean(0)
    a, b = source - mean_s, target - mean_t
    power = max(float((a * a).sum()), 1e-6)
    cos = float((a * b).sum()) / power
    sin = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / power
    matrix = np.array([[cos, -sin, 0], [sin, cos, 0]], np.float32)
    matrix[:, 2] = mean_t - matrix[:, :2] @ mean_s
    return matrix


_STABLE = list(LEFT_EYE + RIGHT_EYE + NOSE + OVAL)


def _other_time(clip: Clip, rng: Rng) -> Layer:
    """The lower face of another moment of the same clip, aligned by the steady parts of the face."""
    count = len(clip.images)
    lag = int(rng.integers(2, max(3, count // 2))) if count > 4 else 0
    style = MaskStyle.draw(rng, (Region.LOWER_FACE, Region.MOUTH))
    out = np.empty_like(clip.images)
    for i in range(count):
        j = (i + lag) % count
        layer = _warp(clip.images[j], _fit(clip.landmarks[j][_STABLE], clip.landmarks[i][_STABLE]))
        out[i] = match_colour(layer, clip.images[i])
    return Layer(out, _masks(clip, style), Family.OTHER_TIME)


def _other_person(clip: Clip, other: Clip, rng: Rng) -> Layer:
    """The inner face of somebody else in one fitting picture, warped to each frame and matched in colour."""
    style = MaskStyle.draw(rng, SWAPPED)
    shapes = [_fit_error(points, clip.landmarks[0]) for points in other.landmarks]
    start = int(np.argmin(shapes))
    follows = len(other.images) > 1 and bool(rng.integers(2))
    out = np.empty_like(clip.images)
    for i in range(len(clip.images)):
        j = (start + i) % len(other.images) if follows else start
        source, target = other.landmarks[j], clip.landmarks[i]
        out[i] = match_colour(piecewise_warp(other.images[j], source, target, clip.images.shape[1:3]), clip.images[i])
    return Layer(out, _masks(clip, style), Family.OTHER_PERSON)


def _fit_error(source: Points, target: Points) -> float:
    matrix = _fit(source, target)
    moved = source @ matrix[:, :2].T + matrix[:, 2]
    return float(np.abs(moved - target).mean()) / inter_ocular(target)


_ANCHORS = [*OVAL[::2], *LEFT_EYE[::4], *RIGHT_EYE[::4], *LIPS[::4], 1, 4, 168, 2, 70, 300, 105, 334]


def piecewise_warp(image: Image, source: Points, target: Points, shape: tuple[int, ...]) -> Image:
    """Move `image` so that `source` landmarks lie at `target`: similarity, then a smooth residual field."""
    import cv2

    height, width = shape[0], shape[1]
    inverse = _fit(target, source)
    a, b = target[_ANCHORS], source[_ANCHORS]
    residual = b - (a @ inverse[:, :2].T + inverse[:, 2])
    coarse = 24
    # The centres of the coarse cells as cv2.resize places them; only the residual is interpolated, never the position.
    axis_y = (np.arange(coarse, dtype=np.float32) + 0.5) * height / coarse - 0.5
    axis_x = (np.arange(coarse, dtype=np.float32) + 0.5) * width / coarse - 0.5
    nodes = np.stack(np.meshgrid(axis_x, axis_y), -1).reshape(-1, 2)
    reach = 0.35 * inter_ocular(target)
    distance = ((nodes[:, None] - a[None]) ** 2).sum(-1)
    weight = np.exp(-distance / (2 * reach * reach)) + 1e-6 / (1 + distance)
    field = ((weight @ residual) / weight.sum(1, keepdims=True)).reshape(coarse, coarse, 2).astype(np.float32)
    grid_y, grid_x = np.mgrid[0:height, 0:width].astype(np.float32)
    moved = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
    map_x = (inverse[0, 0] * grid_x + inverse[0, 1] * grid_y + inverse[0, 2] + moved[..., 0]).astype(np.float32)
    map_y = (inverse[1, 0] * grid_x + inverse[1, 1] * grid_y + inverse[1, 2] + moved[..., 1]).astype(np.float32)
    return np.asarray(cv2.remap(image, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _resynth(clip: Clip, rng: Rng) -> Layer:
    """Re-make the picture from a coarse code: blockwise low-frequency cosine terms plus smoothed detail.

    A third of the time the whole crop is re-made, as whole-face reenactment has no boundary.
    """
    import cv2

    whole = rng.random() < 0.34
    sigma, keep = rng.uniform(0.8, 2.0), rng.uniform(0.2, 0.7)
    median = int(rng.choice([3, 5]))
    quality = int(rng.integers(18, 45))
    style = MaskStyle.draw(rng, SWAPPED)
    out = np.empty_like(clip.images)
    for i, image in enumerate(clip.images):
        code = cv2.medianBlur(image, median)
        small = cv2.resize(code, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        coded = cv2.bilateralFilter(jpeg(small, quality), 5, 25, 4)
        base = cv2.resize(coded, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_CUBIC)
        edges = image.astype(np.int16) - cv2.GaussianBlur(image, (0, 0), sigma)
        strong = np.where(np.abs(edges) > 6, edges, 0)
        out[i] = np.clip(base + keep * strong, 0, 255)
    masks = np.ones(clip.images.shape[:3], np.float32) if whole else _masks(clip, style)
    return Layer(out, masks, Family.RESYNTH)


_WHOLE_SHARE = 0.5


def _remade(clip: Clip, made: Clip, rng: Rng) -> Layer:
    """A generator's picture of the same frames, sharpened and recoloured as swappers do, with alignment noise."""
    whole = rng.random() < _WHOLE_SHARE and made.made is Made.PICTURE
    style = MaskStyle.draw(rng, SWAPPED)
    colour = draw_colour(rng, 0.5)
    amount = float(rng.uniform(0.2, 1.4)) if rng.random() < 0.5 else 0.0
    wander = _wander(rng, len(clip.images), 0.7) * np.float32(rng.uniform(0, 0.012))
    tone = bool(rng.random() < 0.7)
    keep = float(rng.uniform(0.2, 0.8)) if made.made is not Made.RECORDED and rng.random() < 0.5 else 0.0
    out = np.empty_like(clip.images)
    for i, image in enumerate(made.images):
        layer = _as_good_as(image, clip.images[i], tone, keep)
        layer = sharpen(layer, amount, 1.0) if amount else layer
        if not whole:
            fit = _fit(made.landmarks[i][_STABLE], clip.landmarks[i][_STABLE])
            fit[:, 2] += wander[i] * inter_ocular(clip.landmarks[i])
            layer = change_colour(_warp(layer, fit), colour)
        out[i] = layer
    masks = np.ones(clip.images.shape[:3], np.float32) if whole else _masks(clip, style)
    return Layer(out, masks, Family.REMADE)


def _animated(clip: Clip, source: Clip, rng: Rng) -> Layer:
    """One picture of the person, warped to the landmarks of each frame, which are smoothed as a generator's are.

    The whole crop is made, and what is behind the head moves with it a little or not at all: no sensor noise, no
    codec of the clip is left.
    """
    picture, points = source.images[0], source.landmarks[0]
    keep = float(rng.uniform(0.0, 0.8))
    amount = float(rng.uniform(0.2, 1.0)) if rng.random() < 0.5 else 0.0
    exaggerate = float(rng.uniform(0.8, 1.2))
    still = bool(rng.random() < 0.5)
    height, width = clip.images.shape[1:3]
    smoothed = clip.landmarks[0].copy()
    head = np.zeros((height, width), np.float32)
    out = np.empty_like(clip.images)
    for i, target in enumerate(clip.landmarks):
        smoothed = keep * smoothed + (1 - keep) * target
        matrix = _fit(points, smoothed)
        rigid = points @ matrix[:, :2].T + matrix[:, 2]
        driven = (rigid + np.float32(exaggerate) * (smoothed - rigid)).astype(np.float32)
        frame = piecewise_warp(picture, points, driven, (height, width))
        if still:
            if i == 0:
                behind, head = _warp(picture, matrix, (height, width)), _head(rigid, (height, width))
            frame = blend(behind[None], frame[None], np.maximum(head, _head(driven, (height, width)))[None])[0]
        out[i] = sharpen(frame, amount, 1.0) if amount else frame
    return Layer(out, np.ones(clip.images.shape[:3], np.float32), Family.ANIMATED)


def _head(points: Points, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """A soft disc over head and neck: float32 (H, W) 0..1."""
    import cv2

    unit = inter_ocular(points)
    centre = points[list(OVAL)].mean(0)
    disc = np.zeros(shape, np.uint8)
    axes = (round(1.35 * unit), round(1.9 * unit))
    cv2.ellipse(disc, (round(float(centre[0])), round(float(centre[1]))), axes, 0, 0, 360, 255, -1)
    return np.asarray(cv2.GaussianBlur(disc, (0, 0), max(0.25 * unit, 0.5)).astype(np.float32) / 255, np.float32)


def _as_good_as(made: Image, own: Image, tone: bool, keep: float) -> Image:
    """Mend a small generator's worst faults: its colours (`tone`), and a part of the fine detail (`keep` 0..1)."""
    import cv2

    if not tone and not keep:
        return made
    mended = made.astype(np.float32)
    if tone:
        mended += cv2.blur(own, (25, 25)).astype(np.float32) - cv2.blur(made, (25, 25))
    if keep:
        mended += keep * (own.astype(np.float32) - cv2.GaussianBlur(own, (0, 0), 1.2))
    return np.asarray(np.clip(mended + 0.5, 0, 255), np.uint8)
