"""A case as stories: from link to closing, declining, time running out, links, and who may do what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitor.helpdesk import case as cases
from monitor.helpdesk.case import (
    ALLOWED,
    CLOCK,
    MAX_LINKS,
    MAX_WRONG_TOKENS,
    NEXT,
    Case,
    Refused,
    assign,
    caller_of,
    close,
    consent,
    decide,
    decline,
    expire,
    join,
    may,
    open_case,
    possible,
    send_link,
    start_challenges,
    wrong_token,
)
from monitor.helpdesk.case_types import Action, Actor, CaseState, Choice, Refusal, Role
from monitor.helpdesk.challenge_types import Limit
from monitor.helpdesk.light_types import LIGHT_OUTCOME, LightWhy
from monitor.helpdesk.wording import (
    ACCUSING,
    CHOICE_TEXT,
    LIGHT_TEXT,
    LIGHT_WARNING,
    REFUSED_TEXT,
    STATE_TEXT,
    consent_text,
)

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ANN = Actor(Role.AGENT, "ann")
BEN = Actor(Role.AGENT, "ben")
SUE = Actor(Role.SUPERVISOR, "sue", frozenset({"desk"}))
TOM = Actor(Role.SUPERVISOR, "tom", frozenset({"other"}))
EVE = Actor(Role.AUDITOR, "eve", frozenset({"desk"}))
TEXT = consent_text("Example Ltd", "a new password", record_days=90)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def opened() -> Case:
    return open_case(ANN, NOON, ticket="INC-1", purpose="a new password", team="desk", consent_text=TEXT)


def joined() -> Case:
    case, token = send_link(opened(), ANN, at(1))
    return join(case, token, at(2))


def agreed() -> Case:
    case = joined()
    limits = frozenset({Limit.HANDS})
    return consent(case, caller_of(case), at(3), consent_text=TEXT, limits=limits, frames_may_be_kept=True)


def decided() -> Case:
    return decide(start_challenges(agreed(), ANN, at(4)), ANN, at(9), Choice.CONFIRMED, " knew the ticket ")


def declined() -> Case:
    case = agreed()
    return decline(case, caller_of(case), at(5))


def closed() -> Case:
    return close(decided(), ANN, at(10))


def refusal(step: Callable[[], object]) -> Refusal:
    with pytest.raises(Refused) as error:
        step()
    assert str(error.value) == REFUSED_TEXT[error.value.refusal]
    return error.value.refusal


# ------------------------------------------------------------------------------------ stories


def test_from_the_link_to_the_closing() -> None:
    case = closed()
    assert (case.state, case.choice, case.reason) == (CaseState.CLOSED, Choice.CONFIRMED, "knew the ticket")
    assert [one.action for one in case.history] == [
        Action.SEND_LINK,
        Action.JOIN,
        Action.CONSENT,
        Action.START_CHALLENGES,
        Action.DECIDE,
        Action.CLOSE,
    ]
    assert case.limits == {Limit.HANDS}
    assert [one.by for one in case.history] == ["ann", case.case_id, case.case_id, "ann", "ann", "ann"]


def test_declining_is_a_result_and_the_agent_still_decides() -> None:
    case = joined()
    case = decline(case, caller_of(case), at(3))
    assert case.state is CaseState.DECLINED
    assert refusal(lambda: start_challenges(case, ANN, at(4))) is Refusal.NOT_NOW
    case = close(decide(case, ANN, at(4), Choice.ANOTHER_WAY, "called back"), ANN, at(5))
    assert case.state is CaseState.CLOSED


def test_a_caller_can_stop_at_any_time_and_no_picture_is_kept_from_then_on() -> None:
    for case in (agreed(), start_challenges(agreed(), ANN, at(4))):
        assert case.frames_may_be_kept
        case = decline(case, caller_of(case), at(5))
        assert case.state is CaseState.DECLINED
        assert not case.frames_may_be_kept


def test_an_agent_decides_whatever_was_measured_but_with_a_reason() -> None:
    for reason in ("", "   ", "x" * 2001):
        assert refusal(lambda reason=reason: decide(agreed(), ANN, at(5), Choice.CONFIRMED, reason)) is (
            Refusal.REASON_MISSING
        )
    assert decide(agreed(), ANN, at(5), Choice.NOT_CONFIRMED, "unsure").state is CaseState.DECIDED


def test_consent_is_to_the_very_text_of_the_case() -> None:
    case = joined()
    other = TEXT.replace("90 days", "900 days")
    assert other != TEXT
    why = refusal(
        lambda: consent(case, caller_of(case), at(3), consent_text=other, limits=frozenset(), frames_may_be_kept=False)
    )
    assert why is Refusal.CONSENT_CHANGED


# ------------------------------------------------------------------------------------ links


def test_a_link_opens_once_in_time_and_only_its_hash_is_kept() -> None:
    case, token = send_link(opened(), ANN, at(1))
    assert token not in repr(case)
    assert len(token) >= 43
    assert refusal(lambda: join(case, token + "x", at(2))) is Refusal.LINK_WRONG
    assert refusal(lambda: join(case, token, at(31))) is Refusal.LINK_EXPIRED
    open_now = join(case, token, at(2))
    assert refusal(lambda: join(open_now, token, at(3))) is Refusal.LINK_USED


def test_a_new_link_ends_the_old_one_and_there_are_few() -> None:
    case, first = send_link(opened(), ANN, at(1))
    case, second = send_link(case, ANN, at(2))
    assert first != second
    assert refusal(lambda: join(case, first, at(3))) is Refusal.LINK_WRONG
    case = join(case, second, at(3))
    case, _ = send_link(case, ANN, at(4))
    assert (case.state, case.links_sent) == (CaseState.LINK_SENT, MAX_LINKS)
    assert refusal(lambda: send_link(case, ANN, at(5))) is Refusal.TOO_MANY_LINKS
    assert refusal(lambda: send_link(case, BEN, at(5))) is Refusal.NOT_YOURS


def test_guessing_ends_a_link() -> None:
    case, token = send_link(opened(), ANN, at(1))
    for _ in range(MAX_WRONG_TOKENS):
        case = wrong_token(case)
    assert refusal(lambda: join(case, token, at(2))) is Refusal.LINK_WRONG
    assert wrong_token(opened()).link is None


def test_no_token_no_link() -> None:
    assert refusal(lambda: join(opened(), "", at(1))) is Refusal.LINK_WRONG


# ------------------------------------------------------------------------------------ time


def test_a_case_expires_and_nothing_goes_on_after_its_time() -> None:
    late = at(241)
    for case in (opened(), joined(), agreed(), declined()):
        assert expire(case, at(60)) == case
        over = expire(case, late)
        assert over.state is CaseState.EXPIRED
        assert close(over, CLOCK, late).state is CaseState.CLOSED
        assert possible(case, ANN, late) <= {Action.VIEW, Action.READ_RECORD}
    assert refusal(lambda: start_challenges(agreed(), ANN, late)) is Refusal.CASE_OVER
    assert expire(decided(), late).state is CaseState.DECIDED
    assert expire(closed(), late).state is CaseState.CLOSED


def test_an_unused_link_ends_the_case_only_where_no_other_can_be_sent() -> None:
    case = opened()
    for number in range(MAX_LINKS):
        case, _ = send_link(case, ANN, at(number))
        if number < MAX_LINKS - 1:
            assert expire(case, at(60)).state is CaseState.LINK_SENT
    assert expire(case, at(60)).state is CaseState.EXPIRED


# ------------------------------------------------------------------------------------ who may do what


def test_nobody_sees_a_case_that_is_not_theirs() -> None:
    for case in (opened(), decided(), closed()):
        auditor = Actor(Role.AUDITOR, "max", frozenset({"other"}))
        for stranger in (BEN, TOM, auditor, Actor(Role.CALLER, "another-case")):
            assert possible(case, stranger, at(20)) == frozenset()
            assert all(may(case, stranger, action) is not None for action in Action)


def test_an_auditor_reads_closed_cases_and_changes_nothing() -> None:
    assert possible(decided(), EVE, at(11)) == frozenset()
    assert possible(closed(), EVE, at(11)) == {Action.VIEW, Action.READ_RECORD}


def test_a_supervisor_assigns_closes_and_erases_but_does_not_decide() -> None:
    assert possible(agreed(), SUE, at(5)) == {Action.VIEW, Action.READ_RECORD, Action.ASSIGN}
    assert Action.CLOSE in possible(decided(), SUE, at(11))
    assert Action.ERASE in possible(closed(), SUE, at(11))
    assert refusal(lambda: decide(agreed(), SUE, at(5), Choice.CONFIRMED, "x")) is Refusal.NOT_ALLOWED
    case = assign(agreed(), SUE, at(5), "ben")
    assert refusal(lambda: decide(case, ANN, at(6), Choice.CONFIRMED, "x")) is Refusal.NOT_YOURS
    assert decide(case, BEN, at(6), Choice.CONFIRMED, "x").choice is Choice.CONFIRMED
    assert refusal(lambda: assign(agreed(), ANN, at(5), "ben")) is Refusal.NOT_ALLOWED
    assert refusal(lambda: assign(closed(), SUE, at(11), "ben")) is Refusal.CASE_OVER


def test_an_agent_cannot_consent_for_the_caller_nor_a_caller_decide() -> None:
    case = joined()
    step = lambda: consent(case, ANN, at(3), consent_text=TEXT, limits=frozenset(), frames_may_be_kept=False)  # noqa: E731
    assert refusal(step) is Refusal.NOT_ALLOWED
    assert refusal(lambda: decide(agreed(), caller_of(case), at(5), Choice.CONFIRMED, "x")) is Refusal.NOT_ALLOWED
    assert refusal(lambda: open_case(SUE, NOON, ticket="a", purpose="b", team="c", consent_text=TEXT)) is (
        Refusal.NOT_ALLOWED
    )


@pytest.mark.parametrize("changes", [{"ticket": " "}, {"purpose": "x" * 2001}, {"team": ""}])
def test_empty_and_endless_texts_are_refused(changes: dict[str, str]) -> None:
    texts = {"ticket": "INC-1", "purpose": "p", "team": "desk", **changes}
    with pytest.raises(ValueError, match="expected 1 to"):
        open_case(ANN, NOON, consent_text=TEXT, **texts)


def test_only_what_stands_in_the_table_moves_a_case() -> None:
    """Every action in every state by whoever may do it: it moves as the table says, or is refused."""
    people = {Role.AGENT: ANN, Role.SUPERVISOR: SUE, Role.CLOCK: CLOCK}
    for state in CaseState:
        case = replace(agreed(), state=state)
        steps: dict[Action, Callable[[Case, Actor], Case]] = {
            Action.SEND_LINK: lambda case, who: send_link(case, who, at(5))[0],
            Action.CONSENT: lambda case, who: consent(
                case, who, at(5), consent_text=TEXT, limits=frozenset(), frames_may_be_kept=False
            ),
            Action.DECLINE: lambda case, who: decline(case, who, at(5)),
            Action.START_CHALLENGES: lambda case, who: start_challenges(case, who, at(5)),
            Action.DECIDE: lambda case, who: decide(case, who, at(5), Choice.CONFIRMED, "x"),
            Action.CLOSE: lambda case, who: close(case, who, at(5)),
        }
        for action, step in steps.items():
            for role in ALLOWED[action]:
                who = people.get(role, caller_of(case))
                if (state, action) in NEXT:
                    assert step(case, who).state is NEXT[state, action]
                    assert action in possible(case, who, at(5))
                else:
                    assert refusal(lambda step=step, case=case, who=who: step(case, who)) in (
                        Refusal.NOT_NOW,
                        Refusal.CASE_OVER,
                    )
                    assert action not in possible(case, who, at(5))


# ------------------------------------------------------------------------------------ words


def test_every_value_has_words_and_none_accuses() -> None:
    assert (set(STATE_TEXT), set(CHOICE_TEXT), set(REFUSED_TEXT)) == (set(CaseState), set(Choice), set(Refusal))
    assert set(LIGHT_TEXT) == set(LightWhy) == set(LIGHT_OUTCOME)
    frames = consent_text("Example Ltd", "a new password", record_days=90, frame_days=7)
    texts = [*STATE_TEXT.values(), *CHOICE_TEXT.values(), *REFUSED_TEXT.values(), *LIGHT_TEXT.values()]
    for text in [*texts, LIGHT_WARNING, TEXT, frames]:
        assert not [word for word in ACCUSING if word in text.lower()], text
    assert "encrypted for 7 days" in frames
    assert "No picture and no sound is kept.\n" in TEXT


def test_the_module_needs_no_clock_of_its_own() -> None:
    assert not hasattr(cases, "time")
    with pytest.raises(ValueError, match="a time with its zone"):
        open_case(ANN, datetime(2026, 1, 1), ticket="a", purpose="b", team="c", consent_text=TEXT)
