"""What the monitor says of each person, as scripted stories: no detector, no clock, no sleep."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from engines.calibration import LEVELS, ReferenceBin, References
from monitor.evidence import OperatingPoint, sigmoid
from monitor.types import Alert, AlertKind, AlertLevel, Reason, State, Verdict
from monitor.verdict import MAX_CUES, MAX_FORGOTTEN, Judge
from tests.scripted import HOP_S, POINT, WINDOW_S, ns, quality, reading, refusal, score, status, tell

SIGNS, NONE = 5.0, -3.0


@pytest.fixture
def judge() -> Judge:
    return Judge(POINT)


def only(judge: Judge, at_s: float) -> Verdict:
    (verdict,) = judge.verdicts(ns(at_s))
    return verdict


def refuse(judge: Judge, seconds: float, *reasons: Reason, start_s: float, track_id: int = 1) -> float:
    """Refused windows, one a hop; returns the time of the last one."""
    at_s = start_s
    for step in range(round(seconds / HOP_S)):
        at_s = start_s + step * HOP_S
        judge.on_refusal(refusal(at_s, *reasons, track_id=track_id), ns(at_s))
    return at_s


def see(judge: Judge, start_s: float, seconds: float, reason: Reason | None = None, *, track_id: int = 1) -> float:
    """Statuses at 15 Hz; returns the time of the last one."""
    at_s = start_s
    for step in range(round(seconds * 15)):
        at_s = start_s + step / 15
        judge.on_status(status(at_s, reason, track_id=track_id), ns(at_s))
    return at_s


# ------------------------------------------------------------------------------------ states


def test_an_empty_room_has_no_verdicts(judge: Judge) -> None:
    assert judge.verdicts(ns(5)) == ()


def test_a_new_face_warms_up_until_its_first_score(judge: Judge) -> None:
    see(judge, 0.0, 2.0)
    assert only(judge, 2.0).state is State.WARMING_UP
    assert only(judge, 2.0).suspicion is None
    tell(judge, [NONE])
    assert only(judge, 2.1).state is State.NO_SIGN


def test_an_ordinary_call_shows_no_sign_and_full_coverage(judge: Judge) -> None:
    end_s = tell(judge, [NONE] * 60)
    verdict = only(judge, end_s)
    assert verdict.state is State.NO_SIGN
    assert verdict.suspicion == pytest.approx(sigmoid(NONE))
    assert verdict.coverage == 1.0
    assert verdict.reasons == ()
    assert judge.open_alerts == judge.closed_alerts == ()


def test_suspicion_at_the_lower_threshold_is_uncertain_without_an_alarm(judge: Judge) -> None:
    end_s = tell(judge, [0.1] * 60)
    assert only(judge, end_s).state is State.UNCERTAIN
    assert judge.open_alerts == ()


def test_lasting_signs_make_a_suspect_after_three_seconds_and_not_before(judge: Judge) -> None:
    end_s = tell(judge, [SIGNS] * 8)
    assert only(judge, end_s).state is State.UNCERTAIN
    end_s = tell(judge, [SIGNS], start_s=end_s + HOP_S)
    assert only(judge, end_s).state is State.SUSPECT
    assert only(judge, end_s).since_ns == ns(end_s)


def test_a_short_glitch_does_not_alarm(judge: Judge) -> None:
    end_s = tell(judge, [NONE] * 20 + [12.0] * 7 + [NONE] * 20)
    assert only(judge, end_s).state is State.NO_SIGN
    assert judge.closed_alerts == ()


def test_a_swap_that_begins_in_the_middle_of_a_call_is_found_within_six_seconds(judge: Judge) -> None:
    end_s = tell(judge, [NONE] * 180)
    end_s = tell(judge, [2.5] * 18, start_s=end_s + HOP_S)
    assert only(judge, end_s).state is State.SUSPECT


# ------------------------------------------------------------------------------------ cannot tell


def test_a_person_who_turns_away_cannot_be_told_and_the_reason_is_given(judge: Judge) -> None:
    end_s = tell(judge, [NONE] * 20)
    end_s = refuse(judge, 2.0, Reason.FACE_TURNED_AWAY, start_s=end_s + HOP_S)
    assert only(judge, end_s).state is State.NO_SIGN, "the score is still recent"
    end_s = refuse(judge, 2.0, Reason.FACE_TURNED_AWAY, start_s=end_s + HOP_S)
    verdict = only(judge, end_s)
    assert verdict.state is State.CANNOT_TELL
    assert verdict.suspicion is None
    assert verdict.reasons == (Reason.FACE_TURNED_AWAY,)
    assert verdict.as_of_ns == ns(end_s), "what is said now is fresh"


def test_a_score_is_shown_for_two_and_a_half_seconds_and_not_longer(judge: Judge) -> None:
    end_s = tell(judge, [NONE] * 20)
    assert only(judge, end_s + 2.5).suspicion is not None
    assert only(judge, end_s + 2.51).suspicion is None


def test_a_face_too_small_from_the_start_is_told_so_at_once(judge: Judge) -> None:
    see(judge, 0.0, 0.2, Reason.FACE_TOO_SMALL)
    verdict = only(judge, 0.2)
    assert (verdict.state, verdict.reasons) == (State.CANNOT_TELL, (Reason.FACE_TOO_SMALL,))
    assert verdict.coverage == 0.0


def test_a_face_that_waits_for_its_turn_is_shown_so_after_a_moment(judge: Judge) -> None:
    see(judge, 0.0, 1.0, Reason.WAITING_TURN)
    assert only(judge, 1.0).state is State.WARMING_UP
    see(judge, 1.0, 2.0, Reason.WAITING_TURN)
    verdict = only(judge, 3.0)
    assert (verdict.state, verdict.reasons) == (State.CANNOT_TELL, (Reason.WAITING_TURN,))


def test_waiting_now_and_then_while_scores_come_does_no_harm(judge: Judge) -> None:
    for step in range(150):
        at_s = step / 15
        judge.on_status(status(at_s, Reason.WAITING_TURN if step % 3 else None), ns(at_s))
        if step >= 31 and step % 5 == 1:
            judge.on_score(score(at_s, NONE), ns(at_s))
    verdict = only(judge, 10.0)
    assert verdict.state is State.NO_SIGN
    assert verdict.coverage > 0.98


def test_when_nothing_answers_at_all_the_monitor_says_that_it_has_stalled(judge: Judge) -> None:
    end_s = tell(judge, [NONE] * 20)
    end_s = see(judge, end_s, 4.0)
    verdict = only(judge, end_s)
    assert (verdict.state, verdict.reasons) == (State.CANNOT_TELL, (Reason.STALLED,))


def test_a_face_that_is_never_answered_does_not_warm_up_for_ever(judge: Judge) -> None:
    end_s = see(judge, 0.0, 6.5)
    assert (only(judge, end_s).state, only(judge, end_s).reasons) == (State.CANNOT_TELL, (Reason.STALLED,))


def test_a_stalled_stage_clears_every_score_at_once_and_they_come_back(judge: Judge) -> None:
    end_s = tell(judge, [NONE] * 20)
    judge.on_stall(ns(end_s + 0.1))
    verdict = only(judge, end_s + 0.1)
    assert (verdict.state, verdict.suspicion, verdict.reasons) == (State.CANNOT_TELL, None, (Reason.STALLED,))
    end_s = tell(judge, [NONE], start_s=end_s + 1.0)
    assert only(judge, end_s).state is State.NO_SIGN


def test_an_old_reason_is_not_given_for_a_new_silence(judge: Judge) -> None:
    end_s = refuse(judge, 2.0, Reason.TOO_DARK, start_s=1.0)
    end_s = tell(judge, [NONE] * 5, start_s=end_s + HOP_S)
    end_s = see(judge, end_s + 1 / 15, 3.0)
    assert only(judge, end_s).reasons == (Reason.STALLED,)


def test_the_reason_of_the_tracker_comes_before_that_of_the_window(judge: Judge) -> None:
    refuse(judge, 1.0, Reason.GAP, start_s=2.0)
    see(judge, 2.0, 1.0, Reason.FACE_TOO_SMALL)
    assert only(judge, 3.0).reasons == (Reason.FACE_TOO_SMALL, Reason.GAP)


def test_coverage_is_the_share_of_the_time_that_could_be_judged(judge: Judge) -> None:
    end_s = tell(judge, [NONE] * 24)
    judged_s = end_s
    end_s = refuse(judge, 10.0, Reason.TOO_DARK, start_s=end_s + HOP_S)
    assert only(judge, end_s).coverage == pytest.approx(judged_s / end_s, abs=0.02)


def test_a_score_that_is_not_a_number_is_no_answer(judge: Judge) -> None:
    from monitor.types import WindowScore

    broken = WindowScore(1, 0, ns(2), float("nan"), 0.5, np.zeros(32, np.float32), quality(), "m", "r")
    judge.on_score(broken, ns(2))
    assert only(judge, 2.0).suspicion is None


# ------------------------------------------------------------------------------------ alerts


def test_an_alert_opens_says_what_was_seen_and_closes_when_the_signs_have_gone(judge: Judge) -> None:
    end_s = tell(judge, [SIGNS] * 12)
    (opened,) = judge.open_alerts
    assert (opened.kind, opened.track_id, opened.closed_ns) == (AlertKind.MANIPULATION, 1, None)
    assert "99 %" in opened.evidence
    end_s = tell(judge, [NONE] * 60, start_s=end_s + HOP_S)
    assert judge.open_alerts == ()
    (closed,) = judge.closed_alerts
    assert closed.alert_id == opened.alert_id
    assert closed.opened_ns == opened.opened_ns
    assert closed.closed_ns is not None
    assert closed.closed_ns > opened.opened_ns
    assert "signs have gone" in closed.evidence
    assert only(judge, end_s).state is State.NO_SIGN


def test_signs_that_fade_for_a_moment_do_not_close_an_alert(judge: Judge) -> None:
    end_s = tell(judge, [SIGNS] * 15 + [NONE] * 5 + [SIGNS] * 10)
    (alert,) = judge.open_alerts
    assert "over 8 s" in alert.evidence, "the time without signs is neither added nor taken off"
    assert judge.closed_alerts == ()
    assert only(judge, end_s).state is State.SUSPECT


def test_an_alert_is_a_warning_until_suspicion_is_high_and_never_falls_back(judge: Judge) -> None:
    end_s = tell(judge, [1.5] * 30)
    assert judge.open_alerts[0].level is AlertLevel.WARNING
    end_s = tell(judge, [6.0] * 20, start_s=end_s + HOP_S)
    assert judge.open_alerts[0].level is AlertLevel.ALARM
    tell(judge, [1.5] * 30, start_s=end_s + HOP_S)
    assert judge.open_alerts[0].level is AlertLevel.ALARM
    assert judge.open_alerts[0].peak_suspicion > 0.95


def test_an_alert_stays_open_while_its_person_cannot_be_told_and_no_score_is_shown(judge: Judge) -> None:
    end_s = tell(judge, [SIGNS] * 15)
    end_s = refuse(judge, 8.0, Reason.FACE_TURNED_AWAY, start_s=end_s + HOP_S)
    verdict = only(judge, end_s)
    assert (verdict.state, verdict.suspicion) == (State.CANNOT_TELL, None)
    assert len(judge.open_alerts) == 1
    end_s = tell(judge, [SIGNS], start_s=end_s + WINDOW_S)
    assert only(judge, end_s).state is State.SUSPECT
    assert len(judge.open_alerts) == 1
    assert judge.open_alerts[0].alert_id == 1


def test_turning_away_does_not_wait_an_alert_out(judge: Judge) -> None:
    end_s = tell(judge, [SIGNS] * 15)
    end_s = refuse(judge, 60.0, Reason.FACE_TURNED_AWAY, start_s=end_s + HOP_S)
    tell(judge, [NONE], start_s=end_s + WINDOW_S)
    assert len(judge.open_alerts) == 1


def test_evidence_gathered_before_turning_away_counts_after(judge: Judge) -> None:
    end_s = tell(judge, [SIGNS] * 7)
    end_s = refuse(judge, 5.0, Reason.FACE_TURNED_AWAY, start_s=end_s + HOP_S)
    tell(judge, [SIGNS] * 3, start_s=end_s + WINDOW_S)
    assert len(judge.open_alerts) == 1


def test_each_alert_has_a_number_of_its_own_and_the_newest_closed_comes_first(judge: Judge) -> None:
    end_s = 0.0
    for _ in range(25):
        end_s = tell(judge, [SIGNS] * 12 + [NONE] * 60, start_s=end_s + WINDOW_S)
    assert [a.alert_id for a in judge.closed_alerts] == list(range(25, 5, -1))


# ------------------------------------------------------------------------------------ people


def test_a_tile_reshuffle_never_inherits_a_score(judge: Judge) -> None:
    end_s = tell(judge, [SIGNS] * 15)
    cut_s = end_s + 0.1
    judge.on_status(status(cut_s, cut=True), ns(cut_s))
    verdict = only(judge, cut_s)
    assert (verdict.state, verdict.suspicion, verdict.coverage) == (State.WARMING_UP, None, 0.0)
    assert judge.open_alerts == ()
    assert "another person" in judge.closed_alerts[0].evidence


def test_a_score_that_was_on_its_way_when_the_picture_cut_is_thrown_away(judge: Judge) -> None:
    end_s = tell(judge, [NONE] * 15)
    cut_s = end_s + 0.1
    judge.on_status(status(cut_s, cut=True), ns(cut_s))
    judge.on_score(score(cut_s - 0.03, SIGNS), ns(cut_s + 0.1))
    assert only(judge, cut_s + 0.1).suspicion is None
    judge.on_score(score(cut_s + WINDOW_S, NONE), ns(cut_s + WINDOW_S))
    assert only(judge, cut_s + WINDOW_S).suspicion == pytest.approx(sigmoid(NONE))


def test_a_cut_is_remembered_even_of_a_person_who_was_forgotten_meanwhile() -> None:
    judge = Judge(POINT, max_people=1)
    judge.on_status(status(5.0, cut=True), ns(5.0))
    see(judge, 5.1, 0.2, track_id=2)
    judge.on_score(score(5.0, SIGNS), ns(5.3))
    assert {v.track_id for v in judge.verdicts(ns(5.3))} == {2}


def test_who_ever_left_or_cut_is_not_remembered_without_end(judge: Judge) -> None:
    for track_id in range(1, 1000):
        judge.on_status(status(1.0, track_id=track_id, cut=True), ns(1.0))
        judge.on_status(status(1.1, track_id=track_id, ended=True), ns(1.1))
    assert len(judge._ended) == len(judge._cuts) == MAX_FORGOTTEN


def test_a_refusal_that_reports_the_cut_is_heard(judge: Judge) -> None:
    judge.on_status(status(5.0, cut=True), ns(5.0))
    judge.on_refusal(refusal(5.3, Reason.CUT, start_s=4.9), ns(5.3))
    assert only(judge, 5.3).reasons == (Reason.CUT,)


def test_a_cue_of_the_person_before_a_cut_is_thrown_away(judge: Judge) -> None:
    see(judge, 0.0, 3.0)
    judge.on_cue(reading(3.0), ns(3.0))
    judge.on_status(status(3.1, cut=True), ns(3.1))
    judge.on_cue(reading(3.2), ns(3.2))
    assert only(judge, 3.2).cues == ()


def test_who_leaves_closes_the_alert_and_late_scores_do_not_bring_them_back(judge: Judge) -> None:
    end_s = tell(judge, [SIGNS] * 15)
    judge.on_status(status(end_s + 0.1, ended=True), ns(end_s + 0.1))
    judge.on_score(score(end_s + 0.05, SIGNS), ns(end_s + 0.2))
    judge.on_refusal(refusal(end_s + 0.05), ns(end_s + 0.2))
    assert judge.verdicts(ns(end_s + 0.2)) == ()
    assert judge.open_alerts == ()
    assert "left the picture" in judge.closed_alerts[0].evidence


def test_who_is_not_seen_for_ten_seconds_leaves(judge: Judge) -> None:
    end_s = tell(judge, [SIGNS] * 15)
    missing_s = see(judge, end_s, 9.9, Reason.NO_FACE)
    assert only(judge, missing_s).reasons == (Reason.NO_FACE,)
    missing_s = see(judge, missing_s, 1.0, Reason.NO_FACE)
    assert judge.verdicts(ns(missing_s)) == ()
    assert len(judge.closed_alerts) == 1
    see(judge, missing_s, 5.0, Reason.NO_FACE)
    assert judge.verdicts(ns(missing_s + 5.0)) == (), "a missing person is not a new one"


def test_two_people_are_judged_apart_and_the_worst_leads(judge: Judge) -> None:
    tell(judge, [NONE] * 15, track_id=1)
    end_s = tell(judge, [SIGNS] * 15, track_id=2)
    first, second = judge.verdicts(ns(end_s))
    assert (first.track_id, first.state) == (2, State.SUSPECT)
    assert (second.track_id, second.state) == (1, State.NO_SIGN)
    assert second.suspicion == pytest.approx(sigmoid(NONE))


def test_open_alerts_lead_then_suspicion_and_who_cannot_be_told_comes_last(judge: Judge) -> None:
    tell(judge, [SIGNS] * 15, track_id=5)
    refuse(judge, 5.0, Reason.TOO_DARK, start_s=WINDOW_S + 5.0, track_id=5)
    tell(judge, [-2.0] * 15, track_id=3, start_s=WINDOW_S + 5.0)
    tell(judge, [-1.0] * 15, track_id=4, start_s=WINDOW_S + 5.0)
    see(judge, 11.0, 0.9, track_id=1)
    end_s = see(judge, 11.0, 1.0, Reason.FACE_TOO_SMALL, track_id=2)
    verdicts = judge.verdicts(ns(end_s))
    assert [v.track_id for v in verdicts] == [5, 4, 3, 1, 2]
    assert [v.state for v in verdicts] == [
        State.CANNOT_TELL,
        State.NO_SIGN,
        State.NO_SIGN,
        State.WARMING_UP,
        State.CANNOT_TELL,
    ]


def test_the_one_not_heard_of_for_longest_goes_when_there_are_too_many() -> None:
    judge = Judge(POINT, max_people=3)
    tell(judge, [SIGNS] * 15, track_id=1)
    for track_id in (2, 3, 4):
        see(judge, 7.0, 0.5, track_id=track_id)
    assert judge.people == 3
    assert {v.track_id for v in judge.verdicts(ns(7.5))} == {2, 3, 4}
    assert judge.open_alerts == ()
    assert len(judge.closed_alerts) == 1


def test_the_box_of_the_newest_status_is_shown(judge: Judge) -> None:
    see(judge, 0.0, 1.0)
    assert only(judge, 1.0).box_px == (10.0, 20.0, 90.0, 116.0)


def test_the_same_story_on_a_clock_that_began_long_ago_ends_the_same() -> None:
    since_boot_s = 1e6
    here, there = Judge(POINT), Judge(POINT)
    logits = [NONE] * 10 + [SIGNS] * 15
    for step, logit in enumerate(logits):
        one = score(WINDOW_S + step * HOP_S, logit)
        here.on_score(one, one.end_ns)
        there.on_score(one, one.end_ns + ns(since_boot_s))
    (a,), (b,) = here.verdicts(one.end_ns), there.verdicts(one.end_ns + ns(since_boot_s))
    assert (a.state, a.suspicion, a.coverage, a.media_ns) == (b.state, b.suspicion, b.coverage, b.media_ns)
    assert b.since_ns - a.since_ns == ns(since_boot_s)


# ------------------------------------------------------------------------------------ cues


def test_cues_explain_and_never_change_a_state_a_score_or_an_alert() -> None:
    def story(with_cues: bool) -> list[tuple[object, ...]]:
        judge, told = Judge(POINT), []
        for step, logit in enumerate([NONE] * 20 + [SIGNS] * 15 + [NONE] * 60):
            at_s = WINDOW_S + step * HOP_S
            judge.on_score(score(at_s, logit), ns(at_s))
            if with_cues:
                judge.on_cue(reading(at_s, z=50.0), ns(at_s))
                judge.on_cue(reading(at_s, name="colour-flicker", z=-50.0), ns(at_s))
            verdict = only(judge, at_s)
            assert len(verdict.cues) == (2 if with_cues else 0)
            told.append((verdict.state, verdict.suspicion, verdict.coverage, verdict.reasons, verdict.since_ns))
        return [*told, judge.open_alerts, judge.closed_alerts]

    assert story(with_cues=True) == story(with_cues=False)


def test_a_cue_alone_makes_nobody_appear(judge: Judge) -> None:
    judge.on_cue(reading(3.0), ns(3.0))
    assert judge.verdicts(ns(3.0)) == ()


def test_only_the_newest_reading_of_each_cue_is_shown_and_an_old_one_goes(judge: Judge) -> None:
    see(judge, 0.0, 8.0)
    judge.on_cue(reading(3.0, z=1.0), ns(3.0))
    judge.on_cue(reading(4.0, z=2.0), ns(4.0))
    assert [c.z for c in only(judge, 8.0).cues] == [2.0]
    see(judge, 8.0, 3.0)
    assert only(judge, 11.0).cues == ()


def test_cues_without_end_are_not_remembered_without_end(judge: Judge) -> None:
    see(judge, 0.0, 3.0)
    for number in range(100):
        judge.on_cue(reading(3.0, name=f"cue {number}"), ns(3.0))
    assert len(only(judge, 3.0).cues) == MAX_CUES


# ------------------------------------------------------------------------------------ any story at all


@pytest.mark.parametrize("seed", range(25))
def test_no_story_ever_shows_a_stale_score_or_grows_without_bound(seed: int) -> None:
    random_ = random.Random(seed)
    judge = Judge(POINT, max_people=6, max_closed_alerts=4)
    last_score: dict[int, float] = {}
    last_cut: dict[int, float] = {}
    alerts: dict[int, Alert] = {}
    now_s = 0.0
    mood = {track_id: random_.choice([SIGNS, NONE, 0.3]) for track_id in range(1, 400)}
    newest = 8
    for _ in range(1500):
        now_s += random_.choice([0.0, 0.05, 0.1, HOP_S, HOP_S, 1.0] + [4.0, 12.0] * (random_.random() < 0.05))
        track_id = random_.randint(max(1, newest - 8), newest)
        event = random_.random()
        if event < 0.6:
            end_s = now_s - random_.choice([0.0, 0.1, 1.0])
            if end_s > 0:
                one = score(end_s, random_.gauss(mood[track_id], 2.0), track_id=track_id)
                judge.on_score(one, ns(end_s))
                if one.start_ns >= ns(last_cut.get(track_id, -1.0)):
                    last_score[track_id] = max(end_s, last_score.get(track_id, -99.0))
        elif event < 0.75:
            judge.on_refusal(refusal(now_s, random_.choice(list(Reason)), track_id=track_id), ns(now_s))
        elif event < 0.93:
            judge.on_status(status(now_s, random_.choice([None, *Reason]), track_id=track_id), ns(now_s))
        elif event < 0.96:
            judge.on_status(status(now_s, track_id=track_id, cut=True), ns(now_s))
            last_cut[track_id] = now_s
            last_score.pop(track_id, None)
            mood[track_id] = random_.choice([SIGNS, NONE])
        elif event < 0.98:
            judge.on_status(status(now_s, track_id=track_id, ended=True), ns(now_s))
            newest = min(newest + 1, 399)
            assert track_id not in {v.track_id for v in judge.verdicts(ns(now_s))}
        else:
            judge.on_stall(ns(now_s))
            last_score.clear()

        verdicts = judge.verdicts(ns(now_s))
        assert len(verdicts) == judge.people <= 6
        assert len(judge.closed_alerts) <= 4
        assert len(judge.open_alerts) <= judge.people
        for verdict in verdicts:
            scored = verdict.state in (State.NO_SIGN, State.UNCERTAIN, State.SUSPECT)
            assert (verdict.suspicion is not None) == scored
            assert bool(verdict.reasons) == (verdict.state is State.CANNOT_TELL)
            assert 0.0 <= verdict.coverage <= 1.0
            assert verdict.since_ns <= ns(now_s)
            if scored:
                assert now_s - last_score[verdict.track_id] <= 2.5 + 1e-6
        suspects = {v.track_id for v in verdicts if v.state is State.SUSPECT}
        assert suspects <= {a.track_id for a in judge.open_alerts}
        for alert in (*judge.open_alerts, *judge.closed_alerts):
            known = alerts.setdefault(alert.alert_id, alert)
            assert (alert.track_id, alert.opened_ns) == (known.track_id, known.opened_ns)
            assert known.closed_ns is None or alert.closed_ns == known.closed_ns, "a closed alert never changes"
            alerts[alert.alert_id] = alert
    assert len(judge._ended) <= MAX_FORGOTTEN
    assert len(judge._cuts) <= MAX_FORGOTTEN


# ------------------------------------------------------------------------------------ genuine people


def measured(people: int = 40) -> OperatingPoint:
    """The point with genuine people whose smoothed logits lie between -3 and 1."""
    ladder = tuple(float(x) for x in np.linspace(-3.0, 1.0, LEVELS))
    seen = ReferenceBin(face_px=100.0, logits=ladder, people=people, windows=9 * people)
    return replace(POINT, reference=References(bins=(seen,), person=ladder, people=people, windows=360, hours=0.25))


def test_a_verdict_says_how_often_genuine_people_look_so() -> None:
    judge = Judge(measured())
    at_s = tell(judge, [-1.0] * 6)
    (verdict,) = judge.verdicts(ns(at_s))
    assert verdict.p_real == pytest.approx((1 + 40 * 0.125) / 41, abs=0.15)
    at_s = tell(judge, [9.0] * 30, start_s=at_s + HOP_S)
    (verdict,) = judge.verdicts(ns(at_s))
    assert verdict.p_real == pytest.approx(1 / 41)
    (stale,) = judge.verdicts(ns(at_s + 5))
    assert stale.p_real is None


def test_an_alert_claims_no_more_than_was_measured() -> None:
    judge = Judge(measured())
    tell(judge, [6.0] * 30)
    (alert,) = judge.open_alerts
    assert "At most 1 in 41 genuine people looks so at any one time (measured on 40 " in alert.evidence
    assert "40 genuine people or takes, 15 minutes of video)." in alert.evidence


def test_without_measured_people_nothing_is_claimed() -> None:
    judge = Judge(POINT)
    at_s = tell(judge, [6.0] * 30)
    assert judge.verdicts(ns(at_s))[0].p_real is None
    assert "genuine people" not in judge.open_alerts[0].evidence
