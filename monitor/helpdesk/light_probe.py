"""The light probe: does the skin follow the screen, on the face as beside it, when it should?

    LightSequence, LightSample ... -> Response of face, neck and surround -> LightResult

A face that is pasted over the picture does not take the colours that fall on its wearer; the neck below it does. So a
failure always needs a neck or a surround that followed plainly. Where nothing follows, there are many harmless reasons,
and the result is 'cannot tell' with the likeliest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from monitor.helpdesk.challenge_types import Floats, Timing
from monitor.helpdesk.light_response import Response, gain_at, respond
from monitor.helpdesk.light_sequence import LightSequence
from monitor.helpdesk.light_skin import LightSample
from monitor.helpdesk.light_types import LIGHT_OUTCOME, LightResult, LightWhy
from monitor.helpdesk.motion import rate_hz
from monitor.helpdesk.record_entries import Measured
from monitor.helpdesk.wording import LIGHT_TEXT

MAX_SAMPLES = 20_000


@dataclass(frozen=True, slots=True)
class LightGates:
    """The stated ratios and limits."""

    p_max: float = 0.01
    """Chance at most, for a region to count as following."""
    face_of_neck: tuple[float, float] = (0.5, 2.0)
    """The face's gain over the neck's. Chin shadow and distance stay within it; a face beyond it, by two standard
    errors, is unlike its neck."""
    face_of_surround: float = 0.5
    """The face's gain over the surround's, at least: nothing behind a person is nearer to the screen."""
    sure: float = 2.5
    """Standard errors between 'less than' and 'not told apart'."""
    apart_ms: float = 250.0
    """Face and neck are lit by one light: more lag between them than this is no room's."""
    apart_gain: float = 0.7
    """And the face's gain at the neck's lag is surely below this share of its own: weak light has no sure lag."""
    early_ms: float = -250.0
    late_ms: float = 800.0
    """The lag beyond the connection's own: screen, camera and their encoders."""
    spread_ms: float = 800.0
    min_rate_hz: float = 5.0
    min_seen: float = 0.8
    min_luma: float = 20.0
    max_clipped: float = 0.15
    glare_clipped: float = 0.02
    small_screen_cm: float = 13.0


@dataclass(frozen=True, slots=True)
class ProbeSetting:
    """What is known of the call and of the caller's screen."""

    timing: Timing
    screen_cm: float | None = None
    """Diagonal of the lit screen, as far as the page can tell."""
    gates: LightGates = field(default_factory=LightGates)


@dataclass(frozen=True, slots=True)
class _Answers:
    face: Response | None
    neck: Response | None
    surround: Response | None


def judge_light(sequence: LightSequence, samples: Sequence[LightSample], setting: ProbeSetting) -> LightResult:
    """The result of one probe. Times count from the moment when the sequence was sent. Raises ValueError for more
    than 20,000 samples."""
    if len(samples) > MAX_SAMPLES:
        raise ValueError(f"judge_light: expected at most {MAX_SAMPLES} samples, got {len(samples)}")
    rows = _in_order(samples)
    gates = setting.gates
    unfit = _unfit(rows, gates)
    if unfit is not None:
        return _result(unfit, ())
    at_ms = np.array([one.at_ms for one in rows])
    face, neck, surround = (_colours(rows, name) for name in ("face", "neck", "surround"))
    answers = _Answers(*(respond(sequence, at_ms, colours) for colours in (face, neck, surround)))
    measured = _measured(answers)
    if answers.face is None:
        return _result(LightWhy.NOT_SEEN, measured)
    if answers.face.follows(gates.p_max):
        at_neck = 0.0 if answers.neck is None else gain_at(sequence, at_ms, face, answers.neck.lag_ms)
        return _result(_face_follows(answers, at_neck, setting), measured)
    for reference, least in ((answers.neck, gates.face_of_neck[0]), (answers.surround, gates.face_of_surround)):
        if reference is None or not reference.follows(gates.p_max):
            continue
        gain = gain_at(sequence, at_ms, face, reference.lag_ms)
        at_most = gain + gates.sure * answers.face.gain_error
        if at_most < least * (reference.gain - gates.sure * reference.gain_error):
            return _result(LightWhy.FACE_DOES_NOT_FOLLOW, measured)
        return _result(LightWhy.UNSURE, measured)
    return _result(_why_nothing_follows(rows, answers, setting), measured)


def _face_follows(answers: _Answers, face_at_neck: float, setting: ProbeSetting) -> LightWhy:
    """The face follows: when it should, and as its neck does? `face_at_neck` is its gain at the neck's lag."""
    face, neck, surround, gates = answers.face, answers.neck, answers.surround, setting.gates
    assert face is not None
    if face.spread_ms > gates.spread_ms:
        return LightWhy.SMEARED
    unsure_ms = 2.0 * setting.timing.jitter_ms
    own_ms = face.lag_ms - setting.timing.round_trip_ms - setting.timing.media_lag_ms
    on_time = gates.early_ms - unsure_ms <= own_ms <= gates.late_ms + unsure_ms
    if neck is not None and neck.follows(gates.p_max):
        if abs(face.lag_ms - neck.lag_ms) > gates.apart_ms:
            at_most = face_at_neck + gates.sure * face.gain_error
            return LightWhy.FACE_LATER_THAN_NECK if at_most < gates.apart_gain * face.gain else LightWhy.UNSURE
        low, high = gates.face_of_neck
        face_error, neck_error = gates.sure * face.gain_error, gates.sure * neck.gain_error
        if face.gain + face_error < low * (neck.gain - neck_error) or face.gain - face_error > high * (
            neck.gain + neck_error
        ):
            return LightWhy.FACE_UNLIKE_NECK
        if not low <= face.gain / neck.gain <= high:
            return LightWhy.UNSURE
        return LightWhy.FOLLOWS if on_time else LightWhy.LATE
    if surround is not None and surround.follows(gates.p_max):
        if abs(face.lag_ms - surround.lag_ms) > gates.apart_ms:
            return LightWhy.UNSURE
        return LightWhy.FOLLOWS if on_time and neck is None else LightWhy.ONLY_FACE
    return LightWhy.ONLY_FACE


def _unfit(rows: Sequence[LightSample], gates: LightGates) -> LightWhy | None:
    """Why these pictures cannot be measured at all, or None."""
    seen = [one for one in rows if one.face is not None]
    if len(rows) < 20 or len(seen) < gates.min_seen * len(rows):
        return LightWhy.NOT_SEEN
    if rate_hz(np.array([one.at_ms for one in seen])) < gates.min_rate_hz:
        return LightWhy.RATE_TOO_LOW
    if float(np.median([one.luma for one in seen])) < gates.min_luma:
        return LightWhy.TOO_DARK
    if float(np.median([one.clipped for one in seen])) > gates.max_clipped:
        return LightWhy.GLARE
    return None


def _why_nothing_follows(rows: Sequence[LightSample], answers: _Answers, setting: ProbeSetting) -> LightWhy:
    """The likeliest harmless reason, the surest sign first."""
    face, gates = answers.face, setting.gates
    assert face is not None
    if face.unchanged_share > 0.5:
        return LightWhy.CODEC
    if setting.screen_cm is not None and setting.screen_cm < gates.small_screen_cm:
        return LightWhy.SMALL_SCREEN
    if float(np.median([one.clipped for one in rows])) > gates.glare_clipped:
        return LightWhy.GLARE
    surround = answers.surround
    if face.slow_share > 0.8 and surround is not None and surround.slow_share > 0.8:
        return LightWhy.WHITE_BALANCE
    return LightWhy.DAYLIGHT


def _in_order(samples: Sequence[LightSample]) -> list[LightSample]:
    rows: list[LightSample] = []
    for one in samples:
        if np.isfinite(one.at_ms) and (not rows or one.at_ms > rows[-1].at_ms):
            rows.append(one)
    return rows


def _colours(rows: Sequence[LightSample], name: str) -> Floats:
    hole = np.full(3, np.nan)
    found: list[Floats] = []
    for one in rows:
        colour = {"face": one.face, "neck": one.neck, "surround": one.surround}[name]
        found.append(hole if colour is None else colour)
    return np.stack(found)


def _measured(answers: _Answers) -> tuple[Measured, ...]:
    said: list[Measured] = []
    for name, one in (("face", answers.face), ("neck", answers.neck), ("surround", answers.surround)):
        if one is not None:
            said += [
                Measured(f"{name} correlation", one.correlation, "1"),
                Measured(f"{name} chance", one.p, "1"),
                Measured(f"{name} gain", one.gain, "1"),
                Measured(f"{name} gain error", one.gain_error, "1"),
                Measured(f"{name} lag", one.lag_ms, "ms"),
                Measured(f"{name} spread", one.spread_ms, "ms"),
            ]
    return tuple(said)


def _result(why: LightWhy, measured: tuple[Measured, ...]) -> LightResult:
    return LightResult(LIGHT_OUTCOME[why], why, LIGHT_TEXT[why], measured)


def declined() -> LightResult:
    """The caller asked for no changing light."""
    return _result(LightWhy.DECLINED, ())
