"""The sampler: an even pattern at 15 Hz whatever the source's own rate, by media time only."""

from __future__ import annotations

import random

import numpy as np
import pytest

from monitor.sampling import FrameSampler, sampled_indices


def times(fps: float, seconds: float, *, whole_ms: bool = False) -> list[int]:
    ns = [round(i * 1e9 / fps) for i in range(int(fps * seconds))]
    return [round(t / 1e6) * 1_000_000 for t in ns] if whole_ms else ns


@pytest.mark.parametrize("fps", [30.0, 29.97, 30000 / 1001])
@pytest.mark.parametrize("whole_ms", [False, True])
def test_thirty_frames_a_second_give_exactly_every_second_frame(fps: float, whole_ms: bool) -> None:
    taken = sampled_indices(times(fps, 300, whole_ms=whole_ms), 15.0)
    assert taken == list(range(0, int(fps * 300), 2))


def test_sixty_frames_a_second_give_every_fourth() -> None:
    assert sampled_indices(times(60, 20), 15.0) == list(range(0, 1200, 4))


@pytest.mark.parametrize(("fps", "steps"), [(25, {1, 2}), (24, {1, 2}), (50, {3, 4}), (20, {1, 2})])
def test_other_rates_give_an_even_pattern_of_fifteen_a_second(fps: int, steps: set[int]) -> None:
    taken = sampled_indices(times(fps, 60), 15.0)
    assert len(taken) == pytest.approx(900, abs=2)
    assert set(np.diff(taken)) == steps
    in_each_second = np.bincount(np.array(taken) // fps)
    assert in_each_second.min() >= 14
    assert in_each_second.max() <= 16


@pytest.mark.parametrize("fps", [15, 14, 12.5, 10, 5])
def test_slow_sources_give_all_their_frames(fps: float) -> None:
    clip = times(fps, 30, whole_ms=True)
    assert sampled_indices(clip, 15.0) == list(range(len(clip)))


def test_a_jittery_webcam_gives_every_second_frame() -> None:
    shake = random.Random(7)
    clip = [t + shake.randint(-5_000_000, 5_000_000) for t in times(30, 60)]
    assert sampled_indices(clip, 15.0) == list(range(0, len(clip), 2))


def test_two_frames_close_together_after_a_late_one_count_once() -> None:
    ms = [0, 67, 190, 195, 200, 262]
    assert sampled_indices([t * 1_000_000 for t in ms], 15.0) == [0, 1, 2, 5]


def test_a_pause_starts_the_pattern_anew_instead_of_catching_up() -> None:
    first = times(30, 1)
    after = [5_000_000_000 + t for t in times(30, 1)]
    assert [i - 30 for i in sampled_indices(first + after, 15.0) if i >= 30] == list(range(0, 30, 2))


def test_a_small_step_back_is_passed_over_and_a_rewind_starts_anew() -> None:
    sampler = FrameSampler(15.0)
    assert sampler.take(10_000_000_000)
    assert not sampler.take(9_900_000_000)
    assert sampler.take(2_000_000_000)
    assert not sampler.take(2_033_000_000)
    assert sampler.take(2_067_000_000)


def test_reset_takes_the_next_frame() -> None:
    sampler = FrameSampler(15.0)
    assert sampler.take(0)
    sampler.reset()
    assert sampler.take(1)


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0 Hz, got 0"):
        FrameSampler(0)
