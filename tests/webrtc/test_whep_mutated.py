"""Descriptions with one thing wrong, by the hundred, at both ends of WHEP: an answer or a refusal, never a fault."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest
from aiohttp import web

from monitor.errors import SourceError
from monitor.webrtc.limits import Limits
from monitor.webrtc.loop import LoopThread
from monitor.webrtc.offer import HttpProblem, ViewerOffer, reachable_anywhere, read_viewer_offer
from monitor.webrtc.whep_client import WhepLink
from tests.webrtc.fake_whep import FakeWhep
from tests.webrtc.test_whep_out import Served, Watched

SEED = 20261123


async def _offer() -> str:
    from aiortc import RTCConfiguration, RTCPeerConnection

    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    sdp = str(peer.localDescription.sdp)
    await peer.close()
    return sdp


@pytest.fixture(scope="module")
def offer() -> bytes:
    return asyncio.run(_offer()).encode()


def mutants(good: bytes, count: int) -> Iterator[bytes]:
    """`good` with bytes changed, lines dropped, doubled, exchanged, cut, or filled with nonsense."""
    dice = random.Random(SEED)
    for _ in range(count):
        lines = good.split(b"\r\n")
        at, other = dice.randrange(len(lines)), dice.randrange(len(lines))
        kind = dice.randrange(7)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, lines[other])
        elif kind == 2:
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == 3:
            lines[at] = lines[at][: dice.randrange(len(lines[at]) + 1)]
        elif kind == 4:
            lines[at] = bytes(dice.randrange(256) for _ in range(dice.randrange(80)))
        elif kind == 5:
            lines[at] = lines[at].replace(b":", b": -9999999999999999999", 1)
        mutant = b"\r\n".join(lines)
        if kind == 6:
            place = dice.randrange(len(mutant))
            mutant = mutant[:place] + bytes([dice.randrange(256)]) + mutant[place + 1 :]
        yield mutant


def test_what_a_viewer_writes_is_read_or_refused(offer: bytes) -> None:
    limits, read = Limits(), 0
    problems: list[HttpProblem] = []
    for mutant in mutants(offer, 3000):
        try:
            read += isinstance(read_viewer_offer(mutant, limits, reachable_anywhere), ViewerOffer)
        except HttpProblem as problem:
            problems.append(problem)
    assert {problem.status for problem in problems} <= {400, 413, 422}
    assert not any("\n" in problem.text for problem in problems)
    assert read > 300
    assert len(problems) > 100


@pytest.mark.slow
def test_the_server_answers_every_viewer_and_keeps_none(offer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Faster than the limit of requests: those that come too soon are refused as well."""
    watched, seen = Watched(), set()
    with Served(watched) as served:
        for mutant in mutants(offer, 150):
            status, _, headers = served.ask("POST", "whep/1", mutant, "application/sdp")
            seen.add(status)
            if status == 201:
                assert served.ask("DELETE", headers["Location"].lstrip("/"))[0] in (200, 404, 429)
        assert seen <= {201, 400, 413, 422, 429, 503}
        assert {201, 400} <= seen
    assert served.viewers == 0
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


@pytest.mark.slow
def test_our_client_uses_an_answer_or_says_why_not() -> None:
    loop = LoopThread("unmask-test-mutants")
    said: set[str] = set()
    with FakeWhep() as server:
        good: list[str] = []

        async def first(request: web.Request) -> web.StreamResponse:
            response = await server.answer(request)
            assert isinstance(response, web.Response)
            good.append(response.text or "")
            return response

        server.handler = first

        async def once(limit_s: float) -> None:
            link = WhepLink(server.post(), connect_s=limit_s)
            try:
                await link.open()
            finally:
                await link.close()

        loop.run(once(20.0), 60.0)
        for mutant in mutants(good[0].encode(), 40):

            async def bad(_request: web.Request, text: bytes = mutant) -> web.StreamResponse:
                headers = {"Location": "/session/1", "Content-Type": "application/sdp"}
                return web.Response(status=201, body=text, headers=headers)

            server.handler = bad
            try:
                loop.run(once(0.05), 60.0)
            except SourceError as error:
                said.add(str(error))
    loop.close()
    assert len(said) >= 2
    assert not any("\n" in one for one in said)
