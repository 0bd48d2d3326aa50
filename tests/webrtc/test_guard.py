"""Who may ask: host names, origins, rates, connections that dawdle; over real HTTP where that matters."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.clock import FakeClock
from monitor.webrtc.guard import Guard, Rates, is_loopback
from monitor.webrtc.limits import Limits
from monitor.webrtc.offer import HttpProblem
from tests.webrtc.conftest import Serving
from tests.webrtc.peers import Pictures, Publisher, ask, wait_for

Serve = Callable[..., Serving]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "::1", "[::1]", "127.9.9.9"])
def test_names_of_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "192.0.2.1", "localhost.example.com", "127.0.0.1.example.com"])
def test_names_that_others_can_reach(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["evil.example.com", "evil.example.com:8765", "", "[::1", "127.0.0.1:x", "a:b:c"])
def test_another_name_of_this_machine_is_not_answered(host: str) -> None:
    guard = Guard("t", (), local=True, tls=False)
    with pytest.raises(HttpProblem) as caught:
        guard.check_host(host)
    assert caught.value.status == 421
    Guard("t", (), local=False, tls=True).check_host(host)


def test_origins(serving: Serve) -> None:
    here = serving(allow_origins=("https://meet.example.com",))
    own = here.server.url.rstrip("/")
    path = f"{own}/api/status"
    for origin in (own, "https://meet.example.com", "chrome-extension://abcdefghijklmnop", "moz-extension://0a1b-2c3d"):
        status, headers, _ = ask(here.loop, "GET", path, Origin=origin, Authorization=here.bearer)
        assert status == 200
        assert headers["Access-Control-Allow-Origin"] == origin
        assert headers["Vary"] == "Origin"
        assert {"Location", "ETag", "X-Unmask-Names"} <= set(headers["Access-Control-Expose-Headers"].split(", "))
    for origin in ("https://evil.example.com", "null", "http://localhost", "https://meet.example.com.evil.com", "*"):
        status, headers, _ = ask(here.loop, "GET", path, Origin=origin, Authorization=here.bearer)
        assert status == 403
        assert "Access-Control-Allow-Origin" not in headers


def test_a_preflight_needs_no_token_but_an_origin(serving: Serve) -> None:
    here = serving(allow_origins=("https://meet.example.com",))
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}
    status, headers, _ = ask(here.loop, "OPTIONS", here.whip, Origin="https://meet.example.com", **asked)
    assert status == 204
    assert "Authorization" in headers["Access-Control-Allow-Headers"]
    assert "PATCH" in headers["Access-Control-Allow-Methods"]
    assert headers["Access-Control-Allow-Private-Network"] == "true"
    assert ask(here.loop, "OPTIONS", here.whip, Origin="https://evil.example.com", **asked)[0] == 403


def test_too_many_requests_of_one_address() -> None:
    clock = FakeClock()
    rates = Rates(Limits(requests_a_s=2, addresses=3), clock)
    for _ in range(4):
        rates.check("a")
    with pytest.raises(HttpProblem) as caught:
        rates.check("a")
    assert caught.value.status == 429
    rates.check("b")
    clock.advance(0.5)
    rates.check("a")
    for address in "bcdefg":
        rates.check(address)
    assert len(rates._buckets) == 3


def test_a_flood_is_answered_with_429(serving: Serve) -> None:
    here = serving(Limits(requests_a_s=2))
    answers = {ask(here.loop, "GET", f"{here.server.url}healthz")[0] for _ in range(12)}
    assert answers == {200, 429}


def test_a_page_that_floods_does_not_shut_out_who_has_the_token(serving: Serve) -> None:
    """A foreign page can make a browser ask without the token, from the same address as everybody here."""
    here = serving(Limits(requests_a_s=0.5))
    wait_for(lambda: ask(here.loop, "GET", f"{here.server.url}healthz")[0] == 429)
    path = f"{here.server.url}api/status"
    assert ask(here.loop, "GET", path, Authorization=here.bearer)[0] == 200
    wait_for(lambda: ask(here.loop, "GET", path, Authorization="Bearer a guess")[0] == 429)


def test_a_connection_that_says_nothing_is_closed(serving: Serve) -> None:
    here = serving(Limits(requests_a_s=1e6, request_s=0.3))
    began = time.monotonic()
    with (
        socket.create_connection(("127.0.0.1", here.server.port), 20) as silent,
        socket.create_connection(("127.0.0.1", here.server.port), 20) as slow,
    ):
        slow.sendall(b"POST /whip/call HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half: ")
        assert silent.recv(100) == b""
        assert slow.recv(100) == b""
    assert time.monotonic() - began < 15


def test_a_connection_that_never_begins_tls_is_closed(
    serving: Serve, tmp_path: Path, certificate: Callable[[Path], tuple[Path, Path]]
) -> None:
    chain, key = certificate(tmp_path)
    here = serving(Limits(requests_a_s=1e6, request_s=0.3), tls_cert=chain, tls_key=key)
    with socket.create_connection(("127.0.0.1", here.server.port), 20) as silent:
        assert silent.recv(100) == b""


def test_a_body_that_never_ends_is_given_up(serving: Serve) -> None:
    here = serving(Limits(requests_a_s=1e6, request_s=0.3))
    head = (
        f"POST /whip/call HTTP/1.1\r\nHost: 127.0.0.1:{here.server.port}\r\nAuthorization: {here.bearer}\r\n"
        "Content-Type: application/sdp\r\nContent-Length: 1000\r\n\r\nv=0\r\n"
    )
    with socket.create_connection(("127.0.0.1", here.server.port), 20) as slow:
        slow.sendall(head.encode())
        assert b" 408 " in slow.recv(200)


def test_the_number_of_connections_is_bounded(serving: Serve) -> None:
    here = serving(Limits(requests_a_s=1e6, connections=3))
    held = [socket.create_connection(("127.0.0.1", here.server.port), 20) for _ in range(3)]
    try:
        for one in held:
            one.sendall(b"GET /healthz HTTP/1.1\r\n")
        wait_for(lambda: len(here.server._runner.server.connections) == 3)  # type: ignore[union-attr]
        with socket.create_connection(("127.0.0.1", here.server.port), 20) as extra:
            assert extra.recv(100) == b""
    finally:
        for one in held:
            one.close()
    wait_for(lambda: ask(here.loop, "GET", f"{here.server.url}healthz")[0] == 200)


def test_no_address_and_no_token_is_logged(serving: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "monitor")
    here = serving(Limits(requests_a_s=1e6, first_frame_s=0.5))
    publisher = Publisher(here.loop, here.whip, here.server.token, [Pictures()], names=["Ann Example"]).start()
    wait_for(lambda: here.told.came)
    ask(here.loop, "POST", here.whip, "v=0", Authorization="Bearer a-wrong-token", Content_Type="application/sdp")
    ask(
        here.loop, "POST", here.whip, "nonsense 198.51.100.7", Authorization=here.bearer, Content_Type="application/sdp"
    )
    publisher.stop()
    silent = Publisher(here.loop, here.whip, here.server.token, [Pictures()])
    silent.tracks[0].paused = True
    silent.start()
    wait_for(lambda: "showed no picture" in caplog.text)
    silent.stop(tell=False)
    for secret in (here.server.token, "a-wrong-token", "127.0.0.1", "198.51.100.7", "192.", "Ann Example"):
        assert secret not in caplog.text
