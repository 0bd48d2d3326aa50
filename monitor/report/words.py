"""The sentences of a report that are its own; what states, reasons and alerts mean stands in `monitor.wording`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from monitor.report.document import Detector, Report
from monitor.tradeoff import trade_off
from monitor.types import State
from monitor.wording import alarm_basis

PRODUCT = "unmask"
CAUTION = (
    "A score is a reason to check in another way: call back on a known number, ask something only that person knows. "
    "It is never proof that somebody is forged, and a low score is never proof that somebody is genuine."
)
HEADLINE: Mapping[State, str] = MappingProxyType(
    {
        State.SUSPECT: "Lasting signs of manipulation",
        State.UNCERTAIN: "Some signs, not strong or lasting enough to stand alone",
        State.NO_SIGN: "No sign of manipulation in what could be judged",
        State.CANNOT_TELL: "Nobody could be judged",
    }
)
LIMITS = (
    "It judges faces only: not voices, not what is said, not documents, not whether a genuine face belongs to the name "
    "beside it.",
    "A recording of a genuine person that is played into the call looks genuine.",
    "Time in which a face was too small, turned away, dark, blurred, frozen or cut is not judged, and says nothing "
    "either way.",
)
NO_CARD = (
    "The model that judged is not the one that is installed now, so that its measured error rates and blind spots "
    "cannot be shown here."
)
NO_ERRORS = "The error rates of this model were not measured."
ERRORS_GROUND = (
    "Recordings that the model never saw. AUC: the chance that a forged recording scores higher than a genuine one; "
    "0.5 is guessing, 1.0 is perfect; in brackets the 95 % interval, wide where there are few recordings. "
    "No alarm on: the forged recordings that were missed at the sensitivity used here."
)


def headline(report: Report) -> str:
    """The one sentence at the top."""
    serious = sum(person.state is report.state for person in report.people)
    said = HEADLINE.get(report.state, HEADLINE[State.CANNOT_TELL])
    if report.state in (State.SUSPECT, State.UNCERTAIN) and len(report.people) > 1:
        said += f" in {serious} of {len(report.people)} people"
    return said


def alarm_lines(detector: Detector) -> tuple[str, ...]:
    """What an alert of this session is worth: the rate it was set for, and the fakes it misses."""
    if detector.card is None or detector.sensitivity is None:
        return ()
    basis = alarm_basis(detector.card.operating_points[detector.sensitivity])
    return (f"Alerts were {basis}.", trade_off(detector.card, detector.sensitivity).missed_sentence)


def missed_counts(detector: Detector) -> dict[str, str]:
    """Family -> '9 of 11' forged recordings without an alarm at the sensitivity used; empty where not measured."""
    if detector.card is None or detector.sensitivity is None:
        return {}
    cost = trade_off(detector.card, detector.sensitivity)
    known = cost.families if cost.missed is None else (*cost.families, cost.missed)
    return {one.family: f"{one.ever.count} of {one.ever.of}" for one in known}
