"""Challenges: drawn from a seed, asked in plain words, scored from what the picture and the sound showed.

    seed, limits -> draw -> instruction -> Seen -> score -> Result -> next_step

The order comes from the seed in the record, so that nobody can choose it afterwards and an auditor can draw it again.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import MappingProxyType

from monitor.helpdesk.challenge_types import Drawn, Kind, Limit, Outcome, Result, Timing
from monitor.helpdesk.kinds import digits, eyes, hand, look, mouth, near, nose, profile, shake
from monitor.helpdesk.record_entries import ChallengeGiven, ChallengeResult, Measured
from monitor.helpdesk.scoring import Finder, Need, Seen, judge
from monitor.helpdesk.seeded import Seeded
from monitor.helpdesk.wording import instruction

USUAL = (Kind.PROFILE, Kind.LOOK, Kind.HAND, Kind.NOSE, Kind.NEAR, Kind.SHAKE, Kind.DIGITS)
ALTERNATIVES = (Kind.EYES, Kind.MOUTH)
"""Drawn only where a caller's limits leave too few of the usual ones."""
MIN_USUAL = 3
MAX_DRAWN = 8
MAX_ATTEMPTS = 2
"""Of one challenge."""
MAX_ASKED = 8
"""Of all of them together, repeats included."""

NEEDS: Mapping[Kind, frozenset[Limit]] = MappingProxyType(
    {
        Kind.PROFILE: frozenset({Limit.HEAD}),
        Kind.LOOK: frozenset({Limit.HEAD}),
        Kind.HAND: frozenset({Limit.HANDS}),
        Kind.NOSE: frozenset({Limit.HANDS}),
        Kind.NEAR: frozenset({Limit.LEANING}),
        Kind.SHAKE: frozenset({Limit.HEAD}),
        Kind.DIGITS: frozenset({Limit.SPEECH}),
        Kind.EYES: frozenset({Limit.FACE}),
        Kind.MOUTH: frozenset({Limit.FACE}),
    }
)
"""A challenge is left out for a caller who named one of these. READING and MORE_TIME leave none out: the agent reads
the instruction out, and the times are longer."""

_SCORERS: Mapping[Kind, tuple[Need, Finder]] = MappingProxyType(
    {
        Kind.PROFILE: (profile.NEED, profile.find),
        Kind.LOOK: (look.NEED, look.find),
        Kind.HAND: (hand.NEED, hand.find),
        Kind.NOSE: (nose.NEED, nose.find),
        Kind.NEAR: (near.NEED, near.find),
        Kind.SHAKE: (shake.NEED, shake.find),
        Kind.DIGITS: (digits.NEED, digits.find),
        Kind.EYES: (eyes.NEED, eyes.find),
        Kind.MOUTH: (mouth.NEED, mouth.find),
    }
)


def possible(limits: AbstractSet[Limit]) -> tuple[Kind, ...]:
    """The kinds that a caller with these limits can be asked for; alternatives too where few usual ones are left."""
    usual = tuple(kind for kind in USUAL if not NEEDS[kind] & limits)
    if len(usual) >= MIN_USUAL:
        return usual
    return usual + tuple(kind for kind in ALTERNATIVES if not NEEDS[kind] & limits)


def draw(seed: str, limits: AbstractSet[Limit], count: int) -> tuple[Drawn, ...]:
    """`count` (1 to 8) challenges, no kind twice before all possible ones had their turn, and never twice in a row.

    Fewer where only one kind is possible (it is drawn once), none where none is: the agent then needs another way.
    Raises ValueError for a seed or a count that cannot be.
    """
    if not 1 <= count <= MAX_DRAWN:
        raise ValueError(f"draw: expected a count from 1 to {MAX_DRAWN}, got {count}")
    chance, kinds = Seeded(seed, "challenges"), possible(limits)
    drawn: list[Drawn] = []
    left: list[Kind] = []
    while kinds and len(drawn) < count:
        if not left:
            left = list(kinds)
        last = drawn[-1].kind if drawn else None
        open_to = [kind for kind in left if kind is not last]
        if not open_to:
            break
        kind = chance.one_of(open_to)
        left.remove(kind)
        drawn.append(_drawn(len(drawn) + 1, 1, kind, chance.seed()))
    return tuple(drawn)


def again(drawn: Drawn) -> Drawn:
    """The same challenge once more, drawn anew from its seed: another side, other digits. Raises ValueError where it
    was asked as often as may be."""
    if drawn.attempt >= MAX_ATTEMPTS:
        raise ValueError(f"again: {drawn.kind.value} was asked {drawn.attempt} times already")
    return _drawn(drawn.number, drawn.attempt + 1, drawn.kind, Seeded(drawn.seed, "again").seed())


def _drawn(number: int, attempt: int, kind: Kind, seed: str) -> Drawn:
    chance = Seeded(seed, kind.value)
    mirrored = chance.below(2) == 1
    count = {Kind.NOSE: 2, Kind.MOUTH: 2}.get(kind, 1)
    if kind in (Kind.NOSE, Kind.NEAR, Kind.EYES, Kind.MOUTH):
        count += chance.below(2)
    said = tuple(chance.below(10) for _ in range(4)) if kind is Kind.DIGITS else ()
    return Drawn(number, attempt, kind, seed, mirrored, count, said)


def score(drawn: Drawn, seen: Seen, timing: Timing) -> Result:
    """What came of a challenge."""
    need, find = _SCORERS[drawn.kind]
    return judge(drawn, seen, timing, need, find)


# ------------------------------------------------------------------------------------ going on


class Step(enum.Enum):
    """What to do after a result."""

    AGAIN = "again"
    NEXT = "next"
    ENOUGH = "enough"


@dataclass(frozen=True, slots=True)
class Asked:
    """One challenge that was asked, with what came of it."""

    drawn: Drawn
    result: Result


def next_step(plan: Sequence[Drawn], asked: Sequence[Asked]) -> Step:
    """Whether to ask the last challenge again (once, unless it was passed), to go on in the plan, or to stop."""
    if len(asked) >= MAX_ASKED:
        return Step.ENOUGH
    if not asked:
        return Step.NEXT if plan else Step.ENOUGH
    last = asked[-1]
    if last.result.outcome is not Outcome.PASSED and last.drawn.attempt < MAX_ATTEMPTS:
        return Step.AGAIN
    return Step.NEXT if last.drawn.number < len(plan) else Step.ENOUGH


@dataclass(frozen=True, slots=True)
class Tally:
    """The last result of each challenge, counted. It is shown to the agent; it decides nothing."""

    passed: int
    failed: int
    not_done: int
    cannot_tell: int


def tally(asked: Sequence[Asked]) -> Tally:
    """The last result of each challenge, counted."""
    last = {one.drawn.number: one.result.outcome for one in asked}
    counts = [sum(1 for outcome in last.values() if outcome is one) for one in Outcome]
    return Tally(*counts)


# ------------------------------------------------------------------------------------ for the record


def given_entry(drawn: Drawn, at_ms: int) -> ChallengeGiven:
    """To be written before the caller sees the challenge."""
    return ChallengeGiven(
        drawn.kind.value, drawn.seed, drawn.number, drawn.attempt, drawn.parameters, instruction(drawn), at_ms
    )


def result_entry(asked: Asked, timing: Timing) -> ChallengeResult:
    """What came of it, with the detector's shift among what was measured."""
    drawn, result = asked.drawn, asked.result
    measured = result.measured
    if result.shift is not None:
        measured = (
            *measured,
            Measured("detector, calm", result.shift.calm_logit, "logit"),
            Measured("detector, during the challenge", result.shift.stressed_logit, "logit"),
        )
    return ChallengeResult(
        challenge=drawn.kind.value,
        seed=drawn.seed,
        number=drawn.number,
        attempt=drawn.attempt,
        outcome=result.outcome.value,
        reason=result.reason,
        onset_delay_ms=result.onset_delay_ms,
        round_trip_ms=timing.round_trip_ms,
        measured=measured,
    )
