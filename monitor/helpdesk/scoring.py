"""What all challenges are judged by: whether the picture can be judged at all, when the movement began, and whether
another one was made. Each kind says only what it looks for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from monitor.helpdesk.challenge_types import (
    OUTCOME_OF,
    DetectorShift,
    Drawn,
    Floats,
    Outcome,
    Result,
    ScoredWindow,
    Sound,
    Timing,
    Why,
)
from monitor.helpdesk.motion import Motion, calm, rate_hz, smoothed
from monitor.helpdesk.record_entries import Measured
from monitor.helpdesk.wording import why as why_text

ANSWER_MS = 12_000.0
"""So long after the instruction a challenge is looked for."""
HEAD_STILL_DEG = 8.0
"""Cover counts as another movement only with the head so still: a turned face is unlike its calm self, too."""
LATEST_MS = 4_000.0
"""A movement that begins later than this, the connection's share taken off, came too late."""
MORE_TIME = 2.5
"""Both, for callers who asked for more time."""
EARLIEST_MS = 150.0
"""Nobody reads a sentence and begins to move faster than this."""
MIN_CALM_MS = 500.0
MIN_CALM_SAMPLES = 4
MIN_SEEN_SHARE = 0.5
MAX_STILL_SHARE = 0.5
MAX_BACKWARDS_SHARE = 0.1

OTHER_YAW_DEG, OTHER_PITCH_DEG, OTHER_SIZE, OTHER_COVER = 25.0, 15.0, 1.3, 0.3
"""From these on a movement is plainly there, where another one was asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Everything about one challenge on one clock that starts at the instruction."""

    motion: Motion
    sound: Sound | None = None
    windows: tuple[ScoredWindow, ...] = ()
    digits_right: bool | None = None
    """What the agent heard: the digits asked for or others; None where nobody said."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a kind found: why, when the movement began and ended (as received), and what was measured."""

    why: Why
    onset_ms: float | None = None
    end_ms: float | None = None
    measured: tuple[Measured, ...] = ()


@dataclass(frozen=True, slots=True)
class Need:
    """What a kind needs of the picture, and which movements are its own."""

    rate_hz: float
    seen_share: float = MIN_SEEN_SHARE
    yaw: bool = False
    pitch: bool = False
    size: bool = False
    cover: bool = False
    others_count: bool = True
    """Whether another movement in place of this one is a result."""


Finder = Callable[[Drawn, Seen, float], Finding]
"""(what was drawn, what was seen, how long to look for it in ms) -> what was found."""


def judge(drawn: Drawn, seen: Seen, timing: Timing, need: Need, find: Finder) -> Result:
    """The result of one challenge."""
    answer_ms = ANSWER_MS * (MORE_TIME if timing.more_time else 1.0)
    hindered = hindrance(seen.motion, answer_ms, need)
    finding = Finding(hindered) if hindered is not None else find(drawn, seen, answer_ms)
    idle = finding.why in (Why.NO_MOTION, Why.TOO_LITTLE, Why.TOO_FEW, Why.NO_SOUND)
    if idle and need.others_count and moved_otherwise(seen.motion, answer_ms, need):
        finding = Finding(Why.OTHER_MOTION, None, finding.end_ms, finding.measured)
    delay_ms = None
    if finding.onset_ms is not None:
        delay_ms = finding.onset_ms - timing.round_trip_ms - timing.media_lag_ms
        finding = _in_time(finding, delay_ms, timing, rate_hz(seen.motion.at_ms))
    return Result(
        kind=drawn.kind,
        outcome=OUTCOME_OF[finding.why],
        why=finding.why,
        reason=why_text(finding.why, delay_ms),
        onset_delay_ms=delay_ms,
        measured=finding.measured,
        shift=detector_shift(seen.windows, 0.0, answer_ms if finding.end_ms is None else finding.end_ms),
    )


def _in_time(finding: Finding, delay_ms: float, timing: Timing, rate: float) -> Finding:
    """A movement that came too early or too late is no answer, however well it was made."""
    if OUTCOME_OF[finding.why] is Outcome.CANNOT_TELL:
        return finding
    unsure_ms = 2.0 * timing.jitter_ms + 1500.0 / max(rate, 1.0)
    latest_ms = LATEST_MS * (MORE_TIME if timing.more_time else 1.0)
    if delay_ms < EARLIEST_MS - unsure_ms:
        return Finding(Why.TOO_EARLY, finding.onset_ms, finding.end_ms, finding.measured)
    if finding.why is Why.DONE and delay_ms > latest_ms + unsure_ms:
        return Finding(Why.TOO_LATE, finding.onset_ms, finding.end_ms, finding.measured)
    return finding


def hindrance(motion: Motion, answer_ms: float, need: Need) -> Why | None:
    """Why nothing can be said of this stretch of picture, or None."""
    total = len(motion.at_ms) + motion.backwards
    if total == 0:
        return Why.FACE_LOST
    if motion.backwards > MAX_BACKWARDS_SHARE * total:
        return Why.CLOCK
    before, after = motion.at_ms < 0, motion.part(0.0, answer_ms)
    if after.sum() < 5 or rate_hz(motion.at_ms[after]) < need.rate_hz:
        return Why.RATE_TOO_LOW
    if motion.still[after].mean() > MAX_STILL_SHARE:
        return Why.FROZEN
    if motion.seen[after].mean() < need.seen_share:
        return Why.FACE_LOST
    quiet = before & motion.seen
    if quiet.sum() < MIN_CALM_SAMPLES or np.ptp(motion.at_ms[quiet]) < MIN_CALM_MS:
        return Why.NO_CALM
    wanted = ((need.yaw, motion.yaw_deg), (need.pitch, motion.pitch_deg), (need.cover, motion.cover.mean(axis=(1, 2))))
    for needed, signal in wanted:
        if needed and not (np.isfinite(signal[quiet]).any() and np.isfinite(signal[after]).any()):
            return Why.NOT_MEASURED
    return None


def moved_otherwise(motion: Motion, answer_ms: float, need: Need) -> bool:
    """Whether a movement that was not asked for is plainly there."""
    after = motion.part(0.0, answer_ms)
    yaw, pitch = change(motion, motion.yaw_deg)[after], change(motion, motion.pitch_deg)[after]
    size = smoothed(motion.size_px)[after] / calm(motion.size_px, motion.at_ms < 0)
    with np.errstate(invalid="ignore"):
        head_still = np.maximum(np.abs(yaw), np.abs(pitch)) < HEAD_STILL_DEG
    hidden = motion.cover.mean(axis=(1, 2))[after][head_still]
    return (
        (not need.yaw and _reach(yaw) > OTHER_YAW_DEG)
        or (not need.pitch and _reach(pitch) > OTHER_PITCH_DEG)
        or (not need.size and _reach(size) > OTHER_SIZE)
        or (not need.cover and _reach(hidden) > OTHER_COVER)
    )


def change(motion: Motion, signal: Floats) -> Floats:
    """A signal's change from its calm value before the instruction, slips of a single sample left out."""
    return smoothed(signal) - calm(signal, motion.at_ms < 0)


def _reach(values: Floats) -> float:
    seen = np.abs(values[np.isfinite(values)])
    return float(np.sort(seen)[-2]) if len(seen) > 1 else 0.0


def detector_shift(windows: Sequence[ScoredWindow], start_ms: float, end_ms: float) -> DetectorShift | None:
    """The detector under stress against the calm before; None where either was not judged."""
    stressed = [one.logit for one in windows if one.end_ms > start_ms and one.start_ms < end_ms]
    quiet = [one.logit for one in windows if one.end_ms <= start_ms]
    if not stressed or not quiet:
        return None
    return DetectorShift(float(np.mean(quiet)), float(np.mean(stressed)), len(quiet), len(stressed))
