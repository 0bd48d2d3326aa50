"""A case from its opening to its closing, as a pure state machine: values in, values out, the time given.

    opened -> link sent -> joined -> consented | declined -> challenges -> decided -> closed; expired when time is up

Nothing is changed in place: every function returns the case as it is afterwards, or raises `Refused` and leaves it
as it was. Of a link only the hash is kept, and it opens once. Declining is a result like any other.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from monitor.errors import UnmaskError
from monitor.helpdesk.case_types import Action, Actor, CaseState, Choice, Refusal, Role
from monitor.helpdesk.challenge_types import Limit
from monitor.helpdesk.record_entries import sha256_of_text
from monitor.helpdesk.wording import REFUSED_TEXT

TOKEN_BYTES = 32
MAX_LINKS = 3
MAX_WRONG_TOKENS = 10
LINK_LIVES = timedelta(minutes=30)
CASE_LIVES = timedelta(hours=4)
MAX_TEXT = 2000
MAX_NAME = 128

NEXT: Mapping[tuple[CaseState, Action], CaseState] = MappingProxyType(
    {
        (CaseState.OPENED, Action.SEND_LINK): CaseState.LINK_SENT,
        (CaseState.LINK_SENT, Action.SEND_LINK): CaseState.LINK_SENT,
        (CaseState.LINK_SENT, Action.JOIN): CaseState.JOINED,
        (CaseState.JOINED, Action.SEND_LINK): CaseState.LINK_SENT,
        (CaseState.JOINED, Action.CONSENT): CaseState.CONSENTED,
        (CaseState.JOINED, Action.DECLINE): CaseState.DECLINED,
        (CaseState.CONSENTED, Action.DECLINE): CaseState.DECLINED,
        (CaseState.CONSENTED, Action.START_CHALLENGES): CaseState.CHALLENGES,
        (CaseState.CONSENTED, Action.DECIDE): CaseState.DECIDED,
        (CaseState.CHALLENGES, Action.DECLINE): CaseState.DECLINED,
        (CaseState.CHALLENGES, Action.DECIDE): CaseState.DECIDED,
        (CaseState.DECLINED, Action.DECIDE): CaseState.DECIDED,
        (CaseState.DECIDED, Action.CLOSE): CaseState.CLOSED,
        (CaseState.EXPIRED, Action.CLOSE): CaseState.CLOSED,
        **{
            (state, Action.EXPIRE): CaseState.EXPIRED
            for state in (
                CaseState.OPENED,
                CaseState.LINK_SENT,
                CaseState.JOINED,
                CaseState.CONSENTED,
                CaseState.DECLINED,
                CaseState.CHALLENGES,
            )
        },
    }
)
"""All there is; anything else is refused."""

ALLOWED: Mapping[Action, frozenset[Role]] = MappingProxyType(
    {
        Action.SEND_LINK: frozenset({Role.AGENT}),
        Action.JOIN: frozenset({Role.CALLER}),
        Action.CONSENT: frozenset({Role.CALLER}),
        Action.DECLINE: frozenset({Role.CALLER}),
        Action.START_CHALLENGES: frozenset({Role.AGENT}),
        Action.DECIDE: frozenset({Role.AGENT}),
        Action.EXPIRE: frozenset({Role.CLOCK}),
        Action.CLOSE: frozenset({Role.AGENT, Role.SUPERVISOR, Role.CLOCK}),
        Action.ASSIGN: frozenset({Role.SUPERVISOR}),
        Action.VIEW: frozenset({Role.AGENT, Role.SUPERVISOR, Role.AUDITOR}),
        Action.READ_RECORD: frozenset({Role.AGENT, Role.SUPERVISOR, Role.AUDITOR}),
        Action.ERASE: frozenset({Role.SUPERVISOR, Role.CLOCK}),
    }
)
"""An agent for their own cases, a supervisor for those of their teams, an auditor for those of theirs once closed."""

CLOCK = Actor(Role.CLOCK, "clock")


class Refused(UnmaskError):
    """An action that is not possible, with the reason as a value and in words."""

    exit_code = 2

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(REFUSED_TEXT[refusal])
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Link:
    """One link to the caller's page. The token itself is nowhere."""

    token_sha256: str
    expires_at: datetime
    used_at: datetime | None = None
    wrong_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a case, for its history."""

    action: Action
    state: CaseState
    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Case:
    """One case as it stands. Times have their zone."""

    case_id: str
    ticket: str
    purpose: str
    team: str
    agent_id: str
    opened_at: datetime
    expires_at: datetime
    consent_sha256: str
    """Of the text that the caller is to be shown."""
    state: CaseState = CaseState.OPENED
    link: Link | None = None
    links_sent: int = 0
    limits: frozenset[Limit] = frozenset()
    frames_may_be_kept: bool = False
    choice: Choice | None = None
    reason: str = ""
    history: tuple[Event, ...] = ()


def open_case(
    actor: Actor,
    now: datetime,
    *,
    ticket: str,
    purpose: str,
    team: str,
    consent_text: str,
    lives: timedelta = CASE_LIVES,
) -> Case:
    """A new case of this agent. Raises Refused for anybody else, ValueError for texts that are empty or too long."""
    if actor.role is not Role.AGENT:
        raise Refused(Refusal.NOT_ALLOWED)
    if now.tzinfo is None or lives <= timedelta(0):
        raise ValueError("open_case: expected a time with its zone, and a life above 0")
    for name, text, most in (("ticket", ticket, MAX_NAME), ("purpose", purpose, MAX_TEXT), ("team", team, MAX_NAME)):
        if not text.strip() or len(text) > most:
            raise ValueError(f"open_case: {name}: expected 1 to {most} characters, got {len(text)}")
    return Case(
        case_id=secrets.token_hex(8),
        ticket=ticket.strip(),
        purpose=purpose.strip(),
        team=team.strip(),
        agent_id=actor.actor_id,
        opened_at=now,
        expires_at=now + lives,
        consent_sha256=sha256_of_text(consent_text),
    )


def may(case: Case, actor: Actor, action: Action) -> Refusal | None:
    """Why this person may not do this with this case at all, whatever its state; None where they may."""
    if actor.role not in ALLOWED[action]:
        return Refusal.NOT_ALLOWED
    if actor.role is Role.AGENT and not hmac.compare_digest(actor.actor_id.encode(), case.agent_id.encode()):
        return Refusal.NOT_YOURS
    if actor.role in (Role.SUPERVISOR, Role.AUDITOR) and case.team not in actor.teams:
        return Refusal.NOT_YOURS
    if actor.role is Role.CALLER and actor.actor_id != case.case_id:
        return Refusal.NOT_YOURS
    if actor.role is Role.AUDITOR and case.state is not CaseState.CLOSED:
        return Refusal.NOT_OVER
    if action is Action.ERASE and case.state is not CaseState.CLOSED:
        return Refusal.NOT_OVER
    return None


def caller_of(case: Case) -> Actor:
    """Whoever holds the link of this case, and after `join` the session that it opened."""
    return Actor(Role.CALLER, case.case_id)


# ------------------------------------------------------------------------------------ the steps


def send_link(case: Case, actor: Actor, now: datetime, lives: timedelta = LINK_LIVES) -> tuple[Case, str]:
    """A fresh link; an older one opens nothing any more. The token is returned once and kept nowhere."""
    if case.links_sent >= MAX_LINKS:
        _check(case, actor, Action.SEND_LINK, now)
        raise Refused(Refusal.TOO_MANY_LINKS)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    link = Link(_hash(token), min(now + lives, case.expires_at))
    moved = _step(case, actor, Action.SEND_LINK, now)
    return replace(moved, link=link, links_sent=case.links_sent + 1), token


def join(case: Case, token: str, now: datetime) -> Case:
    """The caller opens the link. Raises Refused where it was used, is over, or is another one: `wrong_token` is then
    the case to keep."""
    link = case.link
    if link is None or link.wrong_tokens >= MAX_WRONG_TOKENS:
        raise Refused(Refusal.LINK_WRONG)
    if not hmac.compare_digest(link.token_sha256, _hash(token)):
        raise Refused(Refusal.LINK_WRONG)
    if link.used_at is not None:
        raise Refused(Refusal.LINK_USED)
    if now >= link.expires_at:
        raise Refused(Refusal.LINK_EXPIRED)
    moved = _step(case, caller_of(case), Action.JOIN, now)
    return replace(moved, link=replace(link, used_at=now))


def wrong_token(case: Case) -> Case:
    """The case after a token that did not fit: after ten of them its link opens no more."""
    link = case.link
    return case if link is None else replace(case, link=replace(link, wrong_tokens=link.wrong_tokens + 1))


def consent(
    case: Case, actor: Actor, now: datetime, *, consent_text: str, limits: frozenset[Limit], frames_may_be_kept: bool
) -> Case:
    """The caller agrees to the text that they were shown. Raises Refused where it is not the case's text."""
    if not hmac.compare_digest(sha256_of_text(consent_text), case.consent_sha256):
        raise Refused(Refusal.CONSENT_CHANGED)
    moved = _step(case, actor, Action.CONSENT, now)
    return replace(moved, limits=limits, frames_may_be_kept=frames_may_be_kept)


def decline(case: Case, actor: Actor, now: datetime) -> Case:
    """The caller says no, at once or later. Pictures may not be kept from then on."""
    return replace(_step(case, actor, Action.DECLINE, now), frames_may_be_kept=False)


def start_challenges(case: Case, actor: Actor, now: datetime) -> Case:
    """The agent begins the challenges."""
    return _step(case, actor, Action.START_CHALLENGES, now)


def decide(case: Case, actor: Actor, now: datetime, choice: Choice, reason: str) -> Case:
    """The agent's own decision, with a reason of theirs. No result of the product decides, or forbids, any."""
    if not reason.strip() or len(reason) > MAX_TEXT:
        raise Refused(Refusal.REASON_MISSING)
    return replace(_step(case, actor, Action.DECIDE, now), choice=choice, reason=reason.strip())


def close(case: Case, actor: Actor, now: datetime) -> Case:
    """The end. The record gets its closing line."""
    return _step(case, actor, Action.CLOSE, now)


def expire(case: Case, now: datetime) -> Case:
    """The case as it is at this time: expired where its own time, or that of an unused link, is over."""
    if (case.state, Action.EXPIRE) not in NEXT:
        return case
    link_over = case.state is CaseState.LINK_SENT and case.link is not None and now >= case.link.expires_at
    out_of_links = link_over and case.links_sent >= MAX_LINKS
    if now < case.expires_at and not out_of_links:
        return case
    return _step(case, CLOCK, Action.EXPIRE, now)


def assign(case: Case, actor: Actor, now: datetime, agent_id: str) -> Case:
    """A supervisor gives the case to another agent."""
    refusal = may(case, actor, Action.ASSIGN)
    if refusal is not None:
        raise Refused(refusal)
    if case.state is CaseState.CLOSED:
        raise Refused(Refusal.CASE_OVER)
    if not agent_id.strip() or len(agent_id) > MAX_NAME:
        raise ValueError(f"assign: expected an agent's id of 1 to {MAX_NAME} characters, got {len(agent_id)}")
    event = Event(Action.ASSIGN, case.state, now, actor.actor_id)
    return replace(case, agent_id=agent_id.strip(), history=(*case.history, event))


def possible(case: Case, actor: Actor, now: datetime) -> frozenset[Action]:
    """What this person can do with this case now, for the console to offer."""
    found = set()
    for action in Action:
        if may(case, actor, action) is not None:
            continue
        moves = any(one is action for _, one in NEXT)
        late = now >= case.expires_at and action not in (Action.CLOSE, Action.EXPIRE)
        if not moves or ((case.state, action) in NEXT and not late):
            found.add(action)
    return frozenset(found)


def _check(case: Case, actor: Actor, action: Action, now: datetime) -> CaseState:
    refusal = may(case, actor, action)
    if refusal is not None:
        raise Refused(refusal)
    state = NEXT.get((case.state, action))
    if state is None:
        over = case.state in (CaseState.CLOSED, CaseState.EXPIRED)
        raise Refused(Refusal.CASE_OVER if over else Refusal.NOT_NOW)
    if now >= case.expires_at and action not in (Action.CLOSE, Action.EXPIRE):
        raise Refused(Refusal.CASE_OVER)
    return state


def _step(case: Case, actor: Actor, action: Action, now: datetime) -> Case:
    state = _check(case, actor, action, now)
    return replace(case, state=state, history=(*case.history, Event(action, state, now, actor.actor_id)))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
