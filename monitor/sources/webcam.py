"""A camera as a live source: its pictures, upright and in RGB, the newest only.

The capture thread drains the device without pause, so that nothing old waits in it, and decodes every picture.
Unplugging, or another program that takes the camera, ends the frames with a SourceError worth trying again after.
"""

from __future__ import annotations

import sys

import av
from av.container import InputContainer

from monitor.clock import Clock
from monitor.errors import SourceError
from monitor.sources.address import WebcamAddress
from monitor.sources.cameras import (
    Camera,
    Opener,
    camera_error,
    find_camera,
    input_format,
    lasting_address,
    list_cameras,
    open_camera,
    open_device,
)
from monitor.sources.geometry import FrameFit
from monitor.sources.live import LiveSource, Offer
from monitor.sources.pictures import PictureConverter
from monitor.sources.timeline import LiveTimeline
from monitor.types import SourceInfo, SourceKind

MAX_BAD_PICTURES = 60
"""Two seconds of pictures that cannot be decoded: the cable or the camera is broken."""
_NOT_YET_S = 0.005


def open_webcam(
    address: WebcamAddress,
    *,
    clock: Clock,
    fit: FrameFit | None = None,
    opener: Opener = open_device,
    cameras: tuple[Camera, ...] | None = None,
    platform: str = sys.platform,
) -> LiveSource:
    """Open a camera. Raises SourceError where it is absent, busy, refused or no camera at all.

    `opener` and `cameras` stand for the device and the system's list of them; tests put others in their place.
    """
    input_format(platform)
    known = list_cameras(platform) if cameras is None else cameras
    camera = find_camera(address, known, platform)
    container = open_camera(camera, opener, platform)
    try:
        stream = container.streams.video[0]
        converter = PictureConverter(fit or FrameFit(), stream.sample_aspect_ratio)
        plan = converter.plan(stream.codec_context.width, stream.codec_context.height)
        rate = stream.average_rate or stream.guessed_rate
        info = SourceInfo(
            source_id=str(address),
            kind=SourceKind.WEBCAM,
            title=camera.name,
            width_px=plan.width_px,
            height_px=plan.height_px,
            fps=float(rate) if rate and 1 <= rate <= 1000 else None,
            notice=camera.remark,
        )
    except BaseException:
        container.close()
        raise
    capture = _WebcamCapture(container, camera, converter, clock, platform)
    return LiveSource(info, capture, clock=clock, lasting_uri=str(lasting_address(camera, known)))


class _WebcamCapture:
    def __init__(
        self, container: InputContainer, camera: Camera, converter: PictureConverter, clock: Clock, platform: str
    ) -> None:
        self._container = container
        self._camera = camera
        self._converter = converter
        self._clock = clock
        self._platform = platform
        self._timeline = LiveTimeline()
        self._bad_in_a_row = 0

    def release(self) -> None:
        self._container.close()

    def run(self, offer: Offer) -> None:
        self._container.streams.video[0].codec_context.thread_count = 1
        while not offer.stopped:
            try:
                self._drain(offer)
            except av.BlockingIOError:  # AVFoundation: no picture yet
                self._clock.sleep(_NOT_YET_S)
                continue
            except (av.FFmpegError, OSError) as error:
                raise self._gone(error) from error
            if not offer.stopped:
                raise self._gone(None)

    def _drain(self, offer: Offer) -> None:
        stream = self._container.streams.video[0]
        for packet in self._container.demux(stream):
            recv_ns = self._clock.now_ns()
            if offer.stopped:
                return
            try:
                pictures = packet.decode()
            except (av.InvalidDataError, ValueError) as error:
                self._count_bad(error)
                continue
            for picture in pictures:
                if picture.is_corrupt:
                    self._count_bad(None)
                    continue
                self._bad_in_a_row = 0
                time_base = picture.time_base or stream.time_base
                raw_ns = int(picture.pts * time_base * 1_000_000_000) if picture.pts is not None and time_base else None
                image = self._converter.convert(picture)
                offer(image, recv_ns=recv_ns, media_ns=self._timeline.place(raw_ns, recv_ns))

    def _count_bad(self, error: Exception | None) -> None:
        self._bad_in_a_row += 1
        if self._bad_in_a_row >= MAX_BAD_PICTURES:
            raise SourceError(
                f"{self._camera.name}: its pictures arrive damaged; try another cable or another USB port",
                retryable=True,
            ) from error

    def _gone(self, error: Exception | None) -> SourceError:
        code = getattr(error, "errno", None)
        if error is not None and code is not None and camera_error(self._camera, error).retryable is False:
            return camera_error(self._camera, error, self._platform)
        return SourceError(
            f"{self._camera.name}: stopped giving pictures; it was unplugged or taken by another program. "
            "Plug it in again",
            retryable=True,
        )
