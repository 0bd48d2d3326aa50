"""The shortcut tests: what each alteration does to crops, the kept crops, and what is called a shortcut."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines.card
from engines.calibration import QualityRange
from engines.detector_engine import open_engine
from engines.runtimes.onnx import OnnxRuntime
from engines.window_input import AUX_DIM
from monitor.bench import alterations, crop_cache, shortcuts
from monitor.bench.accuracy import log_odds
from monitor.bench.crop_cache import MAX_PEOPLE, Collector, CropSequence, crops_key, load, save
from monitor.bench.judging import RowJudge
from monitor.bench.manifest import Row
from monitor.bench.shortcut_figures import MUST_STAY_REAL, Finding, Trial, make_report, shortcuts_json, shortcuts_table
from monitor.bench.shortcuts import Scored, run_shortcuts, score, shuffled, trials_of, window_inputs
from monitor.bench.speed import render_clip
from monitor.perceive import Perceived
from monitor.settings import Settings
from monitor.types import FaceObservation, Frame, TrackedFace
from tests.fakes import face, frames, status
from tests.onnx_graphs import CROP_PX, FEATURE_DIM, STEPS, write_detector

SIDE = 48


def crops_of(count: int = 6, side: int = SIDE) -> np.ndarray[Any, Any]:
    """Rough crops with a soft gradient under the roughness."""
    random = np.random.default_rng(4)
    ramp = np.linspace(60, 180, side)[None, None, :, None]
    return np.asarray(np.clip(ramp + random.normal(0, 12, (count, side, side, 3)), 0, 255), np.uint8)


def oval(count: int = 6, side: int = SIDE) -> np.ndarray[Any, Any]:
    """Landmarks on a circle of a third of the crop's side about its middle."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    points = side / 2 + side / 4 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return np.tile(points.astype(np.float32), (count, 1, 1))


# ------------------------------------------------------------------------------------ alterations


def test_a_painted_face_is_flat_and_its_surround_untouched() -> None:
    crops = crops_of()
    painted = alterations.paint_out_faces(crops, oval())
    middle = painted[0, 18:30, 18:30].reshape(-1, 3)
    assert (middle == middle[0]).all()
    assert np.array_equal(painted[:, :4], crops[:, :4])
    inside = alterations.face_hull(oval()[0], SIDE, alterations.PAINT_GROWTH) > 0
    assert middle[0] == pytest.approx(crops[0][~inside].mean(axis=0), abs=0.51)
    assert alterations.face_hull(oval()[0], SIDE).sum() < inside.sum() * 255


def test_a_face_that_fills_the_crop_is_painted_grey() -> None:
    painted = alterations.paint_out_faces(crops_of(1), np.float32(SIDE / 2) + 9 * (oval(1) - np.float32(SIDE / 2)))
    assert (painted == 128).all()


def test_the_null_forgery_moves_nothing() -> None:
    crops = crops_of()
    forged = alterations.null_forgery(crops, oval())
    assert np.array_equal(forged[:, :4], crops[:, :4])
    inside = alterations.face_hull(oval()[0], SIDE, 0.8) > 0
    change = np.abs(forged.astype(int) - crops.astype(int))[:, inside]
    assert 0 < change.mean() < 4
    ramp = np.tile(np.linspace(20, 220, SIDE)[None, None, :, None], (1, SIDE, 1, 3)).astype(np.uint8)
    assert np.abs(alterations.null_forgery(ramp, oval(1)).astype(int) - ramp.astype(int)).max() <= 2


def test_the_hard_codec_takes_detail_and_keeps_order() -> None:
    crops = crops_of(8)
    crops[:, :, :] = crops // 2 + (np.arange(8) * 15).astype(np.uint8)[:, None, None, None]
    hard = alterations.encode_hard(crops, oval(8))
    assert hard.shape == crops.shape
    assert hard.dtype == np.uint8
    means = hard.mean(axis=(1, 2, 3))
    assert means == pytest.approx(crops.mean(axis=(1, 2, 3)), abs=6)
    assert hard[0].astype(float).std(axis=0).mean() < 0.7 * crops[0].astype(float).std(axis=0).mean()
    with pytest.raises(ValueError, match="even sides"):
        alterations.encode_hard(crops[:, :47, :47], oval(8))


def test_borders_are_black_or_mirror_what_is_beside_them() -> None:
    crops = crops_of()
    black, mirrored = alterations.black_borders(crops, oval()), alterations.mirrored_borders(crops, oval())
    assert (black[:, :, :6] == 0).all()
    assert (black[:, :, -6:] == 0).all()
    assert np.array_equal(black[:, :, 6:-6], crops[:, :, 6:-6])
    assert np.array_equal(mirrored[:, :, 5], crops[:, :, 6])
    assert np.array_equal(mirrored[:, :, 0], crops[:, :, 11])
    assert np.array_equal(mirrored[:, :, -1], crops[:, :, -12])
    assert np.array_equal(mirrored[:, :, 6:-6], crops[:, :, 6:-6])


def test_shuffling_moves_whole_steps_within_their_window_and_leaves_the_times() -> None:
    windows = np.random.default_rng(0).normal(size=(3, 8, 6)).astype(np.float32)
    mixed = shuffled(windows)
    others = [column for column in range(6) if column != 6 - AUX_DIM]
    for before, after in zip(windows, mixed, strict=True):
        assert np.array_equal(after[:, -AUX_DIM], before[:, -AUX_DIM])
        assert not np.array_equal(after[:, others], before[:, others])
        assert sorted(map(tuple, after[:, others])) == sorted(map(tuple, before[:, others]))
    assert np.array_equal(shuffled(windows), mixed)


# ------------------------------------------------------------------------------------ crops and windows


def with_landmarks(one: TrackedFace) -> TrackedFace:
    landmarks = np.full((478, 3), 40.0, np.float32)
    landmarks[0] = (52.0, 21.0, 0.0)
    observation = FaceObservation(one.observation.box_px, 1.0, landmarks)
    return replace(one, observation=observation, crop_to_frame=np.array([[2, 0, 10], [0, 2, 1]], np.float32))


def perceived(frame: Frame, *people: int, cut: bool = False) -> Perceived:
    return Perceived(
        tuple(with_landmarks(face(frame, one)) for one in people),
        tuple(status(frame, one, cut=cut) for one in people),
        cut,
    )


def collected(
    count: int, *, steps: int = 8, cut_at: int | None = None, seen: QualityRange | None = None
) -> CropSequence:
    collector = Collector(Settings(hop_frames=2), steps, seen)
    for frame in frames(count):
        assert isinstance(frame, Frame)
        collector.add(perceived(frame, 1, cut=frame.seq == cut_at))
    return collector.longest(96)


def test_windows_are_those_of_the_product() -> None:
    sequence = collected(12)
    assert sequence.crops.shape == (12, 96, 96, 3)
    assert sequence.steps.tolist() == [list(range(k, k + 8)) for k in (0, 2, 4)]
    assert tuple(sequence.landmarks[0, 0]) == (21.0, 10.0)
    assert sequence.dt == pytest.approx(10 / 15, abs=1e-5)
    window = sequence.windows(np.zeros((3, 8, 5), np.float32))[1]
    assert (window.quality.face_px, window.quality.yaw_deg) == (128.0, None)
    assert window.media_ns[0] == round(2 / 15 * 1e9)


def test_a_cut_parts_the_windows_and_a_short_person_is_flushed() -> None:
    parted = collected(20, cut_at=9)
    assert all(9 not in steps[1:] for steps in parted.steps.tolist())
    short = collected(13, steps=32)
    assert short.steps.shape == (1, 32)
    assert short.steps.max() == 12
    assert len(collected(5, steps=32).steps) == 0


def test_the_person_seen_for_longest_is_kept_and_a_crowd_is_bounded() -> None:
    collector = Collector(Settings(hop_frames=2), 8)
    for frame in frames(30):
        assert isinstance(frame, Frame)
        people = range(1, 3) if frame.seq < 10 else range(2, 2 + MAX_PEOPLE + 3)
        collector.add(perceived(frame, *people))
    assert len(collector._people) == MAX_PEOPLE
    assert len(collector.longest(96).crops) == 30


def test_crops_are_made_anew_where_other_windows_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    row, card = Row("a.mp4", path, None, False, "f", "g"), engines.card.load_card()
    seen = QualityRange(min_face_px=40, max_face_px=400, min_blur=0.0, max_blur=4.0, min_luma=10.0, max_luma=250.0)
    plain = Settings(source="demo:")
    keys = {
        crops_key(row, settings, one, 8.0)
        for settings, one in (
            (plain, card),
            (Settings(source="demo:", hop_frames=3), card),
            (Settings(source="demo:", sample_rate_hz=10.0), card),
            (Settings(source="demo:", min_face_px=100.0), card),
            (plain, replace(card, quality_range=seen)),
        )
    }
    assert len(keys) == 5
    # What a score is made of does not matter to the crops.
    assert crops_key(row, Settings(source="webcam:0", threads=1), card, 8.0) in keys


def test_nothing_beyond_the_range_of_the_model_card_becomes_a_window() -> None:
    seen = QualityRange(min_face_px=5000, max_face_px=9000, min_blur=0.0, max_blur=4.0, min_luma=10.0, max_luma=250.0)
    assert len(collected(40).steps) > 0
    assert len(collected(40, seen=seen).steps) == 0


def test_crops_are_kept_and_a_broken_file_is_none(tmp_path: Path) -> None:
    sequence = collected(12)
    path = tmp_path / "a.npz"
    save(path, sequence)
    again = load(path)
    assert again is not None
    for one in fields(CropSequence):
        assert np.array_equal(getattr(again, one.name), getattr(sequence, one.name), equal_nan=one.name == "quality")
    path.write_bytes(path.read_bytes()[:5000])
    assert load(path) is None
    assert load(tmp_path / "none.npz") is None
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_steps_beyond_the_crops_are_refused() -> None:
    sequence = collected(12)
    with pytest.raises(ValueError, match="steps below 12"):
        replace(sequence, steps=sequence.steps + 5)


def test_the_head_is_given_the_altered_look_and_the_times_as_they_were() -> None:
    sequence = collected(12)
    features = np.arange(12 * 3, dtype=np.float32).reshape(12, 3)
    plain = window_inputs(sequence, sequence.crops, features)
    dark = window_inputs(sequence, sequence.crops // 4, features)
    assert plain.shape == (3, 8, 3 + AUX_DIM)
    assert np.array_equal(plain[1, :, :3], features[2:10])
    assert np.array_equal(plain[:, :, -AUX_DIM], sequence.dt)
    assert (dark[..., -1] < plain[..., -1]).all()
    assert np.array_equal(dark[..., -3], plain[..., -3])


def test_a_sequence_is_scored_by_encoder_head_and_calibration(tmp_path: Path) -> None:
    card = write_detector(tmp_path)
    sequence = collected(40, steps=STEPS)
    small = replace(sequence, crops=np.ascontiguousarray(sequence.crops[:, :CROP_PX, :CROP_PX]))
    with open_engine(OnnxRuntime(), card) as engine:
        assert engine.encoder_spec.feature_dim == FEATURE_DIM
        plain = score(small, Trial.IN_ORDER, engine, card)
        assert score(small, Trial.SHUFFLED, engine, card) == pytest.approx(plain, abs=1e-4)
        assert score(small, Trial.BLACK_BORDERS, engine, card) != pytest.approx(plain, abs=1e-3)


# ------------------------------------------------------------------------------------ findings


def scored(fake: bool, index: int, family: str = "f", **values: float) -> Scored:
    row = Row(f"{family}{index}.mp4", Path("x"), None, fake, family, f"g{index}")
    return Scored(row, {trial: values.get(trial.name, values["IN_ORDER"]) for trial in trials_of(row)})


def test_what_must_stay_real_is_asked_of_reals_only() -> None:
    assert set(trials_of(scored(True, 0, IN_ORDER=0.0).row)).isdisjoint(MUST_STAY_REAL)
    assert trials_of(scored(False, 0, IN_ORDER=0.0).row) == tuple(Trial)


def rows(**of_reals: float) -> list[Scored]:
    fakes = [scored(True, i, IN_ORDER=2.0 + i, SHUFFLED=-i, BACKGROUND=(-1.0) ** i) for i in range(8)]
    return [*fakes, *(scored(False, 10 + i, IN_ORDER=i / 10 - 1, BACKGROUND=(-1.0) ** i, **of_reals) for i in range(8))]


def test_a_detector_without_shortcuts_is_told_so() -> None:
    report = make_report("m", "m-1", 4.0, rows(SHUFFLED=-3.5))
    (line,) = report.families
    assert (line.in_order.value, line.shuffled.value, line.time_gain.value) == (1.0, 0.5, 0.5)
    assert (line.background.value, line.background_finding) == (0.5, Finding.NOT_SEEN)
    assert [one.finding for one in report.reals] == [Finding.NOT_SEEN] * 4
    assert all((one.auc.value, one.shift.value) == (0.5, 0.0) for one in report.reals)


def test_a_codec_that_makes_reals_look_forged_is_seen() -> None:
    report = make_report("m", "m-1", 4.0, rows(HARD_CODEC=5.0))
    by_trial = {one.trial: one for one in report.reals}
    assert by_trial[Trial.HARD_CODEC].finding is Finding.SEEN
    assert by_trial[Trial.HARD_CODEC].auc.value == 1.0
    assert by_trial[Trial.HARD_CODEC].shift.value == pytest.approx(5.0 + 0.65)
    assert by_trial[Trial.BLACK_BORDERS].finding is Finding.NOT_SEEN
    assert report.families[0].hard_reals.value < 0.6


@pytest.mark.parametrize(
    ("apart", "move", "finding"), [(20.0, 1.0, Finding.SEEN), (20.0, 0.01, Finding.NOT_SEEN), (0.0, 0.01, Finding.SEEN)]
)
def test_a_move_of_all_alike_is_a_shortcut_where_it_is_large_or_ranks(
    apart: float, move: float, finding: Finding
) -> None:
    # People who differ by far more than the move hide it from the ranking; people alike show any move.
    reals = [scored(False, i, IN_ORDER=apart * i, NULL_FORGERY=apart * i + move) for i in range(6)]
    line = next(one for one in make_report("m", "m-1", 4.0, reals).reals if one.trial is Trial.NULL_FORGERY)
    assert line.auc.value == pytest.approx(1.0 if apart == 0.0 else 0.5 + 0.5 / 6)
    assert line.finding is finding


def test_a_move_that_only_some_make_is_not_beyond_chance() -> None:
    reals = [scored(False, i, IN_ORDER=0.0, NULL_FORGERY=3.0 if i == 0 else -0.1) for i in range(5)]
    line = next(one for one in make_report("m", "m-1", 4.0, reals).reals if one.trial is Trial.NULL_FORGERY)
    assert (line.shift.value > 0.5, line.finding) == (True, Finding.NOT_SEEN)


def test_a_background_that_tells_is_seen_and_few_rows_tell_nothing() -> None:
    telling = [scored(i < 6, i, IN_ORDER=0.0, BACKGROUND=1.0 if i < 6 else 0.0) for i in range(12)]
    assert make_report("m", "m-1", 4.0, telling).families[0].background_finding is Finding.SEEN
    assert make_report("m", "m-1", 4.0, telling[4:8]).families[0].background_finding is Finding.TOO_FEW
    assert make_report("m", "m-1", 4.0, telling[5:7]).reals[0].finding is Finding.TOO_FEW


def test_the_shortcut_tables_and_document() -> None:
    lost = Scored(Row("lost.mp4", Path("x"), None, True, "f", "g"), {}, "no such file")
    nobody = replace(lost, error=None)
    report = make_report("m", "m-1", 4.0, [*rows(HARD_CODEC=5.0), lost, nobody])
    text = shortcuts_table(report)
    assert "Not judged: lost.mp4: no such file" in text
    assert "Not judged: lost.mp4: nobody could be judged" in text
    assert next(line for line in text.splitlines() if line.startswith("hard codec")).endswith(" seen")
    document: Any = json.loads(json.dumps(shortcuts_json(report), allow_nan=False))
    assert document["schema"] == "unmask.shortcuts/1"
    assert document["altered_reals"][1] | {"auc": 0, "shift_log_odds": 0} == {
        "trial": "hard codec", "reals": 8, "auc": 0, "shift_log_odds": 0, "finding": "seen",
    }  # fmt: skip
    assert document["rows"][0]["log_odds"]["frames shuffled"] == 0.0
    only_reals = make_report("m", "m-1", 4.0, [scored(False, 1, IN_ORDER=0.0)])
    assert math.isnan(only_reals.families[0].in_order.value)
    assert "null forgery" in shortcuts_table(only_reals)


# ------------------------------------------------------------------------------------ for real, with a tiny detector


@pytest.mark.usefixtures("tiny_model")
def test_rows_in_order_score_as_the_product_and_nothing_is_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    render_clip(tmp_path / "person.mp4", 1, 3.5)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    path = tmp_path / "manifest.csv"
    path.write_text("file,region,label,family,group\nperson.mp4,,real,f,g\nbroken.mp4,,fake,f,h\n")
    work = tmp_path / "work"
    assert run_shortcuts(path, Settings(), work, limit_s=3.0, as_json=True) == 0
    document: Any = json.loads(capsys.readouterr().out)
    good, broken = document["rows"]
    assert set(good["log_odds"]) == {trial.value for trial in Trial}
    assert "broken.mp4" in broken["error"]
    with RowJudge(Settings(), 3.0) as judge:
        case = judge.judge(Row("person.mp4", tmp_path / "person.mp4", None, False, "f", "g"))
    assert good["log_odds"]["as they are"] == pytest.approx(log_odds(case.score), abs=2e-3)

    def never(*_: object) -> None:
        raise AssertionError("done twice")

    monkeypatch.setattr(crop_cache, "read_row", never)
    monkeypatch.setattr(shortcuts, "score", never)
    path.write_text("file,region,label,family,group\nperson.mp4,,real,f,g\n")
    assert run_shortcuts(path, Settings(), work, limit_s=3.0, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == [good]
