"""The analysis of a file: lossless, the same at every run, and a document that other programs can rely on."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from engines.card import load_card
from engines.errors import AssetError
from monitor.analysis import FileStages, analyze_file, run
from monitor.bench.speed import render_clip
from monitor.errors import EngineError, SourceError
from monitor.perceive import Perceived
from monitor.results import Analysis, ModelInfo
from monitor.settings import Settings
from monitor.sinks.document import analysis_to_text, error_to_json
from monitor.types import Frame, Reason, SourceKind, State
from tests.fakes import (
    POINT,
    FakeDetector,
    FakePerceiver,
    Lost,
    ScriptedSource,
    Step,
    face,
    frames,
    make_inference,
    status,
)

SETTINGS = Settings()
MODEL = ModelInfo("fake-1", "e" * 64, "a" * 64, "a fake runtime (1 thread)")


def analyse(
    script: list[Step],
    *,
    perceiver: FakePerceiver | None = None,
    detector: FakeDetector | None = None,
    incomplete: str | None = None,
    progress: Any = None,
    fps: float = 15.0,
) -> Analysis:
    source = ScriptedSource(script, kind=SourceKind.FILE, incomplete=incomplete, duration_s=12.5, fps=fps)
    perceiver = perceiver if perceiver is not None else FakePerceiver()
    parts = FileStages(lambda: perceiver, lambda: make_inference(detector), MODEL, POINT)
    try:
        return run("clip.mp4", source, parts, SETTINGS, progress=progress)
    finally:
        assert source.closed.is_set()
        assert perceiver.closed or not perceiver.seen


def test_every_sampled_frame_is_looked_at_however_slow_a_stage_is() -> None:
    perceiver = FakePerceiver(before=lambda frame: time.sleep(0.003 if frame.seq % 7 == 0 else 0))
    slow = FakeDetector(before=lambda: time.sleep(0.002))
    analysis = analyse(frames(120, fps=30.0), perceiver=perceiver, detector=slow, fps=30.0)
    assert perceiver.seen == list(range(0, 120, 2))
    assert (analysis.timing.frames_read, analysis.timing.frames_sampled) == (120, 60)
    assert all(stage.dropped == 0 for stage in analysis.timing.stages)
    assert analysis.duration_s == pytest.approx(4.0)


def test_the_same_file_gives_the_same_document_twice() -> None:
    def once(nap_s: float) -> dict[str, Any]:
        perceiver = FakePerceiver(people=(1, 2), before=lambda _f: time.sleep(nap_s))
        document: Any = analyse(frames(90), perceiver=perceiver, detector=FakeDetector(logits={2: 2.0})).to_json()
        del document["timing"]
        return document

    assert json.dumps(once(0.0)) == json.dumps(once(0.001))


def test_the_document_keeps_its_contract() -> None:
    perceiver = FakePerceiver(people=(1, 2))
    document: Any = json.loads(
        json.dumps(analyse(frames(150), perceiver=perceiver, detector=FakeDetector(logits={2: 2.5})).to_json())
    )
    assert list(document) == [
        "schema",
        "source",
        "model",
        "runtime",
        "incomplete",
        "operating_point",
        "reference",
        "summary",
        "tracks",
        "alerts",
        "timing",
    ]
    assert document["schema"] == "unmask.analysis/1"
    assert document["source"]["uri"] == "clip.mp4"
    assert document["model"] == {"id": "fake-1", "sha256": "e" * 64, "head_sha256": "a" * 64}
    assert document["incomplete"] is None
    assert document["operating_point"]["extrapolated"] is True
    assert document["reference"] is None
    assert document["tracks"][1]["p_real"] is document["tracks"][1]["windows"][0]["p_real"] is None
    summary = document["summary"]
    assert (summary["state"], summary["worst_track"]) == ("SUSPECT", 2)
    assert summary["score"] == pytest.approx(0.924142, abs=1e-6)
    assert 0.0 <= summary["coverage"] <= 1.0
    assert summary["duration_s"] == pytest.approx(10.0, abs=0.01)
    assert [track["track_id"] for track in document["tracks"]] == [1, 2]
    track = document["tracks"][1]
    assert {"track_id", "start_s", "end_s", "state", "score", "reasons", "windows", "cues"} <= set(track)
    assert all(w["end_s"] - w["start_s"] == pytest.approx(7 / 15, abs=0.002) for w in track["windows"])
    assert set(track["windows"][0]["quality"]) == {"face_px", "yaw_deg", "rate_hz", "blur", "luma", "judged_share"}
    (alert,) = document["alerts"]
    assert (alert["track_id"], alert["kind"], alert["end_s"]) == (2, "manipulation", None)
    assert {"wall_s", "realtime_factor", "stages"} <= set(document["timing"])
    assert {"decode", "perceive", "encode", "head", "infer"} == set(document["timing"]["stages"])


def test_a_suspect_is_told_where_the_picture_looks_replaced_and_nobody_else_is() -> None:
    detector = FakeDetector(logits={2: 2.5}, where=0.8)
    document: Any = analyse(frames(150), perceiver=FakePerceiver(people=(1, 2)), detector=detector).to_json()
    calm, suspect = document["tracks"]
    assert (calm["state"], calm["where"]) == ("NO_SIGN", None)
    assert set(suspect["where"]) == {"at_s", "regions", "text", "innocent"}
    assert suspect["where"]["regions"] == ["outside-the-face"]
    assert suspect["where"]["text"] == "mostly outside the face"
    assert "filter" in suspect["where"]["innocent"]
    assert suspect["start_s"] <= suspect["where"]["at_s"] <= suspect["end_s"]
    assert "mostly outside the face" in document["alerts"][0]["text"]
    nowhere: Any = analyse(frames(60), perceiver=FakePerceiver(people=(2,)), detector=FakeDetector({2: 1.0})).to_json()
    assert nowhere["tracks"][0]["state"] == "UNCERTAIN"
    assert nowhere["tracks"][0]["where"]["regions"] == []
    assert nowhere["tracks"][0]["where"]["text"] == "no place stands out"


def test_each_side_of_a_cut_has_its_own_map() -> None:
    def plan(frame: Frame) -> Perceived:
        return Perceived((face(frame, 2),), (status(frame, 2, cut=frame.seq == 60),), False)

    document: Any = analyse(frames(120), perceiver=FakePerceiver(plan=plan), detector=FakeDetector({2: 1.0})).to_json()
    before, after = document["tracks"]
    assert before["where"]["at_s"] < 4.0 <= after["where"]["at_s"]


def test_the_worst_person_leads_and_not_a_mean() -> None:
    perceiver = FakePerceiver(people=(1, 2, 3, 4))
    analysis = analyse(frames(60), perceiver=perceiver, detector=FakeDetector(logits={3: 1.0}))
    assert (analysis.summary.worst_track, analysis.summary.state) == (3, State.UNCERTAIN)
    assert analysis.summary.score == pytest.approx(0.731, abs=0.001)


def test_no_face_at_all_cannot_be_told() -> None:
    document: Any = analyse(frames(30), perceiver=FakePerceiver(people=())).to_json()
    assert document["summary"]["state"] == "CANNOT_TELL"
    assert document["summary"]["score"] is None
    assert document["summary"]["reasons"] == ["no-face"]
    assert document["tracks"] == []


def test_a_face_that_is_too_small_is_listed_with_its_reason() -> None:
    def plan(frame: Frame) -> Perceived:
        return Perceived((), (status(frame, 1, reason=Reason.FACE_TOO_SMALL),), False)

    analysis = analyse(frames(30), perceiver=FakePerceiver(plan=plan))
    assert analysis.summary.state is State.CANNOT_TELL
    assert analysis.summary.reasons == (Reason.FACE_TOO_SMALL,)
    assert "Cannot tell: the face is too small." in analysis_to_text(analysis)


def test_a_part_of_a_file_gives_the_verdict_of_that_part_and_says_so() -> None:
    analysis = analyse(frames(60), incomplete="the file ends after 4.0 of 12.5 s")
    document: Any = analysis.to_json()
    assert document["incomplete"] == "the file ends after 4.0 of 12.5 s"
    assert document["summary"]["score"] == pytest.approx(0.047426, abs=1e-6)
    assert "only a part could be read: the file ends after 4.0 of 12.5 s" in analysis_to_text(analysis)


def test_a_person_who_leaves_and_another_who_comes_are_two_tracks() -> None:
    def plan(frame: Frame) -> Perceived:
        one = 1 if frame.seq < 100 else 2
        gone = (status(frame, 1, ended=True),) if frame.seq == 100 else ()
        return Perceived((face(frame, one),), (status(frame, one), *gone), False)

    analysis = analyse(frames(160), perceiver=FakePerceiver(plan=plan), detector=FakeDetector(logits={1: 2.0, 2: -2.0}))
    assert [(t.track_id, t.state) for t in analysis.tracks] == [(1, State.SUSPECT), (2, State.NO_SIGN)]
    assert all(w.end_s < 100 / 15 for w in analysis.tracks[0].windows)
    assert all(w.start_s >= 100 / 15 - 1e-6 for w in analysis.tracks[1].windows)


def test_progress_is_told_in_seconds_of_the_recording() -> None:
    told: list[tuple[float, float | None]] = []
    analyse(frames(30), progress=lambda done, of: told.append((done, of)))
    assert told[0] == (0.0, 12.5)
    assert told[-1][0] == pytest.approx(29 / 15)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_an_error_of_any_thread_reaches_the_caller_and_leaves_no_thread() -> None:
    with pytest.raises(SourceError, match="the disk has gone"):
        analyse([*frames(20), Lost(SourceError("the disk has gone"))])

    def crash(_frame: Frame) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        analyse(frames(200), perceiver=FakePerceiver(before=crash))

    def broken() -> None:
        raise EngineError("the runtime gave no finite numbers")

    with pytest.raises(EngineError, match="no finite numbers"):
        analyse(frames(200), detector=FakeDetector(before=broken))
    assert [t.name for t in threading.enumerate() if t.name.startswith("unmask-")] == []


def test_ctrl_c_in_the_middle_ends_every_thread() -> None:
    def interrupt(done: float, _of: float | None) -> None:
        if done > 1.0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyse(frames(300), progress=interrupt)
    assert [t.name for t in threading.enumerate() if t.name.startswith("unmask-")] == []


def test_the_lines_for_people_name_who_leads() -> None:
    text = analysis_to_text(
        analyse(frames(150), perceiver=FakePerceiver(people=(1, 2)), detector=FakeDetector(logits={2: 2.5}))
    )
    first, *rest = text.splitlines()
    assert first.startswith("clip.mp4: Strong signs, score 0.92, person 2 leads; ")
    assert rest[0].startswith("  person 1: No sign, 0.05, 0.0 to 9.9 s")
    assert rest[2].startswith("  alert, person 2, ")


def test_a_file_that_failed_stands_in_the_list_with_its_error() -> None:
    assert error_to_json("x.mp4", "no such file") == {
        "schema": "unmask.analysis/1",
        "source": {"uri": "x.mp4"},
        "error": "no such file",
    }


def test_the_demonstration_is_one_person_to_the_shipped_detector(tmp_path: Path, face_landmarker_asset: Path) -> None:
    try:
        load_card()
    except AssetError as error:
        pytest.skip(f"the trained detector is not here: {error}")
    clip = tmp_path / "demo.mp4"
    render_clip(clip, 1, 4.0)
    analysis = analyze_file(clip, Settings(runtime="onnx"))
    assert analysis.timing.frames_sampled == 60
    (track,) = analysis.tracks
    assert len(track.windows) >= 4
    assert analysis.summary.coverage > 0.9
    assert analysis.summary.score == track.score
    assert track.score is not None
    assert analysis.model.id == load_card().id
