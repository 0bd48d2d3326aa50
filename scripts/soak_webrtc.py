#!/usr/bin/env python3
"""Publish to `unmask serve` from many sides at once, and see what it costs: looks, verdicts, memory, threads.

    .venv/bin/python scripts/soak_webrtc.py [--publishers 8] [--seconds 600] [--width 640] [--fps 15]

The publishers are aiortc in a process of its own. They send one clip of the demonstration's portrait, encoded
beforehand, so that they cost next to nothing. What is measured is the process of the server: whether each source is
judged once a second or more, or told that it is shed, whether it stays, and whether memory stays flat. The exit status
is 0 where all of that holds. No figure here says anything about the detector.
"""

from __future__ import annotations

import argparse
import asyncio
import fractions
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

if TYPE_CHECKING:
    from monitor.hub import HubSnapshot
    from monitor.types import UInt8Array

TOKEN_VARIABLE = "SOAK_TOKEN"
CLIP_S = 3.0
KEY_EVERY_S = 1.0
LOOK_EVERY_S = 0.1
TELL_EVERY_S = 10.0
SETTLE_S = 20.0
"""What happens before is loading: it is not counted."""
LEAST_HZ = 1.0
MOST_MIB_PER_MIN = 4.0
MOSTLY = 0.95


# ---------------------------------------------------------------------------------------- the publishers


def clip(width: int, fps: float) -> list[bytes]:
    """VP8 pictures of the portrait, to and fro, that can be sent in a ring."""
    import cv2

    from monitor.sources.synthetic import DemoScene

    scene, count = DemoScene(1, forged=False), round(CLIP_S * fps)
    height = round(width * 9 / 16) // 2 * 2
    pictures = [cv2.resize(scene.render(index / fps)[0], (width, height)) for index in range(count)]
    return encoded([*pictures, *reversed(pictures)], fps, 600_000)


def encoded(pictures: Sequence[UInt8Array], fps: float, bit_rate: int) -> list[bytes]:
    """VP8 as a call encodes it, a key picture a second: pictures uint8 (H, W, 3) of even sides -> one packet each."""
    import av

    height, width = pictures[0].shape[:2]
    encoder = av.CodecContext.create("libvpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.bit_rate, encoder.gop_size = bit_rate, round(KEY_EVERY_S * fps)
    encoder.time_base = fractions.Fraction(1, round(fps))
    encoder.options = {"deadline": "realtime", "cpu-used": "-6", "lag-in-frames": "0"}
    packets: list[bytes] = []
    for index, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = index
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


async def publish(url: str, count: int, packets: Sequence[bytes], fps: float, leave: asyncio.Event) -> None:
    """Be `count` publishers of these encoded pictures, in a ring, until `leave`."""
    import aiohttp
    import av
    from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription

    class Ring(MediaStreamTrack):
        kind = "video"

        def __init__(self, number: int) -> None:
            super().__init__()
            self.index = 0
            self.first = round(KEY_EVERY_S * fps) * number
            self.began_s = time.monotonic()

        async def recv(self) -> av.Packet:
            self.index += 1
            await asyncio.sleep(max(0.0, self.began_s + self.index / fps - time.monotonic()))
            packet = av.Packet(packets[(self.first + self.index - 1) % len(packets)])
            packet.pts, packet.time_base = round(self.index * 90_000 / fps), fractions.Fraction(1, 90_000)
            return packet

    headers = {"Authorization": f"Bearer {os.environ[TOKEN_VARIABLE]}", "Content-Type": "application/sdp"}
    vp8 = [one for one in RTCRtpSender.getCapabilities("video").codecs if one.mimeType == "video/VP8"]
    peers = []
    async with aiohttp.ClientSession() as http:
        for number in range(count):
            peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            peer.addTransceiver(Ring(number), direction="sendonly").setCodecPreferences(vp8)
            await peer.setLocalDescription(await peer.createOffer())
            async with http.post(f"{url}whip/publisher{number}", data=peer.localDescription.sdp, headers=headers) as r:
                if r.status != 201:
                    print(f"publisher {number} was refused: {r.status} {await r.text()}", flush=True)
                    continue
                await peer.setRemoteDescription(RTCSessionDescription(await r.text(), "answer"))
            peers.append(peer)
    print(f"{len(peers)} publishers", flush=True)
    await leave.wait()
    await asyncio.gather(*(peer.close() for peer in peers))


def run_publishers(url: str, count: int, packets: Sequence[bytes], fps: float) -> int:
    """The child's life: it ends when its standard input is closed, however the parent ends."""

    async def work() -> None:
        leave = asyncio.Event()
        loop = asyncio.get_running_loop()

        def watch() -> None:
            sys.stdin.read()
            loop.call_soon_threadsafe(leave.set)

        threading.Thread(target=watch, daemon=True).start()
        await publish(url, count, packets, fps, leave)

    asyncio.run(work())
    return 0


# ---------------------------------------------------------------------------------------- the server


@dataclass
class Tally:
    """What was seen of one source after the settling."""

    looks: int = 0
    shed: int = 0
    """Looks at which it was told that it is shed."""
    verdicts: set[int] = field(default_factory=set)

    def judged_hz(self, look_every_s: float) -> float:
        """Verdicts a second, over the time in which it was not shed."""
        return len(self.verdicts) / max(1e-9, (self.looks - self.shed) * look_every_s)


def take(snapshot: HubSnapshot, tallies: dict[str, Tally]) -> None:
    for source in snapshot.sources:
        tally = tallies.setdefault(source.name, Tally())
        tally.looks += 1
        tally.shed += source.shed is not None
        if source.shed is None:
            tally.verdicts |= {one.as_of_ns for one in source.snapshot.verdicts if one.suspicion is not None}


def run_soak(arguments: argparse.Namespace) -> int:
    from monitor.bench.memory import resident_mib, slope_per_minute
    from monitor.hub import Hub
    from monitor.settings import load_settings
    from monitor.webrtc.serve import Service
    from monitor.webrtc.server import ServerSettings

    service = Service(ServerSettings(port=0), Hub(load_settings()))
    service.start()
    command = [sys.executable, __file__, "--publish", service.server.url, "--publishers", str(arguments.publishers)]
    command += ["--width", str(arguments.width), "--fps", str(arguments.fps)]
    environment = {**os.environ, TOKEN_VARIABLE: service.server.token}
    publishers = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
    tallies: dict[str, Tally] = {}
    times_s: list[float] = []
    resident: list[float] = []
    looked_s: list[float] = []
    try:
        print(f"they are here: {publishers.stdout.readline().strip()}" if publishers.stdout else "", flush=True)
        began_s = told_s = time.monotonic()
        while (now_s := time.monotonic()) - began_s < arguments.seconds + SETTLE_S:
            time.sleep(LOOK_EVERY_S)
            if now_s - began_s >= SETTLE_S:
                take(service.states(), tallies)
                looked_s.append(now_s)
                times_s.append(now_s - began_s)
                resident.append(resident_mib() or 0.0)
            if now_s - told_s >= TELL_EVERY_S:
                told_s = now_s
                tell(service.states(), now_s - began_s, resident_mib() or 0.0)
    finally:
        publishers.communicate(timeout=30)
        service.stop()
    every_s = (looked_s[-1] - looked_s[0]) / max(1, len(looked_s) - 1)
    slope = slope_per_minute(times_s, resident)
    return report(tallies, len(looked_s), every_s, slope, arguments.publishers)


def tell(snapshot: HubSnapshot, at_s: float, resident: float) -> None:
    judged = sum(any(one.suspicion is not None for one in source.snapshot.verdicts) for source in snapshot.sources)
    shed = sum(source.shed is not None for source in snapshot.sources)
    said = Counter(source.snapshot.message for source in snapshot.sources if source.snapshot.message is not None)
    for message, times in said.most_common(2):
        print(f"         {times} times: {message}", flush=True)
    print(
        f"{at_s:5.0f} s  {len(snapshot.sources)} sources, {judged} judged, {shed} shed  {resident:6.0f} MiB  "
        f"{threading.active_count()} threads",
        flush=True,
    )


def report(tallies: dict[str, Tally], looks: int, every_s: float, slope: float | None, wanted: int) -> int:
    good = len(tallies) == wanted
    for name, tally in sorted(tallies.items()):
        hz, shed, there = tally.judged_hz(every_s), tally.shed / tally.looks, tally.looks / looks
        fine = there > MOSTLY and (hz >= LEAST_HZ or shed > MOSTLY)
        good = good and fine
        print(
            f"{name:12} there {there:4.0%} of the time, shed and told so {shed:4.0%} of that, else judged {hz:4.1f} "
            f"times a second{'' if fine else '  <-'}"
        )
    flat = slope is None or slope <= MOST_MIB_PER_MIN
    shown = "too short a run to tell" if slope is None else f"{slope:+.2f} MiB a minute"
    print(f"memory: {shown}; the load on this machine was {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if len(tallies) < wanted:
        print(f"{wanted - len(tallies)} publishers were never seen")
    return 0 if good and flat else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--publishers", type=int, default=8, metavar="N")
    parser.add_argument("--seconds", type=float, default=600.0, metavar="S", help="after the settling (default 600)")
    parser.add_argument("--width", type=int, default=640, metavar="PX")
    parser.add_argument("--fps", type=float, default=15.0, metavar="HZ")
    parser.add_argument("--publish", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.publish:
        packets = clip(arguments.width, arguments.fps)
        return run_publishers(arguments.publish, arguments.publishers, packets, arguments.fps)
    return run_soak(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
