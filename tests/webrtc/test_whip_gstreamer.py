"""A second WHIP client that shares nothing with ours: GStreamer's webrtcbin, where the machine has it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.webrtc.limits import Limits
from tests.webrtc.conftest import TOKEN, Serving
from tests.webrtc.peers import wait_for

PYTHON = Path("/usr/bin/python3")
PUBLISHER = Path(__file__).with_name("gst_publisher.py")
LOOK = """
import gi
gi.require_version("GstWebRTC", "1.0")
from gi.repository import Gst, GstWebRTC
Gst.Structure.__getitem__
"""


def has_gstreamer() -> bool:
    if not PYTHON.exists():
        return False
    return subprocess.run([PYTHON, "-c", LOOK], capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_gstreamer_publishes(serving: Callable[..., Serving], codec: str) -> None:
    if not has_gstreamer():
        pytest.skip(f"{PYTHON} has no GStreamer with webrtcbin (gir1.2-gst-plugins-bad-1.0, python3-gst-1.0)")
    here = serving(Limits(requests_a_s=1e6, idle_s=2.0))
    command = [str(PYTHON), str(PUBLISHER), f"{here.server.url}whip/gst", TOKEN, codec, "12"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as sender:
        try:
            wait_for(lambda: here.told.came or sender.poll() is not None, 60.0, "for GStreamer's track")
            if sender.poll() == 77:
                pytest.skip("GStreamer lacks webrtcbin or libnice's plugin")
            assert here.told.came, sender.stderr.read() if sender.stderr else ""
            health = wait_for(lambda: (h := here.told.came[0][2].health()).pictures > 60 and h)
            assert (health.codec, health.width, health.height) == (codec, 320, 240)
            assert health.left_out <= 1
        finally:
            sender.kill()
    wait_for(lambda: here.told.went, 40.0, "for the sender's end to be noticed")
