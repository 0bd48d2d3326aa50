"""What a peer writes to us in SDP (RFC 8866), read and bounded before aiortc sees it.

An offer goes in as text; what comes out is the same offer without the addresses that we will not talk to, and what
the session has to know of it. An SDP fragment (RFC 8840) of trickle ICE is read the same way. Anything else is an
`HttpProblem` that says what was wrong, in one line, without the peer's own words.
"""

from __future__ import annotations

import ipaddress
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from monitor.webrtc.limits import Limits

CANDIDATE_CHARS = 512
LINE_CHARS = 4096

_CANDIDATE = re.compile(
    r"candidate:([A-Za-z0-9+/]{1,32}) ([0-9]{1,3}) ([A-Za-z]{3,4}) ([0-9]{1,10}) (\S{1,255}) ([0-9]{1,5}) typ "
    r"(host|srflx|prflx|relay)((?: \S+ \S+)*)"
)
_UFRAG = re.compile(r"[A-Za-z0-9+/=_-]{1,256}")
_PWD = re.compile(r"[A-Za-z0-9+/=_-]{1,256}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")
"""Also what `str.splitlines`, and so aiortc, takes for the end of a line."""
_MID = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,64}")
_MACHINE_NAME = re.compile(r"\{?[0-9A-Fa-f]{8}-?[0-9A-Fa-f-]{4,}\}?|[A-Za-z0-9+/]{24,}|-|\d+")
"""Names that browsers make up for streams and tracks: nothing that a person would read."""
_SENDS = ("sendonly", "sendrecv")
_TAKES = ("recvonly", "sendrecv")
_DIRECTIONS = (*_SENDS, "recvonly", "inactive")


class HttpProblem(Exception):
    """A request that is answered with `status` and one line of text."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class VideoOffer:
    """One video that the peer wants to send."""

    mid: str
    name: str | None
    """What the stream's metadata calls it, where a person could read that."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer that is fit to be answered."""

    sdp: str
    """With only those candidates that we would talk to, and no end of candidates: more may be found by checks."""
    ufrag: str
    videos: tuple[VideoOffer, ...]
    candidates: int
    """Remote candidates that stood in it, used or not."""


@dataclass(frozen=True, slots=True)
class ViewerOffer:
    """The offer of one who wants to watch, fit to be answered."""

    sdp: str
    ufrag: str
    mid: str
    """The media section that takes our video."""
    candidates: int


@dataclass(frozen=True, slots=True)
class Trickled:
    """An SDP fragment: more candidates of a session."""

    ufrag: str | None
    candidates: tuple[tuple[str, str], ...]
    """(mid, the candidate's line without 'a='), those we would talk to."""
    count: int
    """Candidates that stood in it, used or not."""


Reachable = Callable[[str], bool]
"""Would we talk to this address?"""


def read_offer(body: bytes, limits: Limits, reachable: Reachable) -> Offer:
    """Read the body of a POST. Raises HttpProblem: 400 where it is no SDP, 413 too large, 422 not to be served."""
    sections, sdp, ufrag, count = _bounded(body, limits, reachable)
    videos = [one for section in sections[1:] if (one := _video(section, sections[0])) is not None]
    if not videos:
        raise HttpProblem(422, "the offer sends no video; nothing could be watched")
    if len(videos) > limits.tracks_a_session:
        raise HttpProblem(422, f"the offer sends more than {limits.tracks_a_session} videos in one session")
    return Offer(sdp, ufrag, tuple(videos), count)


def read_viewer_offer(body: bytes, limits: Limits, reachable: Reachable) -> ViewerOffer:
    """Read the body of a viewer's POST (WHEP). Raises HttpProblem as `read_offer` does."""
    sections, sdp, ufrag, count = _bounded(body, limits, reachable)
    for section in sections[1:]:
        if section[0].startswith("m=video ") and section[0].split()[1:2] != ["0"]:
            mid = _attribute(section, "mid")
            if _direction(section, sections[0]) in _TAKES and mid is not None and _MID.fullmatch(mid):
                return ViewerOffer(sdp, ufrag, mid, count)
    raise HttpProblem(422, "the offer takes no video; offer one with a=recvonly")


def _bounded(body: bytes, limits: Limits, reachable: Reachable) -> tuple[list[list[str]], str, str, int]:
    """An offer's sections, its text without what we will not talk to, its ICE user name, and its candidates."""
    lines = _lines(body, limits)
    if not lines or lines[0] != "v=0":
        raise HttpProblem(400, "the body is not an SDP offer")
    sections = _sections(lines)
    if len(sections) < 2:
        raise HttpProblem(422, "the offer has no media; offer a video")
    if len(sections) - 1 > limits.media_sections:
        raise HttpProblem(422, f"the offer has more than {limits.media_sections} media sections")
    _check_bundle(sections)
    ufrag = _attribute(sections[1], "ice-ufrag") or _attribute(sections[0], "ice-ufrag")
    if ufrag is None or not _UFRAG.fullmatch(ufrag):
        raise HttpProblem(400, "the offer has no ICE user name")
    kept, count = list(sections[0]), 0
    for section in sections[1:]:
        count += sum(line.startswith("a=candidate:") for line in section)
        if sum(line.startswith("a=rtpmap:") for line in section) > limits.codecs_a_section:
            raise HttpProblem(422, f"the offer has more than {limits.codecs_a_section} codecs in a section")
        kept += [line for line in section if _stays(line, reachable)]
    if count > limits.candidates:
        raise HttpProblem(422, f"the offer has more than {limits.candidates} ICE candidates")
    return sections, "\r\n".join(kept) + "\r\n", ufrag, count


def _check_bundle(sections: Sequence[Sequence[str]]) -> None:
    """All media over one transport, as RFC 9725 asks; aiortc is not safe against groups that are anything else."""
    mids = [_attribute(section, "mid") for section in sections[1:]]
    if any(mid is None or not _MID.fullmatch(mid) for mid in mids):
        raise HttpProblem(400, "a media section of the offer has no mid")
    if len(set(mids)) < len(mids):
        raise HttpProblem(400, "two media sections of the offer have the same mid")
    groups = [line.split()[1:] for line in sections[0] if line.startswith("a=group:BUNDLE")]
    if len(groups) > 1 or any(len(set(group)) < len(group) or not set(group) <= set(mids) for group in groups):
        raise HttpProblem(400, "the BUNDLE group of the offer is not made of its media sections")
    if len(mids) > 1 and (not groups or len(groups[0]) < len(mids)):
        raise HttpProblem(422, "the media of the offer is not bundled; offer it with a=group:BUNDLE")


def read_fragment(body: bytes, limits: Limits, reachable: Reachable) -> Trickled:
    """Read the body of a PATCH (application/trickle-ice-sdpfrag). Raises HttpProblem: 400, 413."""
    lines = _lines(body, limits)
    mid, ufrag, count = "0", None, 0
    candidates: list[tuple[str, str]] = []
    for line in lines:
        if line.startswith("a=mid:"):
            mid = line[6:]
            if not _MID.fullmatch(mid):
                raise HttpProblem(400, "the fragment has a mid that is none")
        elif line.startswith("a=ice-ufrag:"):
            ufrag = line[12:]
            if not _UFRAG.fullmatch(ufrag):
                raise HttpProblem(400, "the fragment has an ICE user name that is none")
        elif line.startswith("a=candidate:"):
            count += 1
            if _CANDIDATE.fullmatch(line[2:]) is None or len(line) > CANDIDATE_CHARS:
                raise HttpProblem(400, "the fragment has an ICE candidate that cannot be read")
            if _stays(line, reachable):
                candidates.append((mid, line[2:]))
        elif not re.fullmatch(r"[a-z]=.*", line):
            raise HttpProblem(400, "the body is not an SDP fragment")
    if not lines:
        raise HttpProblem(400, "the fragment is empty")
    return Trickled(ufrag, tuple(candidates), count)


def read_names(header: str | None, limits: Limits) -> tuple[str | None, ...]:
    """The names of `X-Unmask-Names`, a JSON list in the order of the offer. Raises HttpProblem 400."""
    if not header:
        return ()
    try:
        names = json.loads(header)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or len(names) > limits.media_sections:
        raise HttpProblem(400, "X-Unmask-Names is not a short JSON list of names")
    return tuple(clean_name(name, limits.name_chars) if isinstance(name, str) else None for name in names)


def clean_name(name: str, chars: int) -> str | None:
    """A name as it may be shown: one line, nothing invisible, at most `chars` long; None where nothing is left."""
    shown = "".join(c if unicodedata.category(c)[0] not in "CZ" else " " for c in name[: 4 * chars])
    return " ".join(shown.split())[:chars].strip() or None


@dataclass(frozen=True, slots=True)
class Reach:
    """Where media may come in, and whom to send checks to."""

    addresses: Sequence[str] | None
    """The addresses of ours to listen on; None for all of the machine."""
    reachable: Reachable


def reachable_here(own: Sequence[str]) -> Reachable:
    """Only this machine: the loopback and the addresses in `own`."""
    addresses = {ipaddress.ip_address(one) for one in own}

    def reachable(host: str) -> bool:
        address = _address(host)
        return address is not None and (address.is_loopback or address in addresses)

    return reachable


def reachable_anywhere(host: str) -> bool:
    """Any one machine: names (mDNS), groups and the unspecified address are left out."""
    address = _address(host)
    return address is not None and not (address.is_multicast or address.is_unspecified or address.is_reserved)


# ------------------------------------------------------------------------------------------------


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _lines(body: bytes, limits: Limits) -> list[str]:
    if len(body) > limits.sdp_bytes:
        raise HttpProblem(413, f"the SDP is longer than {limits.sdp_bytes} bytes")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise HttpProblem(400, "the body is not text in UTF-8") from None
    lines = [line.rstrip("\r") for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) > limits.sdp_lines or any(len(line) > LINE_CHARS for line in lines):
        raise HttpProblem(413, f"the SDP has more than {limits.sdp_lines} lines, or one of more than {LINE_CHARS}")
    if any(_CONTROL.search(line) for line in lines):
        raise HttpProblem(400, "the SDP has control characters in it")
    return lines


def _sections(lines: Sequence[str]) -> list[list[str]]:
    """The lines of the session, then those of each media section."""
    sections: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    return sections


def _attribute(section: Sequence[str], name: str) -> str | None:
    return next((line[len(name) + 3 :] for line in section if line.startswith(f"a={name}:")), None)


def _stays(line: str, reachable: Reachable) -> bool:
    if line == "a=end-of-candidates":
        return False
    if not line.startswith("a=candidate:"):
        return True
    match = _CANDIDATE.fullmatch(line[2:])
    if match is None or len(line) > CANDIDATE_CHARS:
        return False
    return match[3].lower() == "udp" and 0 < int(match[6]) < 65536 and reachable(match[5])


def _direction(section: Sequence[str], session: Sequence[str]) -> str:
    return next((line[2:] for part in (section, session) for line in part if line[2:] in _DIRECTIONS), "sendrecv")


def _video(section: Sequence[str], session: Sequence[str]) -> VideoOffer | None:
    """The video that a media section sends; None for one that sends none."""
    if not section[0].startswith("m=video "):
        return None
    if _direction(section, session) not in _SENDS or section[0].split()[1:2] == ["0"]:
        return None
    mid = _attribute(section, "mid") or ""
    words = (_attribute(section, "msid") or "").split()
    return VideoOffer(mid, next((word for word in words if not _MACHINE_NAME.fullmatch(word)), None))
