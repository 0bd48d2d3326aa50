"""What the window shows, told as stories: a fresh reading is shown, anything else is said to be missing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stories import DEMO, NOTICE, SOURCE, S, Story, alert, cue, replace_time, running, snapshot, verdict, where

from gui import texts
from gui.controller import Action
from gui.records import SPAN_S, AlertStatus
from gui.session import Phase, SessionView
from gui.style import Mood
from monitor.types import CueReading, FaceRegion, Reason, RunState, Severity, State


def person(track_id: int, state: State, suspicion: float | None = None, *reasons: Reason, coverage: float = 0.9):
    return verdict(track_id, state, suspicion, *reasons, at_ns=0, coverage=coverage)


def test_from_start_to_no_sign():
    story = Story()
    model = story.see(SessionView(Phase.STARTING))
    assert (model.mood, model.headline, model.suspicion) == (Mood.STARTING, "Starting", None)
    model = story.see(running(snapshot(story.now_ns, run_state=RunState.STARTING, source=None, message="loading it")))
    assert (model.mood, model.sub) == (Mood.STARTING, "Loading it.")
    model = story.show(person(1, State.WARMING_UP), seconds=2)
    assert (model.mood, model.suspicion, model.source) == (Mood.WARMING_UP, None, "Webcam 0")
    model = story.show(person(1, State.NO_SIGN, 0.07), seconds=5)
    assert (model.mood, model.headline, model.suspicion) == (Mood.NO_SIGN, "No sign of manipulation", 0.07)
    assert model.sub == "Person 1, for 5\u00a0s."
    assert model.action is Action.PAUSE


def test_nobody_in_view_is_not_the_same_as_no_sign():
    model = Story().show()
    assert (model.mood, model.headline, model.sub) == (Mood.CANNOT_TELL, "Cannot tell", "No face in view.")


def test_the_worst_person_leads_and_never_a_mean():
    model = Story().show(person(1, State.NO_SIGN, 0.05), person(2, State.SUSPECT, 0.93), person(3, State.NO_SIGN, 0.02))
    assert (model.mood, model.lead, model.suspicion) == (Mood.SUSPECT, "Person 2", 0.93)
    assert [row.track_id for row in model.rows] == [2, 1, 3]


def test_people_of_several_sources_go_by_their_source_s_name_also_in_past_alerts():
    story = Story()
    named = {1: "Ada", 2: "Bob, person 2"}

    def see(*people, **more):
        shown = snapshot(story.now_ns, [replace_time(one, story.now_ns) for one in people], **more)
        story.now_ns += S // 10
        return story.see(running(replace(shown, names=named)))

    model = see(person(1, State.NO_SIGN, 0.1), person(2, State.SUSPECT, 0.9), opened=[alert(7, 2, story.now_ns)])
    assert [row.name for row in model.rows] == ["Bob, person 2", "Ada"]
    assert (model.lead, model.alerts[0].person) == ("Bob, person 2", "Bob, person 2")
    named = {1: "Ada"}
    model = see(person(1, State.NO_SIGN, 0.1))
    assert [item.person for item in model.alerts] == ["Bob, person 2"]


def test_among_several_suspects_the_most_suspicious_leads_and_the_others_are_counted():
    model = Story().show(person(1, State.SUSPECT, 0.81), person(2, State.SUSPECT, 0.93))
    assert (model.lead, model.suspicion) == ("Person 2", 0.93)
    assert model.sub.startswith("Person 2 and 1 more")


def test_no_sign_says_how_many_people_it_does_not_speak_of():
    model = Story().show(person(1, State.NO_SIGN, 0.05), person(2, State.CANNOT_TELL, None, Reason.TOO_DARK))
    assert model.mood is Mood.NO_SIGN
    assert model.sub.startswith("1 of 2 people, the other one cannot be judged")


def test_who_cannot_be_judged_is_told_why_and_what_helps():
    model = Story().show(person(1, State.CANNOT_TELL, None, Reason.FACE_TOO_SMALL))
    row = model.rows[0]
    assert row.state_text == "Cannot tell: the face is too small"
    assert model.sub == "Person 1: the face is too small."
    assert "come closer" in row.detail


def test_rows_do_not_jump_about_while_their_states_stay():
    story = Story()
    first = story.show(person(1, State.NO_SIGN, 0.05), person(2, State.NO_SIGN, 0.10))
    later = story.show(person(2, State.NO_SIGN, 0.04), person(1, State.NO_SIGN, 0.20))
    assert [row.track_id for row in first.rows] == [row.track_id for row in later.rows] == [1, 2]


@pytest.mark.parametrize(("age_s", "shown"), [(1.9, 0.9), (2.1, None)])
def test_a_snapshot_older_than_two_seconds_is_not_shown(age_s: float, shown: float | None):
    story = Story()
    old = snapshot(story.now_ns, [verdict(1, State.SUSPECT, 0.9, at_ns=story.now_ns)])
    story.now_ns += int(age_s * S)
    model = story.see(running(old))
    assert model.suspicion == shown
    assert model.rows[0].suspicion == shown
    if shown is None:
        assert model.mood is Mood.CANNOT_TELL
        assert model.headline == "Cannot tell: no fresh reading"
        assert model.rows[0].state_text == "Cannot tell: no fresh reading"
        assert "ms" not in model.speed


@pytest.mark.parametrize(("age_s", "shown"), [(2.9, 0.9), (3.1, None)])
def test_a_verdict_older_than_three_seconds_is_not_shown_though_the_snapshot_is_fresh(
    age_s: float, shown: float | None
):
    story = Story()
    old = verdict(1, State.SUSPECT, 0.9, at_ns=story.now_ns - int(age_s * S))
    model = story.see(running(snapshot(story.now_ns, [old])))
    assert (model.suspicion, model.rows[0].suspicion) == (shown, shown)
    if shown is None:
        assert model.mood is Mood.CANNOT_TELL
        assert "no fresh reading" in model.sub


def test_one_stale_person_does_not_hide_a_fresh_one():
    story = Story()
    stale = verdict(1, State.SUSPECT, 0.9, at_ns=story.now_ns - 4 * S)
    fresh = verdict(2, State.NO_SIGN, 0.1, at_ns=story.now_ns)
    model = story.see(running(snapshot(story.now_ns, [stale, fresh])))
    assert (model.lead, model.mood) == ("Person 2", Mood.NO_SIGN)
    assert model.sub.startswith("1 of 2 people")


@pytest.mark.parametrize(
    ("state", "mood", "action"),
    [
        (RunState.FAILED, Mood.FAILED, Action.START_AGAIN),
        (RunState.ENDED, Mood.ENDED, Action.START_AGAIN),
        (RunState.RECONNECTING, Mood.RECONNECTING, Action.PAUSE),
    ],
)
def test_a_monitor_that_does_not_run_shows_its_message_and_no_score(state: RunState, mood: Mood, action: Action):
    story = Story()
    story.show(person(1, State.SUSPECT, 0.9), seconds=2)
    model = story.show(person(1, State.SUSPECT, 0.9), run_state=state, message="the camera was unplugged")
    assert (model.mood, model.sub, model.action) == (mood, "The camera was unplugged.", action)
    assert (model.suspicion, model.rows[0].suspicion, model.lead) == (None, None, None)


def test_a_session_that_failed_shows_the_error():
    model = Story().see(SessionView(Phase.FAILED, None, "webcam:0: the camera is busy"))
    assert (model.mood, model.sub) == (Mood.FAILED, "webcam:0: the camera is busy.")
    assert model.action is Action.START_AGAIN


def test_a_pause_forgets_people_and_keeps_alerts_as_past():
    story = Story()
    story.show(person(1, State.SUSPECT, 0.9), seconds=1, opened=[alert(1, 1, story.now_ns)])
    paused = story.see(SessionView(Phase.PAUSED, generation=1))
    assert (paused.mood, paused.rows, paused.suspicion, paused.action) == (Mood.PAUSED, (), None, Action.RESUME)
    assert paused.alerts[0].status is AlertStatus.UNCONFIRMED
    again = story.see(running(snapshot(story.now_ns, [verdict(1, State.NO_SIGN, 0.1, at_ns=story.now_ns)]), 2))
    assert len(again.rows[0].history) == 1
    assert again.rows[0].alerts == ()
    assert [(a.status, a.when) for a in again.alerts] == [(AlertStatus.CLOSED, "before the pause")]


def test_an_alert_has_a_life():
    story = Story()
    opened_ns = story.now_ns
    model = story.show(person(1, State.SUSPECT, 0.9), seconds=12, opened=[alert(7, 1, opened_ns)])
    assert [(a.status, a.when) for a in model.alerts] == [(AlertStatus.OPEN, "now, for 12 s")]
    story.show(person(1, State.NO_SIGN, 0.1), closed=[alert(7, 1, opened_ns, opened_ns + 12 * S)])
    story.now_ns += S
    model = story.show(person(1, State.NO_SIGN, 0.1), seconds=4, closed=[alert(7, 1, opened_ns, opened_ns + 12 * S)])
    assert [(a.status, a.when) for a in model.alerts] == [(AlertStatus.CLOSED, "5 s ago, lasted 12 s")]


def test_an_open_alert_is_not_claimed_to_go_on_without_a_fresh_reading():
    story = Story()
    old = snapshot(story.now_ns, [verdict(1, State.SUSPECT, 0.9, at_ns=story.now_ns)], opened=[alert(7, 1, 0)])
    assert story.see(running(old)).alerts[0].status is AlertStatus.OPEN
    story.now_ns += 3 * S
    model = story.see(running(old))
    assert (model.alerts[0].status, model.alerts[0].when) == (AlertStatus.UNCONFIRMED, "no fresh reading")


def test_a_person_with_an_open_alert_leads_while_unjudgeable_and_nobody_reads_no_sign():
    model = Story().show(
        person(1, State.NO_SIGN, 0.05),
        person(2, State.CANNOT_TELL, None, Reason.FACE_TURNED_AWAY),
        opened=[alert(1, 2, 0)],
    )
    assert (model.mood, model.lead, model.suspicion) == (Mood.CANNOT_TELL, "Person 2", None)
    assert model.sub.startswith("Person 2 has an open alert, but the face is turned")
    assert model.rows[0].track_id == 2


def test_alerts_never_pile_up():
    story = Story()
    for number in range(1, 101):
        model = story.show(person(1, State.NO_SIGN, 0.1), closed=[alert(number, 1, 0, S)])
        story.now_ns += S // 10
    assert len(model.alerts) == 20
    assert max(a.alert_id for a in model.alerts) == 100


def test_history_is_a_minute_long_and_has_holes_where_it_could_not_tell():
    story = Story()
    story.show(person(1, State.NO_SIGN, 0.2), seconds=50)
    story.show(person(1, State.CANNOT_TELL, None, Reason.FROZEN), seconds=5)
    model = story.show(person(1, State.UNCERTAIN, 0.6), seconds=30)
    history = model.rows[0].history
    assert model.now_ns - history[0].at_ns <= SPAN_S * 1e9
    assert {point.mood for point in history if point.suspicion is None} == {Mood.CANNOT_TELL}
    holes = sum(point.suspicion is None for point in history)
    assert 20 <= holes <= 30
    assert len(history) <= 310


def test_a_person_who_left_and_came_back_under_the_same_number_starts_afresh():
    story = Story()
    story.show(person(1, State.NO_SIGN, 0.2), seconds=10)
    story.show(seconds=1)
    model = story.show(person(1, State.NO_SIGN, 0.2))
    assert len(model.rows[0].history) == 1


def test_what_the_source_says_of_itself_is_said_once_and_the_caption_only_while_fresh():
    story = Story()
    model = story.show(person(1, State.NO_SIGN, 0.1), source=DEMO, message=NOTICE, caption="demo: forged now")
    assert model.notice == f"{NOTICE}\ndemo: forged now."
    old = snapshot(story.now_ns, source=DEMO, caption="demo: forged now")
    story.now_ns += 3 * S
    assert story.see(running(old)).notice == NOTICE


def test_a_stuck_stage_is_named():
    model = Story().show(person(1, State.NO_SIGN, 0.1), stuck="encode")
    assert "Looking at faces is stuck: no answer for 3\u00a0s." in model.notice


def test_nobody_seen_because_a_stage_is_stuck_is_not_called_an_empty_picture():
    model = Story().show(stuck="perceive")
    assert model.headline == "Cannot tell"
    assert model.sub == "Finding faces is stuck: no answer for 3\u00a0s."


def test_cues_explain_with_a_harmless_reason_and_only_where_there_is_a_reading():
    story = Story()
    reading = cue(1, "the edge of the face moves", "Glasses look the same.", story.now_ns)
    judged = verdict(1, State.SUSPECT, 0.9, at_ns=story.now_ns, cues=[reading])
    model = story.see(running(snapshot(story.now_ns, [judged])))
    said = "The edge of the face moves (very unusual for this person). It can be harmless: glasses look the same."
    assert said in model.rows[0].detail
    story.now_ns += 4 * S
    model = story.see(running(snapshot(story.now_ns, [judged])))
    assert "edge" not in model.rows[0].detail


def test_a_snapshot_of_another_source_is_titled_by_it():
    story = Story()
    assert story.see(SessionView(Phase.STARTING)).source == "webcam:0"
    assert story.show(source=SOURCE).source == "Webcam 0"


def test_replace_time_keeps_everything_else():
    before = verdict(3, State.CANNOT_TELL, None, Reason.GAP, at_ns=5, coverage=0.4)
    after = replace_time(before, 9)
    assert (after.track_id, after.reasons, after.coverage, after.as_of_ns) == (3, (Reason.GAP,), 0.4, 9)


def test_only_what_is_unusual_is_told_at_length_and_the_farthest_first():
    story = Story()
    mild = cue(1, "A mild change", "Light does it.", 0, z=3.5, severity=Severity.NOTABLE)
    wild = cue(1, "A wild change", "A lamp does it.", 0, z=-8.0)
    calm = cue(1, "As usual", "Nothing to explain.", 0, z=0.3, severity=Severity.NORMAL)
    unknown = cue(1, "Learning this", "Nothing to explain.", 0, z=None, severity=Severity.NORMAL)

    def detail(*cues: CueReading) -> str:
        return story.show(verdict(1, State.NO_SIGN, 0.1, at_ns=0, cues=cues)).rows[0].detail

    told = detail(mild, calm, wild)
    assert told.index("A wild change (very unusual") < told.index("A mild change (unusual")
    assert "As usual" not in told
    assert texts.USUAL in detail(calm, calm)
    assert texts.LEARNING in detail(unknown, mild)
    assert "A mild change" in detail(unknown, mild)
    assert texts.USUAL not in detail()


def test_where_the_picture_looks_replaced_is_told_in_words_with_a_harmless_reason():
    story = Story()
    mouth = where(1, FaceRegion.MOUTH)
    row = story.show(verdict(1, State.SUSPECT, 0.9, at_ns=0, where=mouth)).rows[0]
    assert row.where is mouth
    assert row.signs
    assert row.where_text == "Where the picture looks replaced: mostly around the mouth and chin"
    assert "beauty filter" in row.detail
    calm = story.show(verdict(1, State.NO_SIGN, 0.1, at_ns=0, where=where(1))).rows[0]
    assert (calm.signs, calm.where_text) == (False, "Where the picture looks replaced: no place stands out")
    assert "beauty filter" not in calm.detail


def test_no_map_outlives_its_reading():
    story = Story()
    judged = verdict(1, State.SUSPECT, 0.9, at_ns=story.now_ns, where=where(1, FaceRegion.EYES))
    old = snapshot(story.now_ns, [judged])
    story.now_ns += 4 * S
    row = story.see(running(old)).rows[0]
    assert (row.where, row.where_text) == (None, "")
    assert "filter" not in row.detail
