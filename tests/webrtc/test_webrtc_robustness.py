"""What must not happen whatever comes in: a traceback, a hang, a leak. Seeded garbage, and many comings and goings."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiortc import RTCPeerConnection

from monitor.webrtc.limits import Limits
from monitor.webrtc.offer import HttpProblem, reachable_here, read_fragment, read_names, read_offer
from monitor.webrtc.reassembly import EncodedPicture, Reassembly
from monitor.webrtc.receiver import TrackReceiver
from monitor.webrtc.session import Session
from tests.webrtc.conftest import Serving
from tests.webrtc.peers import Pictures, Publisher, wait_for
from tests.webrtc.test_whip import offer_text

Serve = Callable[..., Serving]

EXPECTED = {200, 201, 204, 400, 401, 403, 404, 405, 408, 411, 412, 413, 414, 415, 421, 422, 426, 429, 431, 501, 503}
WORDS = [
    *("", "0", "-1", "65536", "99999999999999999999", "a=", "m=video 9 UDP/TLS/RTP/SAVPF", "m=", "v=0", "a=mid:"),
    *("a=candidate:1 1 udp 1 127.0.0.1 9 typ host", "a=candidate:", "\u2028a=candidate:9 1 udp 1 10.0.0.1 9 typ host"),
    *("a=rtpmap:97", "a=rtpmap:x VP8/90000", "a=rtpmap:97 VP8", "a=ssrc:1 cname:x", "a=ssrc-group:FID 1 x"),
    *(
        "a=group:BUNDLE 0 0 0",
        "a=group:BUNDLE 7",
        "a=extmap:1/x y",
        "a=extmap:0",
        "a=ice-ufrag:",
        "a=ice-pwd:x",
        "%n%s",
    ),
    *(
        "\x00",
        "\udcff",
        "é",
        "💥",
        "a=sctp-port:x",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "a=setup:wrong",
    ),
    *("a=max-message-size:-1", "c=IN IP4 999.1.1.1", "c=IN IP9 x", "a=rtcp:x", "a=rtcp-fb:97", "a=fmtp:97 apt=x"),
    *(
        "a=fingerprint:sha-256 00",
        "a=fingerprint:md5",
        "a=group:BUNDLE 0",
        "a=group:BUNDLE 1 0",
        "a=mid:0",
        "a=setup:wrong",
    ),
]


def mutated(text: str, rng: random.Random) -> bytes:
    """`text` with a few of its lines, words or bytes changed."""
    lines = text.split("\r\n")
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(lines))
        match rng.randrange(8):
            case 0:
                lines.pop(at) if len(lines) > 1 else None
            case 1:
                lines.insert(at, rng.choice(lines))
            case 2:
                lines[at] = rng.choice(WORDS)
            case 3:
                words = lines[at].split(" ")
                words[rng.randrange(len(words))] = rng.choice(WORDS)
                lines[at] = " ".join(words)
            case 4:
                head, colon, _ = lines[at].partition(":")
                lines[at] = head + colon + rng.choice(WORDS)
            case 5:
                lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
            case 6:
                lines[at] = lines[at] * rng.choice([2, 50])
            case 7:
                rng.shuffle(lines)
    body = bytearray("\r\n".join(lines).encode("utf-8", "surrogatepass"))
    if rng.random() < 0.2 and body:
        body[rng.randrange(len(body))] = rng.randrange(256)
    return bytes(body)


@dataclass
class Standing:
    """What a server holds: files, threads and tasks of its loop."""

    files: int
    threads: int
    tasks: int

    @classmethod
    def of(cls, here: Serving) -> Standing:
        loop = here.server._loop
        assert loop is not None

        async def count() -> int:
            return len(asyncio.all_tasks())

        folder = Path("/proc/self/fd")
        files = len(os.listdir(folder)) if folder.is_dir() else 0
        return cls(files, threading.active_count(), loop.run(count()))

    def holds(self, other: Standing) -> bool:
        """Is `other` no more than this, give or take what a pool keeps?"""
        return other.files <= self.files + 3 and other.threads <= self.threads + 4 and other.tasks <= self.tasks + 2


def settle(here: Serving, before: Standing) -> None:
    """Wait until the server holds no more than before."""
    try:
        wait_for(lambda: not here.server.sessions() and before.holds(Standing.of(here)), 40.0)
    except AssertionError:
        names = sorted(thread.name for thread in threading.enumerate())
        raise AssertionError(f"held {before}, holds {Standing.of(here)}; threads {names}") from None


async def throw_sdp(here: Serving, offers: list[bytes]) -> set[int]:
    """POST each body, PATCH each into a session where there is one; every session is deleted again."""
    seen: set[int] = set()
    headers = {"Authorization": here.bearer}
    base = here.server.url.rstrip("/")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:

        async def one(body: bytes) -> None:
            sdp = {**headers, "Content-Type": "application/sdp"}
            async with http.post(here.whip, data=body, headers=sdp) as response:
                seen.add(response.status)
                location = response.headers.get("Location")
            if location is not None:
                fragment = {**headers, "Content-Type": "application/trickle-ice-sdpfrag"}
                async with http.patch(base + location, data=body[-2000:], headers=fragment) as response:
                    seen.add(response.status)
                async with http.delete(base + location, headers=headers) as response:
                    seen.add(response.status)

        for at in range(0, len(offers), 4):
            await asyncio.gather(*(one(body) for body in offers[at : at + 4]))
    return seen


async def throw_bytes(here: Serving, requests: list[bytes]) -> set[int]:
    """Send each as a whole connection; the statuses that came back, 0 for none."""
    seen: set[int] = set()

    async def one(request: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
        try:
            writer.write(request)
            answer = await asyncio.wait_for(reader.read(4096), 20)
            match = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
            seen.add(int(match[1]) if match else 0)
        except ConnectionError:
            seen.add(0)
        finally:
            writer.close()

    for at in range(0, len(requests), 50):
        await asyncio.gather(*(one(request) for request in requests[at : at + 50]))
    return seen


def http_requests(here: Serving, offer: str, count: int, rng: random.Random) -> list[bytes]:
    """Mutated HTTP requests."""
    whole = (
        f"POST /whip/call HTTP/1.1\r\nHost: 127.0.0.1:{here.server.port}\r\nAuthorization: {here.bearer}\r\n"
        f'Content-Type: application/sdp\r\nX-Unmask-Names: ["a"]\r\nContent-Length: {len(offer)}\r\n\r\n'
    )
    requests = []
    for _ in range(count):
        head = bytearray(mutated(whole, rng) if rng.random() < 0.7 else whole.encode())
        for _ in range(rng.randint(0, 3)):
            head[rng.randrange(len(head))] = rng.randrange(256)
        requests.append(bytes(head) + (b"" if rng.random() < 0.5 else mutated(offer, rng)))
    return requests


def bombard(serving: Serve, count: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "monitor")
    here = serving(Limits(requests_a_s=1e9, first_frame_s=2.0))
    impatient = serving(Limits(requests_a_s=1e9, first_frame_s=0.5, request_s=0.5))
    rng = random.Random(9725)
    offer = offer_text(here, 2)
    rich = (
        offer
        + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:9\r\na=sctp-port:5000\r\n"
    )
    here.loop.run(throw_sdp(here, [offer.encode()]), 60.0)
    before = Standing.of(here)
    offers = [mutated(rng.choice((offer, rich)), rng) for _ in range(count * 2 // 3)]
    seen = here.loop.run(throw_sdp(here, offers), 600.0)
    assert seen <= EXPECTED
    assert {201, 400, 422} <= seen
    raw = http_requests(impatient, offer, count - len(offers), rng)
    seen = here.loop.run(throw_bytes(impatient, raw), 600.0)
    assert seen <= EXPECTED | {0}
    assert {400, 408} <= seen
    wait_for(lambda: not impatient.server.sessions())
    assert here.loop.run(throw_sdp(here, [offer.encode()]), 60.0) == {201, 400, 200}
    settle(here, before)
    assert here.told.came == []
    bad = [record for record in caplog.records if record.exc_info or record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in bad if record.name.startswith(("monitor", "asyncio", "aiohttp"))] == []


def test_hundreds_of_mutated_requests(serving: Serve, caplog: pytest.LogCaptureFixture) -> None:
    bombard(serving, 300, caplog)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_ten_thousand_mutated_requests(serving: Serve, caplog: pytest.LogCaptureFixture) -> None:
    bombard(serving, 10_000, caplog)


def answer_of(read: Callable[..., object], *arguments: object) -> object:
    """What a reader returns, or the problem that it raises."""
    try:
        return read(*arguments)
    except HttpProblem as problem:
        return problem


def test_readers_of_sdp_raise_nothing_but_problems(serving: Serve) -> None:
    """The readers alone, which are quick: what they let through is within the bounds."""
    here = serving()
    rng, limits, offer = random.Random(8840), Limits(), offer_text(here, 2)
    here.server.stop()
    through = 0
    for _ in range(3000):
        body = mutated(offer, rng)
        answers = [
            answer_of(read_offer, body, limits, reachable_here(["192.0.2.9"])),
            answer_of(read_fragment, body, limits, reachable_here(["192.0.2.9"])),
            answer_of(read_names, body[:200].decode("latin-1"), limits),
        ]
        for answer in answers:
            if isinstance(answer, HttpProblem):
                assert answer.status in (400, 413, 422)
                assert "\n" not in answer.text
                continue
            through += 1
            sdp = getattr(answer, "sdp", "")
            assert "10.0.0.1" not in sdp
            assert len(sdp.splitlines()) <= limits.sdp_lines + 1
    assert through > 100


@pytest.mark.parametrize(
    "filler", ["a=x:" + "y" * 4000, "a=" + "\u2028" * 1000, "m=video 9 a 1", "a=candidate:" + "1 " * 200]
)
def test_the_largest_bodies_are_read_in_no_time(filler: str) -> None:
    limits = Limits()
    body = ("v=0\r\n" + (filler + "\r\n") * 3000).encode()[: limits.sdp_bytes - 3]
    began = time.process_time()
    for read in (read_offer, read_fragment):
        answer_of(read, body.decode(errors="ignore").encode(), limits, reachable_here([]))
    assert time.process_time() - began < 1.0


# ------------------------------------------------------------------------------------------------ comings and goings


def living() -> int:
    """How many sessions, receivers and connections (of the visitors, too) are still in memory."""
    gc.collect()
    kinds = (Session, TrackReceiver, RTCPeerConnection)
    return sum(issubclass(type(one), kinds) for one in gc.get_objects())


def come_and_go(serving: Serve, times: int, side_by_side: int) -> None:
    """Full connections with media; half of the peers leave with DELETE, half just vanish."""
    here = serving(Limits(requests_a_s=1e9, idle_s=1.0, first_frame_s=20.0))

    async def visit(number: int) -> None:
        name = f"visitor {number}"
        options = {"names": [name], "channel": number % 3 == 0}
        publisher = Publisher(here.loop, here.whip, here.server.token, [Pictures(fps=10)], **options)
        await publisher.publish()
        assert publisher.status in (201, 503)  # 503: a machine too busy to answer in five seconds
        for _ in range(800 if publisher.status == 201 else 0):
            if any(one[0] == name for one in here.told.came[-20:]):
                break
            await asyncio.sleep(0.05)
        await publisher.leave(tell=number % 2 == 0)

    async def visits(first: int, count: int) -> None:
        await asyncio.gather(*(visit(first + number) for number in range(count)))

    here.loop.run(visits(100_000, 2), 60.0)
    wait_for(lambda: not here.server.sessions() and len(here.told.came) == len(here.told.went), 40.0)
    before = Standing.of(here)
    del here.told.came[:], here.told.went[:]
    alive = living()
    seen = 0
    for first in range(0, times, side_by_side):
        count = min(side_by_side, times - first)
        here.loop.run(visits(first, count), 120.0)
        wait_for(lambda: not here.server.sessions() and len(here.told.came) == len(here.told.went), 60.0)
        seen += len(here.told.came)
        del here.told.came[:], here.told.went[:]
    assert seen >= 0.8 * times  # on a busy machine some connect too late
    settle(here, before)
    wait_for(lambda: living() <= alive + 2, what="for the objects of the visitors to go")


@pytest.mark.timeout(300)
def test_comings_and_goings_leave_nothing_behind(serving: Serve) -> None:
    come_and_go(serving, 24, 4)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_thousand_comings_and_goings(serving: Serve) -> None:
    come_and_go(serving, 1000, 8)


def test_sessions_that_never_connect_leave_nothing_behind(serving: Serve) -> None:
    here = serving(Limits(requests_a_s=1e9))
    offer = offer_text(here).encode()
    here.loop.run(throw_sdp(here, [offer] * 4), 60.0)
    before = Standing.of(here)
    assert here.loop.run(throw_sdp(here, [offer] * 60), 120.0) == {201, 204, 200}
    settle(here, before)


# ------------------------------------------------------------------------------------------------ packets


@dataclass
class FakePacket:
    """What `Reassembly` reads of a packet."""

    sequence_number: int
    timestamp: int
    marker: int
    ssrc: int
    payload_type: int
    _data: bytes


def test_packets_of_every_kind_are_survived_and_bounded() -> None:
    """Random sequence numbers, stamps, sources and contents: never an error, never more than the bound is kept."""
    from monitor.clock import FakeClock

    clock, rng = FakeClock(), random.Random(3550)
    delivered: list[EncodedPicture] = []
    reassembly = Reassembly(clock, lambda payload_type: ("VP8", "H264", "")[payload_type % 3], delivered.append)
    seq = 0
    for _ in range(60_000):
        seq = (seq + rng.choice([1, 1, 1, 1, 2, -1, 3, 100, 3000, 40_000])) % 0x10000
        packet = FakePacket(
            seq,
            rng.choice([seq * 3000 // 4, rng.randrange(1 << 32)]) % (1 << 32),
            rng.random() < 0.3,
            rng.choice([1] * 50 + [2]),
            rng.randrange(128),
            rng.choice([b"", b"\x10\x00\x00\x9d\x01\x2a" + bytes(10), b"\x00\x00\x01\x65", b"\x01", rng.randbytes(40)]),
        )
        reassembly.add(packet)
        clock.advance(rng.choice([0.0, 0.001, 0.01]))
        assert len(reassembly._slots) <= 2049
        assert len(reassembly._ledger) < 5000
    assert delivered
    assert 0.0 <= reassembly.loss() <= 1.0
