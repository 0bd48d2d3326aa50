"""Calibration from measured scores: the fit by face size, references, alarms an hour, what is refused, and the card."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphs
import pytest
from onnx_graphs import STEPS, WINDOW_DIM
from scripted_runtime import ScriptedRuntime, write_scripted_detector

from engines.calibration import EXCEEDANCE
from engines.card import load_card, write_card
from engines.detector_engine import open_engine
from engines.errors import AssetError
from engines.window_input import aux_rows
from monitor import calibrate
from monitor.calibration import abstain, alarms
from monitor.calibration.alarms import Person, Tails
from monitor.calibration.conformal import quantiles, references
from monitor.calibration.evaluate import lines, people_of_analyses, reports
from monitor.calibration.features import check_encoder, head_logits, read_features
from monitor.calibration.fit import Line, class_weights, expected_error, fit_calibration, fit_logistic
from monitor.calibration.perceived import Recording, as_arrays, save_arrays
from monitor.calibration.recordings import held_out_of, of_manifest
from monitor.calibration.tracks import Track, score, simulated_call
from monitor.perceive import Perceived
from tests.scripted import HOP_S, face, ns, status

# ------------------------------------------------------------------------------------------ the fit


def drawn(count: int, scale: float, bias: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, count)
    return logits, (rng.random(count) < 1 / (1 + np.exp(-(scale * logits + bias)))).astype(float)


def test_the_logistic_fit_finds_scale_and_bias() -> None:
    logits, labels = drawn(20_000, 0.6, -0.8)
    line = fit_logistic(logits, labels, np.ones(20_000))
    assert line.scale == pytest.approx(0.6, abs=0.03)
    assert line.bias == pytest.approx(-0.8, abs=0.06)


def test_weights_balance_the_classes_and_their_origins() -> None:
    labels = np.array([0.0] * 90 + [1.0] * 10)
    origins = ["clip"] * 90 + ["a"] * 8 + ["b"] * 2
    plain, by_origin = class_weights(labels), class_weights(labels, origins)
    assert plain.sum() == pytest.approx(by_origin.sum()) == pytest.approx(100)
    assert plain[labels > 0.5].sum() == pytest.approx(50)
    assert by_origin[90:98].sum() == pytest.approx(by_origin[98:].sum()) == pytest.approx(25)


def test_separable_scores_do_not_run_away() -> None:
    logits = np.array([-2.0, -1.0, 1.0, 2.0] * 50)
    line = fit_logistic(logits, (logits > 0).astype(float), np.ones(200))
    assert 1 < line.scale <= 100
    assert abs(line.bias) < 1


def test_each_size_of_face_gets_its_own_fit_where_it_has_the_windows() -> None:
    small, large = drawn(4000, 0.3, 0.5, 1), drawn(4000, 1.2, -0.5, 2)
    logits, labels = (np.concatenate([one, other]) for one, other in zip(small, large, strict=True))
    sizes = np.repeat([70.0, 280.0], 4000)
    calibration = fit_calibration(logits, labels, sizes, class_weights(labels))
    assert [(b.face_px, b.windows) for b in calibration.bins] == [(70.0, 4000), (280.0, 4000)]
    assert calibration.bins[0].scale == pytest.approx(0.3, abs=0.06)
    assert calibration.bins[1].scale == pytest.approx(1.2, abs=0.2)
    assert calibration.bins[0].scale < calibration.scale < calibration.bins[1].scale


def test_a_bin_with_few_windows_is_drawn_towards_the_fit_of_all() -> None:
    few, many = drawn(40, 3.0, 0.0, 3), drawn(8000, 0.5, 0.0, 4)
    logits, labels = (np.concatenate([one, other]) for one, other in zip(few, many, strict=True))
    sizes = np.repeat([70.0, 280.0], [40, 8000])
    calibration = fit_calibration(logits, labels, sizes, class_weights(labels))
    alone = fit_logistic(*few, class_weights(few[1]))
    shrunk = calibration.bins[0].scale
    assert abs(shrunk - calibration.scale) < 0.5 * abs(alone.scale - calibration.scale)


def test_windows_of_one_kind_only_are_refused() -> None:
    with pytest.raises(ValueError, match="of one kind only"):
        fit_calibration(np.zeros(50), np.zeros(50), np.full(50, 100.0), np.ones(50))


def test_the_expected_error_is_the_gap_between_said_and_so() -> None:
    labels = np.array([0.0, 0.0, 0.0, 1.0] * 100)
    ones = np.ones(400)
    assert expected_error(np.full(400, 0.25), labels, ones) == pytest.approx(0.0)
    assert expected_error(np.full(400, 0.95), labels, ones) == pytest.approx(0.7)


# ------------------------------------------------------------------------------------------ people and tracks


def person(
    level: float,
    *,
    group: str = "g",
    seconds: float = 15.0,
    fake: bool = False,
    training: bool = False,
    simulated: bool = False,
    family: str = "x",
    recording: str | None = None,
) -> Person:
    count = max(0, round((seconds - 2) / HOP_S))
    ends = tuple(ns(2.07 + step * HOP_S) for step in range(count))
    name = recording if recording is not None else group
    return Person(name, family, group, fake, training, simulated, (level,) * count, ends, seconds)


def track(level: float, group: str, *, face_px: float = 120.0, fake: bool = False, simulated: bool = False) -> Track:
    rng = np.random.default_rng([int(1000 * abs(level)), len(group), fake])
    count = 30
    ends = np.array([ns(2.07 + step * HOP_S) for step in range(count)], np.int64)
    return Track(
        recording=f"{group}.mp4",
        family="x",
        group=group,
        fake=fake,
        training=fake,
        simulated=simulated,
        raw=level + rng.normal(0, 0.2, count),
        start_ns=ends - ns(2.07),
        end_ns=ends,
        face_px=np.full(count, face_px),
        blur=np.full(count, 2.0),
        luma=np.full(count, 110.0),
        rate_hz=np.full(count, 15.0),
        yaw_deg=np.full(count, 5.0),
    )


def crowd(count: int = 40, seed: int = 0) -> list[Person]:
    levels = np.random.default_rng(seed).normal(-1, 0.6, count)
    return [person(float(x), group=f"g{i}") for i, x in enumerate(levels)]


def test_quantiles_weigh_people_not_windows() -> None:
    values = np.array([5.0] * 900 + [0.0, 1.0, 2.0])
    found = quantiles(values, ["one"] * 900 + ["a", "b", "c"])
    assert list(found) == sorted(found)
    assert found[0] == 0.0
    assert found[EXCEEDANCE.index(0.25)] == 2.0
    assert found[-1] == 5.0


def test_references_are_genuine_people_only_and_reach_out_where_a_size_is_rare() -> None:
    levels = np.random.default_rng(0).normal(0, 1, 30)
    small = [track(float(x) + 5, f"s{i}", face_px=60.0) for i, x in enumerate(levels[:5])]
    large = [track(float(x), f"l{i}", face_px=200.0 + 10 * i) for i, x in enumerate(levels[5:])]
    others = [track(50.0, "f", fake=True), track(60.0, "m", simulated=True)]
    calibration = load_like_calibration()
    found = references([*small, *large, *others], calibration)
    assert (found.people, found.windows) == (30, 900)
    assert found.hours == pytest.approx(30 * (2.07 + 29 * HOP_S) / 3600, abs=1e-3)
    assert found.bins[0].people == 20
    assert found.bins[-1].people == 20
    assert max(b.logits[-1] for b in found.bins) < 20
    assert found.p_window(4.0, 60) > found.p_window(4.0, 300)
    with pytest.raises(ValueError, match="found none"):
        references(others, calibration)


def load_like_calibration() -> Any:
    from engines.calibration import Calibration

    return Calibration(scale=1.0, bias=0.0)


# ------------------------------------------------------------------------------------------ the test


def test_a_level_is_the_drift_at_which_a_person_stops_alarming() -> None:
    steady = person(2.0)
    found = alarms.level(steady, 3.0)
    point = alarms.product_point(3.0, found + 0.01, 0.5)
    assert alarms.alarms_of([steady], point).alarms == 0
    assert alarms.alarms_of([steady], alarms.product_point(3.0, found - 0.01, 0.5)).alarms == 1
    assert alarms.level(steady, 3.0, within_s=6.0) < found
    assert alarms.level(person(2.0, seconds=0), 3.0) < -10


def one_tail(knee: float, mean: float, rate: float) -> Tails:
    return Tails(np.array([knee]), np.array([mean]), np.array([rate]))


def test_the_tail_gives_back_the_rate_that_was_asked() -> None:
    tail = one_tail(0.0, 0.5, 40.0)
    assert tail.per_hour(alarms.drift_for(tail, 1.0))[0] == pytest.approx(1.0, rel=1e-3)
    assert alarms.drift_for(tail, 100.0) == 0.0
    rng = np.random.default_rng(1)
    levels, seconds = rng.exponential(0.5, 4000), np.full(4000, 15.0)
    fitted = alarms.fit_tails(levels, seconds, np.ones((1, 4000)))
    assert fitted.mean[0] == pytest.approx(0.5, rel=0.1)
    drift = alarms.drift_for(fitted, 2.4)
    assert (levels > drift).sum() / (4000 * 15 / 3600) == pytest.approx(2.4, rel=0.3)


def test_a_resample_draws_people_not_recordings() -> None:
    people = [person(0.0, group=name) for name in ("a", "a", "b", "c")]
    weights = alarms.resamples(people)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert ((weights[:, 0] + weights[:, 2] + weights[:, 3]) == 3).all()
    assert weights[:, 2].std() > 0.5


def test_what_is_not_known_of_the_tail_asks_for_more() -> None:
    unsure = Tails(np.array([0.0, 0.0]), np.array([0.3, 0.7]), np.array([40.0, 40.0]))
    assert alarms.drift_for(unsure, 1.0) > alarms.drift_for(one_tail(0.0, 0.5, 40.0), 1.0) + 0.1


def test_a_rarer_alarm_and_fewer_people_ask_for_more() -> None:
    many, few = crowd(200, 1), crowd(200, 1)[:12]
    drifts = [alarms.set_point(many, rate).cusum_drift for rate in (6.0, 1.0, 0.1)]
    assert drifts == sorted(drifts)
    one, other = alarms.set_point(many, 1.0), alarms.set_point(few, 1.0)
    assert other.rate_high / max(other.rate_low, 1e-9) > one.rate_high / max(one.rate_low, 1e-9)


def test_where_less_than_one_alarm_is_expected_nobody_genuine_alarms() -> None:
    people = [*crowd(30), person(6.0, group="outlier", seconds=8.0)]
    setting = alarms.set_point(people, 1.0)
    assert alarms.alarms_of(people, alarms.product_point(setting.cusum_h, setting.cusum_drift, 0.5)).alarms == 0


def test_the_threshold_is_chosen_on_training_forgeries_where_there_are_any() -> None:
    people = crowd(60)
    forged = [person(2.5, group=f"t{i}", fake=True, training=True) for i in range(6)]
    measured = [person(float(x), group=f"d{x}", fake=True) for x in (0, 3, 9)]
    assert alarms.set_point([*people, *forged, *measured], 6.0) == alarms.set_point([*people, *forged], 6.0)
    setting = alarms.set_point([*people, *forged], 6.0)
    point = alarms.product_point(setting.cusum_h, setting.cusum_drift, 0.5)
    (found,) = alarms.found_of(forged, point)
    assert found.within == 6


def test_live_swaps_weigh_as_much_as_all_other_families_together() -> None:
    others = [person(-9.0, group=f"o{i}", fake=True, family=f"tool-{i}") for i in range(4)]
    live = [person(9.0, group="l", fake=True, family="live-swap")]
    assert alarms._soft_share([*others, *live], 2.0, 1.0) == pytest.approx(0.5, abs=0.01)
    assert alarms._soft_share(others, 2.0, 1.0) == pytest.approx(0.0, abs=0.01)


def test_a_setting_is_the_same_every_time() -> None:
    assert alarms.set_point(crowd(25), 1.0) == alarms.set_point(crowd(25), 1.0)


def test_genuine_people_are_needed() -> None:
    with pytest.raises(ValueError, match="expected genuine people"):
        alarms.set_point([person(1.0, fake=True)], 1.0)


def test_poisson_intervals_are_exact() -> None:
    assert alarms.poisson_interval(0, 1.0) == (0.0, pytest.approx(3.6889, abs=1e-3))
    assert alarms.poisson_interval(3, 2.0) == (pytest.approx(0.6187 / 2, abs=1e-3), pytest.approx(8.7673 / 2, abs=1e-3))
    assert alarms.poisson_interval(0, 0.0) == (0.0, math.inf)


def test_simulated_calls_are_counted_apart() -> None:
    people = [person(-1.0, group="a"), person(-1.0, group="b"), person(5.0, group="a", simulated=True)]
    told = alarms.report("medium", people, alarms.product_point(2.0, 1.0, 0.5))
    assert (told.genuine.alarms, told.genuine.people, told.genuine.hours) == (0, 2, pytest.approx(30 / 3600))
    assert (told.simulated.alarms, told.simulated.people_with) == (1, 1)


def test_a_forged_recording_is_found_by_anybody_in_it_and_counts_without_a_window() -> None:
    forged = [
        person(5.0, group="a", fake=True, recording="one"),
        person(-5.0, group="a", fake=True, recording="one"),
        person(-5.0, group="b", fake=True, recording="two"),
        person(0.0, group="c", fake=True, recording="three", seconds=0),
    ]
    (found,) = alarms.found_of(forged, alarms.product_point(2.0, 1.0, 0.5))
    assert (found.recordings, found.within, found.ever) == (3, 1, 1)
    assert found.median_s == pytest.approx(2.07 + 8 * HOP_S, abs=0.01)


def test_people_left_out_tell_more_than_the_ones_it_was_set_on() -> None:
    people = [*crowd(30), person(4.0, group="outlier")]
    assert alarms.cross_fitted(people, 1.0, 0.5).alarms >= 1
    assert alarms.cross_fitted(people, 1.0, 0.5).hours == pytest.approx(31 * 15 / 3600)


# ------------------------------------------------------------------------------------------ abstention


def stored_windows(face_px: Sequence[float], blur: float = 2.0, luma: float = 100.0) -> np.ndarray:
    rows = []
    for px in face_px:
        aux = aux_rows(np.arange(STEPS) * 66_000_000, [px] * STEPS, [blur] * STEPS, [luma] * STEPS)
        rows.append(np.concatenate([np.zeros((STEPS, WINDOW_DIM - 4), np.float32), aux], 1))
    return np.stack(rows)


def test_the_figures_come_back_from_the_heads_input() -> None:
    found = abstain.aux_figures(stored_windows([60.0, 300.0]))
    assert found.face_px == pytest.approx([60, 300], rel=1e-4)
    assert found.blur == pytest.approx([2.0, 2.0])
    assert found.luma == pytest.approx([100.0, 100.0], abs=1e-3)
    assert found.rate_hz == pytest.approx([15.15, 15.15], abs=0.01)


def test_the_error_is_told_by_quality_and_only_where_there_is_enough() -> None:
    sizes = np.repeat([70.0, 300.0, 130.0], [40, 40, 5])
    labels = np.array([0.0, 1.0] * 42 + [0.0])
    raw = np.where(sizes > 200, 3.0 * (labels * 2 - 1), 0.1)
    windows = abstain.of_features(stored_windows(sizes), raw, labels, load_like_calibration())
    rows = {(r.by, r.low): r for r in abstain.errors(windows, "held-out windows")}
    assert rows["face_px", 224.0].auc == 1.0
    assert rows["face_px", 224.0].error == 0.0
    assert rows["face_px", 56.0].auc == pytest.approx(0.5)
    assert rows["face_px", 56.0].error == pytest.approx(0.5)
    assert rows["face_px", 112.0].auc is None
    assert ("yaw_deg", 0.0) not in rows
    assert len(abstain.lines(list(rows.values()))) == len(rows) + 1


def test_the_range_is_what_training_saw_with_a_little_room() -> None:
    seen = abstain.seen_range(np.concatenate([stored_windows([60.0, 400.0]), stored_windows([100.0], 3.0, 180.0)]))
    assert 40 < seen.min_face_px < 60
    assert 400 < seen.max_face_px < 520
    assert seen.min_blur < 2.0 < 3.0 < seen.max_blur
    assert seen.min_luma < 100 < 180 < seen.max_luma
    assert seen.windows == 3


# ------------------------------------------------------------------------------------------ features and card


def write_features(folder: Path, *, encoder: str | None = None, noise: float = 0.0, shard: bool = True) -> Path:
    """Features that the tiny encoder gives, as engines.training.head stores them, beside their crops."""
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (4, STEPS, onnx_graphs.CROP_PX, onnx_graphs.CROP_PX, 3), dtype=np.uint8)
    encoded = np.stack([onnx_graphs.expected_encoder(one).feature for one in crops])
    windows = stored_windows([70.0, 120.0, 200.0, 300.0])
    windows[:, :, : encoded.shape[2]] = encoded + noise
    path = folder / "features-validation-0-0.npz"
    more = {} if encoder is None else {"encoder": np.array([encoder]), "identity": np.array(["a", "b", "a", "c"])}
    labels = np.repeat([[0.0], [1.0], [0.0], [1.0]], STEPS, 1)
    np.savez(path, windows=windows, frame_labels=labels, origin=np.array(["clip", "x", "clip", "x"]), **more)
    if shard:
        (folder / "windows-validation").mkdir(exist_ok=True)
        np.savez(folder / "windows-validation" / "0000.npz", crops=crops)
    return path


def test_features_of_the_cards_encoder_are_taken_and_others_refused(tmp_path: Path) -> None:
    card = write_scripted_detector(tmp_path)
    with open_engine(ScriptedRuntime("numpy"), card) as engine:
        path = write_features(tmp_path)
        features = read_features(path)
        assert (features.people, features.encoder) == (None, None)
        assert "same features" in check_encoder(features, path, card, engine)
        expected = onnx_graphs.expected_head(features.windows)[0]
        assert head_logits(features, engine) == pytest.approx(expected, abs=1e-4)
        other = write_features(tmp_path, noise=1.0)
        with pytest.raises(AssetError, match="gives others for the same pictures"):
            check_encoder(read_features(other), other, card, engine)


def test_the_hash_of_the_encoder_goes_before_the_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = write_scripted_detector(tmp_path)
    known = replace(card, encoder=replace(card.encoder, state="0123456789abcdef"))
    with open_engine(ScriptedRuntime("numpy"), card) as engine:
        path = write_features(tmp_path, encoder="fedcba9876543210", shard=False)
        features = read_features(path)
        assert features.people == 3
        with pytest.raises(AssetError, match="found the encoder fedcba9876543210, expected 0123456789abcdef"):
            check_encoder(features, path, known, engine)
        assert check_encoder(features, path, card, engine) == "not checked"
        assert "is not checked" in capsys.readouterr().err
        same = replace(known, encoder=replace(known.encoder, state="fedcba9876543210"))
        assert "same encoder state" in check_encoder(features, path, same, engine)


def test_features_of_another_shape_or_none_are_refused(tmp_path: Path) -> None:
    card = write_scripted_detector(tmp_path)
    path = tmp_path / "features.npz"
    path.write_bytes(b"nothing")
    with pytest.raises(AssetError, match=r"expected what engines\.training\.head writes"):
        read_features(path)
    np.savez(path, windows=np.zeros((2, 3, 4), np.float32), frame_labels=np.zeros((2, 3)), origin=np.array(["a", "b"]))
    with (
        open_engine(ScriptedRuntime("numpy"), card) as engine,
        pytest.raises(AssetError, match=r"found windows of shape \(3, 4\)"),
    ):
        check_encoder(read_features(path), path, card, engine)


def inputs(folder: Path) -> calibrate.Inputs:
    """Made-up scores of a detector that works."""
    features = read_features(write_features(folder, shard=False))
    rng = np.random.default_rng(2)
    labels = np.array([0.0, 1.0] * 60)
    many = replace(features, windows=np.tile(features.windows, (30, 1, 1)), labels=labels, origin=("clip", "x") * 60)
    tracks = [track(float(x), f"r{i}") for i, x in enumerate(rng.normal(-2, 0.5, 30))]
    tracks += [track(-2.0, f"r{i}", simulated=True) for i in range(30)]
    tracks += [track(float(x), f"f{i}", fake=True) for i, x in enumerate(rng.normal(5, 0.5, 10))]
    return calibrate.Inputs(many, labels * 4 - 2 + rng.normal(0, 1.5, 120), features, tracks)


def test_a_fit_fills_the_card_and_is_the_same_every_time(tmp_path: Path) -> None:
    card = write_scripted_detector(tmp_path)
    given = inputs(tmp_path)
    fitted, said = calibrate.fit(card, given)
    assert calibrate.fit(card, given) == (fitted, said)
    write_card(tmp_path / "model.toml", fitted)
    assert load_card(tmp_path / "model.toml") == fitted
    medium = fitted.operating_points.medium
    assert (medium.measured_people, medium.measured_alarms, medium.simulated_alarms) == (30, 0, 0)
    assert medium.measured_hours == pytest.approx(30 * (2.07 + 29 * HOP_S) / 3600, abs=1e-3)
    assert medium.simulated_hours == medium.measured_hours
    assert medium.extrapolated
    assert fitted.reference is not None
    assert fitted.reference.people == 30
    assert fitted.quality_range is not None
    assert any("extrapolated" in line for line in said)
    assert any("training: x: 10 of 10 found within 6 s" in line for line in said)


def test_what_cannot_be_read_leaves_the_card_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.toml"
    write_card(path, write_scripted_detector(tmp_path))
    before = path.read_bytes()
    absent = str(tmp_path / "none.npz")
    arguments = ["--features", absent, "--manifest", str(tmp_path / "m.csv"), "--cache", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["calibrate", str(path), *arguments])
    assert calibrate.main() == 4
    assert "none.npz" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["encoder.onnx", "head.onnx", "model.toml"]


# ------------------------------------------------------------------------------------------ recordings


def manifest(folder: Path) -> Path:
    path = folder / "manifest.csv"
    (folder / "a.mp4").write_bytes(b"")
    path.write_text('file,region,label,family,group\na.mp4,"0,0,0.5,1",real,x,g\na.mp4,"0.5,0,0.5,1",fake,x,g\n')
    return path


def test_the_rows_of_a_manifest_keep_label_and_region(tmp_path: Path) -> None:
    real, fake = of_manifest(manifest(tmp_path))
    assert (real.fake, fake.fake, real.training) == (False, True, False)
    assert real.region == (0.0, 0.0, 0.5, 1.0)
    assert real.name != fake.name
    assert real.key(144) != fake.key(144)
    assert real.key(144) != real.key(224)
    roundabout = replace(real, path=tmp_path / "elsewhere" / ".." / "a.mp4")
    (tmp_path / "elsewhere").mkdir()
    assert roundabout.key(144) == real.key(144)


def test_held_out_people_are_the_ones_that_training_leaves_out(shared_data: Path) -> None:
    kept = list(held_out_of(shared_data))
    assert all(one.training and one.path.exists() for one in kept)
    assert not any(one.fake for one in kept)
    total = len((shared_data / "train" / "clips.csv").read_text().splitlines()) - 1
    assert 0.05 * total < len(kept) < 0.3 * total


def seen(count: int = 60) -> list[tuple[int, Perceived]]:
    """A person at 15 Hz who is cut after 40 samples."""
    steps = []
    for index in range(count):
        crop = np.random.default_rng(index).integers(60, 190, (onnx_graphs.CROP_PX,) * 2 + (3,), dtype=np.uint8)
        at_s = index / 15
        statuses = (status(at_s, cut=True),) if index == 40 else (status(at_s),)
        steps.append((ns(at_s), Perceived((face(crop, at_s),), statuses, False)))
    return steps


def test_what_was_perceived_comes_back_from_the_disk_and_is_scored_as_the_product_does(tmp_path: Path) -> None:
    from monitor.calibration.perceived import SeenFaces

    steps = seen()
    path = tmp_path / "deep" / "one.npz"
    save_arrays(path, as_arrays(steps, onnx_graphs.CROP_PX))
    with np.load(path) as stored:
        back = SeenFaces(**{name: stored[name] for name in stored.files})
    again = list(back.steps())
    assert [at for at, _ in again] == [at for at, _ in steps]
    assert [len(p.statuses) for _, p in again] == [int(i == 40) for i in range(60)]
    np.testing.assert_array_equal(again[7][1].faces[0].crop, steps[7][1].faces[0].crop)
    assert again[7][1].faces[0].observation.face_px == 96
    assert again[7][1].faces[0].observation.pose is None
    card = write_scripted_detector(tmp_path)
    with open_engine(ScriptedRuntime("numpy"), card) as engine:
        scored = score(back, card, engine)
        features = np.stack([onnx_graphs.expected_encoder(p.faces[0].crop[None]).feature[0] for _, p in steps[:STEPS]])
    assert len(scored.raw) == 2
    assert set(scored.person.tolist()) == {0}
    first = stored_windows([96.0])[0]
    first[:, : features.shape[1]] = features
    head = onnx_graphs.head_weights()[: features.shape[1]]
    assert float((features @ head).mean()) != pytest.approx(float(scored.raw[1]), abs=1e-6)
    assert scored.end_ns[0] == ns((STEPS - 1) / 15)


def test_a_simulated_call_keeps_the_people_and_changes_the_pictures() -> None:
    arrays = as_arrays(seen(12), onnx_graphs.CROP_PX)
    points = np.random.default_rng(0).uniform(5, 35, (12, 478, 2)).astype(np.float16)
    arrays = replace(arrays, landmarks=points)
    one, same, other = (simulated_call(arrays, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.crops, same.crops)
    assert (one.crops != arrays.crops).mean() > 0.5
    assert (one.crops != other.crops).mean() > 0.5
    np.testing.assert_array_equal(one.media_ns, arrays.media_ns)
    assert (one.still == -1).all()


# ------------------------------------------------------------------------------------------ documents


def document(path: Path, region: Sequence[float], score_: float) -> dict[str, Any]:
    windows = [{"start_s": i * HOP_S, "end_s": 2.07 + i * HOP_S, "score": score_} for i in range(30)]
    return {"source": {"uri": str(path), "region": list(region)}, "tracks": [{"windows": windows}, {"windows": []}]}


def test_documents_of_analyze_are_evaluated_by_the_manifests_labels(tmp_path: Path) -> None:
    rows = of_manifest(manifest(tmp_path))
    clip = tmp_path / "a.mp4"
    documents = json.loads(json.dumps([document(clip, (0, 0, 0.5, 1), 0.1), document(clip, (0.5, 0, 0.5, 1), 1.0)]))
    people = list(people_of_analyses(documents, rows))
    assert [p.fake for p in people] == [False, True]
    assert people[0].judged_s == pytest.approx(2.07 + 29 * HOP_S, abs=0.01)
    assert people[1].logits[0] == pytest.approx(math.log(1e6), abs=0.01)
    card = write_scripted_detector(tmp_path)
    told = reports(card, people)
    assert [one.name for one in told] == ["low", "medium", "high"]
    assert (told[1].genuine.alarms, told[1].found[0].within) == (0, 1)
    text = "\n".join(lines(card, told))
    assert "x: 1 of 1 found within 6 s" in text
    assert "extrapolated" in text


def test_a_document_that_the_manifest_does_not_know_is_refused(tmp_path: Path) -> None:
    rows = of_manifest(manifest(tmp_path))
    with pytest.raises(AssetError, match="no such recording"):
        list(people_of_analyses([document(tmp_path / "b.mp4", (0, 0, 0.5, 1), 0.1)], rows))


def test_lines_are_a_scale_and_a_bias() -> None:
    assert Line(2.0, -1.0).of(np.array([3.0])) == pytest.approx([5.0])
    assert Recording(Path("a.mp4"), None, True, "f", "g", training=False).name == "a.mp4"
