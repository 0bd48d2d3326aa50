"""The benches: figures against brute force, manifests, who stands against whom, the accuracy report, memory, speed."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines.card
from engines.card import write_card
from monitor.bench.accuracy import log_odds, make_report, run_accuracy
from monitor.bench.accuracy_output import MAX_ROWS, accuracy_json, accuracy_table
from monitor.bench.figures import (
    Share,
    auc_interval,
    equal_error_rate,
    false_alarm_bound_per_hour,
    mean_auc_interval,
    mean_interval,
    true_positive_rate,
)
from monitor.bench.judging import Case, Covered, judge_rows
from monitor.bench.manifest import Row, first_rows, opponents, read_manifest
from monitor.bench.memory import MemoryUse, MemoryWatch, peak_mib, resident_mib, slope_per_minute
from monitor.bench.speed import (
    RunFigures,
    SpeedReport,
    describe_machine,
    measure_analyze,
    measure_live,
    render_clip,
)
from monitor.bench.tables import share_text, speed_json, speed_table, table
from monitor.errors import SettingsError
from monitor.settings import Settings
from monitor.types import StageHealth, State
from tests.fakes import skip_where_busy
from tests.media import write_video
from tests.onnx_graphs import write_detector

# ------------------------------------------------------------------------------------ figures


def drawn(seed: int, ties: bool = False) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)
    labels = (random.random(40) < 0.4).astype(np.float64)
    scores = random.random(40) + 0.3 * labels
    return (np.round(scores, 1) if ties else scores), labels


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ties", [False, True])
def test_the_auc_is_the_share_of_pairs_in_the_right_order(seed: int, ties: bool) -> None:
    scores, labels = drawn(seed, ties)
    pairs = itertools.product(scores[labels > 0.5], scores[labels < 0.5])
    counted = [1.0 if fake > real else 0.5 if fake == real else 0.0 for fake, real in pairs]
    figure = auc_interval(scores, labels, [str(i) for i in range(len(scores))], resamples=50)
    assert figure.value == pytest.approx(sum(counted) / len(counted), abs=1e-12)
    assert figure.low <= figure.value <= figure.high


def test_the_interval_is_that_of_the_groups_and_the_same_every_time() -> None:
    scores, labels = drawn(1)
    alone = [str(i) for i in range(40)]
    together = [str(i // 8) for i in range(40)]
    first = auc_interval(scores, labels, alone)
    assert auc_interval(scores, labels, alone) == first
    assert auc_interval(scores, labels, together) != first
    repeated = auc_interval(np.tile(scores, 20), np.tile(labels, 20), alone * 20)
    lone = auc_interval(np.tile(scores, 20), np.tile(labels, 20), [str(i) for i in range(800)])
    # Twenty copies of one take are one take: they make the interval no narrower.
    assert repeated.high - repeated.low == pytest.approx(first.high - first.low, rel=0.15)
    assert lone.high - lone.low < 0.5 * (first.high - first.low)


def test_one_class_alone_has_no_auc() -> None:
    figure = auc_interval(np.array([0.1, 0.2]), np.array([1.0, 1.0]), ["a", "b"])
    assert math.isnan(figure.value)
    assert math.isnan(figure.low)
    # One group of fakes and one of reals: a resample of groups often has one class only, and those are left out.
    two = auc_interval(np.array([0.9, 0.1]), np.array([1.0, 0.0]), ["a", "b"])
    assert (two.value, two.low, two.high) == (1.0, 1.0, 1.0)


def test_the_equal_error_rate() -> None:
    assert equal_error_rate(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0.0, 0.0, 1.0, 1.0])) == 0.0
    assert equal_error_rate(np.array([0.9, 0.8, 0.2, 0.1]), np.array([0.0, 0.0, 1.0, 1.0])) == 1.0
    scores = np.array([0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9])
    labels = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    assert equal_error_rate(scores, labels) == pytest.approx(0.25)
    assert math.isnan(equal_error_rate(np.array([0.3]), np.array([1.0])))


def test_the_true_positive_rate_at_a_false_positive_rate() -> None:
    reals, fakes = np.linspace(0.0, 0.99, 100), np.array([0.5, 0.985, 0.995, 1.0])
    scores = np.concatenate([reals, fakes])
    labels = np.concatenate([np.zeros(100), np.ones(4)])
    assert true_positive_rate(scores, labels, 0.01) == 0.75
    assert true_positive_rate(scores, labels, 0.0) == 0.5
    assert true_positive_rate(scores, labels, 1.0) == 1.0


def test_the_mean_over_families_weighs_them_alike() -> None:
    # Twenty fakes of one family that all rank wrong, one of another that ranks right: the mean is a half.
    scores = np.array([0.5, 0.5, *[0.1] * 20, 0.9])
    labels = np.array([0.0, 0.0, *[1.0] * 21])
    families = ["real", "real", *["poor"] * 20, "good"]
    figure = mean_auc_interval(scores, labels, [str(i) for i in range(23)], families, resamples=200)
    assert figure.value == 0.5
    assert (figure.low, figure.high) == (0.5, 0.5)
    assert auc_interval(scores, labels, families, resamples=5).value == pytest.approx(1 / 21)
    assert math.isnan(mean_auc_interval(scores[:2], labels[:2], ["a", "b"], families[:2], resamples=5).value)


def test_the_mean_of_values_has_an_interval_over_groups() -> None:
    values = np.array([1.0, 1.0, 1.0, 5.0])
    alone = mean_interval(values, ["a", "b", "c", "d"])
    assert alone.value == 2.0
    assert 1.0 <= alone.low < 2.0 < alone.high <= 5.0
    assert mean_interval(values, ["a"] * 4).low == mean_interval(values, ["a"] * 4).high == 2.0
    assert math.isnan(mean_interval(np.zeros(0), []).value)


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (3, 11, 0.0602, 0.6097), (1, 2, 0.0126, 0.9874)],
)
def test_a_share_has_the_exact_interval_of_its_count(count: int, of: int, low: float, high: float) -> None:
    share = Share(count, of)
    assert share.value == count / of
    assert (share.low, share.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_a_share_of_nothing_is_none() -> None:
    nothing = Share(0, 0)
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high) == (0.0, 1.0)
    assert share_text(nothing) == "-"
    assert share_text(Share(1, 3)) == "1/3 33 %"


def test_no_alarm_in_t_hours_proves_three_in_t() -> None:
    assert false_alarm_bound_per_hour(0, 2.0) == pytest.approx(1.4979, abs=1e-4)
    assert false_alarm_bound_per_hour(1, 1.0) == pytest.approx(4.744, abs=0.001)
    assert false_alarm_bound_per_hour(0, 0.0) == math.inf


# ------------------------------------------------------------------------------------ manifests


def manifest(tmp_path: Path, *lines: str, header: str = "file,region,label,family,group,source") -> Path:
    (tmp_path / "a.mp4").write_bytes(b"not a video")
    path = tmp_path / "manifest.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_a_manifest_is_read_with_its_regions(tmp_path: Path) -> None:
    rows = read_manifest(manifest(tmp_path, 'a.mp4,"0.5,0,0.5,1",fake,live-swap,take1,x', "a.mp4,,real,webcam,,x"))
    assert rows[0] == Row("a.mp4", tmp_path / "a.mp4", (0.5, 0.0, 0.5, 1.0), True, "live-swap", "take1")
    assert rows[1] == Row("a.mp4", tmp_path / "a.mp4", None, False, "webcam", "a.mp4")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["missing.mp4,,real,f,g,x"], "line 2: there is no file 'missing.mp4'"),
        (["a.mp4,,maybe,f,g,x"], "line 2: label is 'maybe'; expected real or fake"),
        (["a.mp4,,real,f,g,x", 'a.mp4,"1,2",real,f,g,x'], "line 3: region: expected x,y,w,h"),
        ([], "has no rows"),
    ],
)
def test_a_wrong_manifest_names_its_line(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_manifest(manifest(tmp_path, *lines))


def test_a_manifest_without_a_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the column 'group' is missing"):
        read_manifest(manifest(tmp_path, header="file,region,label,family"))


def test_the_limit_takes_the_first_rows_of_every_family_and_label(tmp_path: Path) -> None:
    lines = [f"a.mp4,,{label},{family},g,x" for label in ("real", "fake") for family in "fff" + "e"]
    kept = first_rows(read_manifest(manifest(tmp_path, *lines)), 2)
    assert [(row.fake, row.family) for row in kept] == [
        *[(False, "f"), (False, "f"), (False, "e")],
        *[(True, "f"), (True, "f"), (True, "e")],
    ]


def test_fakes_stand_against_the_reals_that_are_most_like_them() -> None:
    reals = ["celeb-df", "ffpp-c40", "ffpp-actors-c40", "webcam", "ffpp-c40"]
    assert opponents("celeb-df", reals) == ("celeb-df",)
    assert opponents("ffpp-c40-deepfakes", reals) == ("ffpp-actors-c40", "ffpp-c40")
    assert opponents("reenactment", reals) == ("celeb-df", "ffpp-actors-c40", "ffpp-c40", "webcam")


# ------------------------------------------------------------------------------------ the report


def case(
    family: str,
    fake: bool,
    score: float | None,
    *,
    alerts: int = 0,
    at_s: float | None = None,
    group: str = "",
    name: str = "",
    **seen: Any,
) -> Case:
    row = Row(name or f"{family}.mp4", Path("x"), None, fake, family, group or f"{family}-{fake}-{score}")
    state = State.CANNOT_TELL if score is None else State.SUSPECT if alerts else State.NO_SIGN
    return Case(row, score, state, 36.0, 0.5, alerts, at_s, **{"model_id": "m-1", "runtime": "a runtime"} | seen)


CASES = (
    case("a", True, 0.9, alerts=1, at_s=4.0, first_face_s=1.0, large=Covered(100, 90), face_px=80.0),
    case("a", True, 0.8, alerts=2, at_s=9.0, first_face_s=1.0, face_px=90.0),
    case("a", True, None, first_face_s=33.0),
    case("a", False, 0.1, large=Covered(100, 60)),
    case("a", False, 0.85, alerts=1, at_s=9.0),
    case("b", True, 0.5),
    case("webcam", False, 0.2),
)


def test_the_report_counts_what_could_not_be_judged_apart() -> None:
    report = make_report("m.csv", CASES)
    a, b, webcam = report.families
    assert (a.reals, a.fakes, a.judged_reals, a.judged_fakes) == (2, 3, 2, 2)
    assert a.coverage == pytest.approx(4 / 5)
    assert a.auc.value == pytest.approx(3 / 4)
    assert (a.suspect_fakes, a.suspect_reals, a.silent_fakes) == (2, 1, 1)
    assert (a.apcer, a.bpcer) == (Share(0, 2), Share(1, 2))
    assert a.large == Covered(200, 150)
    assert b.against == ("a", "webcam")
    assert b.auc.value == pytest.approx(2 / 3)
    assert b.apcer == Share(1, 1)
    assert math.isnan(webcam.auc.value)
    assert (webcam.reals, webcam.fakes) == (1, 0)
    assert report.overall.auc.value == pytest.approx(7 / 9)
    alarms = report.false_alarms
    assert (alarms.alerts, alarms.recordings_with, alarms.recordings) == (1, 1, 3)
    assert alarms.hours == pytest.approx(0.015)
    assert alarms.per_hour == pytest.approx(1 / 0.015)
    assert [(one.family, one.bpcer, one.silent) for one in report.genuine] == [
        ("a", Share(1, 2), 0),
        ("webcam", Share(0, 1), 0),
    ]


def test_the_time_to_detect_begins_with_the_first_face_and_every_fake_counts() -> None:
    a = make_report("m.csv", CASES).families[0]
    # 3 s and 8 s after the first face; the third fake was never judged and lasted 3 s.
    assert (a.detect_s, a.soon, a.short_fakes) == (5.5, Share(1, 3), 1)


def test_a_dataset_of_several_methods_has_a_mean() -> None:
    cases = [
        *(case("set", False, 0.3, group=f"r{i}") for i in range(3)),
        case("set-actors", False, 0.6),
        *(case("set-one", True, 0.9, group=f"f{i}") for i in range(4)),
        case("set-two", True, 0.1, group="f9"),
        case("other", True, 0.0),
    ]
    (mean,) = make_report("m.csv", cases).means
    assert (mean.name, mean.families, mean.reals, mean.fakes) == ("set mean", ("set-one", "set-two"), 4, 5)
    assert mean.auc.value == 0.5
    assert make_report("m.csv", CASES).means == ()


def test_halves_of_one_file_are_compared_with_each_other() -> None:
    cases = [
        case("p", False, 0.6, name="1.mp4"),
        case("p", True, 0.7, name="1.mp4"),
        case("p", False, 0.1, name="2.mp4"),
        case("p", True, 0.2, name="2.mp4"),
        case("p", False, 0.9, name="3.mp4"),
        case("p", True, 0.2, name="3.mp4"),
        case("p", False, None, name="4.mp4"),
        case("p", True, 0.9, name="4.mp4"),
        case("q", True, 0.9, name="1.mp4"),
    ]
    (pairs,) = make_report("m.csv", cases).pairs
    gaps = [log_odds(fake) - log_odds(real) for real, fake in ((0.6, 0.7), (0.1, 0.2), (0.9, 0.2))]
    assert (pairs.family, pairs.higher) == ("p", Share(2, 3))
    assert pairs.gap.value == pytest.approx(sum(gaps) / 3)


def test_log_odds_are_bounded() -> None:
    assert log_odds(0.5) == 0.0
    assert math.isfinite(log_odds(0.0))
    assert log_odds(1.0) == pytest.approx(-log_odds(0.0))
    assert math.isnan(log_odds(None))


def test_groups_have_counts_and_no_auc_where_a_class_has_fewer_than_three() -> None:
    large = [case("a", i % 2 == 0, 0.9 if i % 2 == 0 else 0.1, face_px=150.0, luma=60.0) for i in range(6)]
    small = [case("a", True, 0.9, face_px=50.0, luma=200.0), case("a", False, 0.1, face_px=63.9, luma=81.0)]
    unjudged = [case("a", False, None, face_px=64.0), case("a", False, 0.8, alerts=1, ita_deg=50.0)]
    groups = {(one.by, one.group): one for one in make_report("m.csv", [*large, *small, *unjudged]).groups}
    assert groups["face size", ">112 px"].auc == 1.0
    assert groups["face size", "<64 px"].auc is None
    assert (groups["face size", "<64 px"].reals, groups["face size", "<64 px"].fakes) == (1, 1)
    assert groups["face size", "64-112 px"].judged_reals == 0
    assert groups["face size", "unknown"].bpcer == Share(1, 1)
    assert groups["face luma", "dim (<80)"].apcer == Share(3, 3)
    assert groups["skin looks", "light"].reals == 1
    assert groups["skin looks", "unknown"].fakes == 4


def test_the_tables_and_the_document_say_the_same() -> None:
    report = make_report("m.csv", CASES, "high")
    text = accuracy_table(report)
    assert "False alarms: 1 on 1 of 3 real recordings, 0.015 h" in text
    ranking, attack, genuine = [line.split() for line in text.splitlines() if line.startswith("a  ")]
    assert ranking[:4] == ["a", "2", "3", "0.75"]
    assert attack[:6] == ["a", "3", "1/3", "33", "%", "1"]
    assert genuine[:4] == ["a", "2", "1", "0.50"]
    assert ranking[-3:] == ["75", "%", "a"]
    assert "sensitivity high" in text
    assert "too few" in text
    document: Any = json.loads(json.dumps(accuracy_json(report), allow_nan=False))
    assert document["schema"] == "unmask.accuracy/2"
    assert document["families"][0]["flagged_within_6_s"]["count"] == 1
    assert document["families"][0]["apcer"]["value"] == 0.0
    assert document["families"][2]["auc"] is None
    assert document["overall"]["auc"] == pytest.approx(7 / 9, abs=1e-6)
    assert document["overall"]["apcer"] is None
    assert [row["score"] for row in document["rows"]] == [0.9, 0.8, None, 0.1, 0.85, 0.5, 0.2]


def test_a_long_table_of_rows_is_cut_and_says_so() -> None:
    cases = [case("a", False, 0.1, group="g") for _ in range(MAX_ROWS + 2)]
    assert "and 2 more; --json holds all" in accuracy_table(make_report("m.csv", cases))


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(("name", "n"), [("x", "10"), ("longer", "1")]) == "name     n\n------  --\nx       10\nlonger   1"


# ------------------------------------------------------------------------------------ memory and speed


def test_the_memory_of_this_process_is_read() -> None:
    now, peak = resident_mib(), peak_mib()
    if now is None:
        pytest.skip("this system does not say")
    assert peak is not None
    assert 10.0 < now <= peak + 1.0
    held = np.ones(64 * 1024 * 1024, np.uint8)
    after = resident_mib()
    assert after is not None
    assert after - now > 50.0
    del held


def test_the_slope_is_that_of_the_last_two_thirds() -> None:
    times = [float(t) for t in range(60)]
    values = [500.0 - 20.0 * t if t < 20 else 100.0 + t / 60.0 * 3.0 for t in times]
    assert slope_per_minute(times, values) == pytest.approx(3.0)
    assert slope_per_minute(times[:9], values[:9]) is None
    assert slope_per_minute(times[:40], values[:40]) is None


def test_the_watch_of_the_memory_ends_with_its_block() -> None:
    with MemoryWatch(every_s=0.001) as memory:
        pass
    assert memory.use().slope_mib_per_min is None or isinstance(memory.use().peak_mib, float)


def test_the_speed_report_names_machine_stages_and_memory() -> None:
    stage = StageHealth("perceive", 15.0, 15.0, 0, 12.5, 19.0, True)
    run = RunFigures(
        "live 30/s", 1, 20.0, None, 40.0, 90.0, -1.0, 14.9, 2, (stage,), MemoryUse(512.0, 0.1), "ONNX (2 threads)"
    )
    report = SpeedReport(describe_machine(), (run,))
    text = speed_table(report)
    assert "cores" in text.splitlines()[0]
    assert "ONNX (2 threads)" in text.splitlines()[0]
    assert any(line.split() == ["perceive", "live", "30/s", "1", "12.5", "19.0"] for line in text.splitlines())
    document: Any = json.loads(json.dumps(speed_json(report), allow_nan=False))
    assert document["runs"][0]["latency_p95_ms"] == 90.0
    assert document["runs"][0]["realtime_factor"] is None
    assert document["runs"][0]["stages"]["perceive"]["p50_ms"] == 12.5


# ------------------------------------------------------------------------------------ for real, with a tiny detector


@pytest.fixture
def tiny_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face_landmarker_asset: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    write_card(folder / "model.toml", write_detector(folder))
    monkeypatch.setattr(engines.card, "default_card_path", lambda: folder / "model.toml")


@pytest.mark.usefixtures("tiny_model")
def test_a_manifest_is_judged_row_by_row_and_a_broken_file_is_a_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    render_clip(tmp_path / "person.mp4", 1, 3.0)
    write_video(tmp_path / "nobody.mp4")
    path = manifest(
        tmp_path,
        "person.mp4,,real,f,g1,x",
        'person.mp4,"0,0,1,1",fake,f,g2,x',
        "nobody.mp4,,real,f,g3,x",
        "a.mp4,,fake,f,g4,x",
    )
    whole, region, nobody, broken = judge_rows(read_manifest(path), Settings())
    assert whole.score is not None
    assert whole.score == region.score
    assert whole.first_face_s is not None
    assert whole.first_face_s < 0.5
    assert whole.large.samples > 30
    assert whole.large.share == 1.0
    assert whole.face_px == pytest.approx(240.0, abs=80.0)
    assert whole.luma is not None
    assert whole.ita_deg is not None
    assert (nobody.score, nobody.state, nobody.error) == (None, State.CANNOT_TELL, None)
    assert (nobody.first_face_s, nobody.face_px, nobody.large.share) == (None, None, None)
    assert broken.score is None
    assert "a.mp4" in str(broken.error)
    assert run_accuracy(path, Settings(), limit=1) == 0
    printed = capsys.readouterr()
    assert "Not read: a.mp4" not in printed.out
    assert printed.err.startswith("1/2  person.mp4: ")


@pytest.mark.usefixtures("tiny_model")
def test_the_speed_runs_measure_every_stage(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    render_clip(clip, 1, 7.0)
    settings = Settings(hop_frames=1)
    analyze = measure_analyze(clip, 1, settings)
    assert analyze.seconds == pytest.approx(7.0, abs=0.1)
    assert analyze.realtime_factor is not None
    assert analyze.realtime_factor > 0.1
    assert analyze.windows_hz > 8.0
    assert [s.name for s in analyze.stages] == ["decode", "perceive", "encode", "head", "infer"]
    assert all(s.p50_ms is not None for s in analyze.stages)
    live = measure_live(f"file:{clip}", "live", 1, settings, 60.0)
    assert [s.name for s in live.stages] == ["capture", "perceive", "encode", "head", "infer"]
    skip_where_busy()
    assert live.latency_p95_ms is not None
    assert 5.5 < live.seconds < 12.0
    assert live.windows_hz > 0.0
