"""What a case can be, who can do what, and why something is refused: values only."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class CaseState(enum.Enum):
    """The life of a case."""

    OPENED = "opened"
    LINK_SENT = "link-sent"
    JOINED = "joined"
    CONSENTED = "consented"
    DECLINED = "declined"
    CHALLENGES = "challenges"
    DECIDED = "decided"
    EXPIRED = "expired"
    CLOSED = "closed"


class Action(enum.Enum):
    """What can be done with a case. The first eight move it on; the others do not."""

    SEND_LINK = "send-link"
    JOIN = "join"
    CONSENT = "consent"
    DECLINE = "decline"
    START_CHALLENGES = "start-challenges"
    DECIDE = "decide"
    EXPIRE = "expire"
    CLOSE = "close"
    ASSIGN = "assign"
    VIEW = "view"
    READ_RECORD = "read-record"
    ERASE = "erase"


class Role(enum.Enum):
    """Who somebody is to a case. The caller is whoever holds the link; the clock ends what is over."""

    AGENT = "agent"
    SUPERVISOR = "supervisor"
    AUDITOR = "auditor"
    CALLER = "caller"
    CLOCK = "clock"


class Choice(enum.Enum):
    """The agent's own decision."""

    CONFIRMED = "confirmed"
    NOT_CONFIRMED = "not-confirmed"
    ANOTHER_WAY = "another-way"


class Refusal(enum.Enum):
    """Why an action is refused; `monitor.helpdesk.wording` says each in words."""

    NOT_NOW = "not-now"
    NOT_ALLOWED = "not-allowed"
    NOT_YOURS = "not-yours"
    LINK_USED = "link-used"
    LINK_EXPIRED = "link-expired"
    LINK_WRONG = "link-wrong"
    TOO_MANY_LINKS = "too-many-links"
    CASE_OVER = "case-over"
    NOT_OVER = "not-over"
    REASON_MISSING = "reason-missing"
    CONSENT_CHANGED = "consent-changed"


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who wants something. `teams` are those that a supervisor or an auditor is set over."""

    role: Role
    actor_id: str
    teams: frozenset[str] = frozenset()
