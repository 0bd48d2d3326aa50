"""Cover on a real face: scikit-image's portrait, read by the product's landmarker, with a hand painted over it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monitor.helpdesk.challenge_types import Drawn, Kind, Outcome, Sample, Timing
from monitor.helpdesk.challenges import score
from monitor.helpdesk.cover import calm_patch, cover_of, face_patch
from monitor.helpdesk.motion import motion_of
from monitor.helpdesk.scoring import Seen
from monitor.types import FaceObservation, Float32Array, UInt8Array

BOX = np.array([110, 60, 310, 310], np.float32)
SKIN, LINES = (200, 150, 130), (170, 120, 100)


class Sitter:
    """The portrait at twice its size, cut to the head, with a little noise in every picture."""

    def __init__(self, asset: Path) -> None:
        import cv2
        from skimage import data

        from monitor.faces import FaceFinder

        self.picture: UInt8Array = cv2.resize(data.astronaut(), (1024, 1024))[60:480, 250:670].copy()
        self._finder = FaceFinder(asset)
        self._rng = np.random.default_rng(0)
        self.calm = calm_patch([self._patch(self.picture)[0] for _ in range(5)])

    def _patch(self, picture: UInt8Array) -> tuple[Float32Array, FaceObservation]:
        noisy = np.clip(picture + self._rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)
        face = self._finder.read(noisy, BOX)
        assert face is not None
        assert face.landmarks is not None
        return face_patch(noisy, face.landmarks), face

    def cover(self, picture: UInt8Array) -> tuple[Float32Array, FaceObservation]:
        patch, face = self._patch(picture)
        return cover_of(patch, self.calm), face

    def hand_at(self, share: float) -> UInt8Array:
        """`share` of the face's width, from the left of the picture."""
        import cv2

        picture = self.picture.copy()
        x = int(110 + share * 184)
        cv2.ellipse(picture, (x, 200), (45, 120), 0, 0, 360, SKIN, -1)
        for finger in range(4):
            cv2.line(picture, (x - 30 + 20 * finger, 100), (x - 30 + 20 * finger, 240), LINES, 3)
        return picture

    def close(self) -> None:
        self._finder.close()


@pytest.fixture(scope="module")
def sitter(face_landmarker_asset: Path):  # type: ignore[no-untyped-def]
    one = Sitter(face_landmarker_asset)
    yield one
    one.close()


def test_a_bare_face_is_not_hidden_in_other_light_either(sitter: Sitter) -> None:
    assert sitter.cover(sitter.picture)[0].max() < 0.15
    assert sitter.cover((sitter.picture * 0.6).astype(np.uint8))[0].max() < 0.3


def test_a_hand_hides_the_part_it_is_in_front_of(sitter: Sitter) -> None:
    columns = [sitter.cover(sitter.hand_at(share))[0].mean(axis=0) for share in (0.1, 0.5, 0.9)]
    assert [int(np.argmax(one)) for one in columns] == sorted(int(np.argmax(one)) for one in columns)
    assert columns[0][3:].max() < 0.3 < columns[0][:2].max()
    assert columns[2][:2].max() < 0.3 < columns[2][3:].max()
    assert columns[1][1:4].max() > 0.7


def test_a_hand_across_the_portrait_passes_its_challenge_one_way_round(sitter: Sitter) -> None:
    """Left to right in the picture is from the person's right to their left."""
    samples = []
    for at_ms in np.arange(-1000.0, 5000.0, 150.0):
        share = -0.35 + 1.7 * (at_ms - 900.0) / 2500.0
        picture = sitter.hand_at(share) if 900.0 < at_ms < 3400.0 else sitter.picture
        cover, face = sitter.cover(picture)
        samples.append(Sample(float(at_ms), face, None, cover))
    seen = Seen(motion_of(samples))
    results = {way: score(Drawn(1, 1, Kind.HAND, "00" * 16, way, 1), seen, Timing(50.0)) for way in (False, True)}
    assert results[True].outcome is Outcome.PASSED, results[True]
    assert results[False].outcome is Outcome.FAILED, results[False]
