"""Recorded files: every picture that can be read, in order, the same every time.

A path goes in; frames with media times from 0 come out. Reading is lossless and waits for the reader. What cannot
be read is said: an error where nothing can be, `incomplete` where only a part could.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from monitor.clock import Clock
from monitor.errors import SourceError
from monitor.sources.decoding import TolerantDecoder, reason
from monitor.sources.geometry import FrameFit
from monitor.sources.pictures import PictureConverter
from monitor.sources.timeline import FileTimeline
from monitor.types import Frame, SourceInfo, SourceKind, UInt8Array

MIN_FPS, DEFAULT_FPS, MAX_FPS = 0.05, 25.0, 1000.0
MAX_DURATION_S = 30 * 24 * 3600.0
"""A longer duration in a header is not believed."""

_REFUSED_FORMATS = re.compile(
    r".*_pipe|tty|image2|image2pipe|concat|hls|dash|sdp|rtsp|lavfi|imf|x11grab|video4linux2,v4l2|fbdev|kmsgrab"
)
"""Text drawn as video, still pictures, playlists that name other files, and devices: none is a recording."""


@dataclass(frozen=True, slots=True)
class _Stated:
    """How long the file says it is, and by how much less may be read before that is worth a word."""

    duration_s: float
    tolerance_s: float


class FileSource:
    """A recorded video, open. `damaged_frames` counts the pictures that were left out because they were damaged."""

    def __init__(self, path: Path, *, clock: Clock, fit: FrameFit | None = None) -> None:
        """Open `path` and decode its first picture. Raises SourceError, one line, where that is not possible."""
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = self._started = False
        self._left_out = 0
        self._end_s = 0.0
        self._incomplete: str | None = None
        self._container = _open_container(path)
        try:
            self._stream = _choose_stream(path, self._container)
            context = self._stream.codec_context
            self._converter = PictureConverter(fit or FrameFit(), self._stream.sample_aspect_ratio)
            if context.width > 0 and context.height > 0:
                self._converter.plan(context.width, context.height)
            self._decoder = TolerantDecoder(self._container, self._stream)
            self._pictures = self._decoder.pictures()
            self._fps = _rate(self._stream)
            self._timeline = FileTimeline(round(1e9 / self._fps))
            self._stated = _stated(self._container, self._stream, self._fps)
            self._first: tuple[VideoFrame, UInt8Array] | None = self._find_first(path)
            height_px, width_px = self._first[1].shape[:2]
        except BaseException:
            self._container.close()
            raise
        self._info = SourceInfo(
            source_id=f"file:{_shown(path)}",
            kind=SourceKind.FILE,
            title=_shown(Path(path.name)),
            width_px=width_px,
            height_px=height_px,
            fps=self._fps,
            duration_s=None if self._stated is None else self._stated.duration_s,
        )

    @property
    def info(self) -> SourceInfo:
        return self._info

    @property
    def incomplete(self) -> str | None:
        return self._incomplete

    @property
    def damaged_frames(self) -> int:
        return self._left_out + self._decoder.errors

    def close(self) -> None:
        """Let the file go. A picture that is being decoded is finished first."""
        self._closed = True
        with self._lock:
            self._container.close()

    def frames(self) -> Iterator[Frame]:
        """All frames in order of presentation; `seq` skips the damaged ones.

        Raises SourceError for a picture of an impossible size in the middle of the file.
        """
        if self._started:
            raise RuntimeError("frames() of a file was called twice; open the file again")
        self._started = True
        seq = -1
        try:
            while True:
                with self._lock:
                    if self._closed:
                        return
                    pair = self._next()
                    if pair is None:
                        self._incomplete = self._account()
                        return
                    picture, image = pair
                    media_ns = self._timeline.place(self._timestamp_ns(picture))
                seq += 1
                if image is not None:
                    yield Frame(self._info.source_id, seq, self._clock.now_ns(), media_ns, image)
        finally:
            self.close()

    def _next(self) -> tuple[VideoFrame, UInt8Array | None] | None:
        """The next picture and its pixels (None where it is damaged), or None at the end."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        picture = next(self._pictures, None)
        if picture is None:
            return None
        image = None
        if not picture.is_corrupt:
            try:
                image = self._converter.convert(picture)
            except av.FFmpegError as error:
                self._decoder.last_error = error
        self._left_out += image is None
        return picture, image

    def _find_first(self, path: Path) -> tuple[VideoFrame, UInt8Array]:
        self._first = None
        while (pair := self._next()) is not None:
            picture, image = pair
            if image is not None:
                return picture, image
        codec = self._stream.codec_context.name
        error = self._decoder.last_error
        why = f" ({reason(error)})" if error is not None else ""
        raise SourceError(
            f"{_shown(path)}: no picture of its {codec} video could be decoded{why}; "
            "it may be empty, encrypted or damaged"
        )

    def _timestamp_ns(self, picture: VideoFrame) -> int | None:
        pts = picture.pts if picture.pts is not None else picture.dts
        time_base = picture.time_base or self._stream.time_base
        if pts is None or not time_base:
            return None
        start_s = float(pts * time_base)
        self._end_s = max(self._end_s, start_s + max(float((picture.duration or 0) * time_base), 1 / self._fps))
        return int(pts * time_base * 1_000_000_000)

    def _account(self) -> str | None:
        """After the end: what is missing, as one sentence, or None where all was read."""
        read_s = self._timeline.last_ns / 1e9 + 1 / self._fps
        parts = []
        if self._decoder.stopped_by is not None:
            parts.append(f"reading stopped after {read_s:.1f} s: {self._decoder.stopped_by}")
        elif self._stated is not None and self._stated.duration_s - max(read_s, self._end_s) > self._stated.tolerance_s:
            parts.append(
                f"the file says that it lasts {self._stated.duration_s:.1f} s, but only {read_s:.1f} s could be read: "
                "it looks cut short or damaged"
            )
        elif self._decoder.cut_off:
            parts.append(f"the file is cut off after {read_s:.1f} s")
        if self.damaged_frames:
            were = "picture was" if self.damaged_frames == 1 else "pictures were"
            parts.append(f"{self.damaged_frames} damaged {were} left out")
        return "; ".join(parts) or None


# ------------------------------------------------------------------------------------------- opening


def _shown(path: Path) -> str:
    """The path as text that can be printed, whatever bytes its name is made of."""
    return os.fsencode(path).decode("utf-8", "replace")


@cache
def _readable_formats() -> str:
    return ",".join(sorted(name for name in av.formats_available if not _REFUSED_FORMATS.fullmatch(name)))


def _open_container(path: Path) -> InputContainer:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise SourceError(f"{_shown(path)}: there is no such file; check the path") from None
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{_shown(path)}: cannot be read ({reason(error)}); check the path and its permissions"
        ) from None
    if stat.S_ISDIR(status.st_mode):
        raise SourceError(f"{_shown(path)}: is a folder; give one video file in it")
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(f"{_shown(path)}: is a device or a pipe, not a file; give a recorded video file")
    if status.st_size == 0:
        raise SourceError(f"{_shown(path)}: the file is empty (0 bytes); record or copy it again")
    try:
        return av.open(
            os.path.abspath(path),
            "r",
            container_options={"format_whitelist": _readable_formats()},
            metadata_errors="ignore",
        )
    except (PermissionError, FileNotFoundError) as error:
        raise SourceError(f"{_shown(path)}: cannot be read ({reason(error)}); check its permissions") from None
    except av.ArgumentError:
        raise SourceError(f"{_shown(path)}: is a still picture, a text or a playlist, not a recorded video") from None
    except (av.FFmpegError, ValueError) as error:
        if _starts_like_mp4(path):
            raise SourceError(
                f"{_shown(path)}: the index of this MP4 or MOV file is missing, so it is cut short or was never "
                "finished; copy or export it again"
            ) from None
        raise SourceError(f"{_shown(path)}: is not a video that can be read ({reason(error)})") from None


def _starts_like_mp4(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(12)[4:8] in (b"ftyp", b"mdat", b"moov", b"wide", b"free")
    except OSError:
        return False


def _choose_stream(path: Path, container: InputContainer) -> VideoStream:
    """The video stream that a player would show; cover art is none."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        what = "only sound" if container.streams.audio else "no video"
        raise SourceError(f"{_shown(path)}: has {what} in it; unmask looks at pictures, give a file with video")
    best = container.streams.best("video")
    stream = next((s for s in streams if s is best), streams[0])
    if getattr(stream, "codec_context", None) is None:
        raise SourceError(
            f"{_shown(path)}: its video is encrypted or of a kind that is not known here; convert it to MP4"
        )
    return stream


def _rate(stream: VideoStream) -> float:
    """Frames a second on average, from whichever statement of the file is sane."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and MIN_FPS <= rate <= MAX_FPS:
            return float(rate)
    return DEFAULT_FPS


def _stated(container: InputContainer, stream: VideoStream, fps: float) -> _Stated | None:
    """The duration of the video by its own header; else that of the whole file, where sound may be the longer."""
    tolerance_s = 3 / fps
    duration_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    duration_s = duration_s or _matroska_duration_s(stream.metadata.get("DURATION", ""))
    if duration_s > 0:
        tolerance_s = max(0.2, 3 / fps, 0.01 * duration_s)
    elif container.duration:
        duration_s = container.duration / av.time_base
        tolerance_s = max(1.0, 3 / fps, 0.05 * duration_s)
    return _Stated(duration_s, tolerance_s) if 0 < duration_s <= MAX_DURATION_S else None


def _matroska_duration_s(text: str) -> float:
    """Seconds of a Matroska DURATION tag such as 00:01:02.500000000, or 0."""
    match = re.fullmatch(r"(\d{1,4}):(\d{2}):(\d{2}(?:\.\d+)?)\s*", text)
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else 0.0
