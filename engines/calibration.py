"""What a model card says of its scores: log-odds, p-values against genuine people, alarms an hour, and known ground.

    raw logit, face size -> Calibration -> log-odds -> sequential test (OperatingPoint)
                         -> References -> p-value: how often genuine people look like this

Everything here is measured by `python -m monitor.calibrate` and written into the card; nothing is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Final

import numpy as np
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

FIRM = ConfigDict(extra="forbid", allow_inf_nan=False)

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Scale = Annotated[float, Field(gt=0.0, le=100.0)]
Bias = Annotated[float, Field(ge=-100.0, le=100.0)]
FacePx = Annotated[float, Field(gt=0.0, le=10000.0)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Hours = Annotated[float, Field(ge=0.0, le=1e6)]

EXCEEDANCE: Final[tuple[float, ...]] = (
    *(1.0 - k / 16 for k in range(15)),
    *(0.1, 0.08, 0.06, 0.05, 0.04, 0.03, 0.025, 0.02, 0.015, 0.01, 0.0075, 0.005, 0.004, 0.003, 0.0025, 0.002, 0.001),
    0.0,
)
"""The 33 shares of genuine windows for which a reference keeps a logit: finer towards the rare end."""
LEVELS: Final = len(EXCEEDANCE)
Quantiles = Annotated[tuple[Annotated[float, Field(ge=-1e4, le=1e4)], ...], Field(min_length=LEVELS, max_length=LEVELS)]


@dataclass(frozen=True, kw_only=True, config=FIRM)
class QualityBin:
    """The calibration of faces of `face_px` pixels. Between two bins it is interpolated, so that no score jumps."""

    face_px: FacePx
    scale: Scale
    bias: Bias
    windows: Count = 0
    """How many it was fitted on; few of them are drawn towards the fit of all."""


def _rising(face_px: Sequence[float]) -> None:
    if list(face_px) != sorted(set(face_px)):
        raise ValueError(f"bins: expected rising face_px, found {list(face_px)}")


@dataclass(frozen=True, kw_only=True, config=FIRM)
class Calibration:
    """Raw head logit -> log-odds that mean what they say: scale * logit + bias (Platt 1999), by the face's size."""

    scale: Scale
    bias: Bias
    bins: Annotated[tuple[QualityBin, ...], Field(max_length=16)] = ()
    """Rising `face_px`. Without bins `scale` and `bias` hold for every face."""

    @model_validator(mode="after")
    def _ordered(self) -> Calibration:
        _rising([one.face_px for one in self.bins])
        return self

    def at(self, face_px: float) -> tuple[float, float]:
        """Scale and bias for a face of `face_px` pixels: linear in log2 of the size, constant beyond the end bins."""
        if not self.bins:
            return self.scale, self.bias
        low, high, share = _between([one.face_px for one in self.bins], face_px)
        one, other = self.bins[low], self.bins[high]
        return one.scale + share * (other.scale - one.scale), one.bias + share * (other.bias - one.bias)

    def apply(self, logit: float, face_px: float) -> float:
        """Calibrated log-odds of a raw window logit for a face of `face_px` pixels (the window's median)."""
        scale, bias = self.at(face_px)
        return scale * logit + bias


def _between(centres: Sequence[float], face_px: float) -> tuple[int, int, float]:
    """The two bins around a size, and how far it lies from the first to the second, 0..1 in log2."""
    high = next((i for i, centre in enumerate(centres) if face_px <= centre), len(centres) - 1)
    low = max(high - 1, 0) if face_px <= centres[high] else high
    if low == high:
        return low, high, 0.0
    span = math.log2(centres[high] / centres[low])
    return low, high, math.log2(max(face_px, centres[low]) / centres[low]) / span


# ------------------------------------------------------------------------------------------ genuine people


@dataclass(frozen=True, kw_only=True, config=FIRM)
class ReferenceBin:
    """Raw window logits of genuine people whose faces have about `face_px` pixels.

    At most the share `EXCEEDANCE[i]` of the windows lies above `logits[i]`, every person weighing the same.
    """

    face_px: FacePx
    logits: Quantiles
    people: Annotated[int, Field(ge=1, le=10**9)]
    windows: Count

    @model_validator(mode="after")
    def _rises(self) -> ReferenceBin:
        _not_falling(self.logits)
        return self


def _not_falling(logits: Sequence[float]) -> None:
    if any(b < a for a, b in pairwise(logits)):
        raise ValueError("logits: expected values that do not fall")


def p_value(logit: float, logits: Sequence[float], people: int) -> float:
    """The chance that a window of one more genuine person reaches `logit`, at most.

    (1 + the sum over people of their share of windows that reach it) / (people + 1): the conformal p-value for two
    layers, where windows of one person are alike and only people are exchangeable (Dunn, Wasserman and Ramdas,
    "Distribution-free prediction sets for two-layer hierarchical models", JASA 2023). It never falls under
    1 / (people + 1), however many windows there are. Between two kept quantiles the larger share is taken.
    """
    passed = int(np.searchsorted(np.asarray(logits), logit, side="left"))
    share = 1.0 if passed == 0 else EXCEEDANCE[passed - 1]
    return min(1.0, (1.0 + people * share) / (people + 1.0))


@dataclass(frozen=True, kw_only=True, config=FIRM)
class References:
    """What genuine people's pictures score: the ground for `p_real`, and how much of it there was."""

    bins: Annotated[tuple[ReferenceBin, ...], Field(min_length=1, max_length=16)]
    """Rising `face_px`; between two bins the p-value is interpolated (its logarithm)."""
    person: Quantiles
    """Calibrated logits, smoothed as the display smooths them, of all people; shares as in `ReferenceBin`."""
    people: Annotated[int, Field(ge=1, le=10**9)]
    windows: Count
    hours: Hours
    """Of genuine video. Simulated calls are not counted and not used."""

    @model_validator(mode="after")
    def _ordered(self) -> References:
        _rising([one.face_px for one in self.bins])
        _not_falling(self.person)
        return self

    def p_window(self, raw_logit: float, face_px: float) -> float:
        """How often a genuine window of such a face has this raw logit or more, at most; 0..1."""
        low, high, share = _between([one.face_px for one in self.bins], face_px)
        one, other = (p_value(raw_logit, b.logits, b.people) for b in (self.bins[low], self.bins[high]))
        return float(math.exp((1.0 - share) * math.log(one) + share * math.log(other)))

    def p_person(self, logit: float) -> float:
        """How often a genuine person's smoothed calibrated logit is this or more, at most; 0..1."""
        return p_value(logit, self.person, self.people)


# ------------------------------------------------------------------------------------------ alarms


@dataclass(frozen=True, kw_only=True, config=FIRM)
class OperatingPoint:
    """A CUSUM over calibrated log-odds, once a hop: s = max(0, s + logit - cusum_drift), alarm at s >= cusum_h.

    `false_alarms_per_hour` is what it was set for; the other figures say what genuine video supports.
    """

    false_alarms_per_hour: Annotated[float, Field(gt=0.0, le=1000.0)]
    cusum_h: Annotated[float, Field(gt=0.0, le=1e5)]
    cusum_drift: Annotated[float, Field(ge=-100.0, le=100.0)]
    measured_hours: Hours = 0.0
    """Genuine video that the test was run on."""
    measured_people: Count = 0
    measured_alarms: Count = 0
    """Alarms that it raised there."""
    simulated_hours: Hours = 0.0
    """The same recordings through simulated calls: more weather, not more people, so counted apart."""
    simulated_alarms: Count = 0

    @property
    def extrapolated(self) -> bool:
        """True where the hours cannot show the rate: zero alarms in T hours prove no less than 3/T an hour."""
        return self.measured_hours <= 0.0 or self.false_alarms_per_hour < 3.0 / self.measured_hours

    @property
    def bound_per_hour(self) -> float | None:
        """Exact Poisson 95 % upper limit of the rate on genuine video (Garwood 1936); None without any."""
        if self.measured_hours <= 0.0:
            return None
        from scipy.special import gammaincinv

        return float(gammaincinv(self.measured_alarms + 1, 0.95)) / self.measured_hours


@dataclass(frozen=True, kw_only=True, config=FIRM)
class OperatingPoints:
    """One operating point a sensitivity; `points["medium"]` works as well as `points.medium`."""

    low: OperatingPoint
    medium: OperatingPoint
    high: OperatingPoint

    def __getitem__(self, sensitivity: str) -> OperatingPoint:
        """Raises KeyError for anything but low, medium and high."""
        points = {"low": self.low, "medium": self.medium, "high": self.high}
        if sensitivity not in points:
            raise KeyError(f"sensitivity {sensitivity!r}: expected one of {', '.join(points)}")
        return points[sensitivity]


# ------------------------------------------------------------------------------------------ known ground


@dataclass(frozen=True, kw_only=True, config=FIRM)
class QualityRange:
    """The pictures that training saw, with a little room: beyond it the detector's answer is a guess."""

    min_face_px: FacePx
    max_face_px: FacePx
    min_blur: Annotated[float, Field(ge=-10.0, le=10.0)]
    """Log10 variance of the Laplacian, as `monitor.types.Quality.blur`."""
    max_blur: Annotated[float, Field(ge=-10.0, le=10.0)]
    min_luma: Annotated[float, Field(ge=0.0, le=255.0)]
    max_luma: Annotated[float, Field(ge=0.0, le=255.0)]
    windows: Count = 0
    """How many windows it was read from."""

    @model_validator(mode="after")
    def _ordered(self) -> QualityRange:
        for name in ("face_px", "blur", "luma"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if not low < high:
                raise ValueError(f"expected min_{name} < max_{name}, found {low} and {high}")
        return self


@dataclass(frozen=True, kw_only=True, config=FIRM)
class QualityError:
    """How well windows of one quality are told apart: the measured ground of what is refused."""

    source: Annotated[str, Field(min_length=1, max_length=60)]
    """Which windows: `held-out windows` or `recordings`."""
    by: Annotated[str, Field(min_length=1, max_length=40)]
    """Which figure: face_px, blur, luma, rate_hz or yaw_deg."""
    low: float
    high: float
    auc: Share | None = None
    """None where a class is missing."""
    error: Share | None = None
    """Share of the windows on the wrong side of even odds, both classes weighing the same."""
    n_real: Count
    n_fake: Count
