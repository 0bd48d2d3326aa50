"""What a report says, as values: people with their scores over time, alerts, cues, what is known of the detector.

Times are seconds since the beginning of the call or recording. All text may come from outside; whoever writes a page
escapes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from engines.card import ErrorRow, ModelCard
from monitor.types import Reason, State

MAX_PLOTS = 24
"""People with a plot of their own; the others stand in the table."""
MAX_ROWS = 200
"""Rows of the tables of alerts and of cues."""


@dataclass(frozen=True, slots=True)
class PlotPoint:
    """Suspicion over a stretch that ends at `at_s`: its mean and its highest value, 0..1."""

    at_s: float
    score: float
    peak: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """Time in which a person could not be judged, and why."""

    start_s: float
    end_s: float
    reasons: tuple[Reason, ...]

    @property
    def lasted_s(self) -> float:
        return max(0.0, self.end_s - self.start_s)


@dataclass(frozen=True, slots=True)
class ReportAlert:
    """One alert. `end_s` None: it was open at the end."""

    track_id: int
    level: str
    start_s: float
    end_s: float | None
    text: str


@dataclass(frozen=True, slots=True)
class ReportCue:
    """What was unusual about one person's picture, and what else can look so."""

    track_id: int
    name: str
    strength: str
    start_s: float
    end_s: float
    text: str
    innocent: str


@dataclass(frozen=True, slots=True)
class ReportPerson:
    """One person. `score` None: nobody could judge them."""

    track_id: int
    start_s: float
    end_s: float
    state: State
    """The most serious state reached."""
    score: float | None
    coverage: float
    points: tuple[PlotPoint, ...]
    step_s: float
    """Seconds between two points of unbroken judging."""
    not_judged: tuple[Stretch, ...]
    reasons: tuple[Reason, ...]
    """Why parts could not be judged, the commonest first."""


@dataclass(frozen=True, slots=True)
class Detector:
    """What is known of the detector that judged: `card` None where the installed card is of another model."""

    model_id: str
    sha256: str
    head_sha256: str
    runtime: str
    card: ModelCard | None
    sensitivity: str | None

    @property
    def errors(self) -> tuple[ErrorRow, ...]:
        return () if self.card is None else self.card.errors


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a page shows."""

    subject: str
    """What was watched: an address or a file, without secrets."""
    kind: str
    """'Live session' or 'Analysis of a recording'."""
    when: str
    """In words; empty where it is not known."""
    duration_s: float
    state: State
    """Of the person who leads."""
    score_meaning: str
    """What the number in the table of people is."""
    low: float | None
    """Suspicion from which a person is 'uncertain'."""
    people: tuple[ReportPerson, ...]
    """The most serious first."""
    alerts: tuple[ReportAlert, ...]
    cues: tuple[ReportCue, ...]
    notes: tuple[str, ...]
    """What a reader must know before anything else: it was cut short, values were lost, it is a demonstration."""
    detector: Detector
    details: tuple[tuple[str, str], ...]
    """Settings and figures, as label and value."""
    privacy: tuple[str, ...]


SERIOUS = (State.SUSPECT, State.UNCERTAIN, State.NO_SIGN, State.CANNOT_TELL, State.WARMING_UP)
"""The most serious first."""


def most_serious(states: tuple[State, ...]) -> State:
    """The state that leads; CANNOT_TELL where there is none."""
    found = min((SERIOUS.index(state) for state in states), default=SERIOUS.index(State.CANNOT_TELL))
    return State.CANNOT_TELL if SERIOUS[found] is State.WARMING_UP else SERIOUS[found]


def by_seriousness(person: ReportPerson) -> tuple[int, float, int]:
    """Sorts people: state, then score, then number."""
    return (SERIOUS.index(person.state), -(person.score or 0.0), person.track_id)


def installed_card(encoder_sha256: str, head_sha256: str) -> ModelCard | None:
    """The installed card, where it describes exactly these graphs."""
    from engines.card import load_card
    from engines.errors import AssetError

    try:
        card = load_card()
    except AssetError:
        return None
    same = (card.encoder.sha256, card.head.sha256) == (encoder_sha256, head_sha256)
    return card if same else None
