"""WHEP's HTTP exchange with endpoints that err, lie or do nothing: each costs one line, and never the token."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from multidict import CIMultiDict

from monitor.errors import SourceError
from monitor.webrtc.loop import LoopThread
from monitor.webrtc.whep_client import check_sdp
from monitor.webrtc.whep_http import (
    IceServer,
    Reply,
    SdpKind,
    WhepHttp,
    WhepLimits,
    check_endpoint,
    check_token,
    ice_servers,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

TOKEN = "secret-token-1234"
OFFER = "v=0\r\na=setup:actpass\r\n"
ANSWER = "v=0\r\na=setup:active\r\n"
SDP = "application/sdp"
LIMITS = WhepLimits(connect_s=5.0, request_s=5.0, delete_s=0.5)


def created(text: str = ANSWER, location: str | None = "/session/1", content_type: str = SDP) -> web.Response:
    headers = {} if location is None else {"Location": location}
    return web.Response(status=201, text=text, content_type=content_type, headers=headers)


def post(
    handler: Handler,
    *,
    token: str | None = None,
    limits: WhepLimits = LIMITS,
    then: Callable[[WhepHttp, Reply], Awaitable[None]] | None = None,
    tls: ssl.SSLContext | None = None,
    path: str = "/live",
) -> Reply:
    """POST an offer to a server whose every request `handler` answers."""

    async def work() -> Reply:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            port = runner.addresses[0][1]
            async with WhepHttp(f"http{'s' if tls else ''}://127.0.0.1:{port}{path}", token, limits) as http:
                reply = await http.subscribe(OFFER)
                if then is not None:
                    await then(http, reply)
                return reply
        finally:
            await runner.cleanup()

    loop = LoopThread("unmask-test-http")
    try:
        return loop.run(work(), 60.0)
    finally:
        loop.close()


def answered(response: Callable[[], web.Response]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return response()

    return handler


# -------------------------------------------------------------------------------------- what goes well


def test_an_answer_is_taken_with_its_session_and_its_ice_servers() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.content_type == SDP
        assert await request.text() == OFFER
        response = created(location="../session/7?x=1")
        response.headers.add("Link", '<stun:stun.example:3478>; rel="ice-server"')
        response.headers.add("Link", '<turn:turn.example>; rel="ice-server"; username="u"; credential="p,;q"')
        return response

    reply = post(handler, path="/a/live")
    assert (reply.kind, reply.sdp) == (SdpKind.ANSWER, ANSWER)
    assert reply.session_url.endswith("/session/7?x=1")
    assert reply.ice_servers == (IceServer("stun:stun.example:3478"), IceServer("turn:turn.example", "u", "p,;q"))
    assert "p,;q" not in repr(reply)


@pytest.mark.parametrize("status", [201, 406])
def test_an_offer_of_the_endpoint_is_known_as_one_and_answered_by_patch(status: int) -> None:
    patched: list[tuple[str, str]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.method == "PATCH":
            patched.append((request.content_type, await request.text()))
            return web.Response(status=204)
        return web.Response(status=status, text=OFFER, content_type=SDP, headers={"Location": "/session/1"})

    reply = post(handler, then=lambda http, reply: http.answer(reply, "v=0 mine"))
    assert reply.kind is SdpKind.OFFER
    assert patched == [(SDP, "v=0 mine")]


def test_a_redirect_is_followed_with_method_and_body() -> None:
    seen: list[tuple[str, str]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append((request.path, await request.text()))
        if request.path == "/live":
            return web.Response(status=307, headers={"Location": "/elsewhere"})
        return created()

    post(handler)
    assert seen == [("/live", OFFER), ("/elsewhere", OFFER)]


def test_the_token_goes_to_the_endpoint_and_not_to_where_it_redirects() -> None:
    seen: list[tuple[str, str, str | None]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, request.host.partition(":")[0], request.headers.get("Authorization")))
        if request.path == "/live":
            return web.Response(status=308, headers={"Location": f"http://localhost:{request.url.port}/other"})
        return created()

    post(handler, token=TOKEN, then=lambda http, reply: http.delete(reply))
    assert seen == [
        ("POST", "127.0.0.1", f"Bearer {TOKEN}"),
        ("POST", "localhost", None),
        ("DELETE", "localhost", None),
    ]


# -------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("response", "said", "retryable"),
    [
        (lambda: web.Response(status=401), "UNMASK_WHEP_TOKEN", False),
        (lambda: web.Response(status=403), "UNMASK_WHEP_TOKEN", False),
        (lambda: web.Response(status=404), "no such stream", True),
        (lambda: web.Response(status=409, headers={"Retry-After": "5"}), "no such stream", True),
        (lambda: web.Response(status=418), "does not take our offer (status 418)", False),
        (lambda: web.Response(status=503), "busy or broken", True),
        (lambda: web.Response(status=200, text=ANSWER, content_type=SDP), "does not take our offer", False),
        (lambda: web.Response(status=406, text="no", content_type="text/plain"), "(status 406)", False),
        (lambda: created(content_type="text/html"), "no session description", False),
        (lambda: created(text="<html>"), "no session description", False),
        (lambda: created(text=""), "no session description", False),
        (lambda: created(location=None), "without saying where", False),
        (lambda: created(location="http://[::1"), "cannot be used", False),
        (lambda: created(location="http://me:pw@127.0.0.1/x"), "cannot be used", False),
        (lambda: created(location="gopher://127.0.0.1/x"), "cannot be used", False),
        (lambda: created(text="v=0" + "x" * 40_000), "larger than 32768 bytes", False),
        (lambda: web.Response(status=302, headers={"Location": "/x"}), "redirect that loses the offer", False),
        (lambda: web.Response(status=307), "without saying where", False),
        (lambda: web.Response(status=307, headers={"Location": "/live"}), "redirects more than 3 times", False),
    ],
)
def test_a_bad_answer_is_one_line(response: Callable[[], web.Response], said: str, retryable: bool) -> None:
    with pytest.raises(SourceError) as caught:
        post(answered(response), token=TOKEN)
    text = str(caught.value)
    assert said in text
    assert caught.value.retryable is retryable
    assert "\n" not in text
    assert TOKEN not in text
    assert "127.0.0.1" not in text


def test_an_endless_body_is_not_read_to_its_end() -> None:
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        headers = CIMultiDict({"Location": "/s", "Content-Type": SDP})
        response = web.StreamResponse(status=201, headers=headers)
        await response.prepare(request)
        try:
            while True:
                await response.write(b"v=0" + b"x" * 16_000)
                sent += 1
                await asyncio.sleep(0.001)
        except (ConnectionError, asyncio.CancelledError):
            return response

    with pytest.raises(SourceError, match="larger than"):
        post(handler)
    assert sent < 2000


def test_a_server_that_hangs_is_given_up_in_time() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return created()

    began = time.monotonic()
    with pytest.raises(SourceError, match="did not answer within 1 s") as caught:
        post(handler, limits=WhepLimits(request_s=1.0))
    assert caught.value.retryable
    assert time.monotonic() - began < 20


def test_a_delete_that_hangs_or_fails_is_no_error_and_does_not_hold_us_up() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.method == "DELETE":
            await asyncio.sleep(60)
        return created()

    post(handler, then=lambda http, reply: http.delete(reply))


def test_nobody_there_is_told_as_such() -> None:
    async def work() -> None:
        async with WhepHttp("http://127.0.0.1:9/x", None, LIMITS) as http:
            await http.subscribe(OFFER)

    loop = LoopThread("unmask-test-http")
    try:
        with pytest.raises(SourceError, match="cannot be reached") as caught:
            loop.run(work(), 30.0)
    finally:
        loop.close()
    assert caught.value.retryable


def _self_signed(folder: Path) -> ssl.SSLContext:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = builder.add_extension(here, critical=False).sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def test_a_certificate_that_nobody_vouches_for_is_refused_before_the_token_is_sent(tmp_path: Path) -> None:
    reached: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        reached.append(request.path)
        return created()

    with pytest.raises(SourceError, match="certificate is not valid"):
        post(handler, token=TOKEN, tls=_self_signed(tmp_path))
    assert reached == []


CHILD = """
import asyncio, sys
from monitor.webrtc.whep_http import WhepHttp

async def work():
    async with WhepHttp(sys.argv[1], "secret-token-1234") as http:
        print((await http.subscribe("v=0 offer")).kind.value)

asyncio.run(work())
"""


def test_a_certificate_of_an_authority_that_the_machine_trusts_is_taken(tmp_path: Path) -> None:
    """In a process of its own: the authorities are read once, when it starts (SSL_CERT_FILE names more of them)."""
    tokens: list[str | None] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        tokens.append(request.headers.get("Authorization"))
        return created()

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=_self_signed(tmp_path)).start()
        return runner

    loop = LoopThread("unmask-test-http")
    try:
        runner = loop.run(serve(), 30.0)
        url = f"https://127.0.0.1:{runner.addresses[0][1]}/live"
        environment = {**os.environ, "SSL_CERT_FILE": str(tmp_path / "cert.pem")}
        command = [sys.executable, "-c", CHILD, url]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        loop.run(runner.cleanup(), 30.0)
    finally:
        loop.close()
    assert (done.stdout, done.returncode) == ("answer\n", 0), done.stderr
    assert tokens == ["Bearer secret-token-1234"]


def test_encryption_is_not_given_up_on_the_way() -> None:
    http = WhepHttp("https://sfu.example/live", TOKEN)
    with pytest.raises(SourceError, match="https to http"):
        http._next("https://sfu.example/live", "http://sfu.example/live", "redirects")
    with pytest.raises(SourceError, match="on this machine"):
        http._next("https://sfu.example/live", "https://127.0.0.1:8080/", "redirects")
    assert http._next("https://sfu.example/a/b", "c", "redirects") == "https://sfu.example/a/c"


# -------------------------------------------------------------------------------------- small parts


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "https://",
        "https:///path",
        "ftp://h/x",
        "https://u@h/x",
        "https://u:p@h/x",
        "https://h:99999/x",
        "https://h/a b",
        "https://h\\@evil/",
        "https://h/\x00",
        "https://[::1/x",
        "https://h/" + "x" * 3000,
    ],
)
def test_an_address_that_is_no_endpoint_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(SourceError) as caught:
        check_endpoint(url)
    assert url not in str(caught.value) or url in ("", "x", "https://")


def test_a_token_is_not_sent_in_the_clear_to_another_machine() -> None:
    with pytest.raises(SourceError, match="unencrypted") as caught:
        WhepHttp("http://sfu.example/live", TOKEN)
    assert TOKEN not in str(caught.value)
    for url in ("http://127.0.0.1:8889/x", "http://[::1]:8889/x", "http://localhost/x", "https://sfu.example/live"):
        WhepHttp(url, TOKEN)
    WhepHttp("http://sfu.example/live", None)


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "umlaut-ä", "x" * 5000])
def test_a_token_that_would_break_the_header_is_refused_without_being_repeated(token: str) -> None:
    with pytest.raises(SourceError, match="UNMASK_WHEP_TOKEN") as caught:
        check_token(token)
    assert token not in str(caught.value)


@pytest.mark.parametrize(
    ("link", "count"),
    [
        ("", 0),
        ("<stun:a>; rel=ice-server", 1),
        ('<stun:a>;rel="ICE-SERVER", <https://x>; rel="describedby"', 1),
        ("<stun:a>; rel=ice-server, " * 9, 4),
        ("<http://a/>; rel=ice-server", 0),
        ("<stun:a b>; rel=ice-server", 0),
        ("<turn:a?transport=udp>; rel=ice-server; username=u", 1),
        ('<<<>>>,,;;"', 0),
        ("<" * 9000, 0),
        ("<a>" + "; a=" * 4000, 0),
        ('<a>; rel="' * 2000, 0),
    ],
)
def test_ice_servers_are_read_and_nonsense_is_left_out(link: str, count: int) -> None:
    began = time.monotonic()
    assert len(ice_servers(link)) == count
    assert time.monotonic() - began < 5


def test_a_description_that_would_cost_too_much_is_refused() -> None:
    check_sdp(ANSWER)
    for long in ("a=x\n" * 5000, "m=video 9 x 96\n" * 20, "a=candidate:1 1 udp 1 10.0.0.1 1 typ host\n" * 100):
        with pytest.raises(SourceError, match="too long"):
            check_sdp("v=0\n" + long)
