"""What the shortcut trials say: for each the figure, its interval, and whether the shortcut was seen.

`seen` is a statement about these rows. `not seen` with few rows is weak: the interval says how weak.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engines.metrics import auc
from monitor.bench.figures import Floats, Interval, auc_interval, grouped_interval, mean_interval
from monitor.bench.manifest import opponents
from monitor.bench.tables import finite, interval_json, interval_text, table
from monitor.results import Json

if TYPE_CHECKING:
    from monitor.bench.shortcuts import Scored

SCHEMA = "unmask.shortcuts/1"
MIN_CLASS = 3
"""Rows of each class that a finding needs."""
NOTABLE_SHIFT, NOTABLE_AUC = 0.5, 0.6
"""Reals that move up beyond chance show a shortcut where they do by so much on average (log-odds), or where they rank
so far above themselves. A smaller move is real, if its interval says so, but decides nothing."""


class Trial(enum.Enum):
    """One way to judge the crops; the value is what the tables say."""

    IN_ORDER = "as they are"
    SHUFFLED = "frames shuffled"
    BACKGROUND = "face painted out"
    NULL_FORGERY = "null forgery"
    HARD_CODEC = "hard codec"
    BLACK_BORDERS = "black borders"
    MIRRORED_BORDERS = "mirrored borders"


MUST_STAY_REAL = (Trial.NULL_FORGERY, Trial.HARD_CODEC, Trial.BLACK_BORDERS, Trial.MIRRORED_BORDERS)


class Finding(enum.Enum):
    """What a trial says of its shortcut."""

    SEEN = "seen"
    NOT_SEEN = "not seen"
    TOO_FEW = "too few rows"


@dataclass(frozen=True, slots=True)
class FamilyLine:
    """Fakes of one family against reals: in order, shuffled, without the face, and against hard-encoded reals."""

    family: str
    reals: int
    fakes: int
    in_order: Interval
    shuffled: Interval
    time_gain: Interval
    """AUC in order less AUC shuffled: what the order of the frames adds."""
    background: Interval
    background_finding: Finding
    hard_reals: Interval
    """AUC of the fakes as they are against the reals after the hard codec: below `in_order`, the codec alone makes
    reals look forged."""


@dataclass(frozen=True, slots=True)
class RealLine:
    """Altered reals against the same reals as they are."""

    trial: Trial
    reals: int
    auc: Interval
    """0.5 where the alteration changes nothing."""
    shift: Interval
    """Mean change in log-odds."""
    finding: Finding


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the bench found."""

    manifest: str
    model_id: str
    limit_s: float
    families: tuple[FamilyLine, ...]
    reals: tuple[RealLine, ...]
    scored: tuple[Scored, ...]


def make_report(manifest: str, model_id: str, limit_s: float, scored: Sequence[Scored]) -> Report:
    """All figures."""
    judged = [one for one in scored if one.scores]
    reals = [one for one in judged if not one.row.fake]
    families_of_reals = [one.row.family for one in reals]
    lines = []
    families = sorted({one.row.family for one in judged if one.row.fake})
    for family in families if len(families) == 1 else [*families, "all"]:
        against = set(families_of_reals) if family == "all" else set(opponents(family, families_of_reals))
        fakes = [one for one in judged if one.row.fake and family in ("all", one.row.family)]
        lines.append(_family(family, fakes, [one for one in reals if one.row.family in against]))
    return Report(
        manifest, model_id, limit_s, tuple(lines), tuple(_real(trial, reals) for trial in MUST_STAY_REAL), tuple(scored)
    )


def _family(family: str, fakes: Sequence[Scored], reals: Sequence[Scored]) -> FamilyLine:
    rows = [*reals, *fakes]
    labels = np.array([one.row.fake for one in rows], np.float64)
    groups = [one.row.group for one in rows]
    ordered, mixed, background = (
        np.array([one.scores[trial] for one in rows], np.float64)
        for trial in (Trial.IN_ORDER, Trial.SHUFFLED, Trial.BACKGROUND)
    )
    hard = np.array([one.scores[Trial.IN_ORDER if one.row.fake else Trial.HARD_CODEC] for one in rows], np.float64)
    enough = min(len(fakes), len(reals)) >= MIN_CLASS
    ranking = auc_interval(background, labels, groups)
    return FamilyLine(
        family=family,
        reals=len(reals),
        fakes=len(fakes),
        in_order=auc_interval(ordered, labels, groups),
        shuffled=auc_interval(mixed, labels, groups),
        time_gain=grouped_interval(groups, _difference(ordered, mixed, labels)),
        background=ranking,
        background_finding=_finding(enough, ranking.low > 0.5 or ranking.high < 0.5),
        hard_reals=auc_interval(hard, labels, groups),
    )


def _difference(first: Floats, second: Floats, labels: Floats) -> Callable[[np.ndarray], float]:
    return lambda rows: auc(first[rows], labels[rows]) - auc(second[rows], labels[rows])


def _real(trial: Trial, reals: Sequence[Scored]) -> RealLine:
    before = np.array([one.scores[Trial.IN_ORDER] for one in reals], np.float64)
    after = np.array([one.scores[trial] for one in reals], np.float64)
    groups = [one.row.group for one in reals]
    labels = np.concatenate([np.zeros(len(reals)), np.ones(len(reals))])
    ranking = auc_interval(np.concatenate([before, after]), labels, [*groups, *groups])
    shift = mean_interval(after - before, groups)
    seen = shift.low > 0.0 and (shift.value > NOTABLE_SHIFT or ranking.value > NOTABLE_AUC)
    return RealLine(trial, len(reals), ranking, shift, _finding(len(reals) >= MIN_CLASS, seen))


def _finding(enough: bool, seen: bool) -> Finding:
    if not enough:
        return Finding.TOO_FEW
    return Finding.SEEN if seen else Finding.NOT_SEEN


# ------------------------------------------------------------------------------------------ output


def shortcuts_table(report: Report) -> str:
    """Both tables and how to read them."""
    header = ("family", "real", "fake", "AUC as they are", "shuffled", "order adds", "face painted out", "shortcut")
    rows = [
        (
            one.family,
            str(one.reals),
            str(one.fakes),
            interval_text(one.in_order),
            interval_text(one.shuffled),
            interval_text(one.time_gain),
            interval_text(one.background),
            one.background_finding.value,
        )
        for one in report.families
    ]
    codec = [(one.family, interval_text(one.in_order), interval_text(one.hard_reals)) for one in report.families]
    changed = [
        (
            one.trial.value,
            str(one.reals),
            interval_text(one.auc),
            interval_text(one.shift),
            one.finding.value,
        )
        for one in report.reals
    ]
    parts = [
        table(header, rows)
        + "\norder adds: AUC as they are less AUC with the frames of each window shuffled; about 0 where the head does "
        "not use time.\nface painted out: only the surround is left; an interval that leaves out .50 is a shortcut.",
        table(("altered reals against themselves", "reals", "AUC", "moves, log-odds", "shortcut"), changed)
        + "\nThe reals again after what does not forge them: AUC .50 and no move is right. A shortcut where they move "
        f"up beyond chance, and by more than {NOTABLE_SHIFT} on average or to an AUC over {NOTABLE_AUC}.",
        table(("fakes as they are", "against reals as they are", "against reals after the hard codec"), codec)
        + "\nWhere the second falls far below the first, a hard codec alone makes reals look forged.",
        f"The first {report.limit_s:g} s of each row; the person seen for longest; intervals: bootstrap over groups. "
        f"Model {report.model_id}.",
    ]
    parts += [
        f"Not judged: {one.row.name}: {one.error or 'nobody could be judged'}"
        for one in report.scored
        if not one.scores
    ]
    return "\n\n".join(parts)


def shortcuts_json(report: Report) -> dict[str, Json]:
    """The document `unmask.shortcuts/1`."""
    return {
        "schema": SCHEMA,
        "manifest": report.manifest,
        "model": report.model_id,
        "limit_s": report.limit_s,
        "families": [
            {
                "family": one.family,
                "reals": one.reals,
                "fakes": one.fakes,
                "in_order": interval_json(one.in_order),
                "shuffled": interval_json(one.shuffled),
                "order_adds": interval_json(one.time_gain),
                "face_painted_out": interval_json(one.background),
                "face_painted_out_finding": one.background_finding.value,
                "against_hard_reals": interval_json(one.hard_reals),
            }
            for one in report.families
        ],
        "altered_reals": [
            {
                "trial": one.trial.value,
                "reals": one.reals,
                "auc": interval_json(one.auc),
                "shift_log_odds": interval_json(one.shift),
                "finding": one.finding.value,
            }
            for one in report.reals
        ],
        "rows": [
            {
                "file": one.row.name,
                "region": None if one.row.region is None else list(one.row.region),
                "label": "fake" if one.row.fake else "real",
                "family": one.row.family,
                "log_odds": {trial.value: finite(score) for trial, score in one.scores.items()},
                "error": one.error,
            }
            for one in report.scored
        ],
    }
