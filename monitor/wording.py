"""What people read: every reason, state and alert in plain words. Likelihood, never accusation.

Texts only, kept beside each other so that they say the same thing everywhere: overlay, lines, report.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from engines.calibration import OperatingPoint as CardPoint
from monitor.types import AlertLevel, FaceRegion, Reason, Severity, State

STATE_TEXT: Mapping[State, str] = MappingProxyType(
    {
        State.WARMING_UP: "Getting ready",
        State.CANNOT_TELL: "Cannot tell",
        State.NO_SIGN: "No sign",
        State.UNCERTAIN: "Uncertain",
        State.SUSPECT: "Strong signs",
    }
)
"""Short names, for badges."""

STATE_MEANING: Mapping[State, str] = MappingProxyType(
    {
        State.WARMING_UP: "Watching the first seconds of this face; there is no score yet.",
        State.CANNOT_TELL: "The picture does not allow a judgement at the moment.",
        State.NO_SIGN: "No sign of manipulation in what could be judged. This is not proof that the face is genuine.",
        State.UNCERTAIN: "Some signs that manipulated faces also show; not strong or lasting enough to stand alone.",
        State.SUSPECT: "Lasting signs that are likelier in a manipulated face than in a genuine one. "
        "Check in another way before acting on it.",
    }
)

REASON_TEXT: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.NO_FACE: "no face in the picture",
        Reason.FACE_TOO_SMALL: "the face is too small",
        Reason.FACE_TURNED_AWAY: "the face is turned too far to the side",
        Reason.FACE_BLURRED: "the face is too blurred",
        Reason.TOO_DARK: "the face is too dark",
        Reason.UNFAMILIAR: "the picture is unlike any that the detector was trained on",
        Reason.RATE_TOO_LOW: "too few pictures arrive each second",
        Reason.FROZEN: "the picture stands still",
        Reason.GAP: "the picture was interrupted",
        Reason.CUT: "the picture changed and may show someone else",
        Reason.TOO_SHORT: "the face was visible too briefly",
        Reason.WAITING_TURN: "several faces take turns and this one is waiting",
        Reason.STALLED: "part of the monitor has stopped answering",
    }
)
"""What each reason means, to stand after 'Cannot tell: '."""

REASON_ADVICE: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.NO_FACE: "Ask the person to turn the camera on and sit in view of it.",
        Reason.FACE_TOO_SMALL: "Ask the person to come closer, or enlarge or pin their picture in the call.",
        Reason.FACE_TURNED_AWAY: "Ask the person to look towards the camera.",
        Reason.FACE_BLURRED: "Ask the person to hold still and clean or refocus the camera; a beauty or blur filter "
        "can also do this.",
        Reason.TOO_DARK: "Ask the person to turn a light on in front of them.",
        Reason.UNFAMILIAR: "Ask for a usual picture of a call: not very close, not very bright, no strong sharpening.",
        Reason.RATE_TOO_LOW: "Ask for a better connection, or close other programs on this computer.",
        Reason.FROZEN: "Wait for the connection to recover, or ask the person to move.",
        Reason.GAP: "Nothing to do: judging starts again after two to three seconds of steady picture.",
        Reason.CUT: "Nothing to do: the person now in this place is judged afresh.",
        Reason.TOO_SHORT: "A few seconds of steady picture are needed.",
        Reason.WAITING_TURN: "Nothing to do: every face gets its turn; pin one person to judge only them.",
        Reason.STALLED: "If this lasts, restart unmask, and run 'unmask doctor'.",
    }
)
"""What to do, or to ask the person to do."""

LEVEL_TEXT: Mapping[AlertLevel, str] = MappingProxyType({AlertLevel.WARNING: "Warning", AlertLevel.ALARM: "Alarm"})

SEVERITY_TEXT: Mapping[Severity, str] = MappingProxyType(
    {
        Severity.NORMAL: "as usual for this person",
        Severity.NOTABLE: "unusual for this person",
        Severity.STRONG: "very unusual for this person",
    }
)


REGION_TEXT: Mapping[FaceRegion, str] = MappingProxyType(
    {
        FaceRegion.FOREHEAD: "mostly on the forehead",
        FaceRegion.EYES: "mostly around the eyes",
        FaceRegion.NOSE: "mostly around the nose",
        FaceRegion.MOUTH: "mostly around the mouth and chin",
        FaceRegion.CHEEKS: "mostly on cheeks and jaw",
        FaceRegion.WHOLE_FACE: "over most of the face",
        FaceRegion.OUTSIDE: "mostly outside the face",
    }
)
"""Where the picture looks replaced, to stand after 'signs ...'."""

WHERE_LEGEND = "where the picture looks replaced"
WHERE_NOWHERE = "no place stands out"
WHERE_INNOCENT = (
    "A beauty filter, glasses, a hand or microphone at the face, hard light from one side, or heavy compression "
    "can look replaced too."
)


class Ending(enum.Enum):
    """Why an alert was closed."""

    SIGNS_GONE = "signs-gone"
    PERSON_CHANGED = "person-changed"
    PERSON_LEFT = "person-left"
    PUT_ASIDE = "put-aside"


_ENDING_TEXT: Mapping[Ending, str] = MappingProxyType(
    {
        Ending.SIGNS_GONE: "The signs have gone since.",
        Ending.PERSON_CHANGED: "Closed because the picture changed and may show another person now.",
        Ending.PERSON_LEFT: "Closed because the person left the picture.",
        Ending.PUT_ASIDE: "Closed because this computer had to look at other calls.",
    }
)


def explain(reasons: Sequence[Reason]) -> str:
    """One sentence for a person who cannot be judged, such as 'Cannot tell: the face is too small.'"""
    if not reasons:
        return "Cannot tell."
    return f"Cannot tell: {', and '.join(REASON_TEXT[r] for r in reasons)}."


def advise(reasons: Sequence[Reason]) -> str:
    """What to do about the first, commonest reason; empty without one."""
    return REASON_ADVICE[reasons[0]] if reasons else ""


def percent(share: float) -> str:
    """A probability in words, never a certainty: 'under 1 %', '57 %', 'over 99 %'."""
    if share < 0.01:
        return "under 1 %"
    if share > 0.99:
        return "over 99 %"
    return f"{round(100 * share)} %"


def place(regions: Sequence[FaceRegion]) -> str:
    """Where the picture looks replaced, by its two strongest regions: 'mostly around the eyes, and around the nose'.
    Empty where no place stands out."""
    first, *more = (REGION_TEXT[region] for region in regions[:2]) if regions else ("",)
    return first + "".join(f", and {text.removeprefix('mostly ')}" for text in more)


def alert_evidence(lasted_s: float, peak_suspicion: float, regions: Sequence[FaceRegion] = ()) -> str:
    """What was seen, for how long, where in the face, how strongly; and what else could look like it."""
    where = f", {place(regions)}" if regions else ""
    return (
        f"Signs that are likelier in a manipulated face, over {max(1, round(lasted_s))} s of picture{where}; "
        f"suspicion up to {percent(peak_suspicion)}. "
        "A filter or heavy compression can do the same: check in another way."
    )


def rarity(p_real: float, people: int, hours: float) -> str:
    """How often genuine people look so, and how many were measured: never more than that many can show."""
    ground = f"measured on {people} genuine people or takes, {_time(hours)} of video"
    rare = math.floor(1.0 / p_real + 1e-9)
    if rare < 2:
        return f"Genuine people often look so ({ground})."
    return f"At most 1 in {rare} genuine people looks so at any one time ({ground})."


def _time(hours: float) -> str:
    return f"{round(60 * hours)} minutes" if hours < 2 else f"{hours:.0f} hours"


def alarm_basis(point: CardPoint) -> str:
    """What is known of the rate of false alarms at an operating point, and what is only extrapolated."""
    wanted = f"set for {point.false_alarms_per_hour:g} false alarm{'s'[: point.false_alarms_per_hour != 1]} an hour"
    bound = point.bound_per_hour
    if bound is None:
        return f"{wanted}; not measured on genuine video"
    found = f"{point.measured_alarms or 'no'} alarm{'s'[: point.measured_alarms != 1]}"
    measured = (
        f"{wanted}; measured: {found} in {_time(point.measured_hours)} of genuine video of {point.measured_people} "
        f"people or takes, at most {bound:.1f} an hour (95 %)"
    )
    return f"{measured}; the rate it was set for is extrapolated" if point.extrapolated else measured


def rate_support(wanted_per_hour: float, hours: float) -> str:
    """Whether so many hours of genuine video can show a rate at all: zero alarms in T hours prove no less than 3/T."""
    if hours <= 0.0:
        return f"set for {wanted_per_hour:g} an hour: extrapolated, there is no genuine video"
    if wanted_per_hour >= 3.0 / hours:
        return f"set for {wanted_per_hour:g} an hour"
    return (
        f"set for {wanted_per_hour:g} an hour: extrapolated, {hours:.3f} h of genuine video can only show rates "
        f"from {3.0 / hours:.0f} an hour"
    )


def ending_evidence(evidence: str, ending: Ending) -> str:
    """The same, once the alert is closed, with why."""
    return f"{evidence} {_ENDING_TEXT[ending]}"
