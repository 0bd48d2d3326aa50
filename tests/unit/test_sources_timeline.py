"""Media times: honest ones are kept, broken ones are repaired, none goes back."""

from __future__ import annotations

import pytest

from monitor.sources.timeline import FileTimeline, LiveTimeline

STEP_MS = 40


def placed(times_ms: list[int | None]) -> list[int]:
    timeline = FileTimeline(STEP_MS * 1_000_000)
    return [timeline.place(None if t is None else t * 1_000_000) // 1_000_000 for t in times_ms]


@pytest.mark.parametrize(
    ("story", "raw_ms", "expected_ms"),
    [
        ("shifted to 0", [1000, 1040, 1080], [0, 40, 80]),
        ("starts before 0", [-500, -460, -420], [0, 40, 80]),
        ("variable rate is kept", [0, 10, 500, 501, 3000], [0, 10, 500, 501, 3000]),
        ("one stray time goes back", [0, 40, 80, 20, 160, 200], [0, 40, 80, 120, 160, 200]),
        ("one stray time leaps ahead", [0, 40, 9_000_000_000, 120, 160], [0, 40, 80, 120, 160]),
        ("two recordings put together", [0, 40, 80, 0, 30, 90], [0, 40, 80, 120, 150, 210]),
        ("leaps ahead for good", [0, 40, 9_000_000_000, 9_000_000_030], [0, 40, 80, 110]),
        ("repeated times", [0, 40, 40, 40, 160], [0, 40, 80, 120, 160]),
        ("no times at all", [None, None, None], [0, 40, 80]),
        ("missing in the middle", [0, 40, None, 120, 160], [0, 40, 80, 120, 160]),
        ("missing at the start", [None, None, 5000, 5040], [0, 40, 80, 120]),
        ("a minute of silence", [0, 60_000, 60_040], [0, 60_000, 60_040]),
    ],
)
def test_story(story: str, raw_ms: list[int | None], expected_ms: list[int]) -> None:
    assert placed(raw_ms) == expected_ms, story


def test_repairs_are_counted() -> None:
    timeline = FileTimeline(40_000_000)
    for raw in (0, 40_000_000, 10_000_000, None, 200_000_000):
        timeline.place(raw)
    assert timeline.repaired == 2


def test_camera_times_are_used_where_they_agree_with_the_clock() -> None:
    timeline = LiveTimeline()
    stamps = [7_000, 7_033, 7_066, 7_100]
    arrivals = [100, 150, 151, 205]
    times = [timeline.place(s * 1_000_000, a * 1_000_000) // 1_000_000 for s, a in zip(stamps, arrivals, strict=True)]
    assert times == [0, 33, 66, 100]


def test_camera_times_that_stand_still_give_way_to_the_clock() -> None:
    timeline = LiveTimeline()
    times = [timeline.place(5, arrival * 1_000_000) // 1_000_000 for arrival in (0, 66, 133, 200)]
    assert times == [0, 66, 133, 200]


def test_camera_times_that_run_away_give_way_to_the_clock() -> None:
    timeline = LiveTimeline()
    assert timeline.place(0, 0) == 0
    assert timeline.place(9_000_000_000, 33_000_000) == 33_000_000
    assert timeline.place(9_033_000_000, 70_000_000) == 66_000_000


def test_a_camera_without_times_has_those_of_the_clock() -> None:
    timeline = LiveTimeline()
    assert [timeline.place(None, a) for a in (5_000_000_000, 5_040_000_000)] == [0, 40_000_000]


def test_pictures_that_arrive_together_are_kept_apart() -> None:
    timeline = LiveTimeline()
    times = [timeline.place(None, 1_000) for _ in range(3)]
    assert times == sorted(set(times))
