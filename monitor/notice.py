"""A sentence, ready to paste into the chat of a call, that tells the others that their picture is examined.

One table of texts; what it says of keeping follows the settings. It is wording, not legal advice.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from monitor.errors import SettingsError, SourceError
from monitor.history.addresses import kept_address
from monitor.settings import Settings


class Watched(enum.Enum):
    """What kind of source is watched, as those who are in it would say it."""

    CALL = "this call"
    CAMERA = "this camera's picture"
    RECORDING = "this recording"
    DEMO = "a demonstration"


class Line(enum.Enum):
    """The sentences that a notice is made of."""

    WHAT = "what"
    SHORT_KEPT = "short-kept"
    SHORT_NOT_KEPT = "short-not-kept"
    LOCAL = "local"
    KEPT = "kept"
    NOT_KEPT = "not-kept"
    FACES = "faces"
    NO_FACES = "no-faces"
    WORTH = "worth"
    OBJECT = "object"


TEXTS: Mapping[Line, str] = MappingProxyType(
    {
        Line.WHAT: "For your information: I am using unmask, a program that looks at the faces in {watched} for signs "
        "of manipulation (deepfakes).",
        Line.SHORT_KEPT: "It runs on my computer only; a protocol without {without} is kept for {days}.",
        Line.SHORT_NOT_KEPT: "It runs on my computer only, sends nothing anywhere and keeps nothing.",
        Line.LOCAL: "It runs on my computer only; no picture leaves it, and nobody is recognised or compared with "
        "anybody.",
        Line.KEPT: "It keeps a protocol of its readings (who was in the picture as a number, when, how the picture was "
        "rated) on my computer for {days}, then deletes it.",
        Line.NOT_KEPT: "It keeps nothing: pictures and readings are gone when the call ends.",
        Line.FACES: "With it, one small picture of each person is kept, encrypted, for {face_days}.",
        Line.NO_FACES: "No picture and no sound is kept.",
        Line.WORTH: "Its readings can be wrong in both directions and decide nothing on their own.",
        Line.OBJECT: "If you do not want this, please say so now, or turn your camera off.",
    }
)
"""Everything that a notice says; to translate it, translate this."""

_KINDS: Mapping[str, Watched] = MappingProxyType(
    {"webcam": Watched.CAMERA, "file": Watched.RECORDING, "demo": Watched.DEMO}
)


@dataclass(frozen=True, slots=True)
class Notice:
    """The same notice twice: for the chat of a call, and for an invitation or a policy."""

    short: str
    long: str


def notice(source: str, settings: Settings) -> Notice:
    """The notice for a source address (empty: a call) and what the settings keep."""
    values = {
        "watched": watched(source).value,
        "days": days_text(settings.history_keep_days),
        "face_days": days_text(min(settings.history_faces_keep_days, settings.history_keep_days)),
        "without": "sound" if settings.history_faces else "pictures or sound",
    }
    kept = settings.history
    short = (Line.WHAT, Line.SHORT_KEPT if kept else Line.SHORT_NOT_KEPT)
    faces = Line.FACES if settings.history_faces else Line.NO_FACES
    keeping = (Line.KEPT, faces) if kept else (Line.NOT_KEPT,)
    long = (Line.WHAT, Line.LOCAL, *keeping, Line.WORTH, Line.OBJECT)
    return Notice(*(" ".join(TEXTS[line].format(**values) for line in lines) for lines in (short, long)))


def watched(source: str) -> Watched:
    """What the address names. A screen, a window, a stream: a call."""
    from monitor.sources import parse_address

    try:
        address = str(parse_address(source)) if source.strip() else ""
    except SourceError:
        address = source
    scheme = kept_address(address).partition(":")[0]
    return _KINDS.get(scheme, Watched.CALL)


def days_text(days: float) -> str:
    """A time in days, in words: '30 days', '1 day', '12 hours'."""
    if days < 1.0:
        hours = max(1, round(24 * days))
        return f"{hours} hour{'s'[: hours != 1]}"
    return f"{days:g} day{'s'[: days != 1]}"


def check_notice(sources: Sequence[str], settings: Settings, *, given: bool) -> None:
    """Where the settings require a notice, refuse to watch anybody live before it is confirmed (SettingsError)."""
    live = [source for source in sources if watched(source) in (Watched.CALL, Watched.CAMERA)]
    if settings.require_notice and not given and live:
        raise SettingsError(
            "the setting require_notice asks that the others are told first: paste what 'unmask notice' prints into "
            "the call, then add --notice-given"
        )


def run_notice(source: str, settings: Settings, *, long: bool) -> int:
    """`unmask notice [SOURCE] [--long]`: print it."""
    made = notice(source, settings)
    print(made.long if long else made.short)
    return 0
