"""Does the error go with the picture? The cases by size of the face, by light and by how light the skin looks.

All families are put together here, so a group says something only beside its neighbours, and with its counts. Where
a class has fewer than three judged rows there is no AUC: a number would only mislead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engines.metrics import auc
from monitor.bench.figures import Share
from monitor.bench.judging import Case
from monitor.bench.skin import SkinLook, skin_look

MIN_CLASS = 3
"""Judged rows of each class that an AUC needs."""
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class GroupLine:
    """The rows of one group."""

    by: str
    """What the rows are grouped by."""
    group: str
    reals: int
    fakes: int
    judged_reals: int
    judged_fakes: int
    auc: float | None
    """None where a class has fewer than `MIN_CLASS` judged rows."""
    apcer: Share
    bpcer: Share


def face_size_group(case: Case) -> str:
    """By the median size of the leading face."""
    if case.face_px is None:
        return UNKNOWN
    return "<64 px" if case.face_px < 64.0 else "64-112 px" if case.face_px <= 112.0 else ">112 px"


def light_group(case: Case) -> str:
    """By the median luma of the leading face, which dark skin lowers too."""
    if case.luma is None:
        return UNKNOWN
    return "dim (<80)" if case.luma < 80.0 else "middle (80-140)" if case.luma <= 140.0 else "bright (>140)"


def skin_group(case: Case) -> str:
    """By how light the skin looks under this light (`monitor.bench.skin`)."""
    return UNKNOWN if case.ita_deg is None else skin_look(case.ita_deg).value


GROUPINGS: tuple[tuple[str, Callable[[Case], str], tuple[str, ...]], ...] = (
    ("face size", face_size_group, ("<64 px", "64-112 px", ">112 px", UNKNOWN)),
    ("face luma", light_group, ("dim (<80)", "middle (80-140)", "bright (>140)", UNKNOWN)),
    ("skin looks", skin_group, (*(one.value for one in SkinLook), UNKNOWN)),
)


def break_down(cases: Sequence[Case]) -> tuple[GroupLine, ...]:
    """A line for each group that has a row."""
    return tuple(
        _line(by, group, members)
        for by, group_of, groups in GROUPINGS
        for group in groups
        if (members := [case for case in cases if group_of(case) == group])
    )


def _line(by: str, group: str, cases: Sequence[Case]) -> GroupLine:
    judged = [case for case in cases if case.score is not None]
    fakes, reals = [c for c in judged if c.row.fake], [c for c in judged if not c.row.fake]
    total_fakes = sum(case.row.fake for case in cases)
    value = None
    if min(len(fakes), len(reals)) >= MIN_CLASS:
        scores = np.array([case.score for case in judged], np.float64)
        value = auc(scores, np.array([case.row.fake for case in judged], np.float64))
    return GroupLine(
        by=by,
        group=group,
        reals=len(cases) - total_fakes,
        fakes=total_fakes,
        judged_reals=len(reals),
        judged_fakes=len(fakes),
        auc=value,
        apcer=Share(sum(not case.alarmed for case in fakes), len(fakes)),
        bpcer=Share(sum(case.alarmed for case in reals), len(reals)),
    )
