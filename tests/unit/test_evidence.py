"""The numbers behind a verdict: smoothing, the sequential test and coverage."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from monitor.evidence import (
    Coverage,
    Evidence,
    OperatingPoint,
    alarm_times,
    armed_path,
    cusum_increment,
    sigmoid,
    smoothed_path,
)
from tests.scripted import HOP_S, POINT, ns


def fed(logits: list[float], point: OperatingPoint = POINT, hop_s: float = HOP_S) -> Evidence:
    evidence = Evidence(point)
    for step, logit in enumerate(logits):
        assert evidence.add(logit, ns(step * hop_s))
    return evidence


def first_alarm(logits: list[float], point: OperatingPoint = POINT, hop_s: float = HOP_S) -> float | None:
    """Seconds of judged time until the alarm, the first window counting one hop."""
    evidence = Evidence(point)
    for step, logit in enumerate(logits):
        evidence.add(logit, ns(step * hop_s))
        if evidence.alarm:
            return (step + 1) * hop_s
    return None


def test_nothing_is_said_before_the_first_window() -> None:
    assert Evidence(POINT).suspicion is None


def test_the_first_windows_count_equally_and_old_ones_fade() -> None:
    assert fed([2.0]).suspicion == pytest.approx(sigmoid(2.0))
    assert fed([2.0, -2.0], hop_s=1e-3).suspicion == pytest.approx(0.5, abs=1e-3)
    assert fed([6.0] * 3 + [-2.0] * 45).suspicion == pytest.approx(sigmoid(-2.0), abs=0.01)


def test_after_a_long_pause_the_new_window_outweighs_the_old_ones() -> None:
    evidence = fed([4.0] * 20)
    evidence.add(-4.0, ns(19 * HOP_S + 30))
    assert evidence.suspicion == pytest.approx(sigmoid(-4.0), abs=1e-3)


def test_half_a_second_of_extreme_logits_is_bounded() -> None:
    assert fed([math.inf]).suspicion == pytest.approx(1.0, abs=1e-4)
    assert fed([-math.inf]).suspicion == pytest.approx(0.0, abs=1e-4)
    assert fed([1e9]).cusum == 4.0


def test_a_window_that_is_older_or_not_a_number_changes_nothing() -> None:
    evidence = fed([1.0, 1.0])
    before = (evidence.suspicion, evidence.cusum)
    assert not evidence.add(9.0, ns(0.1))
    assert not evidence.add(9.0, ns(HOP_S))
    assert not evidence.add(math.nan, ns(5.0))
    assert (evidence.suspicion, evidence.cusum) == before


def test_the_strongest_evidence_still_needs_three_seconds() -> None:
    assert first_alarm([12.0] * 30) == pytest.approx(3.0)


def test_weaker_evidence_takes_longer_and_none_never_alarms() -> None:
    strong, weak = first_alarm([3.0] * 300), first_alarm([1.0] * 300)
    assert strong is not None
    assert weak is not None
    assert 3.0 <= strong < weak
    assert first_alarm([POINT.cusum_drift] * 3000) is None


def test_the_time_to_an_alarm_does_not_depend_on_the_hop() -> None:
    slow, fast = first_alarm([1.5] * 300, hop_s=2 * HOP_S), first_alarm([1.5] * 300)
    assert slow == pytest.approx(fast, abs=2 * HOP_S)


def test_one_window_after_a_long_pause_stands_for_a_second_at_most() -> None:
    evidence = fed([3.0])
    evidence.add(3.0, ns(60.0))
    assert evidence.support_s == pytest.approx(HOP_S + 1.0)
    assert evidence.cusum == pytest.approx(2.5 + 4.0)


def test_a_glitch_that_fills_every_window_over_it_does_not_alarm() -> None:
    seven_windows_see_one_bad_frame = [-3.0] * 30 + [12.0] * 7 + [-3.0] * 30
    assert first_alarm(seven_windows_see_one_bad_frame) is None


def test_glitches_a_quarter_minute_apart_do_not_add_up_to_an_alarm() -> None:
    assert first_alarm(([-1.5] * 45 + [12.0] * 7) * 20) is None


def test_restless_noise_does_not_save_up_for_a_glitch() -> None:
    point = OperatingPoint(cusum_h=8.0, cusum_drift=0.0, low=0.5, high=0.9)
    restless = [0.4, -0.2] * 60
    assert first_alarm([*restless, 6.0, 6.0], point) is None
    assert fed(restless, replace(point, cusum_h=1e6)).cusum > 5


def test_when_the_test_is_back_at_zero_the_time_before_counts_no_more() -> None:
    assert fed([1.0] * 6).support_s == pytest.approx(2.0)
    assert fed([1.0] * 6 + [-12.0]).support_s == 0.0


def test_an_alarm_ends_in_bounded_time_however_long_it_lasted() -> None:
    for lasted in (20, 2000):
        evidence = fed([6.0] * lasted)
        assert evidence.alarm
        steps = 0
        while evidence.alarm:
            evidence.add(-2.0, ns((lasted + steps) * HOP_S))
            steps += 1
            assert steps < 90
        assert steps * HOP_S > 3.0


def test_doubtful_evidence_neither_opens_nor_closes() -> None:
    opened = fed([6.0] * 20 + [0.6] * 200)
    assert opened.alarm
    assert first_alarm([0.6] * 100) is None


def test_after_an_alarm_has_closed_the_test_starts_from_nothing() -> None:
    evidence = fed([6.0] * 15 + [-4.0] * 60)
    assert not evidence.alarm
    assert (evidence.cusum, evidence.support_s) == (0.0, 0.0)


def test_the_path_is_what_the_test_itself_walks_below_its_ceiling() -> None:
    random_ = random.Random(4)
    logits = [random_.gauss(1.0, 1.0) for _ in range(60)]
    ends_ns = [ns(step * HOP_S) for step in range(60)]
    unreachable = OperatingPoint(cusum_h=1e6, cusum_drift=0.5, low=0.5, high=0.9)
    evidence, walked = Evidence(unreachable), []
    for logit, end_ns in zip(logits, ends_ns, strict=True):
        evidence.add(logit, end_ns)
        walked.append(evidence.cusum if evidence.support_s >= 3.0 - 1e-6 else 0.0)
    assert armed_path(logits, ends_ns, 0.5, 1e6) == pytest.approx(walked)
    assert max(walked) > 0
    assert 0.0 < sum(value == 0.0 for value in walked) < 60


@pytest.mark.parametrize("cusum_h", [1.0, 4.0, 9.0])
def test_an_alarm_opens_where_the_armed_path_first_passes_the_threshold(cusum_h: float) -> None:
    random_ = random.Random(5)
    logits = [random_.gauss(0.8, 1.0) for _ in range(90)]
    ends_ns = [ns(step * HOP_S) for step in range(90)]
    point = OperatingPoint(cusum_h=cusum_h, cusum_drift=0.5, low=0.5, high=0.9)
    path = armed_path(logits, ends_ns, 0.5, cusum_h)
    first = next(end for end, value in zip(ends_ns, path, strict=True) if value > cusum_h)
    assert alarm_times(zip(logits, ends_ns, strict=True), point)[0] == first


def test_a_path_through_disordered_times_is_refused() -> None:
    with pytest.raises(ValueError, match="growing times"):
        armed_path([1.0, 1.0], [5, 5], 0.0, 1.0)
    with pytest.raises(ValueError, match="growing times"):
        smoothed_path([1.0, 1.0], [5, 5])


def test_the_smoothed_path_is_what_the_display_shows() -> None:
    ends_ns = [ns(step * HOP_S) for step in range(12)]
    logits = [2.0] * 6 + [-2.0] * 6
    assert sigmoid(smoothed_path(logits, ends_ns)[-1]) == pytest.approx(fed(logits).suspicion)


def test_alarms_are_counted_once_each() -> None:
    two_bouts = ([5.0] * 20 + [-4.0] * 40) * 2
    times = alarm_times([(logit, ns(step * HOP_S)) for step, logit in enumerate(two_bouts)], POINT)
    assert len(times) == 2
    assert times[1] - times[0] == pytest.approx(ns(60 * HOP_S), abs=ns(2 * HOP_S))
    assert alarm_times([], POINT) == []


def test_an_increment_is_clipped_both_ways() -> None:
    assert cusum_increment(100.0, 0.0, HOP_S) == 4.0
    assert cusum_increment(-100.0, 0.0, HOP_S) == -4.0
    assert cusum_increment(1.0, 0.25, 2 * HOP_S) == pytest.approx(1.5)


def test_sigmoid_does_not_overflow() -> None:
    assert [sigmoid(x) for x in (-1e4, 0.0, 1e4)] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    "bad",
    [
        {"cusum_h": 0.0},
        {"cusum_h": math.nan},
        {"cusum_drift": math.inf},
        {"low": 0.0},
        {"low": 0.95},
        {"high": 1.0},
        {"persistence_s": -1.0},
    ],
)
def test_an_operating_point_that_makes_no_sense_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="OperatingPoint"):
        OperatingPoint(**{"cusum_h": 12.0, "cusum_drift": 0.5, "low": 0.5, "high": 0.9, **bad})


# ------------------------------------------------------------------------------------ coverage


def covered(*intervals: tuple[float, float, bool]) -> Coverage:
    coverage = Coverage()
    for start_s, end_s, judged in intervals:
        coverage.add(ns(start_s), ns(end_s), judged=judged)
    return coverage


def test_nothing_decided_is_nothing_covered() -> None:
    assert Coverage().share == 0.0


def test_overlapping_windows_count_their_time_once() -> None:
    coverage = covered((0, 2, True), (0.5, 2.5, True), (1, 3, True))
    assert coverage.judged_s == pytest.approx(3.0)
    assert coverage.share == 1.0


def test_time_is_judged_where_any_judged_window_covers_it() -> None:
    coverage = covered((0, 4, False), (2, 4, True), (3, 5, False))
    assert coverage.judged_s == pytest.approx(2.0)
    assert coverage.decided_s == pytest.approx(5.0)
    assert coverage.share == pytest.approx(0.4)


def test_an_hour_of_coverage_takes_no_more_memory_than_a_minute() -> None:
    coverage = Coverage()
    for step in range(3 * 3600):
        coverage.add(ns(step / 3), ns(step / 3 + 2), judged=step % 6 < 3)
    assert len(coverage._cells) <= Coverage.KEEP_CELLS
    assert coverage.decided_s == pytest.approx(3601.7, abs=0.2)
    assert 0.5 < coverage.share <= 1.0


def test_a_hole_longer_than_the_memory_counts_whole() -> None:
    coverage = covered((0, 10, True), (10, 110, False))
    assert coverage.decided_s == pytest.approx(110)
    assert coverage.share == pytest.approx(10 / 110)


def test_a_timeline_that_restarts_is_counted_on() -> None:
    coverage = covered((0, 100, True), (0, 2, False), (2, 4, False))
    assert coverage.judged_s == pytest.approx(100)
    assert coverage.decided_s == pytest.approx(104)
