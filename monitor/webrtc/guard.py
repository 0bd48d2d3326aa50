"""Who may ask at all: the checks that every HTTP request passes before a route sees it.

Order: host name (against DNS rebinding), rate of the address, origin (CORS), token. Nothing here logs an address or a
token; a token is compared in constant time and kept in memory only.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from monitor.clock import Clock
from monitor.webrtc.limits import Limits
from monitor.webrtc.offer import HttpProblem

_EXTENSION = re.compile(r"(chrome-extension|moz-extension)://[A-Za-z0-9-]{1,64}")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\[\]:-]{1,255}")


def is_origin(text: str) -> bool:
    """Is this an origin as a browser writes it (RFC 6454): scheme, host, port, nothing else?"""
    return _ORIGIN.fullmatch(text) is not None or _EXTENSION.fullmatch(text) is not None


def is_loopback(host: str) -> bool:
    """Does this host name only ever mean this machine?"""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Guard:
    """What is checked of a request. `local` is True where the server listens on loopback only."""

    token: str
    origins: tuple[str, ...]
    local: bool
    tls: bool

    def check_host(self, host: str | None) -> None:
        """Raises HttpProblem 421 where a loopback server is asked for under another name: a page on the network may
        have pointed its own name here."""
        match = _HOST.fullmatch(host or "")
        if self.local and not (match and is_loopback(match[1])):
            raise HttpProblem(421, "ask for 127.0.0.1 or localhost; this server is for this machine only")

    def check_origin(self, origin: str | None, host: str | None) -> str | None:
        """The origin to allow in the answer, None for a request of no foreign page. Raises HttpProblem 403."""
        if origin is None:
            return None
        if origin == f"{'https' if self.tls else 'http'}://{host}" or origin in self.origins:
            return origin
        if _EXTENSION.fullmatch(origin):
            return origin
        raise HttpProblem(403, "this origin is not allowed; start with --allow-origin to allow it")

    def check_token(self, authorization: str | None) -> None:
        """Raises HttpProblem 401 without the token (RFC 6750)."""
        scheme, _, token = (authorization or "").partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        if scheme.lower() == "bearer" and hmac.compare_digest(given, self.token.encode()):
            return
        raise HttpProblem(401, "the token is missing or wrong", {"WWW-Authenticate": 'Bearer realm="unmask"'})


class Rates:
    """A bucket of requests an address: so many a second, twice as many at once. Remembers a bounded number."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def check(self, address: str) -> None:
        """Count one request. Raises HttpProblem 429."""
        now_ns = self._clock.now_ns()
        most = 2.0 * self._limits.requests_a_s
        left, at_ns = self._buckets.pop(address, (most, now_ns))
        left = min(most, left + (now_ns - at_ns) / 1e9 * self._limits.requests_a_s)
        refused = left < 1.0
        self._buckets[address] = (left if refused else left - 1.0, now_ns)
        while len(self._buckets) > self._limits.addresses:
            self._buckets.popitem(last=False)
        if refused:
            raise HttpProblem(429, "too many requests; wait a second", {"Retry-After": "1"})


def check_origins(origins: Sequence[str]) -> tuple[str, ...]:
    """The origins of `--allow-origin`, without a slash at the end. Raises ValueError for one that is none."""
    cleaned = tuple(origin.rstrip("/") for origin in origins)
    for origin in cleaned:
        if not is_origin(origin):
            raise ValueError(f"{origin!r} is no origin; write it as https://meet.example.com")
    return cleaned
