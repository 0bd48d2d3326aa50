"""What can come of the light probe: values only."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from monitor.helpdesk.challenge_types import Outcome
from monitor.helpdesk.record_entries import LightProbeEntry, Measured


class LightWhy(enum.Enum):
    """Why an outcome is what it is; `monitor.helpdesk.wording` says each in words."""

    FOLLOWS = "follows"
    FACE_DOES_NOT_FOLLOW = "face-does-not-follow"
    FACE_LATER_THAN_NECK = "face-later-than-neck"
    FACE_UNLIKE_NECK = "face-unlike-neck"
    LATE = "late"
    NOT_SEEN = "not-seen"
    RATE_TOO_LOW = "rate-too-low"
    TOO_DARK = "too-dark"
    GLARE = "glare"
    WHITE_BALANCE = "white-balance"
    CODEC = "codec"
    SMALL_SCREEN = "small-screen"
    DAYLIGHT = "daylight"
    ONLY_FACE = "only-face"
    SMEARED = "smeared"
    UNSURE = "unsure"
    DECLINED = "declined"


LIGHT_OUTCOME: dict[LightWhy, Outcome] = {
    **dict.fromkeys(LightWhy, Outcome.CANNOT_TELL),
    LightWhy.FOLLOWS: Outcome.PASSED,
    **dict.fromkeys(
        (
            LightWhy.FACE_DOES_NOT_FOLLOW,
            LightWhy.FACE_LATER_THAN_NECK,
            LightWhy.FACE_UNLIKE_NECK,
        ),
        Outcome.FAILED,
    ),
}
"""Every reason belongs to one outcome; most of them are 'cannot tell'."""


@dataclass(frozen=True, slots=True)
class LightResult:
    """What came of the light probe. It was never measured on people: see `light_probe_rates`."""

    outcome: Outcome
    why: LightWhy
    reason: str
    measured: tuple[Measured, ...]

    def entry(self, seed: str) -> LightProbeEntry:
        """For the record."""
        return LightProbeEntry(seed, self.outcome.value, self.reason, self.measured)
