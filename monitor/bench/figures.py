"""Figures of merit over labelled scores: AUC with its interval, equal error rate, rates at a threshold.

Arrays in, numbers out. `labels` are 1 for a fake and 0 for a real. The interval is a bootstrap over groups, because
rows of one take or person are not independent (Efron and Tibshirani 1993, chapter 8).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.metrics import auc

Floats = npt.NDArray[np.float64]

RESAMPLES = 2000
SEED = 20261123


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval; all NaN where it cannot be had."""

    value: float
    low: float
    high: float


def auc_interval(
    scores: Floats, labels: Floats, groups: Sequence[str], *, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """Area under the ROC curve, and the 2.5 and 97.5 percentiles over resampled groups (those with both classes)."""
    value = auc(scores, labels)
    if math.isnan(value):
        return Interval(value, math.nan, math.nan)
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    rows = [np.flatnonzero(member == index) for index in range(len(names))]
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        take = np.concatenate([rows[index] for index in random.integers(0, len(rows), len(rows))])
        figure = auc(scores[take], labels[take])
        if not math.isnan(figure):
            drawn.append(figure)
    if not drawn:
        return Interval(value, math.nan, math.nan)
    low, high = np.percentile(np.asarray(drawn), [2.5, 97.5])
    return Interval(value, float(min(low, value)), float(max(high, value)))


def equal_error_rate(scores: Floats, labels: Floats) -> float:
    """Where the share of fakes that pass equals the share of reals that are refused, between thresholds by a line."""
    fakes, reals = np.sort(scores[labels > 0.5]), np.sort(scores[labels <= 0.5])
    if len(fakes) == 0 or len(reals) == 0:
        return math.nan
    thresholds = np.concatenate([np.unique(scores), [np.inf]])
    missed = np.searchsorted(fakes, thresholds, side="left") / len(fakes)
    alarmed = 1.0 - np.searchsorted(reals, thresholds, side="left") / len(reals)
    difference = missed - alarmed  # rises from -1 to 1
    after = int(np.argmax(difference >= 0.0))
    if after == 0 or difference[after] == 0.0:
        return float((missed[after] + alarmed[after]) / 2.0)
    share = -difference[after - 1] / (difference[after] - difference[after - 1])
    return float(missed[after - 1] + share * (missed[after] - missed[after - 1]))


def true_positive_rate(scores: Floats, labels: Floats, false_positive_rate: float) -> float:
    """Share of the fakes above a threshold that at most `false_positive_rate` of the reals reach. NaN without both."""
    fakes, reals = scores[labels > 0.5], np.sort(scores[labels <= 0.5])[::-1]
    if len(fakes) == 0 or len(reals) == 0:
        return math.nan
    allowed = math.floor(false_positive_rate * len(reals) + 1e-9)
    threshold = reals[allowed] if allowed < len(reals) else -math.inf
    return float((fakes > threshold).mean())


def false_alarm_bound_per_hour(alarms: int, hours: float) -> float:
    """The 95 % upper limit of a rate, given a count: the rule of three (3/T) where there was none, Poisson else."""
    if hours <= 0.0:
        return math.inf
    if alarms == 0:
        return 3.0 / hours
    from scipy.special import gammaincinv

    return float(gammaincinv(alarms + 1, 0.95)) / hours
