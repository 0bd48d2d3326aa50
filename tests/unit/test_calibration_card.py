"""What a card says of scores: interpolated calibration, p-values that claim no more than was measured, and rates."""

from __future__ import annotations

import numpy as np
import pytest

from engines.calibration import (
    EXCEEDANCE,
    LEVELS,
    Calibration,
    OperatingPoint,
    QualityBin,
    QualityRange,
    ReferenceBin,
    References,
    p_value,
)

LADDER = tuple(float(i) for i in range(LEVELS))


def test_calibration_is_interpolated_between_the_bins_and_constant_beyond() -> None:
    small, large = QualityBin(face_px=80, scale=0.5, bias=1), QualityBin(face_px=160, scale=1, bias=0)
    calibration = Calibration(scale=2, bias=-1, bins=(small, large))
    assert [calibration.apply(4.0, px) for px in (20, 80, 160, 900)] == [3.0, 3.0, 4.0, 4.0]
    assert calibration.apply(4.0, 80 * 2**0.25) == pytest.approx(0.625 * 4 + 0.75)
    assert Calibration(scale=2, bias=-1).apply(4.0, 20) == 7.0
    assert Calibration(scale=2, bias=-1, bins=(small,)).apply(4.0, 900) == 3.0


def test_a_face_that_moves_across_the_bins_does_not_jump() -> None:
    bins = tuple(QualityBin(face_px=px, scale=s, bias=b) for px, s, b in ((70, 0.2, 0), (120, 1, -1), (280, 0.5, 1)))
    calibration = Calibration(scale=1, bias=0, bins=bins)
    path = [calibration.apply(3.0, px) for px in np.geomspace(30, 600, 2000)]
    assert np.abs(np.diff(path)).max() < 0.01
    assert max(path) - min(path) > 1


def test_an_empty_ladder_of_levels_would_show() -> None:
    assert LEVELS == 33
    assert EXCEEDANCE[0] == 1.0
    assert EXCEEDANCE[-1] == 0.0
    assert list(EXCEEDANCE) == sorted(EXCEEDANCE, reverse=True)


def test_a_p_value_never_claims_more_than_the_people_can_show() -> None:
    assert p_value(1e3, LADDER, 40) == pytest.approx(1 / 41)
    assert p_value(-1e3, LADDER, 40) == 1.0
    assert p_value(1e3, LADDER, 4000) == pytest.approx(1 / 4001)


def test_between_two_kept_quantiles_the_larger_share_is_taken() -> None:
    people = 10**6
    at = p_value(10.0, LADDER, people)
    assert p_value(10.5, LADDER, people) == p_value(11.0, LADDER, people) == pytest.approx(EXCEEDANCE[10], abs=1e-5)
    assert at == pytest.approx(EXCEEDANCE[9], abs=1e-5)


def test_p_values_of_new_genuine_people_are_valid() -> None:
    """People with a level of their own, many windows each: the share of new people's windows with p <= a is <= a."""
    from monitor.calibration.conformal import quantiles

    rng = np.random.default_rng(3)
    hits = {0.05: 0.0, 0.2: 0.0}
    rounds = 400
    for _ in range(rounds):
        levels = rng.normal(0, 1, 41)
        windows = levels[:, None] + rng.normal(0, 0.3, (41, 30))
        names = [str(i) for i in range(40) for _ in range(30)]
        ladder = quantiles(windows[:40].ravel(), names)
        p = np.array([p_value(float(x), ladder, 40) for x in windows[40]])
        for level in hits:
            hits[level] += float((p <= level).mean()) / rounds
    assert 0.02 < hits[0.05] <= 0.05 + 0.02
    assert 0.1 < hits[0.2] <= 0.2 + 0.03


def reference(*bins: ReferenceBin) -> References:
    return References(bins=bins, person=LADDER, people=40, windows=4000, hours=0.3)


def test_the_p_value_of_a_window_is_interpolated_between_sizes() -> None:
    small = ReferenceBin(face_px=80, logits=LADDER, people=10, windows=100)
    large = ReferenceBin(face_px=320, logits=tuple(x - 100 for x in LADDER), people=40, windows=400)
    both = reference(small, large)
    assert both.p_window(0.0, 40) == both.p_window(0.0, 80) == 1.0
    assert both.p_window(0.0, 320) == pytest.approx(1 / 41)
    assert both.p_window(0.0, 160) == pytest.approx((1 / 41) ** 0.5)
    assert both.p_person(100.0) == pytest.approx(1 / 41)


@pytest.mark.parametrize("logits", [LADDER[::-1], LADDER[:-1]])
def test_a_reference_that_is_none_is_refused(logits: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="logits"):
        ReferenceBin(face_px=80, logits=logits, people=10, windows=100)


def point(rate: float, **measured: float) -> OperatingPoint:
    return OperatingPoint(false_alarms_per_hour=rate, cusum_h=1.0, cusum_drift=1.0, **measured)


def test_only_rates_of_three_in_the_measured_hours_are_supported() -> None:
    assert point(1.0).extrapolated
    assert point(1.0, measured_hours=2.9).extrapolated
    assert not point(1.0, measured_hours=3.0).extrapolated


def test_the_bound_is_exact_poisson() -> None:
    assert point(1.0).bound_per_hour is None
    assert point(1.0, measured_hours=2.0).bound_per_hour == pytest.approx(2.9957 / 2, abs=1e-3)
    assert point(1.0, measured_hours=1.0, measured_alarms=2).bound_per_hour == pytest.approx(6.2958, abs=1e-3)


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="min_blur < max_blur"):
        QualityRange(min_face_px=1, max_face_px=2, min_blur=3, max_blur=3, min_luma=0, max_luma=1)
