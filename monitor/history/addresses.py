"""What of a source's address may be kept: enough to know again what was watched, and nothing that opens it.

A WHEP address may itself be the key to a stream: path, query and user are left out of every network address.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

MAX_CHARS = 512
_NETWORK = re.compile(r"\s*(?:([A-Za-z][A-Za-z0-9+.-]*):)?([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_LOCAL = ("file", "webcam", "screen", "window", "demo")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)


def kept_address(uri: str) -> str:
    """The address without its secrets: `whep:https://host/...` for a stream, local addresses as they were written."""
    text = "".join(c if c.isprintable() else "?" for c in uri.strip())
    network = _NETWORK.fullmatch(text)
    if network is not None and (network[1] or network[2]).lower() != "file":
        outer = f"{network[1].lower()}:" if network[1] else ""
        return f"{outer}{network[2].lower()}://{_host(network[2], network[3])}/..."[:MAX_CHARS]
    scheme = _SCHEME.fullmatch(text)
    if scheme is not None and len(scheme[1]) > 1 and scheme[1].lower() not in _LOCAL:
        return f"{scheme[1].lower()}:"
    return text[:MAX_CHARS]


def kept_title(title: str) -> str:
    """A source's title; a network address in it keeps its host only."""
    text = "".join(c if c.isprintable() else "?" for c in title)
    return _ADDRESS.sub(lambda found: kept_address(found[0]), text)[:MAX_CHARS]


def without_home(text: str) -> str:
    """A text that is handed on to others: `~` in place of the user's home folder, which names the user."""
    try:
        home = str(Path.home())
    except RuntimeError:
        return text
    if len(home) < 2:
        return text
    return re.sub(re.escape(home) + r"(?![\w.-])", "~", text)


def _host(scheme: str, rest: str) -> str:
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "?"
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"
