"""Every sentence of the overlay, in plain words: a likelihood, never an accusation.

What a state or a reason is called comes from `monitor.wording`, so that the window, the lines of `--headless` and
a report say the same. Here is what only the window says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gui.style import Mood
from monitor.types import Candidate, CueReading, FaceRegion, Reason, Severity, StageHealth, State
from monitor.wording import REASON_TEXT, SEVERITY_TEXT, STATE_TEXT, WHERE_LEGEND, WHERE_NOWHERE, percent, place

WINDOW_KEYS = (
    "Shows how likely it is that each face in a video call was manipulated. Space pauses, Ctrl+M makes it compact, "
    "Ctrl+D shows details, Ctrl+E shows on every face where the picture looks replaced, Ctrl+P shows or hides the "
    "pictures of faces, Ctrl and arrow keys move it, Escape closes it."
)
COMPACT_MEANING = "Shows the headline only, or everything again. Ctrl+M."
ACTION_MEANING = {
    "Pause": "Stops watching and lets go of the camera or screen. Space.",
    "Resume": "Watches again, with nobody remembered. Space.",
    "Start again": "Opens the source again. Space.",
}
DETAILS = "Details"
DETAILS_MEANING = "Shows or hides the stages, their speed, and what to show of faces. Ctrl+D."
MAP_EVERYWHERE = "On every face: where it looks replaced"
MAP_MEANING = (
    "Draws on everybody's picture where it looks replaced. Otherwise only where there are signs. Strong colour on a "
    "face without signs means nothing. Ctrl+E."
)
PICTURES = "Pictures of faces"
PICTURES_MEANING = "Shows or hides the faces. They are kept in memory for a moment, never stored or sent. Ctrl+P."
PICTURE_MEANING = "The face as the monitor sees it, in memory only."
SWATCH = "The colours of the map, from weak to strong"
RUNTIMES_MEANING = "What could run the detector on this machine, and why it does or does not."
STAGE_COLUMNS = ("Stage", "per second", "median", "95 %", "lost")
NO_FRESH_READING = "no fresh reading"
NOBODY = "no face in view"
NO_SCORE = "–"
WIDEST_SCORE = ">99 %"
SCORE_CAPTION = "suspicion"
SCORE_MEANING = "How likely manipulation is, from the last seconds: an estimate, not a proof."
AXIS_START = "1 min ago"
AXIS_END = "now"
BULLET = "• "
LEARNING = "Still learning what is usual for this person: that takes their first twenty seconds."
USUAL = "Sharpness, colour and motion of the face are as in this person's first seconds."
ALERTS = "Alerts"
EARLIER = "before the pause"
ALERT_STATUS = {
    "open": "The alert is open: the signs go on.",
    "unconfirmed": "The alert was open when the last fresh reading came.",
    "closed": "The alert is over: the signs have gone.",
}

_LONG_WORD = re.compile(r"\S{20,}")
_MAY_BREAK = re.compile(r"[/\\_.:?&=-](?=\S)|\S{19}(?=\S)")
_NUMBER_AND_UNIT = re.compile(r"(\d) (s|ms|min|h|%)(?!\w)")
"""A number stays on the line of its unit."""

_STAGE = {
    "capture": "reading pictures",
    "perceive": "finding faces",
    "encode": "looking at faces",
    "head": "weighing seconds",
    "infer": "reaching verdicts",
}

_HEADLINE = {
    Mood.STARTING: "Starting",
    Mood.WARMING_UP: "Getting ready",
    Mood.CANNOT_TELL: "Cannot tell",
    Mood.NO_SIGN: "No sign of manipulation",
    Mood.UNCERTAIN: "Uncertain",
    Mood.SUSPECT: "Strong signs of manipulation",
    Mood.PAUSED: "Paused",
    Mood.RECONNECTING: "Waiting for the source",
    Mood.ENDED: "The source has ended",
    Mood.FAILED: "Stopped",
}

_STATE = {
    Mood.WARMING_UP: State.WARMING_UP,
    Mood.CANNOT_TELL: State.CANNOT_TELL,
    Mood.NO_SIGN: State.NO_SIGN,
    Mood.UNCERTAIN: State.UNCERTAIN,
    Mood.SUSPECT: State.SUSPECT,
}

_SUB = {
    Mood.STARTING: "Loading the face model and opening the source.",
    Mood.PAUSED: "The source is released. Nobody is judged.",
    Mood.RECONNECTING: "It has stopped sending pictures.",
    Mood.ENDED: "Nobody is judged any more.",
    Mood.FAILED: "The monitor has stopped.",
}


def headline(mood: Mood) -> str:
    """What the state of the most suspicious person, or of the monitor, is called."""
    return _HEADLINE[mood]


def short_state(mood: Mood) -> str:
    """The same in a word or two, for a person's row."""
    return STATE_TEXT[_STATE[mood]] if mood in _STATE else _HEADLINE[mood]


def life(mood: Mood, message: str | None) -> str:
    """The line under the headline where the monitor as a whole is starting, waiting, paused or stopped."""
    return sentence(message) if message else _SUB[mood]


def person(track_id: int) -> str:
    return f"Person {track_id}"


def score(suspicion: float | None) -> str:
    """Suspicion 0..1 as a percentage, never a certain 0 or 100; a dash where there is no fresh one."""
    return NO_SCORE if suspicion is None else percent(suspicion).replace("under ", "<").replace("over ", ">")


def spoken_score(suspicion: float | None) -> str:
    """The same for a screen reader."""
    return "no score" if suspicion is None else f"suspicion {percent(suspicion)}"


def reasons(found: tuple[Reason, ...]) -> str:
    """Why a person cannot be judged, to stand after 'Cannot tell: '."""
    return ", and ".join(REASON_TEXT[reason] for reason in found)


def who(total: int, judged: int, lead: str, mood: Mood, same: int) -> str:
    """Whom the headline speaks of. `same` counts the people in the lead's state."""
    if mood is Mood.NO_SIGN:
        if total == 1:
            return lead
        if judged == total:
            return f"all {total} people"
        others = "the other one" if total - judged == 1 else "the others"
        return f"{judged} of {total} people, {others} cannot be judged"
    whom = lead if same <= 1 else f"{lead} and {same - 1} more"
    return f"{whom}: some signs" if mood is Mood.UNCERTAIN else whom


def alert_stands(lead: str, why: str) -> str:
    """For a person with an open alert who cannot be judged at the moment."""
    return f"{lead} has an open alert, but {why}"


def duration(seconds: float) -> str:
    """'8 s', '2 min 5 s', '1 h 3 min'."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def open_alert(open_s: float) -> str:
    return f"now, for {duration(open_s)}"


def closed_alert(ago_s: float, lasted_s: float) -> str:
    return f"{duration(ago_s)} ago, lasted {duration(lasted_s)}"


def speed(runtime: str, p50_ms: float | None, p95_ms: float | None, cadence_hz: float | None = None) -> str:
    """What runs and how fast, from picture to verdict, and how often the video on a screen changes."""
    if not runtime:
        return "Detector not loaded yet"
    cadence = "" if cadence_hz is None else f"\nThe video shows {cadence_hz:.0f} pictures a second"
    if p50_ms is None or p95_ms is None:
        return runtime + cadence
    return f"{runtime}\n{p50_ms:.0f} ms to a verdict, 95 % within {p95_ms:.0f} ms{cadence}"


def runtimes(candidates: Sequence[Candidate]) -> str:
    """A line for each inference runtime: whether it runs the detector, and why or why not."""
    lines = []
    for one in candidates:
        time = "" if one.encoder_ms is None else f" ({one.encoder_ms:.1f} ms a face)"
        lines.append(f"{BULLET}{one.name}{' runs' if one.taken else ''}: {one.reason}{time}")
    return "\n".join(lines)


def coverage(share: float) -> str:
    return f"Could be judged for {share * 100:.0f} % of the time"


def history(highest: float | None, judged_s: float, alerts: int) -> str:
    """The minute of history in words, for a screen reader."""
    if highest is None:
        return "No reading in the last minute."
    count = "no alert" if alerts == 0 else "1 alert" if alerts == 1 else f"{alerts} alerts"
    return f"Highest {score(highest)}, could be judged for {duration(judged_s)}, {count}."


def where(regions: tuple[FaceRegion, ...]) -> str:
    """The legend of the map with what it says: 'Where the picture looks replaced: mostly around the eyes'."""
    return f"{WHERE_LEGEND[0].upper()}{WHERE_LEGEND[1:]}: {place(regions) or WHERE_NOWHERE}"


def cues(readings: tuple[CueReading, ...]) -> list[str]:
    """What is unusual for this person, the farthest first, each with its harmless explanation; else one line."""
    unusual = [reading for reading in readings if reading.severity is not Severity.NORMAL]
    unusual.sort(key=lambda reading: -abs(reading.z or 0.0))
    lines = [
        f"{BULLET}{sentence(reading.text)[:-1]} ({SEVERITY_TEXT[reading.severity]}). {innocent(reading.innocent)}"
        for reading in unusual
    ]
    if any(reading.z is None for reading in readings):
        lines.append(LEARNING)
    elif readings and not unusual:
        lines.append(USUAL)
    return lines


def innocent(text: str) -> str:
    """The harmless explanation that always stands beside a cue."""
    return f"It can be harmless: {text[0].lower() + text[1:]}" if text else ""


def stage_values(stage: StageHealth) -> tuple[str, str, str, str, str]:
    """One line of the stages table, in the order of `STAGE_COLUMNS`."""

    def ms(value: float | None) -> str:
        return NO_SCORE if value is None else f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"

    name = stage_name(stage) if stage.alive else f"{stage_name(stage)} (stuck)"
    name = name[0].upper() + name[1:]
    return name, f"{stage.fps_out:.1f}", ms(stage.p50_ms), ms(stage.p95_ms), str(stage.dropped)


def stage_trouble(stage: StageHealth) -> str | None:
    """Why a stage does not do all its work, or None where it does."""
    name = stage_name(stage)
    if not stage.alive:
        return f"{name} is stuck" + (f": {stage.degraded_reason}" if stage.degraded_reason else "")
    return f"{name}: {stage.degraded_reason}" if stage.degraded_reason else None


def stage_name(stage: StageHealth) -> str:
    """What the stage does, in plain words."""
    return _STAGE.get(stage.name, stage.name)


def breakable(text: str) -> str:
    """`text` with places to break in words that are too long for a line, such as paths: invisible, of no width."""
    return _LONG_WORD.sub(lambda word: _MAY_BREAK.sub("\\g<0>\u200b", word.group()), text)


def sentence(text: str) -> str:
    """`text` with a capital first letter and a full stop. Addresses and paths stay as they are."""
    text = text.strip()
    if not text:
        return ""
    text = _NUMBER_AND_UNIT.sub("\\1\u00a0\\2", text)
    first = text.split()[0].rstrip(",.")
    if first.isalpha():
        text = text[0].upper() + text[1:]
    return text + ("" if text[-1] in ".!?" else ".")
