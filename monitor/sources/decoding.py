"""Packets of one video stream go in, pictures come out, over whatever damage lies between.

A decoder that meets damaged data raises; a recording with one bad second should still give the rest. Damage is
passed over and counted, up to a bound, so that a file of noise ends too.
"""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

DECODER_THREADS = 2
MAX_ERRORS_IN_A_ROW = 300
"""Ten seconds of video at 30 frames a second: nothing sensible follows."""
MAX_DEMUX_ERRORS = 20
MAX_SILENT_PACKETS = 2000
"""Packets that are tried before the first picture: more than any encoder's longest distance of key frames."""


class TolerantDecoder:
    """Decodes one stream of an open container, lossless and in order of presentation."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._container = container
        self._stream = stream
        stream.codec_context.thread_type = "AUTO"
        stream.codec_context.thread_count = DECODER_THREADS
        self.errors = 0
        """Packets that could not be decoded."""
        self.cut_off = False
        """The last packet ends before its data: the file is cut short."""
        self.stopped_by: str | None = None
        """Why reading stopped before the end of the file, in words, or None."""
        self.last_error: Exception | None = None

    def pictures(self) -> Iterator[VideoFrame]:
        """Every picture, the damaged ones too where the decoder made something of them (`is_corrupt`)."""
        in_a_row = 0
        decoded_any = False
        for number, packet in enumerate(self._whole_packets()):
            try:
                pictures = self._stream.codec_context.decode(packet)
            except (av.FFmpegError, ValueError) as error:
                self.errors += 1
                self.last_error = error
                in_a_row += 1
                if in_a_row >= MAX_ERRORS_IN_A_ROW:
                    self.stopped_by = "its data is damaged from there on"
                    return
                continue
            if pictures:
                in_a_row = 0
                decoded_any = True
            elif not decoded_any and number >= MAX_SILENT_PACKETS:
                self.stopped_by = f"{number} packets gave no picture"
                return
            yield from pictures

    def _whole_packets(self) -> Iterator[Packet[VideoStream] | None]:
        """The packets, then None to drain the decoder. A last packet that is cut off is left out: it would take
        the pictures that wait in the decoder with it."""
        held: Packet[VideoStream] | None = None
        for packet in self._packets():
            if held is not None:
                yield held
            held = packet
        if held is not None and held.is_corrupt:
            self.cut_off = True
        elif held is not None:
            yield held
        yield None

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        for _ in range(MAX_DEMUX_ERRORS):
            try:
                for packet in self._container.demux(self._stream):
                    if packet.size:
                        yield packet
                return
            except av.InvalidDataError as error:
                self.errors += 1
                self.last_error = error
            except av.FFmpegError as error:
                self.stopped_by = reason(error)
                return
        self.stopped_by = "the container is damaged from there on"


def reason(error: Exception) -> str:
    """The operating system's or FFmpeg's own words for an error, without the path that they repeat."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
