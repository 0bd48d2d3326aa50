"""What each sensitivity costs: the false alarms an hour that it was set for, and the fakes that it misses.

Everything is read from the model card: the operating points, and what was found of labelled forgeries at each of them
(`FoundRow`, written by `python -m monitor.calibration.evaluate --record`). What was not measured is said to be so.
"""

from __future__ import annotations

from dataclasses import dataclass

from engines.calibration import OperatingPoint
from engines.card import FoundRow, ModelCard, load_card
from monitor.bench.figures import Share
from monitor.settings import Sensitivity
from monitor.wording import alarm_basis


@dataclass(frozen=True, slots=True)
class Missed:
    """Of one kind of forgery, or of all, the recordings without an alarm. Intervals are exact (Clopper-Pearson, 95 %)
    and take recordings for independent, which takes of one person are not."""

    family: str
    soon: Share
    """Without an alarm within 6 seconds."""
    ever: Share
    """Without an alarm at all."""


@dataclass(frozen=True, slots=True)
class TradeOff:
    """One sensitivity, as it stands in the card."""

    sensitivity: str
    point: OperatingPoint
    missed: Missed | None
    """All kinds together; None where nothing was measured with this detector at this operating point."""
    families: tuple[Missed, ...]
    """Each kind on its own, the most missed first: the mixture of kinds is the manifest's, not the world's."""

    @property
    def alarm_sentence(self) -> str:
        """The false alarms, in words."""
        text = alarm_basis(self.point)
        return f"{text[0].upper()}{text[1:]}."

    @property
    def missed_sentence(self) -> str:
        """The missed fakes, in words."""
        if self.missed is None:
            return "How many fakes it misses was not measured."
        ever = self.missed.ever
        return (
            f"Of {ever.of} forged recordings it missed {ever.count}: {_percent(ever.value)} of such forgeries, "
            f"between {_percent(ever.low)} and {_percent(ever.high)} (95 %)."
        )

    @property
    def sentence(self) -> str:
        """Both, for the one who chooses."""
        return f"{self.alarm_sentence} {self.missed_sentence}"


def trade_offs(card: ModelCard) -> tuple[TradeOff, ...]:
    """All sensitivities, from the fewest alarms to the most."""
    return tuple(trade_off(card, one.value) for one in Sensitivity)


def installed_trade_offs() -> tuple[TradeOff, ...]:
    """Those of the detector that is installed, for who may not read its card. Raises AssetError."""
    return trade_offs(load_card())


def trade_off(card: ModelCard, sensitivity: str) -> TradeOff:
    """One sensitivity. Raises KeyError for one that does not exist."""
    point = card.operating_points[sensitivity]
    rows = [row for row in card.found if row.sensitivity == sensitivity and _holds(row, card, point)]
    families = sorted((_missed(row.family, [row]) for row in rows), key=lambda one: (-one.ever.value, one.family))
    return TradeOff(sensitivity, point, _missed("all", rows) if rows else None, tuple(families))


def _holds(row: FoundRow, card: ModelCard, point: OperatingPoint) -> bool:
    """Whether the row was measured with this head and these thresholds: the card may have been calibrated since."""
    measured = (row.head_sha256, row.cusum_h, row.cusum_drift)
    return measured == (card.head.sha256, point.cusum_h, point.cusum_drift)


def _missed(family: str, rows: list[FoundRow]) -> Missed:
    recordings = sum(row.recordings for row in rows)
    soon, ever = (sum(getattr(row, name) for row in rows) for name in ("within_6s", "ever"))
    return Missed(family, Share(recordings - soon, recordings), Share(recordings - ever, recordings))


def _percent(share: float) -> str:
    return f"{round(100 * share)} %"
