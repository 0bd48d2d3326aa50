"""Challenges as stories: done well, late, too little, the wrong way, frozen, replayed, lost, slow, jittered."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from monitor.helpdesk import challenges
from monitor.helpdesk.challenge_types import (
    OUTCOME_OF,
    Drawn,
    Kind,
    Limit,
    Outcome,
    Result,
    Sample,
    ScoredWindow,
    Sound,
    Timing,
    Why,
)
from monitor.helpdesk.challenges import Asked, Step, again, draw, given_entry, next_step, possible, result_entry, tally
from monitor.helpdesk.motion import motion_of, pitch_deg, turns
from monitor.helpdesk.record_entries import body
from monitor.helpdesk.scoring import Seen
from monitor.helpdesk.seeded import Seeded, new_seed
from monitor.helpdesk.wording import (
    ACCUSING,
    ADVICE,
    INSTRUCTION,
    LIMIT_TEXT,
    OUTCOME_TEXT,
    READ_OUT,
    WHY_TEXT,
    instruction,
    why,
)
from monitor.types import FaceObservation
from tests import motion_stories as stories
from tests.motion_stories import Face, Script, Story, observation

SEED = "00112233445566778899aabbccddeeff"
TIMING = Timing(round_trip_ms=100.0, jitter_ms=10.0)


def drawn(kind: Kind, *, mirrored: bool = False, count: int = 1) -> Drawn:
    return Drawn(1, 1, kind, SEED, mirrored, count, (4, 0, 7, 1) if kind is Kind.DIGITS else ())


def scored(
    challenge: Drawn,
    story: Story,
    *,
    timing: Timing = TIMING,
    sound: Sound | None = None,
    windows: tuple[ScoredWindow, ...] = (),
    digits_right: bool | None = None,
) -> Result:
    seen = Seen(motion_of(story.samples()), sound, windows, digits_right)
    return challenges.score(challenge, seen, timing)


WELL: dict[Kind, tuple[Drawn, Script]] = {
    Kind.PROFILE: (drawn(Kind.PROFILE), stories.profile()),
    Kind.LOOK: (drawn(Kind.LOOK), stories.look()),
    Kind.HAND: (drawn(Kind.HAND), stories.hand()),
    Kind.NOSE: (drawn(Kind.NOSE, count=3), stories.finger()),
    Kind.NEAR: (drawn(Kind.NEAR, count=2), stories.near(times=2)),
    Kind.SHAKE: (drawn(Kind.SHAKE), stories.shake()),
    Kind.DIGITS: (drawn(Kind.DIGITS), stories.saying()),
    Kind.EYES: (drawn(Kind.EYES, count=2), stories.eyes(times=2)),
    Kind.MOUTH: (drawn(Kind.MOUTH, count=2), stories.mouth()),
}
SOUND = stories.sound()
KINDS = sorted(Kind, key=lambda kind: kind.value)


def sound_for(kind: Kind, story: Story | None = None) -> Sound | None:
    if kind is not Kind.DIGITS:
        return None
    return SOUND if story is None else stories.sound(delay_s=story.delay_s + story.late_s, seconds=story.seconds)


# ------------------------------------------------------------------------------------ one story after another


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_done_well(kind: Kind, seed: int) -> None:
    challenge, script = WELL[kind]
    result = scored(challenge, Story(script, seed=seed), sound=sound_for(kind))
    assert (result.outcome, result.why) == (Outcome.PASSED, Why.DONE), result
    assert result.onset_delay_ms is not None
    assert 600 < result.onset_delay_ms < 1600
    assert "The movement was seen as asked, beginning" in result.reason
    assert result.measured


@pytest.mark.parametrize("kind", KINDS)
def test_done_well_over_a_slow_connection_counts_the_caller_alone(kind: Kind) -> None:
    challenge, script = WELL[kind]
    near, far = Story(script), Story(script, delay_s=1.3, seconds=13.0)
    here = scored(challenge, near, sound=sound_for(kind))
    there = scored(challenge, far, sound=sound_for(kind, far), timing=Timing(900.0, 20.0, media_lag_ms=400.0))
    assert there.outcome is Outcome.PASSED, there
    assert here.onset_delay_ms is not None
    assert there.onset_delay_ms == pytest.approx(here.onset_delay_ms, abs=150)


@pytest.mark.parametrize("kind", KINDS)
def test_done_well_but_late(kind: Kind) -> None:
    challenge, script = WELL[kind]
    if kind in (Kind.NEAR, Kind.EYES):
        challenge = replace(challenge, count=1)
        script = stories.near() if kind is Kind.NEAR else stories.eyes()
    story = Story(script, late_s=4.2)
    result = scored(challenge, story, sound=sound_for(kind, story))
    assert (result.outcome, result.why) == (Outcome.NOT_DONE, Why.TOO_LATE), result
    patience = Timing(100.0, more_time=True)
    patient = scored(challenge, replace(story, seconds=30.0), sound=sound_for(kind, story), timing=patience)
    assert patient.outcome is Outcome.PASSED


@pytest.mark.parametrize("kind", KINDS)
def test_begun_before_the_words_could_arrive(kind: Kind) -> None:
    challenge, script = WELL[kind]
    story = Story(script, late_s=-0.75)
    result = scored(challenge, story, sound=sound_for(kind, story), timing=Timing(700.0, 10.0))
    assert (result.outcome, result.why) == (Outcome.FAILED, Why.TOO_EARLY), result


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_was_done(kind: Kind) -> None:
    challenge, _ = WELL[kind]
    result = scored(challenge, Story(stories.still), sound=stories.sound(loud=0.0) if kind is Kind.DIGITS else None)
    assert (result.outcome, result.why) == (Outcome.NOT_DONE, Why.NO_MOTION)
    assert result.onset_delay_ms is None


@pytest.mark.parametrize(
    ("challenge", "script", "expected"),
    [
        (drawn(Kind.PROFILE), stories.profile(left=22, right=22), Why.TOO_LITTLE),
        (drawn(Kind.PROFILE), stories.profile(right=0), Why.TOO_LITTLE),
        (drawn(Kind.LOOK), stories.look(up=9, down=9), Why.TOO_LITTLE),
        (drawn(Kind.HAND), stories.hand(columns=2), Why.TOO_LITTLE),
        (drawn(Kind.HAND), stories.hand(seconds=0.6), Why.TOO_QUICK),
        (drawn(Kind.HAND), stories.hand(seconds=0.9), Why.TOO_QUICK),
        (drawn(Kind.NOSE, count=3), stories.finger(seconds=1.0), Why.TOO_SHORT_HELD),
        (drawn(Kind.NOSE, count=3), stories.finger(whole_hand=True), Why.TOO_MUCH_HIDDEN),
        (drawn(Kind.NEAR), stories.near(growth=1.2), Why.TOO_LITTLE),
        (drawn(Kind.NEAR, count=2), stories.near(times=1), Why.TOO_FEW),
        (drawn(Kind.NEAR), stories.near(back=False), Why.NOT_BACK),
        (drawn(Kind.SHAKE), stories.shake(swing=4), Why.NO_MOTION),
        (drawn(Kind.SHAKE), stories.shake(seconds=0.5), Why.TOO_FEW),
        (drawn(Kind.SHAKE), stories.shake(hz=0.3, seconds=8), Why.TOO_SLOW),
        (drawn(Kind.EYES), stories.eyes(seconds=0.15), Why.NO_MOTION),
        (drawn(Kind.EYES), stories.eyes(seconds=0.7), Why.TOO_SHORT_HELD),
        (drawn(Kind.EYES, count=2), stories.eyes(), Why.TOO_FEW),
        (drawn(Kind.MOUTH, count=2), stories.mouth(wide=0.08), Why.TOO_LITTLE),
        (drawn(Kind.MOUTH, count=3), stories.mouth(times=2), Why.TOO_FEW),
    ],
)
def test_too_little_too_few_too_quick(challenge: Drawn, script: Script, expected: Why) -> None:
    result = scored(challenge, Story(script))
    assert (result.outcome, result.why) == (Outcome.NOT_DONE, expected), result


@pytest.mark.parametrize(
    ("challenge", "script"),
    [
        (drawn(Kind.PROFILE), stories.profile(first=-1)),
        (drawn(Kind.PROFILE, mirrored=True), stories.profile()),
        (drawn(Kind.LOOK), stories.look(first=-1)),
        (drawn(Kind.LOOK, mirrored=True), stories.look()),
        (drawn(Kind.HAND), stories.hand(from_left=False)),
        (drawn(Kind.HAND, mirrored=True), stories.hand()),
        (drawn(Kind.NEAR), stories.near(growth=0.6)),
    ],
)
def test_the_wrong_way(challenge: Drawn, script: Script) -> None:
    result = scored(challenge, Story(script))
    assert (result.outcome, result.why) == (Outcome.FAILED, Why.WRONG_WAY), result


@pytest.mark.parametrize("kind", [Kind.PROFILE, Kind.LOOK, Kind.HAND])
def test_the_other_way_round_where_that_was_drawn(kind: Kind) -> None:
    script = {Kind.PROFILE: stories.profile(first=-1), Kind.LOOK: stories.look(first=-1)}.get(
        kind, stories.hand(from_left=False)
    )
    assert scored(drawn(kind, mirrored=True), Story(script)).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("asked", "replayed"),
    [
        (Kind.LOOK, Kind.PROFILE),
        (Kind.HAND, Kind.PROFILE),
        (Kind.PROFILE, Kind.LOOK),
        (Kind.SHAKE, Kind.LOOK),
        (Kind.PROFILE, Kind.NEAR),
        (Kind.NEAR, Kind.SHAKE),
        (Kind.NEAR, Kind.HAND),
        (Kind.EYES, Kind.PROFILE),
        (Kind.MOUTH, Kind.HAND),
        (Kind.NOSE, Kind.NEAR),
    ],
)
def test_another_challenge_replayed(asked: Kind, replayed: Kind) -> None:
    script = stories.shake(swing=30) if replayed is Kind.SHAKE else WELL[replayed][1]
    result = scored(WELL[asked][0], Story(script))
    assert (result.outcome, result.why) == (Outcome.FAILED, Why.OTHER_MOTION), result


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_picture_cannot_tell(kind: Kind) -> None:
    challenge, script = WELL[kind]
    result = scored(challenge, Story(script, frozen_from_s=0.5), sound=sound_for(kind))
    assert (result.outcome, result.why) == (Outcome.CANNOT_TELL, Why.FROZEN)


def test_landmarks_that_never_change_are_a_frozen_picture_too() -> None:
    one = observation(Face(), np.random.default_rng(1))
    samples = [Sample(at, one) for at in np.arange(-1500.0, 8000.0, 66.0)]
    assert challenges.score(drawn(Kind.SHAKE), Seen(motion_of(samples)), TIMING).why is Why.FROZEN


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_face_cannot_tell(kind: Kind) -> None:
    challenge, script = WELL[kind]

    def lost(at: float) -> Face:
        return replace(script(at), seen=at < 0.7)

    result = scored(challenge, Story(lost), sound=sound_for(kind))
    assert (result.outcome, result.why) == (Outcome.CANNOT_TELL, Why.FACE_LOST)


def test_a_face_that_is_lost_at_the_far_side_has_turned_far() -> None:
    result = scored(drawn(Kind.PROFILE), Story(stories.profile(left=80, right=80, lost_beyond=33)))
    assert result.outcome is Outcome.PASSED, result
    early = scored(drawn(Kind.PROFILE), Story(stories.profile(left=80, right=80, lost_beyond=15)))
    assert early.outcome is Outcome.NOT_DONE


@pytest.mark.parametrize("kind", KINDS)
def test_too_few_pictures_cannot_tell(kind: Kind) -> None:
    challenge, script = WELL[kind]
    result = scored(challenge, Story(script, rate_hz=4.0), sound=sound_for(kind))
    assert (result.outcome, result.why) == (Outcome.CANNOT_TELL, Why.RATE_TOO_LOW)


@pytest.mark.parametrize("kind", KINDS)
def test_ten_pictures_a_second_with_a_wavering_clock_are_enough(kind: Kind) -> None:
    challenge, script = WELL[kind]
    for seed in range(3):
        result = scored(challenge, Story(script, rate_hz=10.0, jitter_s=0.045, seed=seed), sound=sound_for(kind))
        assert result.outcome is Outcome.PASSED, result


@pytest.mark.parametrize("kind", KINDS)
def test_a_clock_that_runs_backwards_cannot_tell(kind: Kind) -> None:
    challenge, script = WELL[kind]
    result = scored(challenge, Story(script, backwards=0.3), sound=sound_for(kind))
    assert (result.outcome, result.why) == (Outcome.CANNOT_TELL, Why.CLOCK)


def test_without_calm_picture_before_there_is_nothing_to_compare_with() -> None:
    samples = [one for one in Story(stories.profile()).samples() if one.at_ms > -150]
    assert challenges.score(drawn(Kind.PROFILE), Seen(motion_of(samples)), TIMING).why is Why.NO_CALM


def test_a_picture_that_is_enlarged_at_a_blow_did_not_come_closer() -> None:
    result = scored(drawn(Kind.NEAR), Story(lambda at: Face(size=320.0 if 1.0 < at < 3.0 else 200.0)))
    assert (result.outcome, result.why) == (Outcome.CANNOT_TELL, Why.JUMPED)


@pytest.mark.parametrize("kind", [Kind.HAND, Kind.NOSE, Kind.PROFILE, Kind.LOOK])
def test_what_was_not_measured_is_said(kind: Kind) -> None:
    def bare(one: Sample) -> Sample:
        face = one.face
        assert face is not None
        return Sample(one.at_ms, FaceObservation(face.box_px, face.score, face.landmarks, None))

    samples = [bare(one) for one in Story(WELL[kind][1]).samples()]
    result = challenges.score(WELL[kind][0], Seen(motion_of(samples)), TIMING)
    assert (result.outcome, result.why) == (Outcome.CANNOT_TELL, Why.NOT_MEASURED)


def test_no_samples_at_all_is_a_lost_face() -> None:
    assert challenges.score(drawn(Kind.LOOK), Seen(motion_of([])), TIMING).why is Why.FACE_LOST


# ------------------------------------------------------------------------------------ digits aloud


def digits(script: Script, sound: Sound | None = SOUND, heard: bool | None = None) -> Result:
    return scored(drawn(Kind.DIGITS), Story(script), sound=sound, digits_right=heard)


def test_a_voice_over_a_mouth_that_does_not_move() -> None:
    assert digits(stories.still).why is Why.SOUND_WITHOUT_MOUTH


@pytest.mark.parametrize("starts", [(2.2, 3.05, 4.3, 6.0), (0.6, 2.25, 4.0, 5.1)])
def test_a_mouth_that_says_something_else(starts: tuple[float, ...]) -> None:
    assert digits(stories.saying(starts=starts)).outcome is Outcome.FAILED


def test_a_mouth_that_is_a_second_behind_its_voice() -> None:
    result = digits(stories.saying(lead_s=-1.1))
    assert result.why is Why.SOUND_WITHOUT_MOUTH, result


def test_a_mouth_without_a_voice_may_be_a_microphone_that_is_off() -> None:
    for sound in (None, stories.sound(loud=0.0)):
        result = digits(stories.saying(), sound)
        assert (result.outcome, result.why) == (Outcome.CANNOT_TELL, Why.NO_SOUND)


def test_two_words_are_too_few() -> None:
    starts = stories.WORD_STARTS[:2]
    assert digits(stories.saying(starts=starts), stories.sound(starts)).why is Why.TOO_FEW


def test_the_agent_hears_what_was_said() -> None:
    assert digits(stories.saying(), heard=True).outcome is Outcome.PASSED
    assert digits(stories.saying(), heard=False).why is Why.OTHER_DIGITS


# ------------------------------------------------------------------------------------ the detector


def test_the_detectors_shift_is_reported_and_decides_nothing() -> None:
    challenge, script = WELL[Kind.PROFILE]
    windows = (ScoredWindow(-2000, -100, -3.0), ScoredWindow(1000, 3000, 4.0), ScoredWindow(3000, 5000, 6.0))
    plain, shifted = scored(challenge, Story(script)), scored(challenge, Story(script), windows=windows)
    assert plain.shift is None
    assert shifted.shift is not None
    assert (shifted.shift.rise, shifted.shift.stressed_windows) == (8.0, 2)
    assert replace(shifted, shift=None) == plain


# ------------------------------------------------------------------------------------ drawing


def test_a_draw_can_be_repeated_and_its_values_are_fixed() -> None:
    one = draw(SEED, frozenset(), 6)
    assert one == draw(SEED, frozenset(), 6)
    assert [each.kind for each in one] == GOLDEN_KINDS
    assert Seeded(SEED, "x").below(1 << 32) == GOLDEN_DRAW


GOLDEN_KINDS = [Kind.LOOK, Kind.DIGITS, Kind.PROFILE, Kind.NEAR, Kind.HAND, Kind.NOSE]
GOLDEN_DRAW = 2_491_245_136


def test_no_kind_twice_before_all_had_their_turn_and_never_twice_in_a_row() -> None:
    for number in range(200):
        plan = [one.kind for one in draw(f"{number:032x}", frozenset(), 8)]
        assert len(set(plan[:7])) == 7
        assert all(a is not b for a, b in itertools.pairwise(plan))


def test_every_kind_and_side_is_drawn_about_equally_often() -> None:
    plans = [draw(f"{number:032x}", frozenset(), 1)[0] for number in range(1400)]
    counts = Counter(one.kind for one in plans)
    assert all(140 < counts[kind] < 260 for kind in challenges.USUAL)
    assert 600 < sum(one.mirrored for one in plans) < 800


def test_limits_leave_out_what_a_caller_cannot_do_and_bring_alternatives() -> None:
    assert Kind.SHAKE not in possible(frozenset({Limit.HEAD}))
    few = frozenset({Limit.HEAD, Limit.HANDS})
    assert set(possible(few)) == {Kind.NEAR, Kind.DIGITS, Kind.EYES, Kind.MOUTH}
    most = frozenset({Limit.HEAD, Limit.HANDS, Limit.LEANING, Limit.FACE})
    assert [one.kind for one in draw(SEED, most, 3)] == [Kind.DIGITS]
    assert draw(SEED, frozenset(Limit), 3) == ()
    assert possible(frozenset({Limit.READING, Limit.MORE_TIME, Limit.LIGHT})) == challenges.USUAL


def test_wrong_seeds_and_counts_are_refused() -> None:
    for seed in ("", "00", "zz" * 16):
        with pytest.raises(ValueError, match=r"."):
            draw(seed, frozenset(), 3)
    with pytest.raises(ValueError, match="count from 1 to 8"):
        draw(new_seed(), frozenset(), 9)


def asked(challenge: Drawn, reason: Why) -> Asked:
    return Asked(challenge, Result(challenge.kind, OUTCOME_OF[reason], reason, "", None, (), None))


def test_repeats_are_bounded() -> None:
    plan = draw(SEED, frozenset(), 3)
    assert next_step(plan, []) is Step.NEXT
    assert next_step(plan, [asked(plan[0], Why.DONE)]) is Step.NEXT
    assert next_step(plan, [asked(plan[0], Why.TOO_LITTLE)]) is Step.AGAIN
    second = again(plan[0])
    assert (second.kind, second.number, second.attempt) == (plan[0].kind, 1, 2)
    assert second.seed != plan[0].seed
    assert next_step(plan, [asked(plan[0], Why.TOO_LITTLE), asked(second, Why.FROZEN)]) is Step.NEXT
    with pytest.raises(ValueError, match="asked 2 times"):
        again(second)
    assert next_step(plan, [asked(plan[2], Why.DONE)]) is Step.ENOUGH
    assert next_step(plan, [asked(plan[0], Why.FROZEN)] * challenges.MAX_ASKED) is Step.ENOUGH


def test_the_last_result_of_each_challenge_counts() -> None:
    plan = draw(SEED, frozenset(), 2)
    got = tally([asked(plan[0], Why.FROZEN), asked(again(plan[0]), Why.DONE), asked(plan[1], Why.WRONG_WAY)])
    assert (got.passed, got.failed, got.not_done, got.cannot_tell) == (1, 1, 0, 0)


def test_what_is_asked_and_what_came_of_it_go_into_the_record() -> None:
    challenge, script = WELL[Kind.DIGITS]
    given = body(given_entry(challenge, 4000))
    assert given["parameters"] == ["mirrored=no", "count=1", "digits=4071"]
    assert given["instruction"] == "Say these digits aloud, with a short pause after each: 4 0 7 1."
    windows = (ScoredWindow(-2000, -100, -3.0), ScoredWindow(1000, 3000, 4.0))
    result = scored(challenge, Story(script), sound=SOUND, windows=windows)
    said = result_entry(Asked(challenge, result), TIMING)
    assert (said.outcome, said.round_trip_ms) == ("PASSED", 100.0)
    assert [one.name for one in said.measured][-2:] == ["detector, calm", "detector, during the challenge"]


# ------------------------------------------------------------------------------------ words


def test_every_value_has_words_and_none_accuses() -> None:
    assert set(WHY_TEXT) == set(Why) == set(OUTCOME_OF)
    assert set(INSTRUCTION) == set(Kind) == set(challenges.NEEDS)
    assert (set(LIMIT_TEXT), set(OUTCOME_TEXT), set(ADVICE)) == (set(Limit), set(Outcome), set(Outcome))
    texts = [*WHY_TEXT.values(), *LIMIT_TEXT.values(), *OUTCOME_TEXT.values(), *ADVICE.values(), READ_OUT]
    texts += [text for pair in INSTRUCTION.values() for text in pair]
    for text in texts:
        assert not [word for word in ACCUSING if word in text.lower()], text


@pytest.mark.parametrize("kind", KINDS)
def test_instructions_and_reasons_are_whole_sentences(kind: Kind) -> None:
    for mirrored in (False, True):
        for count in (1, 2, 3):
            text = instruction(drawn(kind, mirrored=mirrored, count=count))
            assert text.endswith(".")
            assert "{" not in text
    assert all("{" not in why(reason, delay) for reason in Why for delay in (None, 1234.0))


# ------------------------------------------------------------------------------------ signals


def test_turning_points_of_a_wave() -> None:
    wave = 20 * np.sin(np.linspace(0, 6 * np.pi, 120))
    assert len(turns(wave, 15.0)) in (7, 8)
    assert turns(wave, 50.0) == []
    assert turns(np.full(5, np.nan), 1.0) == []


def test_looking_up_is_positive() -> None:
    face = observation(Face(pitch=20.0, yaw=10.0), np.random.default_rng(1))
    assert pitch_deg(face) == pytest.approx(20.0, abs=2.5)
    assert face.yaw_deg == pytest.approx(10.0, abs=2.5)


def test_samples_are_bounded() -> None:
    with pytest.raises(ValueError, match="at most 20000"):
        motion_of([Sample(0.0, None)] * 20_001)
