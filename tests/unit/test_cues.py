"""Evidence cues: each compares a person with themselves, says so in words, and forgets at a cut."""

from __future__ import annotations

import math
import time

import cv2
import numpy as np
import pytest

from monitor.cues import flicker, residual, sharpness, slip
from monitor.cues.baseline import Baseline, severity
from monitor.cues.reader import CueReader
from monitor.cues.regions import inner_and_ring
from monitor.types import CueReading, Severity
from tests.scripted import face

SIZE = 144


def skin(seed: int = 0, size: int = SIZE) -> np.ndarray:
    """A textured crop of skin colour, as sharp inside as outside."""
    noise = np.random.default_rng(seed).normal(0, 12, (size, size, 1))
    return np.clip(np.array([190, 150, 130]) + noise, 0, 255).astype(np.uint8)


def pasted(crop: np.ndarray, inner_face: np.ndarray) -> np.ndarray:
    inner, _ = inner_and_ring(crop.shape[0])
    grown = cv2.dilate(inner.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    return np.where(grown[..., None], inner_face, crop).astype(np.uint8)


def softened(crop: np.ndarray) -> np.ndarray:
    return pasted(crop, cv2.GaussianBlur(crop, (0, 0), 1.5))


def tinted(crop: np.ndarray, red: float) -> np.ndarray:
    return pasted(crop, np.clip(crop + np.array([red, 0, -red]), 0, 255))


# ------------------------------------------------------------------------------------ the measures


def test_the_inner_face_and_its_surround_do_not_overlap_and_both_have_pixels() -> None:
    for size in (48, 72, 144, 224):
        inner, ring = inner_and_ring(size)
        assert not (inner & ring).any()
        assert inner.mean() > 0.08
        assert ring.mean() > 0.08
        assert inner[size // 2, size // 2]
        assert not ring[0, 0]


def test_a_face_as_sharp_as_its_surround_reads_about_zero() -> None:
    assert sharpness.measure(skin()) == pytest.approx(0.0, abs=0.1)


def test_a_softer_inner_face_reads_far_below_zero_and_a_crisper_one_above() -> None:
    soft_everywhere = cv2.GaussianBlur(skin(), (0, 0), 1.5)
    assert sharpness.measure(softened(skin())) < -0.8
    assert sharpness.measure(pasted(soft_everywhere, skin())) > 0.8


def test_blurring_the_whole_picture_is_no_sign() -> None:
    assert sharpness.measure(cv2.GaussianBlur(skin(), (0, 0), 1.2)) == pytest.approx(0.0, abs=0.25)


def test_sharpness_is_about_the_same_at_every_crop_size() -> None:
    large = softened(skin(size=288))
    assert sharpness.measure(large) == pytest.approx(
        sharpness.measure(cv2.resize(large, (SIZE, SIZE), interpolation=cv2.INTER_AREA)), abs=0.1
    )


def test_a_flat_picture_reads_zero_and_nothing_breaks() -> None:
    flat = np.full((SIZE, SIZE, 3), 90, np.uint8)
    assert sharpness.measure(flat) == 0.0
    assert flicker.measure(flat) == pytest.approx((0.0, 0.0), abs=1e-4)


def test_a_face_whose_colour_trembles_flickers_and_a_steady_one_does_not() -> None:
    random_ = np.random.default_rng(1)
    steady = [flicker.measure(skin(k)) for k in range(32)]
    trembling = [flicker.measure(tinted(skin(k), random_.normal(0, 4))) for k in range(32)]
    assert flicker.value(steady) < 0.3
    assert flicker.value(trembling) > 5 * flicker.value(steady)


def test_light_that_changes_on_face_and_surround_alike_is_no_flicker() -> None:
    random_ = np.random.default_rng(2)
    lit = [np.clip(skin(k) + random_.normal(0, 4) * np.array([1, 0, -1]), 0, 255).astype(np.uint8) for k in range(32)]
    assert flicker.value([flicker.measure(crop) for crop in lit]) < 0.4


def test_a_slow_blush_is_far_less_of_a_flicker_than_the_same_colours_in_disorder() -> None:
    blush = [flicker.measure(tinted(skin(0), red)) for red in np.linspace(0, 10, 32)]
    disorder = [blush[k] for k in np.random.default_rng(3).permutation(32)]
    assert flicker.value(disorder) > 5 * flicker.value(blush)


def test_too_few_samples_give_no_value() -> None:
    assert math.isnan(flicker.value([(0.0, 0.0)] * 3))
    assert math.isnan(sharpness.value([]))
    assert sharpness.value([1.0, 5.0, 2.0]) == 2.0


@pytest.mark.parametrize("cue", [sharpness, flicker])
def test_reading_a_cue_is_cheap(cue: object) -> None:
    crop, times = skin(), []
    for _ in range(40):
        began = time.perf_counter()
        cue.measure(crop)  # type: ignore[attr-defined]
        times.append(time.perf_counter() - began)
    assert min(times) < 1e-3


# ------------------------------------------------------------------------------------ the baseline


def test_a_baseline_is_silent_for_twenty_seconds_and_then_frozen() -> None:
    baseline = Baseline(0.01)
    random_ = np.random.default_rng(0)
    for _ in range(59):
        baseline.learn(random_.normal(2.0, 0.1), 1 / 3)
    assert baseline.z(2.0) is None
    for _ in range(2):
        baseline.learn(random_.normal(2.0, 0.1), 1 / 3)
    assert baseline.ready
    before = baseline.z(2.5)
    for _ in range(1000):
        baseline.learn(9.0, 1.0)
    assert baseline.z(2.5) == before == pytest.approx(5.0, abs=1.5)
    assert baseline.z(2.0) == pytest.approx(0.0, abs=0.5)


def test_twice_the_usual_flicker_is_still_normal_and_the_step_measured_on_swaps_is_not() -> None:
    baseline = Baseline(flicker.MIN_SPREAD)
    for _ in range(70):
        baseline.learn(flicker.scale(0.35), 1 / 3)
    assert severity(baseline.z(flicker.scale(0.70))) is Severity.NORMAL
    assert severity(baseline.z(flicker.scale(1.33))) is Severity.NOTABLE


def test_the_softening_measured_on_swaps_is_a_strong_change() -> None:
    baseline = Baseline(sharpness.MIN_SPREAD)
    for _ in range(70):
        baseline.learn(sharpness.scale(-0.17), 1 / 3)
    assert severity(baseline.z(sharpness.scale(-1.48))) is Severity.STRONG


def test_outliers_at_the_start_do_not_widen_the_normal() -> None:
    clean, spoilt = Baseline(0.01), Baseline(0.01)
    random_ = np.random.default_rng(1)
    for step in range(70):
        value = random_.normal(0.0, 0.1)
        clean.learn(value, 1 / 3)
        spoilt.learn(50.0 if step % 10 == 0 else value, 1 / 3)
    a, b = clean.z(1.0), spoilt.z(1.0)
    assert a is not None
    assert b is not None
    assert b > 0.6 * a


def test_a_perfectly_steady_start_does_not_make_every_breath_a_sign() -> None:
    baseline = Baseline(0.05)
    for _ in range(70):
        baseline.learn(1.0, 1 / 3)
    assert baseline.z(1.05) == pytest.approx(1.0)
    assert baseline.z(1e9) == 50.0


def test_a_value_that_is_not_a_number_is_neither_learned_nor_judged() -> None:
    baseline = Baseline(0.05)
    for _ in range(200):
        baseline.learn(math.nan, 1.0)
    assert not baseline.ready
    for _ in range(70):
        baseline.learn(1.0, 1.0)
    assert baseline.z(math.nan) is None


def test_few_values_over_a_long_time_are_no_baseline() -> None:
    baseline = Baseline(0.05)
    for _ in range(5):
        baseline.learn(1.0, 100.0)
    assert not baseline.ready


def test_a_baseline_without_a_least_spread_is_refused() -> None:
    with pytest.raises(ValueError, match="min_spread"):
        Baseline(0.0)


@pytest.mark.parametrize(
    ("z", "level"),
    [
        (None, Severity.NORMAL),
        (2.9, Severity.NORMAL),
        (-3.0, Severity.NOTABLE),
        (5.9, Severity.NOTABLE),
        (-6.0, Severity.STRONG),
    ],
)
def test_severity_follows_the_distance_from_normal_both_ways(z: float | None, level: Severity) -> None:
    assert severity(z) is level


# ------------------------------------------------------------------------------------ the reader


def read(
    reader: CueReader, crops: list[np.ndarray], *, start_s: float = 0.0, judged: bool = True, track_id: int = 1
) -> list[CueReading]:
    told: list[CueReading] = []
    for step, crop in enumerate(crops):
        told += reader.push(face(crop, start_s + step / 15, track_id=track_id), judged=judged)
    return told


def test_readings_come_after_a_second_every_hop_one_a_cue() -> None:
    told = read(CueReader(), [skin(k) for k in range(32)])
    assert [r.name for r in told[:4]] == ["sharpness", "colour-flicker", "motion-residual", "motion-slip"]
    assert len(told) == 4 * 4
    assert {r.z for r in told} == {None}
    assert all("Learning" in r.text for r in told)


def test_a_face_that_turns_soft_is_told_against_its_own_first_twenty_seconds() -> None:
    reader = CueReader()
    read(reader, [skin(k) for k in range(340)])
    usual = read(reader, [skin(k) for k in range(32)], start_s=340 / 15)[-4:]
    swapped = read(reader, [softened(skin(k)) for k in range(32)], start_s=372 / 15)[-4:]
    assert {r.severity for r in usual} == {Severity.NORMAL}
    soft = swapped[0]
    assert soft.severity is Severity.STRONG
    assert soft.z is not None
    assert soft.z < -6
    assert "softer" in soft.text
    assert "filter" in soft.innocent
    assert soft.end_ns - soft.start_ns == pytest.approx(31 / 15 * 1e9, abs=2)


def test_a_face_that_was_always_soft_is_normal_for_itself() -> None:
    reader = CueReader()
    told = read(reader, [softened(skin(k)) for k in range(380)])
    assert told[-4].z is not None
    assert told[-4].severity is Severity.NORMAL


def test_what_fails_the_gates_is_neither_read_nor_learned() -> None:
    reader = CueReader()
    assert read(reader, [softened(skin(k)) for k in range(400)], judged=False) == []
    told = read(reader, [skin(k) for k in range(340)], start_s=400 / 15)
    assert told[0].z is None
    swapped = read(reader, [softened(skin(k)) for k in range(32)], start_s=740 / 15)
    assert swapped[-4].severity is Severity.STRONG


def test_no_reading_spans_a_gap() -> None:
    reader = CueReader()
    read(reader, [skin(k) for k in range(20)])
    assert read(reader, [skin(k) for k in range(15)], start_s=3.0) == []
    (first, *_) = read(reader, [skin(99)], start_s=4.0)
    assert first.start_ns == 3_000_000_000


def test_a_cut_forgets_the_person_and_what_was_usual_for_them() -> None:
    reader = CueReader()
    read(reader, [skin(k) for k in range(380)])
    reader.cut(1)
    assert len(reader) == 0
    told = read(reader, [softened(skin(k)) for k in range(32)], start_s=400 / 15)
    assert {r.z for r in told} == {None}


def test_only_so_many_people_are_remembered() -> None:
    reader = CueReader(max_tracks=3)
    for track_id in range(10):
        read(reader, [skin(k) for k in range(16)], track_id=track_id)
    assert len(reader) == 3


def test_two_people_do_not_share_a_normal() -> None:
    reader, both = CueReader(), []
    for step in range(380):
        for track_id, crop in ((1, skin(step)), (2, softened(skin(step)))):
            both += reader.push(face(crop, step / 15, track_id=track_id), judged=True)
    last = {(r.track_id, r.name): r for r in both}
    assert last[1, "sharpness"].severity is last[2, "sharpness"].severity is Severity.NORMAL
    assert last[1, "sharpness"].value > last[2, "sharpness"].value + 0.5


@pytest.mark.parametrize("cue", [sharpness, flicker, residual, slip])
@pytest.mark.parametrize("z", [None, 0.0, 4.0, -4.0, 9.0, -9.0])
def test_every_reading_has_words_and_an_innocent_explanation(cue: object, z: float | None) -> None:
    text, innocent = cue.texts(z, severity(z))  # type: ignore[attr-defined]
    assert text.endswith(".")
    assert innocent.endswith(".")
    assert not {"fake", "fraud", "liar", "impostor"} & set(text.lower().replace(".", "").split())
