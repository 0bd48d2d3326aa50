"""MediaPipe's two face models: find faces anywhere in a frame by tiles, and read the landmarks of a known face.

The stock landmarker searches with a short-range detector that misses faces under a fifth of the frame (it finds
none in a 25-tile gallery). So new faces are found by running that same detector over overlapping square tiles
of two or three sizes, and a known face is read in its own region of interest, in IMAGE mode: no state is
carried from one face or frame to the next inside MediaPipe, so results do not depend on order.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from monitor.errors import AssetError
from monitor.types import LANDMARKS, FaceObservation, Float32Array, UInt8Array

ROI_SCALE = 2.0
"""Side of the region that the landmarker reads, in face sizes."""
ROI_MAX_PX = 288
"""A larger region is shrunk to this before the landmarker, whose own input is 256 px of a tighter crop."""
_TILE_OVERLAP = 0.25
_SHRINK = 1.6
_SMALLEST_SHARE = 17.5 / 128
"""The smallest face that the detector finds, in sides of its tile."""
_WANTED_FACE_PX = 64.5
_MERGE_IOU = 0.35
_DETECTOR_MEMBER = "face_detector.tflite"
_DETECTOR_MAX_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Tile:
    """A square (or the whole frame) that the detector reads at once, in pixels of the frame."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """A face found by the detector: a box in pixels of the frame and a confidence 0..1."""

    box_px: Float32Array
    score: float


def plan_tiles(width_px: int, height_px: int) -> tuple[Tile, ...]:
    """The tiles of one full scan: the whole frame, then squares of the short side, and smaller ones as needed.

    The detector's input is 128 px and it finds faces from about 17.5 px in it (measured: 25 of 25 faces of 75 px
    in tiles of 540 px, 8 of 25 of 62 px). Squares shrink by 1.6 until faces of 64 px are found.
    """
    tiles = [Tile(0, 0, width_px, height_px)]
    side = float(min(width_px, height_px))
    if max(width_px, height_px) > side * 1.2:
        tiles += _squares(width_px, height_px, int(side))
    while side * _SMALLEST_SHARE > _WANTED_FACE_PX:
        side /= _SHRINK
        tiles += _squares(width_px, height_px, int(side))
    return tuple(tiles)


def _squares(width_px: int, height_px: int, side: int) -> list[Tile]:
    step = max(1, int(side * (1 - _TILE_OVERLAP)))
    return [Tile(x, y, side, side) for y in _starts(height_px, side, step) for x in _starts(width_px, side, step)]


def _starts(length: int, side: int, step: int) -> list[int]:
    count = max(1, -(-(length - side) // step) + 1)
    if count == 1:
        return [max(0, (length - side) // 2)]
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def iou(a: Float32Array, b: Float32Array) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1)."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = float(width * height)
    total = float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])) - shared
    return shared / total if total > 0 else 0.0


def merge(detections: Sequence[Detection]) -> list[Detection]:
    """Non-maximum suppression: of boxes that overlap, or of which one holds most of the other, keep the surest."""
    kept: list[Detection] = []
    for candidate in sorted(detections, key=lambda d: -d.score):
        if all(
            iou(candidate.box_px, other.box_px) < _MERGE_IOU and _inside(candidate.box_px, other.box_px) < 0.7
            for other in kept
        ):
            kept.append(candidate)
    return kept


def _inside(a: Float32Array, b: Float32Array) -> float:
    """The share of the smaller box that lies inside the other."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return float(width * height / smaller) if smaller > 0 else 0.0


class Finder(Protocol):
    """What finds and reads faces: a `FaceFinder`, or a share of several."""

    def scan(self, image: UInt8Array, tiles: Sequence[Tile]) -> list[Detection]: ...

    def read(self, image: UInt8Array, box_px: Float32Array) -> FaceObservation | None: ...

    def close(self) -> None: ...


class FaceFinder:
    """Detector and landmarker, opened once and closed explicitly (MediaPipe's destructor complains otherwise).

    Not for use from two threads at once. Raises `AssetError` where the asset cannot be opened.
    """

    def __init__(self, asset: Path, *, detect_confidence: float = 0.5, presence_confidence: float = 0.5) -> None:
        import mediapipe as mp
        from mediapipe.tasks.python import BaseOptions, vision

        self._mp = mp
        try:
            with zipfile.ZipFile(asset) as bundle:
                if bundle.getinfo(_DETECTOR_MEMBER).file_size > _DETECTOR_MAX_BYTES:
                    raise AssetError(f"{asset.name}: its face detector is larger than expected; fetch it again")
                detector = bundle.read(_DETECTOR_MEMBER)
            self._detector: Any = vision.FaceDetector.create_from_options(
                vision.FaceDetectorOptions(
                    base_options=BaseOptions(model_asset_buffer=detector),
                    min_detection_confidence=detect_confidence,
                )
            )
            self._landmarker: Any = vision.FaceLandmarker.create_from_options(
                vision.FaceLandmarkerOptions(
                    base_options=BaseOptions(model_asset_path=str(asset)),
                    running_mode=vision.RunningMode.IMAGE,
                    num_faces=1,
                    min_face_detection_confidence=0.3,
                    min_face_presence_confidence=presence_confidence,
                    output_facial_transformation_matrixes=True,
                )
            )
        except (OSError, KeyError, zipfile.BadZipFile, RuntimeError, ValueError) as error:
            raise AssetError(
                f"{asset}: MediaPipe cannot open it ({type(error).__name__}); run 'unmask doctor --fetch'"
            ) from error

    def scan(self, image: UInt8Array, tiles: Sequence[Tile]) -> list[Detection]:
        """Faces in these tiles of `image` (uint8 RGB (H, W, 3)), merged, surest first."""
        found: list[Detection] = []
        for tile in tiles:
            part = image[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
            whole = tile.width == image.shape[1] and tile.height == image.shape[0]
            for detection in self._detect(part):
                box = detection.box_px + np.array([tile.x, tile.y, tile.x, tile.y], np.float32)
                if whole or not _cut_by_tile(box, tile, image.shape):
                    found.append(Detection(box, detection.score))
        return merge(found)

    def _detect(self, part: UInt8Array) -> list[Detection]:
        if min(part.shape[:2]) < 8:
            return []
        picture = self._mp.Image(image_format=self._mp.ImageFormat.SRGB, data=np.ascontiguousarray(part))
        found = []
        for item in self._detector.detect(picture).detections:
            b = item.bounding_box
            box = np.array([b.origin_x, b.origin_y, b.origin_x + b.width, b.origin_y + b.height], np.float32)
            if b.width > 0 and b.height > 0:
                found.append(Detection(box, float(item.categories[0].score)))
        return found

    def read(self, image: UInt8Array, box_px: Float32Array) -> FaceObservation | None:
        """Landmarks and pose of the face that is expected at `box_px`, or None where no face is there.

        The region around the box (twice its longer side) is read; outside the frame it is black.
        """
        import cv2

        centre_x, centre_y = (box_px[0] + box_px[2]) / 2, (box_px[1] + box_px[3]) / 2
        side = max(float(max(box_px[2] - box_px[0], box_px[3] - box_px[1])) * ROI_SCALE, 32.0)
        x0, y0 = int(round(centre_x - side / 2)), int(round(centre_y - side / 2))
        size = int(round(side))
        height, width = image.shape[:2]
        if x0 >= width or y0 >= height or x0 + size <= 0 or y0 + size <= 0:
            return None
        part = image[max(0, y0) : min(height, y0 + size), max(0, x0) : min(width, x0 + size)]
        pads = (max(0, -y0), max(0, y0 + size - height), max(0, -x0), max(0, x0 + size - width))
        if any(pads):
            part = cv2.copyMakeBorder(part, *pads, cv2.BORDER_CONSTANT, value=(0, 0, 0))
        if size > ROI_MAX_PX:
            part = cv2.resize(part, (ROI_MAX_PX, ROI_MAX_PX), interpolation=cv2.INTER_AREA)
        picture = self._mp.Image(image_format=self._mp.ImageFormat.SRGB, data=np.ascontiguousarray(part))
        result = self._landmarker.detect(picture)
        if not result.face_landmarks:
            return None
        points = np.array([(p.x, p.y, p.z) for p in result.face_landmarks[0]], np.float32)
        if points.shape != (LANDMARKS, 3) or not np.isfinite(points).all():
            return None
        landmarks = points * np.float32(size) + np.array([x0, y0, 0], np.float32)
        pose = None
        if result.facial_transformation_matrixes:
            pose = np.asarray(result.facial_transformation_matrixes[0], np.float32)
        low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
        return FaceObservation(
            box_px=np.concatenate([low, high]).astype(np.float32), score=1.0, landmarks=landmarks, pose=pose
        )

    def close(self) -> None:
        """Release both models. Safe to call twice."""
        for model in (self._detector, self._landmarker):
            if model is not None:
                model.close()
        self._detector = self._landmarker = None

    def __enter__(self) -> FaceFinder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _cut_by_tile(box: Float32Array, tile: Tile, shape: tuple[int, ...]) -> bool:
    """True for a box that runs into a tile's edge inside the frame: the neighbouring tile sees it whole."""
    margin = 2.0
    height, width = shape[:2]
    return bool(
        (box[0] <= tile.x + margin and tile.x > 0)
        or (box[1] <= tile.y + margin and tile.y > 0)
        or (box[2] >= tile.x + tile.width - margin and tile.x + tile.width < width)
        or (box[3] >= tile.y + tile.height - margin and tile.y + tile.height < height)
    )
