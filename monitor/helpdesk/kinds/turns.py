"""A turn of the head one way, the other, and back to the camera: what looking up and down and to the sides share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitor.helpdesk.challenge_types import Floats, Why
from monitor.helpdesk.motion import first_past, highest, onset_ms
from monitor.helpdesk.record_entries import Measured
from monitor.helpdesk.scoring import Finding


@dataclass(frozen=True, slots=True)
class Turn:
    """How far a turn has to go, in degrees from where the head was, and how its two halves are named."""

    begun_deg: float
    half_deg: float
    far_deg: float
    back_deg: float
    first: str
    second: str


def find_turn(turn: Turn, at_ms: Floats, angle_deg: Floats, *, mirrored: bool) -> Finding:
    """Both ways, the right one first, and back: the angle (N,) at the times (N,), positive first unless `mirrored`."""
    first = -angle_deg if mirrored else angle_deg
    reached, second = highest(first), highest(-first)
    measured = (Measured(turn.first, reached, "deg"), Measured(turn.second, second, "deg"))
    began = onset_ms(at_ms, angle_deg, turn.begun_deg)
    first_at, second_at = first_past(at_ms, first, turn.half_deg), first_past(at_ms, -first, turn.half_deg)
    end_ms = float(at_ms[-1])
    if began is None or (first_at is None and second_at is None):
        return Finding(Why.NO_MOTION if began is None else Why.TOO_LITTLE, began, end_ms, measured)
    if second_at is not None and (first_at is None or second_at < first_at):
        return Finding(Why.WRONG_WAY, began, end_ms, measured)
    if min(reached, second) < turn.far_deg:
        return Finding(Why.TOO_LITTLE, began, end_ms, measured)
    late = angle_deg[at_ms > (second_at or 0.0)]
    if not (np.abs(late[np.isfinite(late)]) < turn.back_deg).any():
        return Finding(Why.NOT_BACK, began, end_ms, measured)
    return Finding(Why.DONE, began, end_ms, measured)
