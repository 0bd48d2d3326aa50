"""A WHIP client that shares nothing with ours: FFmpeg's own `whip` muxer (its ICE, DTLS, SRTP and packets), by PyAV."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from tests.media import number_of
from tests.webrtc.conftest import TOKEN, Serving
from tests.webrtc.peers import wait_for

REPO = Path(__file__).resolve().parents[2]
SEND = """
import fractions, sys, time
import av
from tests.media import numbered

url, token, chain, key = sys.argv[1:]
options = {"authorization": token, "cert_file": chain, "key_file": key, "handshake_timeout": "20000"}
encoder = {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "g": "30", "level": "3.1"}
with av.open(url, "w", format="whip", options=options) as container:
    stream = container.add_stream("libx264", rate=30, options=encoder)
    stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
    stream.codec_context.time_base = fractions.Fraction(1, 30)
    began_s = time.monotonic()
    for index in range(150):
        frame = av.VideoFrame.from_ndarray(numbered(index), format="rgb24")
        frame.pts, frame.time_base = index, fractions.Fraction(1, 30)
        for packet in stream.encode(frame):
            container.mux(packet)
        time.sleep(max(0.0, began_s + index / 30 - time.monotonic()))
print("sent")
"""


@pytest.mark.skipif("whip" not in av.formats_available, reason="this PyAV is built without FFmpeg's whip muxer")
def test_ffmpeg_publishes(
    serving: Callable[..., Serving], tmp_path: Path, certificate: Callable[[Path], tuple[Path, Path]]
) -> None:
    """In a process of its own, for FFmpeg holds Python's lock while it waits for the answer. It is given a key on
    P-256: built with GnuTLS it makes one on P-224, which OpenSSL, and so aiortc, does not take (nor does RFC 8827)."""
    here = serving()
    chain, key = certificate(tmp_path)
    command = [sys.executable, "-c", SEND, f"{here.server.url}whip/ffmpeg", TOKEN, str(chain), str(key)]
    with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sender:
        try:
            wait_for(lambda: here.told.came or sender.poll() is not None, 60.0, "for FFmpeg's track")
            assert here.told.came, sender.stderr.read() if sender.stderr else ""
            name, _, receiver = here.told.came[0]
            source = receiver.source("webrtc:test")
            numbers = []
            for frame in source.frames():
                numbers.append(number_of(frame.image))
                if len(numbers) == 30:
                    source.close()
            assert numbers == sorted(set(numbers))
            assert receiver.health().codec == "H264"
            assert name == "FFmpeg"
            assert sender.wait(60) == 0
        finally:
            sender.kill()
    wait_for(lambda: here.told.went, what="for FFmpeg's DELETE")
    assert here.server.sessions() == ()
