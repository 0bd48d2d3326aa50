"""What people read: every value has words, and no word accuses."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from engines.calibration import OperatingPoint as CardPoint
from monitor import wording
from monitor.types import AlertLevel, FaceRegion, Reason, Severity, State
from monitor.wording import Ending

TABLES = [
    (wording.STATE_TEXT, State),
    (wording.STATE_MEANING, State),
    (wording.REASON_TEXT, Reason),
    (wording.REASON_ADVICE, Reason),
    (wording.LEVEL_TEXT, AlertLevel),
    (wording.SEVERITY_TEXT, Severity),
]
ACCUSING = re.compile(
    r"\b(is fake|is a fake|deepfaked?|fraud\w*|liar|lying|impostor|imposter|criminal|proves?)\b", re.I
)


@pytest.mark.parametrize(("table", "kind"), TABLES)
def test_every_value_has_words_of_its_own(table: dict[object, str], kind: type) -> None:
    assert set(table) == set(kind)
    assert all(text.strip() == text and text for text in table.values())


@pytest.mark.parametrize(("table", "kind"), TABLES)
def test_nothing_accuses(table: dict[object, str], kind: type) -> None:
    for text in table.values():
        assert not ACCUSING.search(text), text


@pytest.mark.parametrize("table", [wording.STATE_TEXT, wording.REASON_TEXT])
def test_no_two_states_or_reasons_read_alike(table: dict[object, str]) -> None:
    assert len(set(table.values())) == len(table)


def test_an_absence_of_signs_is_not_sold_as_proof() -> None:
    assert "not proof" in wording.STATE_MEANING[State.NO_SIGN]


def test_a_reason_becomes_a_sentence_and_two_become_one() -> None:
    assert wording.explain([Reason.FACE_TOO_SMALL]) == "Cannot tell: the face is too small."
    assert (
        wording.explain([Reason.TOO_DARK, Reason.FACE_BLURRED])
        == "Cannot tell: the face is too dark, and the face is too blurred."
    )
    assert wording.explain([]) == "Cannot tell."


def test_advice_is_about_the_first_reason() -> None:
    assert "light" in wording.advise([Reason.TOO_DARK, Reason.GAP])
    assert wording.advise([]) == ""


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "under 1 %"), (0.01, "1 %"), (0.57, "57 %"), (0.99, "99 %"), (1.0, "over 99 %")]
)
def test_a_probability_is_never_said_to_be_certain(share: float, text: str) -> None:
    assert wording.percent(share) == text


def test_the_sentence_of_an_alert_says_how_long_how_strongly_and_how_it_ended() -> None:
    sentence = wording.alert_evidence(4.4, 0.87)
    assert "4 s" in sentence
    assert "87 %" in sentence
    assert "likelier" in sentence
    endings = [wording.ending_evidence(sentence, ending) for ending in Ending]
    assert all(text.startswith(sentence) and text.endswith(".") for text in endings)
    assert len(set(endings)) == len(Ending)


def test_a_place_is_named_by_its_two_strongest_regions() -> None:
    assert wording.place(()) == ""
    assert wording.place([FaceRegion.MOUTH]) == "mostly around the mouth and chin"
    assert wording.place([FaceRegion.WHOLE_FACE]) == "over most of the face"
    three = [FaceRegion.EYES, FaceRegion.CHEEKS, FaceRegion.NOSE]
    assert wording.place(three) == "mostly around the eyes, and on cheeks and jaw"
    assert all(wording.REGION_TEXT[region] for region in FaceRegion)


def test_an_alert_says_where_only_if_a_place_stands_out() -> None:
    assert "over most of the face; suspicion" in wording.alert_evidence(4.4, 0.87, [FaceRegion.WHOLE_FACE])
    assert "picture; suspicion" in wording.alert_evidence(4.4, 0.87)


def test_an_alert_never_says_that_it_took_no_time() -> None:
    assert "1 s" in wording.alert_evidence(0.2, 0.9)


@pytest.mark.parametrize(
    ("p", "words"),
    [(1 / 41, "At most 1 in 41 "), (0.3, "At most 1 in 3 "), (0.6, "often look so"), (1.0, "often look so")],
)
def test_a_p_value_is_said_with_the_people_it_was_measured_on(p: float, words: str) -> None:
    sentence = wording.rarity(p, 40, 0.25)
    assert words in sentence
    assert "40 genuine people or takes, 15 minutes of video" in sentence


def test_an_extrapolated_rate_is_called_so() -> None:
    point = CardPoint(false_alarms_per_hour=1.0, cusum_h=1.0, cusum_drift=1.0)
    assert wording.alarm_basis(point) == "set for 1 false alarm an hour; not measured on genuine video"
    short = wording.alarm_basis(replace(point, measured_hours=0.25, measured_people=40))
    assert "no alarms in 15 minutes of genuine video of 40 people or takes, at most 12.0 an hour (95 %)" in short
    assert short.endswith("the rate it was set for is extrapolated")
    long = wording.alarm_basis(replace(point, false_alarms_per_hour=6.0, measured_hours=10.0, measured_alarms=1))
    assert long.startswith("set for 6 false alarms an hour; measured: 1 alarm in 10 hours")
    assert "extrapolated" not in long


def test_hours_support_no_rate_below_three_in_them() -> None:
    assert wording.rate_support(6.0, 0.5) == "set for 6 an hour"
    assert wording.rate_support(1.0, 0.2) == (
        "set for 1 an hour: extrapolated, 0.200 h of genuine video can only show rates from 15 an hour"
    )
    assert "no genuine video" in wording.rate_support(1.0, 0.0)


def test_the_tables_cannot_be_changed_by_a_reader() -> None:
    with pytest.raises(TypeError):
        wording.REASON_TEXT[Reason.GAP] = "x"  # type: ignore[index]
