"""A row's pictures through an encoder once more, as a call, a download or a recording of the screen would do.

Row -> decoded region (exact pixels, nothing encoded in between) -> every condition's H.264 file at once
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from monitor.types import Frame, UInt8Array

if TYPE_CHECKING:
    from monitor.sources.base import Source

CLOCK = Fraction(1, 90_000)
ORIGINAL = "as it is"


@dataclass(frozen=True, slots=True)
class Condition:
    """One way to encode: x264's constant rate factor, and the height to shrink to (None: full size)."""

    name: str
    crf: int
    height_px: int | None = None


CONDITIONS = (
    Condition("CRF 23", 23),
    Condition("CRF 30", 30),
    Condition("CRF 36", 36),
    Condition("360p", 23, 360),
    Condition("180p", 23, 180),
)


def encoded_size(width_px: int, height_px: int, condition: Condition) -> tuple[int, int]:
    """Width and height of the encoded picture, even; never larger than the original."""
    share = 1.0 if condition.height_px is None else min(1.0, condition.height_px / height_px)
    return max(2, 2 * int(width_px * share / 2 + 0.25)), max(2, 2 * int(height_px * share / 2 + 0.25))


def reencode(source: Source, files: Sequence[tuple[Condition, Path]]) -> bool:
    """Write what the source gives to every file, with its own times. False where it gave no picture.

    Each file appears only when it is whole. Raises SourceError where the source fails, OSError where a file cannot
    be written.
    """
    drafts = [(condition, path, path.with_name(path.name + ".part")) for condition, path in files]
    writers: list[_Writer] = []
    try:
        with ExitStack() as stack:
            for frame in source.frames():
                if not writers:
                    writers = [stack.enter_context(_Writer(draft, frame, one)) for one, _, draft in drafts]
                for writer in writers:
                    writer.write(frame)
        if writers:
            for _, path, draft in drafts:
                os.replace(draft, path)
    finally:
        for _, _, draft in drafts:
            draft.unlink(missing_ok=True)
    return bool(writers)


class _Writer:
    """One H.264 file, open. Closes whole, or leaves a draft behind where the work before failed."""

    def __init__(self, path: Path, first: Frame, condition: Condition) -> None:
        import av

        height_px, width_px = first.image.shape[:2]
        self._size = encoded_size(width_px, height_px, condition)
        self._last_pts = -1
        self._container = av.open(str(path), "w", format="mp4")
        options = {"preset": "veryfast", "crf": str(condition.crf)}
        self._stream = self._container.add_stream("libx264", rate=30, options=options)
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = CLOCK
        self._stream.codec_context.thread_count = 2

    def write(self, frame: Frame) -> None:
        import av

        picture = av.VideoFrame.from_ndarray(shrunk(frame.image, self._size), format="rgb24")
        self._last_pts = max(self._last_pts + 1, round(frame.media_ns / 1e9 / CLOCK))
        picture.pts, picture.time_base = self._last_pts, CLOCK
        self._container.mux(self._stream.encode(picture))

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: object) -> None:
        try:
            if kind is None:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()


def shrunk(image: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """uint8 (H, W, 3) -> (height, width, 3), averaged down; an odd last row or column is cut off, not resampled."""
    import cv2

    width_px, height_px = size
    if image.shape[0] - height_px in (0, 1) and image.shape[1] - width_px in (0, 1):
        return np.ascontiguousarray(image[:height_px, :width_px])
    return np.asarray(cv2.resize(image, (width_px, height_px), interpolation=cv2.INTER_AREA), np.uint8)
