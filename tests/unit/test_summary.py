"""What a whole recording says: its people, and the worst of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from monitor.evidence import sigmoid
from monitor.summary import FileSummary, Tally, TrackSummary
from monitor.types import Alert, AlertKind, AlertLevel, Reason, State
from tests.scripted import HOP_S, POINT, WINDOW_S, ns, refusal, score, status


def tell(tally: Tally, logits: list[float], *, track_id: int = 1, start_s: float = WINDOW_S) -> float:
    at_s = start_s
    for step, logit in enumerate(logits):
        at_s = start_s + step * HOP_S
        tally.on_score(score(at_s, logit, track_id=track_id))
    return at_s


def summed_up(tally: Tally, *alerts: Alert) -> tuple[dict[int, TrackSummary], FileSummary]:
    tracks = tally.tracks(alerts)
    return {t.track_id: t for t in tracks}, tally.file(tracks)


def alert(track_id: int, at_s: float) -> Alert:
    return Alert(1, track_id, AlertKind.MANIPULATION, AlertLevel.ALARM, ns(at_s), None, "Signs.", 0.99)


def test_a_recording_without_a_face_has_no_score_and_says_why() -> None:
    tracks, whole = summed_up(Tally(POINT))
    assert tracks == {}
    assert whole == FileSummary(State.CANNOT_TELL, None, None, 0.0, (Reason.NO_FACE,))


def test_the_score_of_a_person_is_the_mean_of_the_logits_and_not_of_the_scores() -> None:
    tally = Tally(POINT)
    tell(tally, [4.0, -1.0, -1.5])
    tracks, whole = summed_up(tally)
    assert tracks[1].score == pytest.approx(sigmoid(0.5))
    assert tracks[1].state is State.UNCERTAIN
    assert [round(w.score, 3) for w in tracks[1].windows] == [round(sigmoid(x), 3) for x in (4.0, -1.0, -1.5)]
    assert (whole.score, whole.worst_track, whole.state) == (tracks[1].score, 1, State.UNCERTAIN)
    assert whole.coverage == 1.0


def test_one_absurd_window_does_not_own_the_mean() -> None:
    tally = Tally(POINT)
    tell(tally, [1e6] + [-3.0] * 9)
    assert summed_up(tally)[1].score == pytest.approx(sigmoid((12 - 27) / 10))


def test_a_face_seen_too_briefly_says_so() -> None:
    tally = Tally(POINT)
    for step in range(10):
        tally.on_status(status(step / 15))
    tracks, whole = summed_up(tally)
    assert (tracks[1].state, tracks[1].score, tracks[1].reasons) == (State.CANNOT_TELL, None, (Reason.TOO_SHORT,))
    assert (whole.state, whole.score, whole.worst_track) == (State.CANNOT_TELL, None, None)
    assert whole.reasons == (Reason.TOO_SHORT,)


def test_a_small_face_gives_its_reason_and_no_coverage() -> None:
    tally = Tally(POINT)
    for step in range(60):
        tally.on_status(status(step / 15, Reason.FACE_TOO_SMALL))
    tracks, whole = summed_up(tally)
    assert tracks[1].reasons == whole.reasons == (Reason.FACE_TOO_SMALL,)
    assert (tracks[1].coverage, whole.coverage) == (0.0, 0.0)
    assert tracks[1].end_s == pytest.approx(59 / 15)


def test_refusals_are_counted_by_reason_commonest_first_beside_the_score() -> None:
    tally = Tally(POINT)
    end_s = tell(tally, [-2.0] * 12)
    for step in range(1, 7):
        tally.on_refusal(refusal(end_s + step * HOP_S, Reason.TOO_DARK))
    for step in range(7, 9):
        tally.on_refusal(refusal(end_s + step * HOP_S, Reason.FACE_TURNED_AWAY))
    track = summed_up(tally)[0][1]
    assert dict(track.refusals) == {Reason.TOO_DARK: 6, Reason.FACE_TURNED_AWAY: 2}
    assert track.reasons == (Reason.TOO_DARK, Reason.FACE_TURNED_AWAY)
    assert track.state is State.NO_SIGN
    assert track.coverage == pytest.approx(end_s / (end_s + 8 * HOP_S), abs=0.02)


def test_the_worst_person_leads_and_never_the_mean() -> None:
    tally = Tally(POINT)
    tell(tally, [-3.0] * 30, track_id=1)
    tell(tally, [-2.5] * 30, track_id=2)
    tell(tally, [1.0] * 30, track_id=3)
    tracks, whole = summed_up(tally)
    assert (whole.worst_track, whole.score) == (3, tracks[3].score)


def test_a_ghost_of_two_windows_does_not_lead_a_call_of_a_minute() -> None:
    tally = Tally(POINT)
    tell(tally, [-3.0] * 170, track_id=1)
    tell(tally, [6.0] * 2, track_id=2)
    tracks, whole = summed_up(tally)
    assert whole.worst_track == 1
    assert tracks[2].score is not None, "the ghost is still listed with its score"


def test_a_person_who_joins_a_long_call_for_a_quarter_minute_can_lead() -> None:
    tally = Tally(POINT)
    tell(tally, [-3.0] * 1800, track_id=1)
    tell(tally, [2.0] * 45, track_id=2, start_s=300.0)
    assert summed_up(tally)[1].worst_track == 2


def test_in_a_clip_of_one_window_that_window_is_the_score() -> None:
    tally = Tally(POINT)
    tell(tally, [2.0])
    assert summed_up(tally)[1].score == pytest.approx(sigmoid(2.0))


def test_a_person_with_an_alert_is_suspect_and_leads_whatever_the_mean() -> None:
    tally = Tally(POINT)
    tell(tally, [-3.0] * 100 + [5.0] * 12 + [-3.0] * 100, track_id=1)
    tell(tally, [-1.0] * 200, track_id=2)
    tracks, whole = summed_up(tally, alert(1, 38.0))
    assert tracks[1].state is State.SUSPECT
    assert tracks[1].score == pytest.approx(0.99), "no alert ranks below a call without one"
    assert (whole.worst_track, whole.state) == (1, State.SUSPECT)
    assert tracks[2].state is State.NO_SIGN


def test_a_cut_starts_a_new_part_and_carries_nothing_over() -> None:
    tally = Tally(POINT)
    tally.on_status(status(0.0))
    end_s = tell(tally, [5.0] * 20)
    cut_s = end_s + 0.1
    tally.on_status(status(cut_s, cut=True))
    tally.on_score(replace(score(end_s + 0.05, 5.0), suspicion=0.99))
    tally.on_refusal(refusal(cut_s + HOP_S, Reason.CUT, start_s=end_s))
    last_s = tell(tally, [-3.0] * 20, start_s=cut_s + WINDOW_S)
    before, after = tally.tracks([alert(1, 5.0)])
    assert (before.part, after.part) == (0, 1)
    assert (len(before.windows), len(after.windows)) == (21, 20), "a late window goes where it began"
    assert (before.state, after.state) == (State.SUSPECT, State.NO_SIGN)
    assert after.score == pytest.approx(sigmoid(-3.0))
    assert (after.start_s, after.end_s) == (pytest.approx(cut_s), pytest.approx(last_s))
    assert dict(before.refusals) == {}
    assert dict(after.refusals) == {Reason.CUT: 1}
    assert after.coverage == 1.0, "the refused time was judged by the windows after it"


def test_the_first_cut_of_a_person_who_was_never_seen_is_no_second_part() -> None:
    tally = Tally(POINT)
    tally.on_status(status(1.0, cut=True))
    assert [t.part for t in tally.tracks()] == [0]


def test_people_are_listed_in_the_order_in_which_they_appeared() -> None:
    tally = Tally(POINT)
    tell(tally, [0.0] * 3, track_id=9, start_s=3.0)
    tell(tally, [0.0] * 3, track_id=2, start_s=8.0)
    assert [t.track_id for t in tally.tracks()] == [9, 2]


def test_the_order_in_which_scores_and_statuses_arrive_does_not_matter() -> None:
    def story(late: bool) -> tuple[TrackSummary, ...]:
        tally = Tally(POINT)
        tally.on_status(status(0.0))
        early = [score(WINDOW_S + k * HOP_S, 2.0) for k in range(5)]
        cut = status(WINDOW_S + 5 * HOP_S, cut=True)
        if late:
            tally.on_status(cut)
        for one in early:
            tally.on_score(one)
        if not late:
            tally.on_status(cut)
        return tally.tracks()

    assert [(t.part, t.score, len(t.windows)) for t in story(True)] == [
        (t.part, t.score, len(t.windows)) for t in story(False)
    ]
