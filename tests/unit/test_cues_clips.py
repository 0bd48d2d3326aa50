"""The cues on whole clips: the public-domain portrait in motion, genuine for its first seconds, then forged or coded.

What is done to the inner face must read as unusual by the cue that is meant for it; the same person through a codec,
or simply going on, must not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from engines.forge.families import Clip, Family, blend, make_layer
from engines.forge.nuisances import Codec, encode_decode
from monitor.crops import Square, crop, follow
from monitor.cues.motion import Flow, Motion, small_grey
from monitor.cues.reader import CUES, CueReader
from monitor.sources.portrait import FACE_OVAL, Portrait
from monitor.types import CueReading, Severity
from tests.scripted import face

GOLDEN = Path(__file__).parents[1] / "golden" / "astronaut_landmarks.npy"
WIDTH_PX, HEIGHT_PX = 480, 360
RATE_HZ = 15.0
LEARN_S, FORGED_S = 23.0, 6.0
LIVELINESS = 2.0
"""How much faster than in the demonstration the head moves: as somebody who talks."""


@dataclass(frozen=True)
class Take:
    """uint8 (T, 360, 480, 3) pictures of the moving portrait, the outline of its face, and its landmarks."""

    images: np.ndarray
    outlines: np.ndarray
    landmarks: np.ndarray


def film(start_s: float, seconds: float) -> Take:
    portrait = Portrait(np.ascontiguousarray(data.astronaut()), WIDTH_PX, HEIGHT_PX)
    points = np.load(GOLDEN)[:, :2].astype(np.float32)
    rng = np.random.default_rng(0)
    images, outlines, landmarks = [], [], []
    for step in range(round(seconds * RATE_HZ)):
        image = portrait.background.copy()
        outline = portrait.render(image, (start_s + step / RATE_HZ) * LIVELINESS)
        noise = rng.normal(0, 2.0, image.shape)
        matrix, _ = cv2.estimateAffinePartial2D(FACE_OVAL, outline)
        images.append(np.clip(image + noise, 0, 255).astype(np.uint8))
        outlines.append(outline)
        landmarks.append(points @ matrix[:, :2].T + matrix[:, 2])
    return Take(np.stack(images), np.stack(outlines), np.stack(landmarks).astype(np.float32))


def cropped(images: Sequence[np.ndarray], outlines: np.ndarray) -> list[np.ndarray]:
    """As the product crops them."""
    square, crops = None, []
    for image, outline in zip(images, outlines, strict=True):
        box = np.array([*outline.min(0), *outline.max(0)], np.float32)
        square = follow(square, Square.of_box(box))
        crops.append(crop(np.ascontiguousarray(image), square)[0])
    return crops


class Learned:
    """A reader that has learned what is usual in the first seconds. That is frozen then, so that one serves all
    tests; each comes after a gap of its own, which starts the windows anew."""

    def __init__(self) -> None:
        self._reader, self._next_s = CueReader(), 0.0
        take = film(0.0, LEARN_S)
        self.crops = cropped(take.images, take.outlines)
        self._push(self.crops)

    def _push(self, crops: Sequence[np.ndarray]) -> list[CueReading]:
        told: list[CueReading] = []
        for step, one in enumerate(crops):
            told += self._reader.push(face(one, self._next_s + step / RATE_HZ), judged=True)
        self._next_s += len(crops) / RATE_HZ + 10.0
        return told

    def read(self, images: Sequence[np.ndarray], outlines: np.ndarray) -> dict[str, list[CueReading]]:
        """The readings of whole windows of a clip, by cue."""
        told: dict[str, list[CueReading]] = {cue.name: [] for cue in CUES}
        for reading in self._push(cropped(images, outlines)):
            if reading.end_ns - reading.start_ns > 2e9:
                told[reading.name].append(reading)
        assert all(len(readings) > 5 for readings in told.values())
        assert all(reading.z is not None for readings in told.values() for reading in readings)
        return told


@pytest.fixture(scope="module")
def usual() -> Learned:
    return Learned()


@pytest.fixture(scope="module")
def later() -> Take:
    """The seconds that are forged or coded."""
    return film(LEARN_S, FORGED_S)


def inner_mask(outline: np.ndarray, share: float = 0.8) -> np.ndarray:
    """float32 (H, W, 1) 0..1 of the inner face, feathered."""
    mask = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    centre = (outline.min(0) + outline.max(0)) / 2
    cv2.fillPoly(mask, [np.round(centre + share * (outline - centre)).astype(np.int32)], 255)
    soft = cv2.GaussianBlur(mask, (0, 0), 0.03 * float(np.ptp(outline, axis=0).max()))
    return soft[..., None].astype(np.float32) / 255


def replaced(take: Take, layer: Callable[[int], np.ndarray]) -> np.ndarray:
    """The take with its inner face taken from `layer(step)`."""
    out = []
    for step, (image, outline) in enumerate(zip(take.images, take.outlines, strict=True)):
        mask = inner_mask(outline)
        out.append(np.clip(image * (1 - mask) + layer(step) * mask, 0, 255).astype(np.uint8))
    return np.stack(out)


def flickering(take: Take) -> np.ndarray:
    rng = np.random.default_rng(1)
    gains = 1 + rng.normal(0, 0.04, (len(take.images), 3))
    return replaced(take, lambda step: take.images[step] * gains[step])


def shimmering(take: Take) -> np.ndarray:
    """A grain of its own in every picture, as of a face that is computed anew each time."""
    rng = np.random.default_rng(2)
    grain = [cv2.resize(rng.normal(0, 9, (90, 120)).astype(np.float32), (WIDTH_PX, HEIGHT_PX)) for _ in take.images]
    return replaced(take, lambda step: take.images[step] + grain[step][..., None])


def lagging(take: Take, steps: int = 5) -> np.ndarray:
    """The inner face of a third of a second ago, where it was then."""
    return replaced(take, lambda step: take.images[max(0, step - steps)].astype(np.float32))


def misplaced(take: Take) -> np.ndarray:
    """The inner face a little beside its place, elsewhere in every picture."""
    rng = np.random.default_rng(3)
    size = float(np.ptp(take.outlines[0], axis=0).max())

    def layer(step: int) -> np.ndarray:
        x, y = rng.normal(0, 0.012, 2) * size
        moved = cv2.warpAffine(take.images[step], np.float32([[1, 0, x], [0, 1, y]]), (WIDTH_PX, HEIGHT_PX))
        return moved.astype(np.float32)

    return replaced(take, layer)


def of_family(family: Family, take: Take, seed: int) -> np.ndarray:
    """Forged by the code that makes the detector's training forgeries."""
    layer = make_layer(family, Clip(take.images, take.landmarks), np.random.default_rng(seed))
    return blend(take.images, layer.images, layer.masks)


def crisper(take: Take) -> np.ndarray:
    """A crisp, clean inner face, as live swaps with an enhancer make."""
    return replaced(take, lambda step: sharpened(take.images[step]))


def sharpened(image: np.ndarray) -> np.ndarray:
    return cv2.addWeighted(image, 2.2, cv2.GaussianBlur(image, (0, 0), 1.2), -1.2, 0).astype(np.float32)


def median_z(readings: list[CueReading]) -> float:
    return float(np.median([reading.z for reading in readings if reading.z is not None]))


# ------------------------------------------------------------------------------------ forged


@pytest.mark.parametrize(
    ("forge", "cue", "word"),
    [
        (flickering, "colour-flicker", "trembles"),
        (shimmering, "motion-residual", "shimmers"),
        (lagging, "motion-slip", "less closely"),
        (misplaced, "motion-slip", "less closely"),
        (crisper, "sharpness", "crisper"),
    ],
)
def test_what_is_done_to_the_inner_face_is_told_by_the_cue_that_is_meant_for_it(
    usual: Learned, later: Take, forge: Callable[[Take], np.ndarray], cue: str, word: str
) -> None:
    told = usual.read(forge(later), later.outlines)[cue]
    assert median_z(told) > 3.0
    notable = [reading for reading in told if reading.severity is not Severity.NORMAL]
    assert len(notable) > 0.5 * len(told)
    assert word in notable[-1].text
    assert notable[-1].innocent.endswith(("does the same.", "do the same."))


def test_a_face_from_a_swappers_small_picture_is_softer(usual: Learned, later: Take) -> None:
    told = usual.read(of_family(Family.BOTTLENECK, later, 4), later.outlines)
    assert median_z(told["sharpness"]) < -3.0
    assert "softer" in told["sharpness"][-1].text


# ------------------------------------------------------------------------------------ genuine


def unusual(told: dict[str, list[CueReading]]) -> dict[str, float]:
    """Share of the readings outside normal, by cue, where there are any."""
    shares = {name: float(np.mean([r.severity is not Severity.NORMAL for r in found])) for name, found in told.items()}
    return {name: share for name, share in shares.items() if share > 0}


def test_the_person_who_simply_goes_on_stays_normal(usual: Learned, later: Take) -> None:
    assert unusual(usual.read(later.images, later.outlines)) == {}


@pytest.mark.parametrize(
    ("codec", "quality"),
    [(Codec.H264, 26), (Codec.H264, 32), (Codec.VP8, 30), (Codec.VP9, 32), (Codec.JPEG, 70)],
)
def test_the_same_clip_through_a_codec_stays_normal(usual: Learned, later: Take, codec: Codec, quality: int) -> None:
    coded = encode_decode(list(later.images), codec, quality)
    assert unusual(usual.read(coded, later.outlines)) == {}


def test_light_that_changes_on_the_whole_picture_stays_normal(usual: Learned, later: Take) -> None:
    gains = 1 + 0.1 * np.sin(np.arange(len(later.images)))
    lit = [np.clip(image * gain, 0, 255).astype(np.uint8) for image, gain in zip(later.images, gains, strict=True)]
    assert unusual(usual.read(lit, later.outlines)) == {}


# ------------------------------------------------------------------------------------ the flow


def test_the_motion_of_the_whole_picture_is_found_and_taken_out() -> None:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (144, 144, 3), np.uint8), (0, 0), 3)
    image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    moved = cv2.warpAffine(image, np.float32([[1, 0, 4], [0, 1, -2]]), (144, 144), borderMode=cv2.BORDER_REFLECT)
    motion = Flow().between(small_grey(image), small_grey(moved))
    assert motion.inner_px == pytest.approx((2.0, -1.0), abs=0.15)
    assert motion.ring_px == pytest.approx((2.0, -1.0), abs=0.15)
    assert motion.inner_change < 0.2 * float(np.abs(moved.astype(int) - image).mean())


def test_a_still_picture_has_neither_motion_nor_change() -> None:
    grey = small_grey(np.random.default_rng(0).integers(0, 256, (144, 144, 3), np.uint8))
    assert Flow().between(grey, grey) == Motion(0.0, 0.0, (0.0, 0.0), (0.0, 0.0))


def test_all_cues_together_cost_far_less_than_a_detector(usual: Learned) -> None:
    reader, times_ms = CueReader(), []
    for step, one in enumerate(usual.crops[:60]):
        began = time.perf_counter()
        reader.push(face(one, step / RATE_HZ), judged=True)
        times_ms.append((time.perf_counter() - began) * 1e3)
    assert min(times_ms[5:]) < 3.0
