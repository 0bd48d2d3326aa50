"""Source addresses, as they are written on the command line, in the settings and in the overlay.

One line of text goes in, one typed and bounded address comes out: `webcam:0`, `webcam:NAME`, `screen:`,
`screen:?region=x,y,w,h`, `screen:?monitor=2`, `window:TITLE`, `portal:`, `webrtc:`, `whep:URL`, `file:PATH` (or the
bare path of a file), `demo:`. Nothing is opened here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from monitor.errors import SourceError

KNOWN_SCHEMES = ("webcam:", "screen:", "window:", "portal:", "webrtc:", "whep:", "file:", "demo:")
MAX_CHARS = 4096
MAX_COORDINATE_PX = 100_000
DEMO_PEOPLE = (1, 4, 9)

_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)
_DRIVE = re.compile(r"/[A-Za-z]:[/\\]")


@dataclass(frozen=True, slots=True)
class FileAddress:
    """A recorded file. `text` is what the user wrote after `file:`; percent escapes are still in it."""

    text: str

    @property
    def path(self) -> Path:
        """The path meant: as written where that exists, else with percent escapes decoded where that exists."""
        literal = Path(self.text).expanduser()
        if _exists(literal) or not _ESCAPE.search(self.text):
            return literal
        decoded = Path(unquote(self.text)).expanduser()
        return decoded if _exists(decoded) else literal

    def __str__(self) -> str:
        return f"file:{self.text}"


@dataclass(frozen=True, slots=True)
class WebcamAddress:
    """A camera by its number or by its name; exactly one of the two is set."""

    index: int | None = None
    name: str | None = None

    def __str__(self) -> str:
        return f"webcam:{self.name if self.index is None else self.index}"


@dataclass(frozen=True, slots=True)
class ScreenAddress:
    """A monitor, or a part of the desktop.

    `monitor` counts from 1 and 0 is the whole desktop; None is the primary monitor. `region_px` is x, y, w, h
    in pixels, from the corner of `monitor` where that is given and in desktop coordinates otherwise.
    """

    monitor: int | None = None
    region_px: tuple[int, int, int, int] | None = None

    def __str__(self) -> str:
        options = [] if self.monitor is None else [f"monitor={self.monitor}"]
        if self.region_px is not None:
            options.append("region=" + ",".join(map(str, self.region_px)))
        return "screen:" + ("?" + "&".join(options) if options else "")


@dataclass(frozen=True, slots=True)
class WhepAddress:
    """A stream of a server that speaks WHEP. `video` counts its videos from 1."""

    url: str
    video: int = 1

    def __str__(self) -> str:
        return f"whep:{self.url}" + (f"#video={self.video}" if self.video != 1 else "")


@dataclass(frozen=True, slots=True)
class WindowAddress:
    """A window of another program by its title, or by the system's number for it; exactly one of the two is set."""

    title: str | None = None
    handle: int | None = None

    def __str__(self) -> str:
        return f"window:{self.title}" if self.handle is None else f"window:?id={self.handle}"


@dataclass(frozen=True, slots=True)
class PortalAddress:
    """What the user chooses in the desktop's own dialog (xdg-desktop-portal, for Wayland).

    `fresh` asks again, although an earlier choice is remembered.
    """

    fresh: bool = False

    def __str__(self) -> str:
        return "portal:?fresh=1" if self.fresh else "portal:"


@dataclass(frozen=True, slots=True)
class WebRtcAddress:
    """Whoever publishes to this machine, at a port of 127.0.0.1; 0 takes any free one."""

    port: int = 8765

    def __str__(self) -> str:
        return "webrtc:" + ("" if self.port == 8765 else f"?port={self.port}")


@dataclass(frozen=True, slots=True)
class DemoAddress:
    """The demonstration. `forged` None alternates between genuine and forged."""

    forged: bool | None = None
    people: int = 1
    fps: float = 30.0

    def __str__(self) -> str:
        options = [] if self.forged is None else [f"forged={int(self.forged)}"]
        options += [] if self.people == 1 else [f"people={self.people}"]
        options += [] if self.fps == 30.0 else [f"fps={self.fps:g}"]
        return "demo:" + ("?" + "&".join(options) if options else "")


SourceAddress = (
    FileAddress
    | WebcamAddress
    | ScreenAddress
    | WindowAddress
    | PortalAddress
    | WebRtcAddress
    | WhepAddress
    | DemoAddress
)


def parse_address(text: str) -> SourceAddress:
    """Read one source address. Raises SourceError, one line, for anything that is not one."""
    text = text.strip()
    if not text:
        raise SourceError(f"the source address is empty; give one of {_known()} or the path of a video file")
    if len(text) > MAX_CHARS:
        raise SourceError(f"the source address is {len(text)} characters long; at most {MAX_CHARS} are read")
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise SourceError(f"the source address {text!r} has control characters in it; remove them")
    match = _SCHEME.fullmatch(text)
    if match is None:
        return _bare(text)
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file":
        return FileAddress(_file_text(rest))
    if scheme == "webcam":
        return _webcam(rest)
    if scheme == "screen":
        return _screen(text, rest)
    if scheme == "webrtc":
        return _webrtc(text, rest)
    if scheme == "whep":
        return _whep(rest)
    if scheme == "window":
        return _window(text, rest)
    if scheme == "portal":
        return _portal(text, rest)
    if scheme == "demo":
        return _demo(text, rest)
    if _exists(Path(text)):
        return FileAddress(text)
    raise SourceError(f"unknown kind of source {scheme}: in {text!r}; the kinds are {_known()}")


def _known() -> str:
    return ", ".join(KNOWN_SCHEMES)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _bare(text: str) -> FileAddress:
    if f"{text.lower()}:" in KNOWN_SCHEMES and not _exists(Path(text)):
        raise SourceError(f"there is no file {text!r}; for that kind of source write '{text.lower()}:'")
    return FileAddress(text)


def _file_text(rest: str) -> str:
    """The path of `file:PATH` and of the URLs `file:///PATH` and `file://localhost/PATH`."""
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise SourceError(f"file://{host}/ names another machine; give a path on this one")
        rest = unquote(slash + path)
        if _DRIVE.match(rest):
            rest = rest[1:]
    if not rest:
        raise SourceError("file: needs the path of a video, as in file:recording.mp4")
    if "\0" in rest:
        raise SourceError(f"the path {rest!r} has a zero byte in it; remove it")
    return rest


def _webcam(rest: str) -> WebcamAddress:
    name = unquote(rest).strip()
    if not name:
        return WebcamAddress(index=0)
    if name.isascii() and name.isdigit():
        if len(name) > 4:
            raise SourceError(f"webcam:{name} is not a camera; cameras are numbered from 0 ('unmask sources')")
        return WebcamAddress(index=int(name))
    if len(name) > 256 or any(ord(c) < 32 for c in name):
        raise SourceError("the camera's name is too long or has control characters; see 'unmask sources'")
    return WebcamAddress(name=name)


def _options(text: str, rest: str, allowed: tuple[str, ...]) -> Mapping[str, str]:
    if rest and not rest.startswith("?"):
        raise SourceError(f"cannot read {text!r}: expected '?' and options ({', '.join(allowed)}) after the colon")
    if rest in ("", "?"):
        return {}
    try:
        pairs = parse_qsl(rest[1:], keep_blank_values=True, strict_parsing=True, max_num_fields=16)
    except ValueError:
        raise SourceError(f"cannot read {text!r}: expected options written as name=value&name=value") from None
    options: dict[str, str] = {}
    for key, value in pairs:
        if key not in allowed:
            raise SourceError(f"unknown option {key!r} in {text!r}; the options are {', '.join(allowed)}")
        if key in options:
            raise SourceError(f"the option {key!r} stands twice in {text!r}; give it once")
        options[key] = value.strip()
    return options


def _screen(text: str, rest: str) -> ScreenAddress:
    options = _options(text, rest, ("region", "monitor"))
    monitor, region = None, None
    if "monitor" in options:
        value = options["monitor"]
        if not re.fullmatch(r"[0-9]{1,2}", value):
            raise SourceError(f"monitor={value} in {text!r}: expected a number, 1 for the first monitor, 0 for all")
        monitor = int(value)
    if "region" in options:
        region = _region_px(text, options["region"])
    return ScreenAddress(monitor, region)


def _region_px(text: str, value: str) -> tuple[int, int, int, int]:
    parts = [part.strip() for part in value.split(",")]
    if len(parts) != 4 or not all(re.fullmatch(r"[+-]?[0-9]{1,6}", part) for part in parts):
        raise SourceError(f"region={value} in {text!r}: expected x,y,width,height as four whole numbers of pixels")
    x, y, w, h = (int(part) for part in parts)
    if w < 2 or h < 2:
        raise SourceError(f"region={value} in {text!r}: width and height must be at least 2 pixels")
    if max(abs(x), abs(y), w, h) > MAX_COORDINATE_PX:
        raise SourceError(f"region={value} in {text!r}: no screen is that large; at most {MAX_COORDINATE_PX}")
    return x, y, w, h


def _whep(rest: str) -> WhepAddress:
    """The URL may be a secret: no message repeats it."""
    from monitor.webrtc.whep_http import check_endpoint

    url, _, fragment = rest.partition("#")
    match = re.fullmatch(r"(?:video=([1-9][0-9]?))?", fragment)
    if match is None:
        raise SourceError("the part after # of a whep: address says which of the videos is meant, as in #video=2")
    return WhepAddress(check_endpoint(url), int(match[1] or 1))


def _window(text: str, rest: str) -> WindowAddress:
    if rest.startswith("?id="):
        value = rest.removeprefix("?id=")
        if not re.fullmatch(r"[0-9]{1,19}", value):
            raise SourceError(f"id={value} in {text!r}: expected a window's number, as 'unmask sources' lists it")
        return WindowAddress(handle=int(value))
    title = unquote(rest).strip()
    if not title:
        raise SourceError("window: needs a title or a part of one, as in window:Meeting; see 'unmask sources'")
    if len(title) > 256 or any(ord(c) < 32 or ord(c) == 127 for c in title):
        raise SourceError("the window's title is too long or has control characters; see 'unmask sources'")
    return WindowAddress(title=title)


def _portal(text: str, rest: str) -> PortalAddress:
    options = _options(text, rest, ("fresh",))
    if options.get("fresh", "0") not in ("0", "1"):
        raise SourceError(f"fresh={options['fresh']} in {text!r}: expected 1 (ask again) or 0")
    return PortalAddress(options.get("fresh") == "1")


def _webrtc(text: str, rest: str) -> WebRtcAddress:
    options = _options(text, rest, ("port",))
    port = options.get("port", "8765")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise SourceError(f"port={port} in {text!r}: expected 0 to 65535")
    return WebRtcAddress(int(port))


def _demo(text: str, rest: str) -> DemoAddress:
    options = _options(text, rest, ("forged", "people", "fps"))
    forged, people, fps = None, 1, 30.0
    if "forged" in options:
        if options["forged"] not in ("0", "1"):
            raise SourceError(f"forged={options['forged']} in {text!r}: expected 0 (genuine) or 1 (forged)")
        forged = options["forged"] == "1"
    if "people" in options:
        if options["people"] not in map(str, DEMO_PEOPLE):
            raise SourceError(f"people={options['people']} in {text!r}: expected one of {DEMO_PEOPLE}")
        people = int(options["people"])
    if "fps" in options:
        fps = _number(options["fps"])
        if not 1.0 <= fps <= 60.0:
            raise SourceError(f"fps={options['fps']} in {text!r}: expected a rate from 1 to 60")
    return DemoAddress(forged, people, fps)


def _number(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
