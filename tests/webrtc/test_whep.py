"""`whep:URL` against a server that is not ours: pictures arrive, both ways round, and a lost stream says why."""

from __future__ import annotations

import asyncio
import collections
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from aiohttp import web

from monitor.clock import MonotonicClock
from monitor.errors import SourceError
from monitor.pipeline import Monitor
from monitor.settings import Settings
from monitor.sources.address import WhepAddress
from monitor.sources.live import LiveSource
from monitor.sources.whep import open_whep
from monitor.types import Frame, RunState
from monitor.webrtc.whep_http import WhepLimits
from tests.fakes import make_stages
from tests.media import number_of
from tests.webrtc.fake_whep import FakeWhep
from tests.webrtc.peers import wait_for

TOKEN = "a-token.of~the_test"


def source(server: FakeWhep, *, video: int = 1, token: str | None = None, **more: float) -> LiveSource:
    address = WhepAddress(server.post(), video)
    return open_whep(address, clock=MonotonicClock(), token=token, limits=WhepLimits(request_s=10.0), **more)


def some(frames: Iterator[Frame], count: int) -> list[Frame]:
    return [next(frames) for _ in range(count)]


def drain(frames: Iterator[Frame]) -> None:
    """Read until the end, which must come: the test's timeout is the judge."""
    collections.deque(frames, 0)


def check(frames: list[Frame]) -> None:
    """The pictures are the drawn ones, in order, and their times go on."""
    numbers = [number_of(frame.image) for frame in frames]
    assert numbers == sorted(set(numbers))
    assert [frame.seq for frame in frames] == sorted({frame.seq for frame in frames})
    assert all(a.media_ns < b.media_ns for a, b in itertools.pairwise(frames))
    assert frames[0].image.shape == (240, 320, 3)


@pytest.mark.parametrize("flow", ["answer", "counter-offer", "first draft"])
def test_the_pictures_of_an_endpoint_arrive(flow: str) -> None:
    server = FakeWhep(token=TOKEN, offers=int(flow == "counter-offer"), first_draft=flow == "first draft")
    with server:
        watched = source(server, token=TOKEN)
        frames = watched.frames()
        check(some(frames, 8))
        watched.close()
        frames.close()  # type: ignore[attr-defined]
        assert server.deleted == 1
    methods = [seen.method for seen in server.seen]
    expected = {"answer": ["POST"], "counter-offer": ["POST", "PATCH"], "first draft": ["POST", "POST", "PATCH"]}
    assert methods == [*expected[flow], "DELETE"]
    assert all(seen.token == f"Bearer {TOKEN}" for seen in server.seen)
    assert "a=recvonly" in server.seen[0].body


def test_of_several_videos_the_wanted_one_is_taken_and_the_rest_declined() -> None:
    with FakeWhep(offers=3) as server:
        watched = source(server, video=2)
        frames = watched.frames()
        check(some(frames, 4))
        watched.close()
        frames.close()  # type: ignore[attr-defined]
    answer = next(seen.body for seen in server.seen if seen.method == "PATCH")
    directions = [line for line in answer.splitlines() if line in ("a=recvonly", "a=inactive")]
    assert directions == ["a=inactive", "a=recvonly", "a=inactive", "a=inactive"]  # the last is the sound


def test_a_video_that_the_stream_does_not_have_is_told() -> None:
    with FakeWhep(offers=1) as server, pytest.raises(SourceError, match=r"has 1 video, .*number 5 .*#video=N"):
        next(source(server, video=5).frames())
    assert server.deleted == 1


def test_a_server_that_dies_in_the_middle_ends_the_frames_with_an_error_worth_a_retry() -> None:
    with FakeWhep() as server:
        frames = source(server).frames()
        check(some(frames, 3))
        server.hang_up()
        with pytest.raises(SourceError) as caught:
            drain(frames)
    assert caught.value.retryable
    assert "check that somebody publishes" in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


def test_a_stream_that_stands_still_counts_as_lost() -> None:
    with FakeWhep() as server:
        watched = source(server, silence_s=4.0)
        frames = watched.frames()
        check(some(frames, 3))
        wait_for(lambda: watched.standing.waiting is None, 30.0, "for pictures that come")
        server.tracks[-1].frozen = True
        with pytest.raises(SourceError, match="no picture for") as caught:
            drain(frames)
    assert caught.value.retryable
    assert server.deleted == 1


def test_a_source_is_left_at_once_while_the_server_hangs() -> None:
    reached, never = threading.Event(), threading.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        reached.set()
        while not never.is_set():
            await asyncio.sleep(0.02)
        raise AssertionError("the test is over")

    with FakeWhep(handler=hang) as server:
        watched = source(server)
        assert watched.standing.waiting == "connecting to the WHEP endpoint"
        ended = threading.Event()

        def read() -> None:
            assert list(watched.frames()) == []
            ended.set()

        reader = threading.Thread(target=read)
        reader.start()
        assert reached.wait(20)
        watched.close()
        assert ended.wait(5)
        reader.join()


def test_the_monitor_says_that_it_reconnects_and_judges_again() -> None:
    """The same message that any lost source has: what happened, and in how many seconds it is tried again."""
    fakes = make_stages()
    with FakeWhep() as server:

        def judged() -> bool:
            snapshot = monitor.snapshot()
            return snapshot.run_state is RunState.RUNNING and any(v.suspicion is not None for v in snapshot.verdicts)

        monitor = Monitor("whep:", Settings(), stages=replace(fakes, source=lambda: source(server)))
        monitor.start()
        try:
            wait_for(judged, 60.0, "for a first verdict")
            server.hang_up()
            wait_for(lambda: monitor.snapshot().run_state is RunState.RECONNECTING, 30.0, "for the loss")
            message = monitor.snapshot().message or ""
            wait_for(judged, 60.0, "for a verdict after the loss")
        finally:
            monitor.stop()
        assert "check that somebody publishes; trying again in" in message
        assert server.deleted == 2
        assert [seen.method for seen in server.seen] == ["POST", "DELETE", "POST", "DELETE"]


def test_a_stream_that_has_gone_for_good_is_tried_again_ever_more_seldom() -> None:
    gone = threading.Event()

    async def here_once(request: web.Request) -> web.StreamResponse:
        return web.Response(status=404) if gone.is_set() else await server.answer(request)

    with FakeWhep() as server:
        server.handler = here_once
        monitor = Monitor("whep:", Settings(), stages=replace(make_stages(), source=lambda: source(server)))
        monitor.start()
        try:
            wait_for(lambda: monitor.snapshot().verdicts, 60.0, "for a person")
            gone.set()
            server.hang_up()
            wait_for(lambda: "trying again in 2.0 s" in (monitor.snapshot().message or ""), 60.0, "for the third wait")
            assert "no such stream" in (monitor.snapshot().message or "")
        finally:
            monitor.stop()
        posts = sum(seen.method == "POST" for seen in server.seen)
        assert posts <= 5


def test_the_endpoints_ice_servers_are_used_where_the_plain_way_does_not_lead_there() -> None:
    """The first answer has no address that anybody answers at; with it come two ICE servers, none of which is there."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = await server.answer(request)
        assert isinstance(response, web.Response)
        if len(server.peers) == 1:
            lines = (response.text or "").splitlines(keepends=True)
            response.text = "".join(line for line in lines if not line.startswith("a=candidate"))
        return response

    with FakeWhep(links='<stun:127.0.0.1:9>; rel="ice-server", <http://127.0.0.1>; rel="help"') as server:
        server.handler = answer
        watched = source(server, connect_s=3.0)
        frames = watched.frames()
        check(some(frames, 3))
        watched.close()
        frames.close()  # type: ignore[attr-defined]
    assert [seen.method for seen in server.seen] == ["POST", "DELETE", "POST", "DELETE"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda sdp: sdp.replace("a=sendonly", "a=inactive"), "sends no video that can be decoded"),
        (lambda sdp: sdp.replace("a=ice-pwd", "a=ice-pw"), "cannot be used"),
        (lambda sdp: sdp.replace("m=video", "m=audio"), "cannot be used"),
        (lambda sdp: sdp[: len(sdp) // 2], "cannot be used"),
        (lambda sdp: sdp + "a=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\n" * 70, "too long"),
        (lambda sdp: sdp + "a=candidate:x\r\n", "cannot be used"),
        (lambda sdp: "v=0\r\n\x00\xff", "cannot be used"),
    ],
)
def test_an_answer_that_is_of_no_use_is_one_line_and_the_session_is_ended(
    change: Callable[[str], str], said: str
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = await server.answer(request)
        assert isinstance(response, web.Response)
        response.text = change(response.text or "")
        return response

    with FakeWhep() as server:
        server.handler = answer
        with pytest.raises(SourceError, match=said):
            next(source(server).frames())
        assert server.deleted == 1
