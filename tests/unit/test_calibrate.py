"""Calibration and thresholds: the fit finds what was put in, and a rarer alarm needs a higher threshold."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from monitor.calibrate import STRETCH_S, fit_logistic, held_out_clips, peaks, reals_of, threshold


def test_the_logistic_fit_finds_scale_and_bias() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, 20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-(0.6 * logits - 0.8)))).astype(float)
    scale, bias = fit_logistic(logits, labels, np.ones(20_000))
    assert scale == pytest.approx(0.6, abs=0.03)
    assert bias == pytest.approx(-0.8, abs=0.06)


def test_weights_balance_the_classes() -> None:
    logits = np.concatenate([np.full(900, -1.0), np.full(100, 1.0)])
    labels = (logits > 0).astype(float)
    labels[:90] = 1.0  # a tenth of each class lies on the other side
    labels[900:910] = 0.0
    weights = np.where(labels > 0.5, 0.5 / labels.mean(), 0.5 / (1 - labels).mean())
    scale, bias = fit_logistic(logits, labels, weights)
    plain_scale, plain_bias = fit_logistic(logits, labels, np.ones(1000))
    assert plain_scale == pytest.approx(np.log(9), abs=0.05)
    assert abs(plain_bias) < 0.05
    assert bias > 0.5
    assert scale > 0


def test_separable_scores_do_not_run_away() -> None:
    logits = np.array([-2.0, -1.0, 1.0, 2.0])
    scale, bias = fit_logistic(logits, (logits > 0).astype(float), np.ones(4))
    assert 1 < scale < 100
    assert abs(bias) < 1


def test_each_stretch_of_ten_seconds_gives_one_peak() -> None:
    ends = [int(i / 3 * 1e9) for i in range(1, 91)]
    logits = [-3.0] * 90
    logits[40:44] = [2.0] * 4
    found = peaks(logits, ends, 0.5)
    assert len(found) == round(30 / STRETCH_S)
    assert found[0] == 0
    assert max(found) == pytest.approx(6.0, abs=0.1)


def test_rarer_alarms_need_a_higher_threshold_and_the_tail_is_met() -> None:
    rng = np.random.default_rng(1)
    values = list(rng.exponential(3.0, 4000))
    levels = [threshold(values, rate) for rate in (6.0, 1.0, 0.1)]
    assert levels == sorted(levels)
    often = threshold(values, 36.0)  # a tenth of the stretches
    assert np.mean(np.array(values) > often) == pytest.approx(0.1, abs=0.02)


def test_a_detector_that_never_errs_still_gets_a_threshold() -> None:
    assert threshold([0.0] * 50, 1.0) >= 4.0


def test_the_real_rows_of_a_manifest_are_read_with_their_region(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    with manifest.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", "region", "label", "family", "group", "source"])
        writer.writerow(["a.mp4", "0,0,0.5,1", "real", "x", "g", "s"])
        writer.writerow(["a.mp4", "0.5,0,0.5,1", "fake", "x", "g", "s"])
        writer.writerow(["b.mp4", "", "real", "x", "g", "s"])
    assert reals_of(manifest) == [(tmp_path / "a.mp4", (0.0, 0.0, 0.5, 1.0)), (tmp_path / "b.mp4", None)]


def test_held_out_people_are_the_ones_that_training_leaves_out(shared_data: Path) -> None:
    clips = held_out_clips(shared_data)
    total = len((shared_data / "train" / "clips.csv").read_text().splitlines()) - 1
    assert 0.05 * total < len(clips) < 0.3 * total
    assert all(clip.exists() for clip in clips)
