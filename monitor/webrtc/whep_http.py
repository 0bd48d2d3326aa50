"""WHEP's HTTP exchange, seen from the player: an offer goes out, an answer or a counter-offer comes back.

    POST offer -> 201 answer                                     draft-ietf-wish-whep-03, 4.2.1
    POST offer -> 406 counter-offer -> PATCH answer              draft-ietf-wish-whep-03, 4.2.2
    POST offer -> 4xx -> POST nothing -> 201 offer -> PATCH      draft-murillo-whep-01
    ... -> DELETE

The endpoint is a stranger: bodies, redirects, links and waiting times are bounded, and the bearer token (RFC 6750)
goes to the endpoint's own origin only and never over plain HTTP beyond this machine. Nothing here is logged, and no
message holds an address or a token.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import SplitResult, urljoin, urlsplit

from monitor.errors import SourceError

if TYPE_CHECKING:
    import aiohttp

SDP_TYPE = "application/sdp"
TOKEN_VARIABLE = "UNMASK_WHEP_TOKEN"
MAX_URL_CHARS = 2048
MAX_LINK_CHARS = 8192
MAX_ICE_SERVERS = 4
_REDIRECTS = (307, 308)
"""The only ones that keep the method and the body (RFC 9110, 15.4.8 and 15.4.9)."""
_OFFERLESS = (400, 406, 415, 422)
"""What a server that makes the offer itself, as the first drafts allowed, says of ours."""
_READ_BYTES = 8192
_URL = re.compile(r"[!-\[\]-~]+")
"""Printable ASCII without space and backslash: what any two URL parsers read alike."""
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,4096}=*")
_LINK = re.compile(r'<([^<>"]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"[^"]*"|[^\s",;<>]*))*)')
_PARAMETER = re.compile(r';\s*([\w-]+)\s*=\s*(?:"([^"]*)"|([^\s",;<>]*))')
_ICE_URL = re.compile(r"(?:stun|turns?):[\w.\-:\[\]]+(?:\?transport=(?:udp|tcp))?")


@dataclass(frozen=True, slots=True)
class WhepLimits:
    """What an endpoint may cost us."""

    connect_s: float = 5.0
    request_s: float = 10.0
    delete_s: float = 2.0
    redirects: int = 3
    sdp_bytes: int = 32 * 1024
    first_frame_s: float = 15.0
    """From the answer to the first picture."""


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server that the endpoint names in a Link header (RFC 9725, 4.6)."""

    url: str
    username: str | None = None
    credential: str | None = field(default=None, repr=False)


class SdpKind(enum.Enum):
    """What an endpoint has sent."""

    ANSWER = "answer"
    OFFER = "offer"


@dataclass(frozen=True, slots=True)
class Reply:
    """The endpoint's description of the session, and where the session can be patched and deleted."""

    kind: SdpKind
    sdp: str = field(repr=False)
    session_url: str = field(repr=False)
    ice_servers: tuple[IceServer, ...]


def check_endpoint(url: str) -> str:
    """The URL of a WHEP endpoint without its fragment. Raises SourceError, which does not repeat the URL."""
    how = "write whep:https://HOST/PATH"
    if len(url) > MAX_URL_CHARS:
        raise SourceError(f"the WHEP address is {len(url)} characters long; at most {MAX_URL_CHARS} are read")
    parts = _split(url) if _URL.fullmatch(url) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise SourceError(f"the WHEP address is not an http or https URL; {how}")
    if "@" in parts.netloc:
        raise SourceError(
            f"the WHEP address has a name or password in it; {how}, and put the token into {TOKEN_VARIABLE}"
        )
    return parts._replace(fragment="").geturl()


def check_token(token: str | None) -> str | None:
    """A bearer token as RFC 6750 writes it, None where there is none. Raises SourceError, which does not repeat it."""
    token = (token or "").strip()
    if token and not _TOKEN.fullmatch(token):
        raise SourceError(f"the WHEP token has characters that no bearer token has; check {TOKEN_VARIABLE}")
    return token or None


class WhepHttp:
    """One endpoint. An asynchronous context manager; use on one event loop."""

    def __init__(self, endpoint: str, token: str | None = None, limits: WhepLimits | None = None) -> None:
        """Raises SourceError for a bad URL or token, or where the token would travel in the clear."""
        self._endpoint = check_endpoint(endpoint)
        self._token = check_token(token)
        self._limits = limits or WhepLimits()
        parts = urlsplit(self._endpoint)
        if self._token and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise SourceError("the token would be sent unencrypted to another machine; use the endpoint's https URL")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        import aiohttp

        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": SDP_TYPE, "Accept-Encoding": "identity", "User-Agent": "unmask"},
            skip_auto_headers=("Content-Type",),
            timeout=aiohttp.ClientTimeout(total=self._limits.request_s, connect=self._limits.connect_s),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    # ------------------------------------------------------------------------------------ requests

    async def subscribe(self, offer: str) -> Reply:
        """POST our offer, follow redirects. Raises SourceError with what the endpoint said and what to do."""
        try:
            return await self._post(offer)
        except _Refused as refused:
            status = refused.status
        if status not in _OFFERLESS:
            raise _told(status)
        try:
            return await self._post(None)
        except (_Refused, SourceError):
            raise _told(status) from None

    async def answer(self, reply: Reply, answer: str) -> None:
        """PATCH our answer to the endpoint's offer. Raises SourceError."""
        status, _ = await self._request("PATCH", reply.session_url, answer)
        if not 200 <= status < 300:
            raise _told(status)

    async def delete(self, reply: Reply) -> None:
        """End the session at the endpoint. One that does not answer, or has gone, is no error."""
        try:
            await self._request("DELETE", reply.session_url, None, timeout_s=self._limits.delete_s)
        except SourceError:
            return

    async def _post(self, offer: str | None) -> Reply:
        url = self._endpoint
        for _ in range(self._limits.redirects + 1):
            status, answer = await self._request("POST", url, offer)
            if status in _REDIRECTS:
                url = self._next(url, answer.location, "redirects")
                continue
            if 300 <= status < 400:
                raise SourceError(
                    f"the WHEP endpoint answers with status {status}, a redirect that loses the offer; "
                    "give the address that it redirects to"
                )
            if status == 201 or (status == 406 and answer.is_sdp):
                return self._reply(status, url, answer)
            raise _Refused(status)
        raise SourceError(
            f"the WHEP endpoint redirects more than {self._limits.redirects} times; give the address where it ends"
        )

    def _reply(self, status: int, url: str, answer: _Answer) -> Reply:
        if not answer.is_sdp or not answer.text.startswith("v=0"):
            raise SourceError("the WHEP endpoint's answer is no session description; check the address")
        session_url = self._next(url, answer.location, "names a session")
        offered = status == 406 or "a=setup:actpass" in answer.text  # only an offer leaves the role open (RFC 8842)
        kind = SdpKind.OFFER if offered else SdpKind.ANSWER
        return Reply(kind, answer.text, session_url, ice_servers(answer.links))

    def _next(self, url: str, location: str | None, what: str) -> str:
        """The absolute URL that a Location header means. Raises SourceError for one that must not be followed."""
        if not location:
            raise SourceError(f"the WHEP endpoint {what} without saying where (no Location); this is a fault of it")
        before = urlsplit(url)
        try:
            there = check_endpoint(urljoin(url, location))
            after = urlsplit(there)
        except (SourceError, ValueError):
            raise SourceError(f"the WHEP endpoint {what} at an address that cannot be used") from None
        if before.scheme == "https" and after.scheme != "https":
            raise SourceError(f"the WHEP endpoint {what} without encryption (https to http); this is not followed")
        if is_loopback(after.hostname or "") and not is_loopback(before.hostname or ""):
            raise SourceError(f"the WHEP endpoint {what} on this machine itself; this is not followed")
        return there

    async def _request(
        self, method: str, url: str, body: str | None, *, timeout_s: float | None = None
    ) -> tuple[int, _Answer]:
        import aiohttp

        if self._session is None:
            raise RuntimeError("use WhepHttp as a context manager")
        headers = {} if body is None else {"Content-Type": SDP_TYPE}
        if self._token and _origin(url) == _origin(self._endpoint):
            headers["Authorization"] = f"Bearer {self._token}"
        total_s = timeout_s or self._limits.request_s
        timeout = aiohttp.ClientTimeout(total=total_s, connect=min(total_s, self._limits.connect_s))
        data = None if body is None else body.encode()
        try:
            async with self._session.request(
                method, url, data=data, headers=headers, allow_redirects=False, timeout=timeout
            ) as response:
                return response.status, await self._read(response)
        except TimeoutError:
            raise SourceError(
                f"the WHEP endpoint did not answer within {total_s:.0f} s; check the address, then try again",
                retryable=True,
            ) from None
        except aiohttp.ClientSSLError:
            raise SourceError("the WHEP endpoint's certificate is not valid; it is not watched") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SourceError(
                f"the WHEP endpoint cannot be reached ({type(error).__name__}); check the address and the network",
                retryable=True,
            ) from None

    async def _read(self, response: aiohttp.ClientResponse) -> _Answer:
        """What matters of a response. Its body is read only where it is a session description."""
        location = response.headers.get("Location")
        links = ", ".join(response.headers.getall("Link", []))[:MAX_LINK_CHARS]
        if response.status not in (201, 406) or response.content_type != SDP_TYPE:
            return _Answer(False, "", location, links)
        body = b""
        while chunk := await response.content.read(_READ_BYTES):
            body += chunk
            if len(body) > self._limits.sdp_bytes:
                raise SourceError(
                    f"the WHEP endpoint's session description is larger than {self._limits.sdp_bytes} bytes"
                )
        return _Answer(True, body.decode("utf-8", "replace"), location, links)


@dataclass(frozen=True, slots=True)
class _Answer:
    is_sdp: bool
    text: str
    location: str | None
    links: str


class _Refused(Exception):
    """The endpoint did not take our offer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _told(status: int) -> SourceError:
    """A status in words. Codes that are not known count as their class (draft-ietf-wish-whep-03, 4.1)."""
    if status in (401, 403):
        return SourceError(f"the WHEP endpoint refuses us (status {status}); put its token into {TOKEN_VARIABLE}")
    if status in (404, 409, 410):
        return SourceError(
            f"the WHEP endpoint has no such stream at the moment (status {status}); check the address, and that "
            "somebody publishes",
            retryable=True,
        )
    if status == 429 or status >= 500:
        return SourceError(f"the WHEP endpoint is busy or broken (status {status}); try again later", retryable=True)
    return SourceError(f"the WHEP endpoint does not take our offer (status {status}); check the address")


# ---------------------------------------------------------------------------------------- small parts


def ice_servers(links: str) -> tuple[IceServer, ...]:
    """The STUN and TURN servers of a Link header (RFC 8288), at most four; what cannot be read is left out."""
    servers: list[IceServer] = []
    for url, written in _LINK.findall(links[:MAX_LINK_CHARS]):
        parameters = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(written)}
        if parameters.get("rel", "").lower() == "ice-server" and _ICE_URL.fullmatch(url):
            servers.append(IceServer(url, parameters.get("username"), parameters.get("credential")))
    return tuple(servers[:MAX_ICE_SERVERS])


def is_loopback(host: str) -> bool:
    """Is this the machine itself, by name or number?"""
    if host.lower().rstrip(".") == "localhost" or host.lower().rstrip(".").endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)
