"""The sequential test's drift and threshold from genuine video, and what they do: alarms an hour, share found, delay.

    Track + Calibration -> Person -> level (the drift at which a person stops alarming) -> tail of genuine people

A person's windows are alike, so what is sampled is people, not seconds: the tail is fitted to one level a person, and
the uncertainty is a bootstrap over groups (all recordings of one person or take together).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.calibration import Calibration
from engines.calibration import OperatingPoint as CardPoint
from monitor.calibration.tracks import Track
from monitor.evidence import MAX_LOGIT, OperatingPoint, alarm_times, armed_path

Floats = npt.NDArray[np.float64]

RATES_PER_HOUR = {"low": 0.1, "medium": 1.0, "high": 6.0}
THRESHOLDS = (12.0, 8.0, 6.0, 4.0, 3.0, 2.0, 1.0)
"""The CUSUM thresholds tried, each with the drift that the rate asks of it; a lower one has to be worth it."""
WORTH = 0.01
"""Share of the forgeries that a lower threshold must find more."""
LIVE = "live-"
"""Families of live face swaps begin so."""
WITHIN_S = 6.0
SOFT_LOGIT = 0.25
"""How far around the drift a forged person counts in part when thresholds are compared: a few whole counts tie."""
KNEE_QUANTILE = 0.75
MIN_TAIL = 0.1
"""The tail is never taken to fall faster than this mean excess (log-odds)."""
RESAMPLES = 400
SEED = 20261123
_STEPS = 24


@dataclass(frozen=True, slots=True)
class Person:
    """One person's calibrated window logits, and where they come from (see `Track`)."""

    recording: str
    family: str
    group: str
    fake: bool
    training: bool
    simulated: bool
    logits: tuple[float, ...]
    ends_ns: tuple[int, ...]
    judged_s: float

    @property
    def genuine(self) -> bool:
        """Real, and as it was recorded."""
        return not self.fake and not self.simulated


def people_of(tracks: Iterable[Track], calibration: Calibration) -> list[Person]:
    """The tracks with their logits calibrated as the product does."""
    people = []
    for t in tracks:
        logits = tuple(calibration.apply(float(x), float(px)) for x, px in zip(t.raw, t.face_px, strict=True))
        ends = tuple(int(x) for x in t.end_ns)
        people.append(Person(t.recording, t.family, t.group, t.fake, t.training, t.simulated, logits, ends, t.judged_s))
    return people


@functools.lru_cache(maxsize=8192)
def level(person: Person, cusum_h: float, within_s: float = math.inf) -> float:
    """The lowest drift at which this person raises no alarm, with windows that end `within_s` of the recording."""
    kept = sum(end <= within_s * 1e9 for end in person.ends_ns)
    logits, ends = person.logits[:kept], person.ends_ns[:kept]
    low, high = -MAX_LOGIT - 5.0, MAX_LOGIT
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if max(armed_path(logits, ends, middle, cusum_h), default=0.0) > cusum_h:
            low = middle
        else:
            high = middle
    return high


# ------------------------------------------------------------------------------------------ setting


@dataclass(frozen=True, slots=True, eq=False)
class Tails:
    """Exponential tails of levels, one a resample; arrays (R,)."""

    knee: Floats
    mean: Floats
    """Mean excess over the knee."""
    rate: Floats
    """How many people an hour pass the knee."""

    def per_hour(self, drift: float) -> Floats:
        """How many people an hour have a level over `drift`, (R,). Below a knee the rate at the knee."""
        return np.asarray(self.rate * np.exp(-np.maximum(drift - self.knee, 0.0) / self.mean))


def fit_tails(levels: Floats, seconds: Floats, weights: Floats) -> Tails:
    """By the mean excess over the upper quartile. `levels` and judged `seconds` (P,) of people, `weights` (R, P) how
    often each resample holds each of them. Raises ValueError without people or time."""
    if len(levels) == 0 or float(seconds.sum()) <= 0.0:
        raise ValueError(f"alarms: expected genuine people and time, found {len(levels)} of them")
    order = np.argsort(levels, kind="stable")
    levels, weights = levels[order], weights[:, order]
    reached = np.cumsum(weights, 1) / np.maximum(weights.sum(1, keepdims=True), 1e-9)
    knee = levels[np.argmax(reached >= KNEE_QUANTILE - 1e-9, axis=1)]
    excess = np.maximum(levels[None, :] - knee[:, None], 0.0)
    over = (weights * (excess > 0)).sum(1)
    mean = np.maximum((weights * excess).sum(1) / np.maximum(over, 1.0), MIN_TAIL)
    hours = np.maximum(weights @ seconds[order], 1.0) / 3600
    return Tails(knee, mean, np.maximum(over, 1.0) / hours)


def resamples(people: Sequence[Person], count: int = RESAMPLES, seed: int = SEED) -> Floats:
    """Bootstrap weights (R, P): a block is everything that was recorded of one person or take."""
    names, member = np.unique([p.group for p in people], return_inverse=True)
    picks = np.random.default_rng(seed).integers(0, len(names), (count, len(names)))
    times = np.stack([np.bincount(pick, minlength=len(names)) for pick in picks])
    return np.asarray(times[:, member], np.float64)


def drift_for(tails: Tails, rate_per_hour: float) -> float:
    """The drift at which the middle rate of the resamples is `rate_per_hour`. Never below the middle knee, where the
    tail says nothing. Their mean would be ruled by the few heaviest tails, and ask for more than a bounded logit can
    reach; how far the rates spread is stated beside the point."""
    low, high = float(np.median(tails.knee)), MAX_LOGIT
    if float(np.median(tails.per_hour(low))) <= rate_per_hour:
        return low
    for _ in range(_STEPS):
        middle = (low + high) / 2
        too_many = float(np.median(tails.per_hour(middle))) > rate_per_hour
        low, high = (middle, high) if too_many else (low, middle)
    return high


@dataclass(frozen=True, slots=True)
class Setting:
    """Threshold and drift of one operating point, and how uncertain its rate is."""

    cusum_h: float
    cusum_drift: float
    rate_low: float
    rate_high: float
    """95 % of the bootstrap's rates at this point, an hour."""


def set_point(people: Sequence[Person], rate_per_hour: float, seed: int = SEED) -> Setting:
    """The threshold whose drift finds most forged people within 6 s.

    Each threshold gets the drift that genuine people ask of it at `rate_per_hour`. Where fewer than one alarm is
    expected in the hours at hand, the drift lies above every genuine person too. Forged people come from recordings
    of the training's held-out people or, where there are none, from the measured ones; they decide between seven
    thresholds and nothing else. Without any, the middle threshold is taken. Raises ValueError without genuine people.
    """
    genuine = [p for p in people if p.genuine]
    forged = [p for p in people if p.fake and p.training] or [p for p in people if p.fake]
    seconds = np.array([p.judged_s for p in genuine])
    weights = resamples(genuine, seed=seed) if genuine else np.zeros((1, 0))
    best: tuple[float, Setting] | None = None
    for cusum_h in THRESHOLDS if forged else (THRESHOLDS[len(THRESHOLDS) // 2],):
        levels = np.array([level(p, cusum_h) for p in genuine])
        tails = fit_tails(levels, seconds, weights)
        drift = drift_for(tails, rate_per_hour)
        if rate_per_hour * float(seconds.sum()) / 3600 < 1.0:
            drift = max(drift, float(levels.max()) + 1e-3)
        low, high = np.quantile(tails.per_hour(drift), [0.025, 0.975])
        found = _soft_share(forged, cusum_h, drift)
        if best is None or found > best[0] + WORTH:
            best = found, Setting(cusum_h, drift, float(low), float(high))
    assert best is not None
    return best[1]


def _soft_share(forged: Sequence[Person], cusum_h: float, drift: float) -> float:
    """Share of the forged people found within 6 s, near the drift counted in part. Every family weighs the same, but
    live swaps, the attack that this product exists for, as much as all others together."""
    by_family: dict[str, list[float]] = {}
    for person in forged:
        margin = (level(person, cusum_h, WITHIN_S) - drift) / SOFT_LOGIT
        by_family.setdefault(person.family, []).append(1 / (1 + math.exp(-min(max(margin, -30.0), 30.0))))
    sides = [
        [float(np.mean(shares)) for family, shares in by_family.items() if family.startswith(LIVE) is live]
        for live in (True, False)
    ]
    return float(np.mean([np.mean(side) for side in sides if side])) if by_family else 0.0


# ------------------------------------------------------------------------------------------ measuring


@dataclass(frozen=True, slots=True)
class Alarms:
    """Alarms of the test on people who are real."""

    alarms: int
    hours: float
    people: int
    """Groups: people or takes."""
    people_with: int

    @property
    def interval(self) -> tuple[float, float]:
        """Exact Poisson 95 % interval of the rate an hour."""
        return poisson_interval(self.alarms, self.hours)


@dataclass(frozen=True, slots=True)
class Found:
    """What the test does on the forged recordings of one family."""

    family: str
    recordings: int
    within: int
    """Found within 6 s of the start of the recording."""
    ever: int
    median_s: float | None
    """From the start of the recording to the first alarm, over those found at all."""


@dataclass(frozen=True, slots=True)
class PointReport:
    """One operating point, measured."""

    name: str
    genuine: Alarms
    simulated: Alarms
    found: tuple[Found, ...]


def poisson_interval(count: int, hours: float) -> tuple[float, float]:
    """Garwood's exact 95 % interval (1936) of a rate an hour; (0, inf) without time."""
    if hours <= 0.0:
        return 0.0, math.inf
    from scipy.special import gammaincinv

    low = 0.0 if count == 0 else float(gammaincinv(count, 0.025)) / hours
    return low, float(gammaincinv(count + 1, 0.975)) / hours


def alarms_of(people: Iterable[Person], point: OperatingPoint) -> Alarms:
    """Run the product's own test over everybody."""
    people = list(people)
    counts = [len(alarm_times(zip(p.logits, p.ends_ns, strict=True), point)) for p in people]
    alarmed = {p.group for p, count in zip(people, counts, strict=True) if count}
    hours = sum(p.judged_s for p in people) / 3600
    return Alarms(sum(counts), hours, len({p.group for p in people if p.logits}), len(alarmed))


def found_of(people: Iterable[Person], point: OperatingPoint) -> tuple[Found, ...]:
    """Forged recordings by family: the first alarm of anybody in a recording finds it."""
    first: dict[tuple[str, str], float] = {}
    for person in people:
        times = alarm_times(zip(person.logits, person.ends_ns, strict=True), point)
        key = (person.family, person.recording)
        first[key] = min(first.get(key, math.inf), times[0] / 1e9 if times else math.inf)
    rows = []
    for family in sorted({family for family, _ in first}):
        times_s = [at_s for (one, _), at_s in first.items() if one == family]
        found_s = [at_s for at_s in times_s if math.isfinite(at_s)]
        within = sum(at_s <= WITHIN_S for at_s in times_s)
        rows.append(Found(family, len(times_s), within, len(found_s), float(np.median(found_s)) if found_s else None))
    return tuple(rows)


def report(name: str, people: Sequence[Person], point: OperatingPoint) -> PointReport:
    """What this operating point does on everybody. Forged people of the training set are named so."""
    forged = [p for p in people if p.fake]
    measuring, training = ([p for p in forged if p.training is side] for side in (False, True))
    found = found_of(measuring, point)
    found += tuple(
        Found(f"training: {f.family}", f.recordings, f.within, f.ever, f.median_s) for f in found_of(training, point)
    )
    return PointReport(
        name,
        alarms_of([p for p in people if p.genuine], point),
        alarms_of([p for p in people if not p.fake and p.simulated], point),
        found,
    )


def cross_fitted(people: Sequence[Person], rate_per_hour: float, low: float, folds: int = 5) -> Alarms:
    """Alarms on genuine people of groups that the test was not set on: `folds` times a fifth is left out."""
    names = sorted({p.group for p in people if p.genuine})
    order = np.random.default_rng(SEED).permutation(len(names))
    parts = []
    for fold in range(folds):
        out = {names[i] for i in order[fold::folds]}
        setting = set_point([p for p in people if p.fake or p.group not in out], rate_per_hour)
        point = product_point(setting.cusum_h, setting.cusum_drift, low)
        parts.append(alarms_of([p for p in people if p.genuine and p.group in out], point))
    return Alarms(
        sum(a.alarms for a in parts),
        sum(a.hours for a in parts),
        sum(a.people for a in parts),
        sum(a.people_with for a in parts),
    )


def product_point(cusum_h: float, cusum_drift: float, low: float) -> OperatingPoint:
    """The point as the judge reads it; `low` is the suspicion at which an alarm may close."""
    return OperatingPoint(cusum_h=cusum_h, cusum_drift=cusum_drift, low=low, high=max(low, 0.99))


def card_point(setting: Setting, rate_per_hour: float, measured: PointReport) -> CardPoint:
    """The point as the card states it, with what was measured."""
    return CardPoint(
        false_alarms_per_hour=rate_per_hour,
        cusum_h=round(setting.cusum_h, 4),
        cusum_drift=round(setting.cusum_drift, 4),
        measured_hours=round(measured.genuine.hours, 4),
        measured_people=measured.genuine.people,
        measured_alarms=measured.genuine.alarms,
        simulated_hours=round(measured.simulated.hours, 4),
        simulated_alarms=measured.simulated.alarms,
    )
