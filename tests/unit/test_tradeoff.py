"""What each sensitivity costs: read from the card, with intervals, and nothing where nothing was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.card import FoundRow, ModelCard, load_card, write_card
from engines.errors import AssetError
from monitor.calibration.alarms import Alarms, Found, PointReport
from monitor.calibration.evaluate import found_rows
from monitor.tradeoff import installed_trade_offs, trade_off, trade_offs
from tests.onnx_graphs import write_detector


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return write_detector(tmp_path)


def row(
    card: ModelCard, sensitivity: str, family: str, recordings: int, soon: int, ever: int, **changes: Any
) -> FoundRow:
    point = card.operating_points[sensitivity]
    values: dict[str, Any] = {
        "sensitivity": sensitivity,
        "family": family,
        "recordings": recordings,
        "within_6s": soon,
        "ever": ever,
        "head_sha256": card.head.sha256,
        "cusum_h": point.cusum_h,
        "cusum_drift": point.cusum_drift,
    }
    return FoundRow(**{**values, **changes})


def test_missed_fakes_are_counted_with_exact_intervals(card: ModelCard) -> None:
    card = replace(card, found=(row(card, "high", "swap", 11, 1, 2), row(card, "high", "talking", 8, 0, 0)))
    cost = trade_off(card, "high")
    assert cost.missed is not None
    assert (cost.missed.ever.count, cost.missed.ever.of, cost.missed.soon.count) == (17, 19, 18)
    assert cost.missed.ever.low == pytest.approx(0.6686, abs=1e-4)
    assert cost.missed.ever.high == pytest.approx(0.9870, abs=1e-4)
    assert [one.family for one in cost.families] == ["talking", "swap"]
    assert cost.missed_sentence == (
        "Of 19 forged recordings it missed 17: 89 % of such forgeries, between 67 % and 99 % (95 %)."
    )
    assert f"{card.operating_points.high.false_alarms_per_hour:g} false alarm" in cost.alarm_sentence
    assert cost.sentence == f"{cost.alarm_sentence} {cost.missed_sentence}"


def test_the_sensitivities_come_from_the_fewest_alarms_to_the_most(card: ModelCard) -> None:
    assert [one.sensitivity for one in installed_trade_offs()] == ["low", "medium", "high"]
    rates = [one.point.false_alarms_per_hour for one in trade_offs(card)]
    assert [one.sensitivity for one in trade_offs(card)] == ["low", "medium", "high"]
    assert rates == sorted(rates)


@pytest.mark.parametrize("change", [{"cusum_h": 99.0}, {"cusum_drift": 9.0}, {"head_sha256": "0" * 64}])
def test_what_was_measured_with_another_test_or_head_counts_for_nothing(
    card: ModelCard, change: dict[str, Any]
) -> None:
    card = replace(card, found=(row(card, "high", "swap", 11, 1, 2, **change),))
    assert trade_off(card, "high").missed is None
    assert trade_off(card, "high").families == ()
    assert trade_off(card, "high").missed_sentence == "How many fakes it misses was not measured."


def test_a_sensitivity_that_was_not_measured_says_so(card: ModelCard) -> None:
    card = replace(card, found=(row(card, "high", "swap", 11, 1, 2),))
    assert trade_off(card, "medium").missed is None
    with pytest.raises(KeyError, match="panic"):
        trade_off(card, "panic")


def test_the_card_keeps_what_was_found(card: ModelCard, tmp_path: Path) -> None:
    found = (row(card, "low", "swap", 11, 0, 0), row(card, "high", "swap", 11, 1, 2))
    write_card(tmp_path / "model.toml", replace(card, found=found))
    assert load_card(tmp_path / "model.toml").found == found
    text = (tmp_path / "model.toml").read_text()
    (tmp_path / "model.toml").write_text(text.replace("ever = 2", "ever = 12"))
    with pytest.raises(AssetError, match="within_6s <= ever <= recordings"):
        load_card(tmp_path / "model.toml")


def test_the_evaluation_records_forgeries_that_training_did_not_see(card: ModelCard) -> None:
    found = (Found("swap", 11, 1, 2, 6.0), Found("training: swap", 5, 5, 5, 3.0))
    made = [PointReport("high", Alarms(0, 1.0, 5, 0), Alarms(0, 0.0, 0, 0), found)]
    assert found_rows(card, made) == (row(card, "high", "swap", 11, 1, 2),)


def test_the_shipped_card_knows_what_every_sensitivity_misses() -> None:
    shipped = load_card()
    if not shipped.found:
        pytest.skip("nothing was recorded for this card: python -m monitor.calibration.evaluate CARD ... --record")
    for cost in trade_offs(shipped):
        assert cost.missed is not None
        assert cost.missed.ever.of >= 10
        assert 0.0 <= cost.missed.ever.low <= cost.missed.ever.value <= cost.missed.ever.high <= 1.0
    low, medium, high = (cost.missed.ever.count for cost in trade_offs(shipped) if cost.missed is not None)
    assert low >= medium >= high
