"""Every word that a caller or an agent reads in an identity check, in one table. It advises, and never accuses.

A result speaks of what the picture showed, never of the person; the agent decides. `{name}` is filled in by the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from monitor.helpdesk.case_types import CaseState, Choice, Refusal
from monitor.helpdesk.challenge_types import Drawn, Kind, Limit, Outcome, Why
from monitor.helpdesk.light_types import LightWhy

ACCUSING = (
    "fraud", "fake", "forg", "impost", "imperson", "liar", "lying", "cheat", "attack", "crim", "guilt", "decei",
    "decept", "suspect", "suspicio", "scam", "pretend", "dishonest", "caught", "culprit", "offend", "manipulat",
)  # fmt: skip
"""Beginnings of words that have no place here; a test holds it."""

OUTCOME_TEXT: Mapping[Outcome, str] = MappingProxyType(
    {
        Outcome.PASSED: "Done as asked",
        Outcome.FAILED: "Not as asked",
        Outcome.NOT_DONE: "Not done yet",
        Outcome.CANNOT_TELL: "Cannot tell",
    }
)

INSTRUCTION: Mapping[Kind, tuple[str, str]] = MappingProxyType(
    {
        Kind.PROFILE: (
            "Turn your head slowly to your left as far as is comfortable, then to your right, then look at the camera.",
            "Turn your head slowly to your right as far as is comfortable, then to your left, then look at the camera.",
        ),
        Kind.LOOK: (
            "Look up to the ceiling, then down to the floor, then at the camera.",
            "Look down to the floor, then up to the ceiling, then at the camera.",
        ),
        Kind.HAND: (
            "Move an open hand slowly across your face, close to it, from your left to your right.",
            "Move an open hand slowly across your face, close to it, from your right to your left.",
        ),
        Kind.NOSE: ("Put one finger on the tip of your nose from the side and hold it there for {count} seconds.",) * 2,
        Kind.NEAR: ("Come close to the camera and go back{times}.",) * 2,
        Kind.SHAKE: ("Shake your head quickly, as for a clear no, for about two seconds.",) * 2,
        Kind.DIGITS: ("Say these digits aloud, with a short pause after each: {digits}.",) * 2,
        Kind.EYES: ("Close both eyes for two seconds and open them again{times}.",) * 2,
        Kind.MOUTH: ("Open your mouth wide and close it again{times}.",) * 2,
    }
)
"""For the caller: as drawn, and the other way round."""

READ_OUT = "Read the instruction out to the caller, and press the button when you have finished."
"""For the agent, where the caller does not read the screen."""

TIMES: Mapping[int, str] = MappingProxyType({1: "", 2: ", two times", 3: ", three times"})

LIMIT_TEXT: Mapping[Limit, str] = MappingProxyType(
    {
        Limit.HEAD: "I cannot or would rather not turn my head.",
        Limit.HANDS: "I cannot or would rather not lift a hand to my face.",
        Limit.LEANING: "I cannot or would rather not lean forward.",
        Limit.SPEECH: "I cannot or would rather not speak aloud.",
        Limit.FACE: "I cannot or would rather not move my face on request.",
        Limit.READING: "I cannot read the screen: please read it out to me.",
        Limit.MORE_TIME: "I need more time.",
        Limit.LIGHT: "No changing colours on my screen, please.",
    }
)
"""For the caller to tick, before anything is asked. No reason is wanted and none is recorded."""

WHY_TEXT: Mapping[Why, str] = MappingProxyType(
    {
        Why.DONE: "The movement was seen as asked, {delay}.",
        Why.WRONG_WAY: "The movement was seen, but the other way round than asked.",
        Why.OTHER_MOTION: "Another movement was seen than the one asked for.",
        Why.TOO_EARLY: "The movement began before the instruction could have been read.",
        Why.SOUND_WITHOUT_MOUTH: "Speech was heard, but the mouth in the picture did not move with it.",
        Why.OTHER_DIGITS: "The digits that were heard are not the ones asked for.",
        Why.NO_MOTION: "No such movement was seen in the time given.",
        Why.TOO_LITTLE: "The movement was begun, but was too small to be judged.",
        Why.TOO_SLOW: "The movement was seen, but slower than it can be judged.",
        Why.TOO_QUICK: "The movement was seen, but quicker than it can be judged.",
        Why.TOO_FEW: "The movement was seen, but less often than asked.",
        Why.TOO_SHORT_HELD: "The movement was seen, but held for less time than asked.",
        Why.TOO_MUCH_HIDDEN: "More of the face was hidden than asked for.",
        Why.TOO_LATE: "The movement came later than the time given for it, {delay}.",
        Why.NOT_BACK: "The movement was seen, but not the way back.",
        Why.NO_SOUND: "No speech was heard; the microphone may be off.",
        Why.FACE_LOST: "The face could not be seen for long enough.",
        Why.RATE_TOO_LOW: "Too few pictures arrive each second.",
        Why.FROZEN: "The picture stood still; the connection may have paused.",
        Why.CLOCK: "The times of the pictures do not fit together.",
        Why.NO_CALM: "There was too little calm picture before the instruction to compare with.",
        Why.JUMPED: "The picture jumped in the middle of the movement.",
        Why.NOT_MEASURED: "What this needs was not measured in this call.",
    }
)

LIGHT_WARNING = (
    "Your screen will slowly change its colour for about {seconds} seconds. The changes are soft and slower than three "
    "a second, and their brightness stays nearly the same. If changing light is not good for you, choose 'No changing "
    "colours': nothing speaks against you for it."
)
"""For the caller, before the light probe; it begins only when they say so."""

LIGHT_TEXT: Mapping[LightWhy, str] = MappingProxyType(
    {
        LightWhy.FOLLOWS: "The colour of the face followed the screen, together with what is around it.",
        LightWhy.FACE_DOES_NOT_FOLLOW: "What is around the face followed the screen; the face itself did not.",
        LightWhy.FACE_LATER_THAN_NECK: "The colour of the face followed the screen at another time than the neck.",
        LightWhy.FACE_UNLIKE_NECK: "The colour of the face followed the screen much more, or much less, than the neck.",
        LightWhy.LATE: "The colour followed the screen later than the connection explains.",
        LightWhy.NOT_SEEN: "The face was not in view for long enough.",
        LightWhy.RATE_TOO_LOW: "Too few pictures arrive each second.",
        LightWhy.TOO_DARK: "The picture is too dark.",
        LightWhy.GLARE: "Parts of the face are too bright to be measured; glasses or a lamp may do this.",
        LightWhy.WHITE_BALANCE: "The camera keeps changing its colours by itself.",
        LightWhy.CODEC: "The connection leaves out so much colour that nothing can be measured.",
        LightWhy.SMALL_SCREEN: "The screen is too small, or too far away, to light the face.",
        LightWhy.DAYLIGHT: "The light in the room is too strong for the screen to be seen on the face.",
        LightWhy.ONLY_FACE: "The face followed the screen, but nothing around it followed well enough to compare with.",
        LightWhy.SMEARED: "The colour followed the screen too softly to be timed.",
        LightWhy.UNSURE: "The colour followed the screen too weakly to be sure.",
        LightWhy.DECLINED: "The caller asked for no changing light. That is all it says.",
    }
)
"""What the light probe showed."""

ADVICE: Mapping[Outcome, str] = MappingProxyType(
    {
        Outcome.PASSED: "Go on. This alone does not prove who is calling.",
        Outcome.FAILED: "Ask again, and explain it in your own words. If it stays so, use another way to identify the "
        "caller.",
        Outcome.NOT_DONE: "Ask whether the instruction was clear, and try again.",
        Outcome.CANNOT_TELL: "Help with light, distance or the connection, and try again; or use another way to "
        "identify the caller.",
    }
)
"""For the agent."""


STATE_TEXT: Mapping[CaseState, str] = MappingProxyType(
    {
        CaseState.OPENED: "Opened; no link was sent yet",
        CaseState.LINK_SENT: "Link sent; waiting for the caller",
        CaseState.JOINED: "The caller has joined and is reading what this is about",
        CaseState.CONSENTED: "The caller has agreed",
        CaseState.DECLINED: "The caller chose not to take part",
        CaseState.CHALLENGES: "Challenges are under way",
        CaseState.DECIDED: "Decided by the agent",
        CaseState.EXPIRED: "The time for this case is over",
        CaseState.CLOSED: "Closed",
    }
)
"""For the agent."""

CHOICE_TEXT: Mapping[Choice, str] = MappingProxyType(
    {
        Choice.CONFIRMED: "I am satisfied that this is the person",
        Choice.NOT_CONFIRMED: "I could not satisfy myself",
        Choice.ANOTHER_WAY: "Another way of identification is used",
    }
)
"""What an agent can decide; a reason in their own words goes with it."""

REFUSED_TEXT: Mapping[Refusal, str] = MappingProxyType(
    {
        Refusal.NOT_NOW: "This is not the next step of the case; look at where it stands.",
        Refusal.NOT_ALLOWED: "This step belongs to somebody else's part; ask whoever has it.",
        Refusal.NOT_YOURS: "There is no such case for you; check the number, or ask for it to be assigned to you.",
        Refusal.LINK_USED: "This link was opened already and opens once only; ask for a new one.",
        Refusal.LINK_EXPIRED: "The time of this link is over; ask for a new one.",
        Refusal.LINK_WRONG: "This link opens nothing; check that it is complete, or ask for a new one.",
        Refusal.TOO_MANY_LINKS: "No more links can be sent for this case; open another case.",
        Refusal.CASE_OVER: "This case is over; open another one.",
        Refusal.NOT_OVER: "This is possible once the case is closed.",
        Refusal.REASON_MISSING: "Give your reason for the decision, in 1 to 2000 characters.",
        Refusal.CONSENT_CHANGED: "The text has changed since this page was loaded; load it again and read it.",
    }
)
"""For whoever asked for it."""

CONSENT_VERSION = "1"
CONSENT_TEXT = (
    "{organisation} asks you for a short video check before it goes on with your request: {purpose}. You are free to "
    "say no. Then this check ends, nothing is measured, and the person you are speaking with will tell you about other "
    "ways.\n\n"
    "What is measured: how your face, your head and your mouth move while you follow a few simple requests; how the "
    "colour of the picture follows your screen, if you allow it; how steady picture and sound are; and how strongly "
    "the picture looks altered. None of this says who you are, and none of it is kept to recognise you by.\n\n"
    "What is kept: these figures, the requests, the decision of the person you are speaking with and their reason, for "
    "{record_days} days. No picture and no sound is kept{frames}.\n\n"
    "Who decides: a person, not this program. The figures can be wrong in both directions.\n\n"
    "You can stop at any time. You do not have to say why you cannot or would rather not do something; there are other "
    "requests."
)
"""For the caller, before anything is measured. `{frames}` is empty, or `CONSENT_FRAMES`."""
CONSENT_FRAMES = " unless you tick the box below: then single pictures are kept encrypted for {frame_days} days"


def consent_text(organisation: str, purpose: str, *, record_days: int, frame_days: int | None = None) -> str:
    """The text that a caller is shown and agrees to; `frame_days` None where pictures are never kept."""
    frames = "" if frame_days is None else CONSENT_FRAMES.format(frame_days=frame_days)
    return CONSENT_TEXT.format(organisation=organisation, purpose=purpose, record_days=record_days, frames=frames)


def instruction(drawn: Drawn) -> str:
    """What the caller is asked to do, in one sentence."""
    digits = " ".join(map(str, drawn.digits))
    text = INSTRUCTION[drawn.kind][drawn.mirrored]
    return text.format(count=drawn.count, times=TIMES.get(drawn.count, ""), digits=digits)


def why(reason: Why, onset_delay_ms: float | None) -> str:
    """One sentence on a result."""
    delay = "beginning at a time that could not be measured"
    if onset_delay_ms is not None:
        delay = f"beginning {max(0.0, onset_delay_ms) / 1000:.1f} s after it was asked for"
    return WHY_TEXT[reason].format(delay=delay)
