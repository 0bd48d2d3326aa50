"""The face model gives the landmarks that it gave when it was checked by eye (a wrong `.task` scrambles them)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage import data

from monitor.faces import FaceFinder, plan_tiles

GOLDEN = Path(__file__).parent / "astronaut_landmarks.npy"


@pytest.fixture(scope="module")
def finder(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    asset = request.getfixturevalue("face_landmarker_asset")
    with FaceFinder(asset) as opened:
        yield opened


def test_the_astronauts_landmarks_are_where_they_were(finder: FaceFinder) -> None:
    image = data.astronaut()
    found = finder.scan(image, plan_tiles(image.shape[1], image.shape[0]))
    read = [face for face in (finder.read(image, d.box_px) for d in found) if face is not None]
    assert len(read) == 1, "what the landmarker does not confirm is no face"
    face = read[0]
    assert face.landmarks is not None
    golden = np.load(GOLDEN)
    assert np.abs(face.landmarks[:, :2] - golden[:, :2]).max() < 0.03 * face.face_px
    assert face.yaw_deg == pytest.approx(0, abs=15)
    # Eyes above nose above mouth, and the eyes apart: what scrambled landmarks get wrong.
    right_eye, left_eye, nose, mouth = (face.landmarks[i, :2] for i in (33, 263, 1, 13))
    assert right_eye[1] < nose[1] < mouth[1]
    assert left_eye[0] - right_eye[0] > 0.4 * face.face_px


def test_a_picture_without_a_face_has_none(finder: FaceFinder) -> None:
    image = data.coffee()
    found = finder.scan(image, plan_tiles(image.shape[1], image.shape[0]))
    assert [d for d in found if finder.read(image, d.box_px) is not None] == []
    assert finder.read(image, np.array([50, 50, 150, 150], np.float32)) is None


@pytest.mark.slow
def test_every_face_of_a_25_tile_gallery_is_found(finder: FaceFinder) -> None:
    import cv2

    astronaut = data.astronaut()[20:220, 120:330]
    canvas = np.full((1080, 1920, 3), 30, np.uint8)
    for i in range(25):
        light = 0.85 + 0.05 * (i % 5)
        tint = np.clip(astronaut * light, 0, 255).astype(np.uint8)
        tile = cv2.resize(np.ascontiguousarray(tint[:, ::-1]) if i % 4 < 2 else tint, (170, 162))
        x, y = (i % 5) * 384 + 107, (i // 5) * 216 + 27
        canvas[y : y + 162, x : x + 170] = tile
    found = finder.scan(canvas, plan_tiles(1920, 1080))
    hits = {(int((d.box_px[0] + d.box_px[2]) / 2 // 384), int((d.box_px[1] + d.box_px[3]) / 2 // 216)) for d in found}
    assert len(hits) >= 24
    read = [finder.read(canvas, d.box_px) for d in found]
    assert sum(r is not None for r in read) >= 24
    assert 64 <= np.median([r.face_px for r in read if r is not None]) <= 110
