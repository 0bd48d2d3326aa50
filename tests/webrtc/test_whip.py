"""WHIP (RFC 9725) as an aiortc client of the tests sees it, over real HTTP and real media on loopback."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from monitor.clock import MonotonicClock
from monitor.webrtc.limits import Limits
from monitor.webrtc.offer import reachable_anywhere, read_offer
from monitor.webrtc.session import Events, Session
from monitor.webrtc.tap import accept_rsa
from tests.media import number_of
from tests.webrtc.conftest import Serving, self_signed
from tests.webrtc.peers import Pictures, Publisher, ask, wait_for

Serve = Callable[..., Serving]


def frames_of(serving: Serving, index: int, count: int) -> list[int]:
    """The numbers of the next pictures of one track."""
    source = serving.told.came[index][2].source("webrtc:test")
    numbers: list[int] = []
    for frame in source.frames():
        numbers.append(number_of(frame.image))
        if len(numbers) == count:
            source.close()
    return numbers


def offer_text(serving: Serving, tracks: int = 1) -> str:
    """An offer that nobody stands behind."""
    publisher = Publisher(serving.loop, serving.whip, None, [Pictures() for _ in range(tracks)])
    text: str = serving.loop.run(publisher.offer(), 30.0)
    serving.loop.run(publisher.leave(tell=False), 30.0)
    return text


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_a_publisher_comes_is_seen_and_leaves(serving: Serve, codec: str) -> None:
    here = serving()
    publisher = Publisher(here.loop, here.whip, here.server.token, [Pictures()], codec=codec).start()
    assert publisher.status == 201
    assert re.fullmatch(r"/whip/call/[A-Za-z0-9_-]{20,}", publisher.location)
    assert re.fullmatch(r'"[0-9a-f]+"', publisher.etag)
    wait_for(lambda: here.told.came, what="for the track")
    assert here.told.came[0][0] == "call"
    numbers = frames_of(here, 0, 10)
    assert numbers == sorted(set(numbers))
    assert here.told.came[0][2].health().codec == codec
    publisher.stop()
    wait_for(lambda: here.told.went, what="for the end")
    assert here.server.sessions() == ()
    assert ask(here.loop, "DELETE", f"{here.server.url[:-1]}{publisher.location}", Authorization=here.bearer)[0] == 404


def test_every_track_is_a_source_with_its_name(serving: Serve) -> None:
    here = serving()
    names = ["Ann\u202e\n <b>", "Bo " * 40]
    publisher = Publisher(here.loop, here.whip, here.server.token, [Pictures(), Pictures()], names=names).start()
    wait_for(lambda: len(here.told.came) == 2, what="for both tracks")
    assert [name for name, _, _ in here.told.came] == ["Ann <b>", ("Bo " * 40)[:64].strip()]
    second = Publisher(here.loop, here.whip, here.server.token, [Pictures()], names=["Ann <b>"]).start()
    wait_for(lambda: len(here.told.came) == 3, what="for the third track")
    assert here.told.came[2][0] == "Ann <b> (2)"
    publisher.stop()
    wait_for(lambda: len(here.told.went) == 2, what="for two to go")
    assert [info.names for info in here.server.sessions()] == [("Ann <b> (2)",)]
    second.stop()


def test_candidates_may_come_later(serving: Serve) -> None:
    here = serving()
    publisher = Publisher(here.loop, here.whip, here.server.token, [Pictures()])
    offer = publisher.offer

    async def bare_offer() -> str:
        return "\r\n".join(line for line in (await offer()).splitlines() if "candidate" not in line) + "\r\n"

    publisher.offer = bare_offer  # type: ignore[method-assign]
    publisher.start()
    assert publisher.status == 201
    assert publisher.peer is not None
    sdp = publisher.peer.localDescription.sdp
    ufrag = re.search(r"a=ice-ufrag:(\S+)", sdp)
    candidates = re.findall(r"a=candidate:.*", sdp)
    assert ufrag is not None
    assert candidates
    fragment = "\r\n".join(
        [ufrag[0], "m=video 9 UDP/TLS/RTP/SAVPF 0", "a=mid:0", *candidates, "a=end-of-candidates", ""]
    )
    where = f"{here.server.url[:-1]}{publisher.location}"
    said = {"Authorization": here.bearer, "Content_Type": "application/trickle-ice-sdpfrag"}
    assert ask(here.loop, "PATCH", where, fragment, If_Match='"another"', **said)[0] == 412
    assert ask(here.loop, "PATCH", where, fragment, If_Match=publisher.etag, **said)[0] == 204
    assert ask(here.loop, "PATCH", where, fragment, **said)[0] == 204
    wait_for(lambda: here.told.came, what="for the track")
    restart = "a=ice-ufrag:other\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n"
    assert ask(here.loop, "PATCH", where, restart, If_Match="*", **said)[0] == 422
    assert ask(here.loop, "PATCH", where, "what is this", **said)[0] == 400
    assert ask(here.loop, "PATCH", where, "a=candidate:nonsense", **said)[0] == 400
    assert ask(here.loop, "PATCH", where, "", **said)[0] == 400
    assert ask(here.loop, "PATCH", where, fragment, Authorization=here.bearer, Content_Type="text/plain")[0] == 415
    many = "\r\n".join([ufrag[0], *(candidates[0] for _ in range(70))])
    assert ask(here.loop, "PATCH", where, many, **said)[0] == 422
    assert here.told.went == []
    publisher.stop()


def test_methods_and_types_are_answered_as_the_rfc_says(serving: Serve) -> None:
    here = serving()
    whip, bearer = here.whip, here.bearer
    status, headers, _ = ask(here.loop, "OPTIONS", whip)
    assert status == 204
    assert headers["Accept-Post"] == "application/sdp"
    for method in ("GET", "PUT", "PATCH", "DELETE", "HEAD"):
        status, headers, _ = ask(here.loop, method, whip, Authorization=bearer)
        assert status == 405
        assert "POST" in headers["Allow"]
    for method in ("GET", "POST", "PUT"):
        assert ask(here.loop, method, f"{whip}/abc", Authorization=bearer)[0] == 405
    assert ask(here.loop, "DELETE", f"{whip}/abc", Authorization=bearer)[0] == 404
    assert ask(here.loop, "POST", whip, "v=0", Authorization=bearer, Content_Type="text/plain")[0] == 415
    assert ask(here.loop, "POST", f"{whip}%20x", "v=0", Authorization=bearer, Content_Type="application/sdp")[0] == 404


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", "Basic YTpi", "a-token-of-the-tests"])
def test_nothing_is_served_without_the_token(serving: Serve, authorization: str | None) -> None:
    here = serving()
    headers = {} if authorization is None else {"Authorization": authorization}
    for method, path in (
        ("POST", "whip/call"),
        ("DELETE", "whip/call/x"),
        ("PATCH", "whip/call/x"),
        ("GET", "api/status"),
    ):
        status, answered, text = ask(here.loop, method, here.server.url + path, **headers)
        assert status == 401
        assert answered["WWW-Authenticate"].startswith("Bearer")
        assert here.server.token not in text
    assert ask(here.loop, "GET", f"{here.server.url}healthz")[0] == 200


def test_offers_that_cannot_be_served(serving: Serve) -> None:
    here = serving(Limits(requests_a_s=1e6, tracks_a_session=2))
    offer = offer_text(here)

    def post(text: str | bytes) -> tuple[int, str]:
        said = ask(here.loop, "POST", here.whip, text, Authorization=here.bearer, Content_Type="application/sdp")
        return said[0], said[2]

    assert post("")[0] == 400
    assert post("hello")[0] == 400
    assert post(b"\xff\xfe\x00")[0] == 400
    assert post("v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n")[0] == 422
    assert post(offer.replace("m=video", "m=audio"))[0] == 422
    assert post(offer.replace("sendonly", "recvonly"))[0] == 422
    assert post(re.sub(r"(?m)^a=(ice-ufrag|ice-pwd):.*\r\n", "", offer))[0] == 400
    assert post(re.sub(r"(?m)^a=fingerprint:.*\r\n", "", offer))[0] in (201, 400)
    assert post(re.sub("VP8|H264", "VP9", offer)) == (
        422,
        "no codec of the offer can be decoded here; offer VP8 or H.264\n",
    )
    assert post(offer_text(here, 3))[0] == 422
    assert post(offer + "a=x:" + "y" * 5000 + "\r\n")[0] == 413
    assert post(offer + "a=x:y\r\n" * 2000)[0] == 413
    assert post(offer + "a=x:y\r\n" * 4700)[0] == 413
    assert post("v=0\r\n" + "a" * 100_000)[0] == 413
    assert post(offer + "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n" * 65)[0] == 422
    assert post(offer)[0] == 201
    text = ask(
        here.loop,
        "POST",
        here.whip,
        offer,
        Authorization=here.bearer,
        Content_Type="application/sdp",
        X_Unmask_Names='{"not": "a list"}',
    )
    assert text[0] == 400


def test_a_session_that_shows_nothing_is_closed(serving: Serve) -> None:
    here = serving(Limits(requests_a_s=1e6, first_frame_s=0.5))
    offer = offer_text(here)
    said = {"Authorization": here.bearer, "Content_Type": "application/sdp"}
    status, headers, _ = ask(here.loop, "POST", here.whip, offer, **said)
    assert status == 201
    assert len(here.server.sessions()) == 1
    wait_for(lambda: not here.server.sessions(), what="for the session to be closed")
    assert here.told.came == here.told.went == []
    assert ask(here.loop, "PATCH", here.server.url[:-1] + headers["Location"], Authorization=here.bearer)[0] == 404


def test_the_number_of_sessions_is_bounded(serving: Serve) -> None:
    here = serving(Limits(requests_a_s=1e6, sessions=2))
    offer = offer_text(here)
    said = {"Authorization": here.bearer, "Content_Type": "application/sdp"}
    assert [ask(here.loop, "POST", here.whip, offer, **said)[0] for _ in range(2)] == [201, 201]
    status, headers, _ = ask(here.loop, "POST", here.whip, offer, **said)
    assert status == 503
    assert headers["Retry-After"] == "5"


def test_a_sender_that_falls_silent_is_given_up(serving: Serve) -> None:
    """Killed without a word: its sockets are gone, no BYE, no DTLS close."""
    here = serving(Limits(requests_a_s=1e6, idle_s=1.0))
    publisher = Publisher(here.loop, here.whip, here.server.token, [Pictures()]).start()
    wait_for(lambda: here.told.came, what="for the track")

    async def kill() -> None:
        assert publisher.peer is not None
        for transceiver in publisher.peer.getTransceivers():
            for protocol in transceiver.sender.transport.transport.iceGatherer._connection._protocols:
                protocol.transport.abort()

    here.loop.run(kill())
    wait_for(lambda: here.told.went, what="for the loss")
    assert here.server.sessions() == ()
    publisher.stop(tell=False)


def test_verdicts_go_down_the_data_channel_newest_only(serving: Serve) -> None:
    here = serving()
    publisher = Publisher(here.loop, here.whip, here.server.token, [Pictures()], channel=True).start()
    wait_for(lambda: here.told.came, what="for the track")
    session_id = here.told.came[0][1]
    wait_for(lambda: publisher.channel.readyState == "open", what="for the channel")
    for number in range(200):
        here.server.say(session_id, "call", json.dumps({"number": number}))
    here.server.say(session_id, "other", "{}")
    wait_for(lambda: json.dumps({"number": 199}) in publisher.heard and "{}" in publisher.heard, what="for the newest")
    assert len(publisher.heard) < 10
    report = {"schema": "unmask.device/1", "label": "OBS Virtual Camera", "kind": "camera", "width": 640}
    for message in ("nonsense", "x" * 5000, json.dumps({**report, "width": 10**4000}), json.dumps(report)):
        here.loop.call(lambda text=message: publisher.channel.send(text))  # type: ignore[misc]
    device = wait_for(lambda: (one := here.server.sessions()[0].device) and one, what="for the report")
    assert device.label == "OBS Virtual Camera"
    publisher.stop()


def test_a_message_without_an_end_ends_the_session(serving: Serve) -> None:
    """aiortc keeps the parts of a message until it is whole, and tells the sender of its window only."""
    here = serving()
    publisher = Publisher(here.loop, here.whip, here.server.token, [Pictures()], channel=True).start()
    wait_for(lambda: here.told.came, what="for the track")
    wait_for(lambda: publisher.channel.readyState == "open", what="for the channel")
    publisher.channel.transport._remote_max_message_size = 0  # a peer that keeps to no bound
    here.loop.call(lambda: publisher.channel.send("x" * 32_000_000))
    wait_for(lambda: here.told.went, what="for the end")
    assert here.server.sessions() == ()
    publisher.stop(tell=False)


def test_only_this_machine_is_heard_and_nobody_else_is_asked(serving: Serve) -> None:
    here = serving()
    offer = offer_text(here)
    kept = [line for line in offer.splitlines() if not line.startswith("a=candidate:")]
    strangers = ["a=candidate:1 1 udp 1 198.51.100.7 9 typ host", "a=candidate:2 1 udp 1 somebody.local 9 typ host"]
    asked = "\r\n".join([*kept, *strangers, ""])
    said = {"Authorization": here.bearer, "Content_Type": "application/sdp"}
    status, _, answer = ask(here.loop, "POST", here.whip, asked, **said)
    assert status == 201
    addresses = re.findall(r"(?m)^a=candidate:\S+ \d+ udp \d+ (\S+) \d+ typ host", answer)
    assert "127.0.0.1" in addresses
    session = next(iter(here.server._sessions.values()))
    ice = session._connection.getTransceivers()[0].receiver.transport.transport
    assert ice.getRemoteCandidates() == []
    heard: list[str] = []
    for protocol in ice._connection._protocols:
        protocol.receiver.data_received = lambda data, component: heard.append(str(data))
        protocol.datagram_received(b"\xff from afar", ("198.51.100.7", 9))
        protocol.datagram_received(b"\xff from here", ("127.0.0.1", 9))
        protocol.datagram_received(b"\xff from here", (addresses[-1], 9))
    assert len(heard) == 2 * len(ice._connection._protocols)
    assert not any("afar" in one for one in heard)


def test_a_peer_with_an_rsa_certificate_is_taken(serving: Serve) -> None:
    """GStreamer has one, and aiortc alone would not talk to it."""
    from aiortc import RTCPeerConnection
    from cryptography.hazmat.primitives.asymmetric import rsa

    def certificates(connection: RTCPeerConnection) -> Any:
        return connection._RTCPeerConnection__certificates  # type: ignore[attr-defined]

    here = serving()
    publisher = Publisher(here.loop, here.whip, here.server.token, [Pictures()])
    make_offer = publisher.offer

    async def offer() -> str:
        text = await make_offer()
        assert publisher.peer is not None
        mine = certificates(publisher.peer)[0]
        old = mine.getFingerprints()
        mine._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        mine._cert = self_signed(mine._key)
        accept_rsa(publisher.peer)
        for before, after in zip(old, mine.getFingerprints(), strict=True):
            text = text.replace(before.value, after.value)
        return text

    publisher.offer = offer  # type: ignore[method-assign]
    publisher.start()
    assert publisher.status == 201
    wait_for(lambda: here.told.came, what="for the track")
    publisher.stop()


def test_a_publisher_is_told_what_its_tracks_are_called(serving: Serve) -> None:
    here = serving()
    said = {"Content_Type": "application/sdp", "Authorization": here.bearer, "X_Unmask_Names": '["Zo\\u00eb"]'}
    told = [ask(here.loop, "POST", here.whip, offer_text(here), **said)[1]["X-Unmask-Names"] for _ in range(2)]
    assert told == ['["Zo\\u00eb"]', '["Zo\\u00eb (2)"]']


def test_a_request_that_is_broken_off_leaves_no_session(serving: Serve) -> None:
    """A body so slow that the time for the request ends while the answer is made."""
    here = serving()
    offer = read_offer(offer_text(here).encode(), Limits(), reachable_anywhere)
    ended: list[Session] = []
    events = Events(track=lambda *_: None, track_gone=lambda *_: None, ended=ended.append)

    async def break_off() -> None:
        session = Session("call", ["Ann"], limits=Limits(), clock=MonotonicClock(), events=events, addresses=None)
        answering = asyncio.create_task(session.answer(offer))
        await asyncio.sleep(0)
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        assert answering.cancelled()

    here.loop.run(break_off())
    wait_for(lambda: ended, what="for the session to end")


def test_publishers_who_come_at_once_under_one_name_are_told_apart(serving: Serve) -> None:
    here = serving()
    offer, url = offer_text(here), here.whip
    headers = {"Content-Type": "application/sdp", "Authorization": here.bearer, "X-Unmask-Names": '["Ann"]'}

    async def publish(client: aiohttp.ClientSession) -> str:
        async with client.post(url, data=offer, headers=headers) as response:
            return response.headers["X-Unmask-Names"]

    async def at_once() -> list[str]:
        async with aiohttp.ClientSession() as client:
            return await asyncio.gather(*(publish(client) for _ in range(6)))

    told = here.loop.run(at_once(), 30.0)
    assert len(set(told)) == 6


def test_a_name_of_the_stream_has_nothing_invisible_in_it(serving: Serve) -> None:
    here = serving()
    offer = re.sub(r"a=msid:\S+ \S+", "a=msid:- Ann\u202e\u200bgpj.exe", offer_text(here))
    assert "\u202e" in offer
    said = {"Content_Type": "application/sdp", "Authorization": here.bearer}
    status, headers, _ = ask(here.loop, "POST", here.whip, offer, **said)
    assert (status, json.loads(headers["X-Unmask-Names"])) == (201, ["Ann gpj.exe"])
