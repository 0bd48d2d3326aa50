"""The light probe: its sequence is safe, its measuring finds what follows, and a simulated pasted face does not."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from monitor.helpdesk import light_probe_rates
from monitor.helpdesk.challenge_types import Floats, Outcome, Timing
from monitor.helpdesk.light_probe import ProbeSetting, declined, judge_light
from monitor.helpdesk.light_response import respond
from monitor.helpdesk.light_sequence import (
    LUMINANCE,
    PALETTE,
    LightSequence,
    encoded,
    flash_check,
    linearised,
    make_sequence,
)
from monitor.helpdesk.light_simulation import Face, Scene, samples
from monitor.helpdesk.light_skin import LightSample, measure, regions_of
from monitor.helpdesk.light_types import LightResult, LightWhy
from monitor.helpdesk.record_entries import body

SEED = "0f" * 16
SEQUENCE = make_sequence(SEED)
SETTING = ProbeSetting(Timing(round_trip_ms=150.0, jitter_ms=10.0))
H264_KBPS = 15


@lru_cache
def simulated(scene: Scene) -> tuple[LightSample, ...]:
    return tuple(samples(SEQUENCE, scene))


def probed(scene: Scene, setting: ProbeSetting = SETTING) -> LightResult:
    return judge_light(SEQUENCE, simulated(scene), setting)


def value(result: LightResult, name: str) -> float:
    return next(one.value for one in result.measured if one.name == name)


# ------------------------------------------------------------------------------------ what is shown


def test_every_sequence_is_soft_slow_and_without_a_flash() -> None:
    for number in range(25):
        sequence = make_sequence(f"{number:032x}")
        found = flash_check(sequence)
        assert found.safe
        assert found.within_wcag
        assert found.changes_per_s < 3
        assert found.luminance_range < 0.05
        assert not (np.diff(sequence.colours, axis=0) == 0).all(axis=1).any()
    assert np.ptp(PALETTE @ LUMINANCE) < 0.03


def test_a_sequence_can_be_made_again_from_its_seed() -> None:
    one, other = make_sequence(SEED), make_sequence(SEED)
    assert np.array_equal(one.colours, other.colours)
    assert one.css() == other.css()
    assert one.css()[0] == (0.0, "#6faf6f")
    assert make_sequence("1e" * 16).css() != one.css()


@pytest.mark.parametrize(
    ("colours", "step_ms"),
    [
        ([(0, 0, 0), (1, 1, 1)], 150.0),
        ([(0.3, 0.3, 0.3), (0.45, 0.45, 0.45)], 900.0),
        ([(0.9, 0.05, 0.05), (0.05, 0.1, 0.9)], 900.0),
        ([(0.36, 0.35, 0.36), (0.35, 0.36, 0.35)], 250.0),
    ],
)
def test_what_would_flash_cannot_be_made(colours: list[tuple[float, float, float]], step_ms: float) -> None:
    """Black and white; a change of a tenth of the luminance and back; saturated red; more than three changes."""
    starts = np.arange(0.0, 10_000.0, step_ms)
    rows = np.array([colours[at % 2] for at in range(len(starts))])
    with pytest.raises(ValueError, match="not safe to show"):
        LightSequence(SEED, starts, rows, 10_000.0, fade_ms=min(100.0, step_ms / 2))


def test_wcag_counts_pairs_of_changes_in_a_second() -> None:
    class Bare(LightSequence):
        def __post_init__(self) -> None:
            """Unchecked, to be counted."""

    starts = np.arange(0.0, 10_000.0, 125.0)
    rows = np.array([(0.0, 0.0, 0.0) if at % 2 else (0.5, 0.5, 0.5) for at in range(len(starts))])
    found = flash_check(Bare(SEED, starts, rows, 10_000.0, 20.0))
    assert 3.5 <= found.general_per_s <= 4.5
    assert not found.within_wcag
    bright = flash_check(Bare(SEED, starts, 0.82 + 0.3 * rows, 10_000.0, 20.0))
    assert bright.general_per_s == 0


def test_light_is_linear_light() -> None:
    codes = np.linspace(0, 1, 256)
    assert np.allclose(encoded(linearised(codes)), codes)
    assert linearised(np.array([0.5]))[0] == pytest.approx(0.2140, abs=1e-4)


# ------------------------------------------------------------------------------------ measuring


def test_patches_lie_on_forehead_cheeks_neck_and_beside_the_head() -> None:
    points = np.full((478, 3), 100.0, np.float32)
    for index, place in {10: (100, 40), 152: (100, 160), 234: (55, 100), 454: (145, 100)}.items():
        points[index, :2] = place
    for index, place in {151: (100, 60), 50: (75, 110), 280: (125, 110)}.items():
        points[index, :2] = place
    regions = regions_of(points, 200, 200)
    image = np.zeros((200, 200, 3), np.uint8)
    image[40:160, 55:145] = 200
    image[160:, 60:140] = 100
    image[:, :50] = image[:, 150:] = 50
    found = measure(image, regions, 5.0)
    for colour, code in ((found.face, 200), (found.neck, 100), (found.surround, 50)):
        assert colour is not None
        assert encoded(colour) * 255 == pytest.approx([code] * 3, abs=0.5)
    assert (found.luma, found.clipped) == (pytest.approx(200), 0.0)
    cut = regions_of(points, 200, 165)
    assert cut.neck == ()
    assert measure(image[:165], cut, 0.0).neck is None


def colours(sequence: LightSequence, lag_ms: float, gain: float, noise: float) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(0)
    at_ms = np.arange(0.0, sequence.duration_ms + 400.0, 66.0) + rng.uniform(-15, 15)
    light = np.log(0.3 * np.array([1.0, 0.7, 0.5])) + gain * sequence.linear_at(at_ms - lag_ms)
    return at_ms, np.exp(light + rng.normal(0, noise, light.shape))


@pytest.mark.parametrize("lag_ms", [100.0, 450.0, 1200.0])
def test_lag_and_gain_come_out_as_put_in(lag_ms: float) -> None:
    sequence = make_sequence(SEED)
    found = respond(sequence, *colours(sequence, lag_ms, 0.1, 0.01))
    assert found is not None
    assert found.follows(0.01)
    assert found.lag_ms == pytest.approx(lag_ms, abs=50)
    assert found.gain == pytest.approx(0.1, rel=0.12)
    assert found.spread_ms <= 100


def test_chance_follows_as_often_as_it_says() -> None:
    """Colours that wander by themselves pass p <= 0.05 in about one case of twenty."""
    passed = 0
    for number in range(25):
        sequence, rng = make_sequence(f"{number:032x}"), np.random.default_rng(number)
        at_ms = np.arange(0.0, 20_400.0, 66.0)
        walk = np.cumsum(rng.normal(0, 0.01, (len(at_ms), 3)), axis=0)
        found = respond(sequence, at_ms, np.exp(-1 + walk))
        assert found is not None
        passed += found.p <= 0.05
    assert passed <= 5


def test_too_little_of_the_sequence_is_no_response() -> None:
    sequence = make_sequence(SEED)
    at_ms, seen = colours(sequence, 100.0, 0.1, 0.01)
    assert respond(sequence, at_ms[:100], seen[:100]) is None
    assert respond(sequence, at_ms[150:], seen[150:]) is None
    assert respond(sequence, at_ms[::30], seen[::30]) is None


# ------------------------------------------------------------------------------------ simulated people


@pytest.mark.parametrize("bitrate", [None, H264_KBPS])
def test_a_real_face_follows_the_screen(bitrate: int | None) -> None:
    result = probed(Scene(bitrate_kbps=bitrate))
    assert (result.outcome, result.why) == (Outcome.PASSED, LightWhy.FOLLOWS)
    assert value(result, "face lag") == pytest.approx(250, abs=60)
    assert value(result, "face chance") < 0.01
    assert body(result.entry(SEED))["outcome"] == "PASSED"


@pytest.mark.parametrize("bitrate", [None, H264_KBPS])
def test_a_pasted_face_does_not(bitrate: int | None) -> None:
    result = probed(Scene(face=Face.PASTED, bitrate_kbps=bitrate))
    assert (result.outcome, result.why) == (Outcome.FAILED, LightWhy.FACE_DOES_NOT_FOLLOW)


def test_a_face_that_follows_later_than_its_neck_fails() -> None:
    result = probed(Scene(face=Face.DELAYED, bitrate_kbps=H264_KBPS))
    assert (result.outcome, result.why) == (Outcome.FAILED, LightWhy.FACE_LATER_THAN_NECK)


def test_weak_light_through_a_poor_codec_does_not_fail_a_real_face() -> None:
    """The lags of face and neck are guesses then, and may lie apart."""
    for seed in range(6):
        result = probed(Scene(screen_share=0.06, bitrate_kbps=12, noise=4.0, seed=seed))
        assert result.outcome is not Outcome.FAILED, result


def test_a_face_that_follows_far_less_than_its_neck_fails() -> None:
    result = probed(Scene(face=Face.TINTED, tint_share=0.15, neck_share=0.9))
    assert result.why is LightWhy.FACE_UNLIKE_NECK


def test_a_face_that_follows_somewhat_less_than_its_neck_is_not_passed() -> None:
    result = probed(Scene(face=Face.TINTED, tint_share=0.4, neck_share=0.95, noise=4.0))
    assert result.outcome is not Outcome.PASSED


def test_daylight_cannot_tell_a_real_face_from_a_pasted_one() -> None:
    for face in (Face.REAL, Face.PASTED):
        result = probed(Scene(face=face, screen_share=0.001, bitrate_kbps=H264_KBPS))
        assert (result.outcome, result.why) == (Outcome.CANNOT_TELL, LightWhy.DAYLIGHT), result


def test_a_small_screen_is_the_likelier_reason_where_it_is_known() -> None:
    setting = replace(SETTING, screen_cm=12.0)
    assert probed(Scene(screen_share=0.001), setting).why is LightWhy.SMALL_SCREEN


def test_white_balance_at_work_does_not_fail_a_real_face() -> None:
    assert probed(Scene(auto_white=0.9)).outcome in (Outcome.PASSED, Outcome.CANNOT_TELL)


def test_exposure_at_work_does_not_matter() -> None:
    for auto in (True, False):
        assert probed(Scene(auto_exposure=auto, room=(0.2, 0.18, 0.15))).outcome is Outcome.PASSED


def test_light_that_comes_later_than_the_connection_explains_cannot_tell() -> None:
    result = probed(Scene(delay_ms=1350.0))
    assert (result.outcome, result.why) == (Outcome.CANNOT_TELL, LightWhy.LATE)
    slow = replace(SETTING, timing=Timing(700.0, 20.0, media_lag_ms=400.0))
    assert probed(Scene(delay_ms=1350.0), slow).outcome is Outcome.PASSED


def changed(**changes: object) -> LightResult:
    rows = [replace(one, **changes) for one in simulated(Scene())]  # type: ignore[arg-type]
    return judge_light(SEQUENCE, rows, SETTING)


def test_what_cannot_be_measured_says_why() -> None:
    assert changed(luma=10.0).why is LightWhy.TOO_DARK
    assert changed(clipped=0.4).why is LightWhy.GLARE
    assert changed(face=None).why is LightWhy.NOT_SEEN
    assert changed(neck=None, surround=None).why is LightWhy.ONLY_FACE
    assert changed(neck=None).why is LightWhy.FOLLOWS
    assert probed(Scene(rate_hz=4.0)).why is LightWhy.RATE_TOO_LOW
    flat = np.array([0.3, 0.2, 0.1])
    assert changed(face=flat, neck=flat, surround=flat).why is LightWhy.CODEC
    assert judge_light(SEQUENCE, [], SETTING).why is LightWhy.NOT_SEEN
    assert declined().outcome is Outcome.CANNOT_TELL


def test_glare_is_named_where_nothing_follows() -> None:
    rows = [replace(one, clipped=0.05) for one in simulated(Scene(screen_share=0.001))]
    assert judge_light(SEQUENCE, rows, SETTING).why is LightWhy.GLARE


def test_slow_changes_of_the_whole_picture_are_white_balance() -> None:
    rows = []
    for one in simulated(Scene(screen_share=0.001)):
        drift = np.exp(0.5 * np.array([1.0, 0.0, -1.0]) * np.sin(2 * np.pi * one.at_ms / 20_000.0))
        assert one.face is not None
        assert one.neck is not None
        assert one.surround is not None
        rows.append(replace(one, face=one.face * drift, neck=one.neck * drift, surround=one.surround * drift))
    assert judge_light(SEQUENCE, rows, SETTING).why is LightWhy.WHITE_BALANCE


def test_rates_are_printed_as_simulation(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: light_probe_rates.SCENES[name] for name in ("real face", "pasted face")}
    found = light_probe_rates.rates(1, bitrate_kbps=None, names=tuple(few))
    monkeypatch.setattr(light_probe_rates, "rates", lambda cases, bitrate_kbps: found)
    assert light_probe_rates.main(["--cases", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["simulation"] is True
    assert document["auc"] == 1.0
    assert [one["outcomes"][one["wanted"]] for one in document["scenes"]] == [1, 1]
    assert light_probe_rates.main(["--cases", "1"]) == 0
    assert capsys.readouterr().out.startswith("SIMULATION, not people.")
