"""The cadence of a video on a screen: painted screens, looked at 60 times a second with some jitter."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from monitor.cadence import CadenceMeter, Step
from monitor.sampling import FrameSampler

HEIGHT_PX, WIDTH_PX = 360, 640
SECONDS = 6.0
COUNTED_FROM_NS = 2_500_000_000


@dataclass(frozen=True, slots=True)
class Tile:
    """A video of its own on the screen."""

    x: int
    y: int
    w: int
    h: int
    hz: float
    late_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Taken:
    """A look that brought a new picture: when, and which picture of each tile it showed."""

    at_ns: int
    numbers: tuple[int, ...]


def watch(
    *tiles: Tile, poll_hz: float = 60.0, cursor: bool = True, caption: bool = True
) -> tuple[CadenceMeter, list[Taken]]:
    rng = np.random.default_rng(7)
    meter, screen, numbers = CadenceMeter(), np.full((HEIGHT_PX, WIDTH_PX, 4), 30, np.uint8), [-1] * len(tiles)
    taken, before_ns = [], None
    for look in range(int(SECONDS * poll_hz)):
        t = look / poll_hz + abs(rng.normal(0, 0.003))
        for which, tile in enumerate(tiles):
            number = int((t + tile.late_s) * tile.hz)
            if number != numbers[which]:
                numbers[which] = number
                colour = np.random.default_rng(number).integers(0, 255, 3)
                screen[tile.y : tile.y + tile.h, tile.x : tile.x + tile.w, :3] = colour
        shown = screen.copy()
        if caption and int(t * 2) % 2:
            shown[320:340, 100:400, :3] = 220
        if cursor:
            x, y = int(60 + 200 * (1 + np.sin(2 * t))), int(20 + 8 * np.cos(3 * t))
            shown[y : y + 16, x : x + 10, :3] = 255
        now_ns = int(t * 1e9)
        seen = meter.step(shown, now_ns if before_ns is None else before_ns, now_ns)
        if seen.step is Step.PICTURE and now_ns > COUNTED_FROM_NS:
            taken.append(Taken(seen.appeared_ns, tuple(numbers)))
        before_ns = now_ns
    return meter, taken


def rate_hz(taken: list[Taken]) -> float:
    return (len(taken) - 1) * 1e9 / (taken[-1].at_ns - taken[0].at_ns)


@pytest.mark.parametrize("hz", [8.0, 12.0, 15.0, 25.0, 30.0])
@pytest.mark.parametrize("poll_hz", [60.0, 33.0])
def test_a_video_beside_a_cursor_and_a_caption_has_its_own_cadence(hz: float, poll_hz: float) -> None:
    meter, taken = watch(Tile(200, 80, 320, 200, hz), poll_hz=poll_hz)
    assert meter.cadence_hz == pytest.approx(hz, rel=0.04)
    assert rate_hz(taken) == pytest.approx(hz, rel=0.04)


def test_the_times_of_a_video_of_15_hz_are_even() -> None:
    _, taken = watch(Tile(200, 80, 320, 200, 15.0))
    steps_ms = np.diff([one.at_ns for one in taken]) / 1e6
    assert np.abs(steps_ms - 66.7).max() < 6.0


@pytest.mark.parametrize(("hz", "sampled_hz"), [(8.0, 8.0), (15.0, 15.0), (30.0, 15.0), (60.0, 15.0)])
def test_what_is_sampled_at_15_hz_never_repeats_a_picture(hz: float, sampled_hz: float) -> None:
    _, taken = watch(Tile(200, 80, 320, 200, hz))
    sampler = FrameSampler(15.0)
    sampled = [one for one in taken if sampler.take(one.at_ns)]
    assert rate_hz(sampled) == pytest.approx(sampled_hz, rel=0.05)
    assert all(one.numbers != other.numbers for one, other in itertools.pairwise(sampled))


def test_two_people_side_by_side_do_not_add_up() -> None:
    meter, _ = watch(Tile(0, 60, 300, 220, 15.0), Tile(330, 60, 300, 220, 15.0, 0.03))
    assert all(part.hz == pytest.approx(15.0, rel=0.05) for part in meter.parts)
    assert meter.parts


def test_a_still_screen_with_a_cursor_has_no_cadence() -> None:
    meter, _ = watch()
    assert meter.cadence_hz is None


def test_a_small_person_beside_a_large_slow_picture_keeps_all_pictures() -> None:
    """A slide show of 5 Hz that fills half of the screen does not swallow a face of 15 Hz."""
    _, taken = watch(Tile(0, 0, 320, 300, 5.0), Tile(420, 100, 120, 120, 15.0, 0.01), cursor=False)
    faces = [one.numbers[1] for one in taken]
    assert len(set(faces)) == pytest.approx(15.0 * (SECONDS - 2.5), abs=2)


def test_a_time_lies_between_the_look_before_and_this_one() -> None:
    meter, at_ns = CadenceMeter(), 0
    for number in range(200):
        picture = np.full((80, 120, 4), number % 250, np.uint8)
        before_ns, at_ns = at_ns, at_ns + (40_000_000 if number % 3 else 90_000_000)
        seen = meter.step(picture, before_ns, at_ns)
        assert seen.step is Step.PICTURE
        assert before_ns <= seen.appeared_ns <= at_ns


def test_a_window_of_another_size_starts_anew() -> None:
    meter, _ = watch(Tile(200, 80, 320, 200, 15.0))
    assert meter.step(np.zeros((100, 100, 4), np.uint8), 7_000_000_000, 7_016_000_000).step is Step.PICTURE
    assert meter.cadence_hz is None


@pytest.mark.parametrize("size", [(2, 2), (2, 700), (900, 3), (61, 67)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    meter = CadenceMeter()
    for number in range(90):
        meter.step(np.full((*size, 4), number, np.uint8), number * 16_000_000, (number + 1) * 16_000_000)
    assert meter.step(np.full((*size, 4), 89, np.uint8), 1, 2).step is Step.SAME
