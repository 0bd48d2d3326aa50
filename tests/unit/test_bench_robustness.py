"""Re-encoding a row and judging it again: sizes, times, what is kept, and the figures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from engines.card import load_card
from monitor.bench import robustness
from monitor.bench.judging import RowJudge
from monitor.bench.manifest import Row
from monitor.bench.reencode import CONDITIONS, ORIGINAL, Condition, encoded_size, reencode, shrunk
from monitor.bench.robustness import (
    NAMES,
    Outcome,
    Report,
    judge_all,
    make_lines,
    robustness_json,
    robustness_table,
    run_robustness,
)
from monitor.bench.speed import render_clip
from monitor.bench.work import CHECKOUT, Work, model_key, row_key, rows_of_families
from monitor.errors import SettingsError
from monitor.settings import Settings
from monitor.types import Frame
from tests.fakes import ScriptedSource
from tests.media import number_of, numbered
from tests.onnx_graphs import write_detector


def pictures(count: int, width: int = 320, height: int = 240, fps: float = 20.0) -> list[Frame]:
    return [Frame("fake", i, 0, round(i / fps * 1e9), numbered(i, width, height)) for i in range(count)]


def decoded(path: Path) -> Iterator[tuple[float, np.ndarray[Any, Any]]]:
    with av.open(str(path)) as container:
        for picture in container.decode(video=0):
            yield float(picture.time or 0.0), picture.to_ndarray(format="rgb24")


# ------------------------------------------------------------------------------------ encoding


@pytest.mark.parametrize(
    ("size", "height_px", "expected"),
    [((320, 240), None, (320, 240)), ((321, 241), None, (320, 240)), ((1280, 720), 180, (320, 180)),
     ((320, 240), 360, (320, 240)), ((853, 480), 360, (640, 360))],
)  # fmt: skip
def test_sizes_are_even_and_never_larger(
    size: tuple[int, int], height_px: int | None, expected: tuple[int, int]
) -> None:
    assert encoded_size(*size, Condition("x", 23, height_px)) == expected


def test_an_odd_edge_is_cut_off_and_not_resampled() -> None:
    image = numbered(5, 41, 31)
    assert np.array_equal(shrunk(image, (40, 30)), image[:30, :40])
    assert shrunk(image, (20, 14)).shape == (14, 20, 3)


def test_every_picture_comes_back_in_order_with_its_time(tmp_path: Path) -> None:
    files = [(CONDITIONS[0], tmp_path / "a.mp4"), (Condition("small", 23, 120), tmp_path / "b.mp4")]
    assert reencode(ScriptedSource(pictures(25)), files)
    for path, size in ((tmp_path / "a.mp4", (240, 320)), (tmp_path / "b.mp4", (120, 160))):
        seen = list(decoded(path))
        assert [number_of(image) for _, image in seen] == list(range(25))
        assert [t for t, _ in seen] == pytest.approx([i / 20 for i in range(25)], abs=1e-3)
        assert seen[0][1].shape[:2] == size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_a_higher_factor_costs_more_of_the_picture(tmp_path: Path) -> None:
    rough = np.random.default_rng(1).integers(0, 255, (12, 240, 320, 3), np.uint8)
    source = [Frame("fake", i, 0, i * 50_000_000, image) for i, image in enumerate(rough)]
    files = [(one, tmp_path / f"{one.crf}.mp4") for one in CONDITIONS[:3]]
    reencode(ScriptedSource(source), files)
    sizes = [path.stat().st_size for _, path in files]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < 0.7 * sizes[0]


def test_a_source_without_pictures_or_one_that_breaks_leaves_no_file(tmp_path: Path) -> None:
    files = [(CONDITIONS[0], tmp_path / "a.mp4")]
    assert not reencode(ScriptedSource([]), files)

    class Breaking(ScriptedSource):
        def frames(self) -> Iterator[Frame]:
            yield pictures(1)[0]
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        reencode(Breaking([]), files)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------ the folder


def test_the_folder_keeps_results_even_after_a_cut_line(tmp_path: Path) -> None:
    work = Work(tmp_path / "new" / "folder")
    work.put("a", {"score": 0.5})
    with (work.folder / "results.jsonl").open("a") as file:
        file.write('{"key": "b", "res')
    again = Work(work.folder)
    assert again.get("a") == {"score": 0.5}
    assert again.get("b") is None


def test_faces_are_never_kept_in_the_checkout(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="it will hold faces"):
        Work(CHECKOUT / "runs" / "bench")
    assert not (CHECKOUT / "runs" / "bench").exists()
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be made"):
        Work(tmp_path / "file")


def row(tmp_path: Path, family: str, fake: bool, name: str = "a.mp4", group: str = "g") -> Row:
    path = tmp_path / name
    path.touch()
    return Row(name, path, None, fake, family, group)


def test_keys_change_with_what_they_depend_on(tmp_path: Path) -> None:
    one = row(tmp_path, "f", True)
    key = row_key(one, Settings(), 8.0)
    assert key == row_key(one, Settings(threads=4), 8.0)
    assert key != row_key(one, Settings(), 4.0)
    one.path.write_bytes(b"more")
    assert key != row_key(one, Settings(), 8.0)
    card = write_detector(tmp_path)
    assert model_key(card, Settings()) == model_key(card, Settings(always_on_top=False))
    assert model_key(card, Settings()) != model_key(card, Settings(hop_frames=4))


def test_chosen_families_bring_the_reals_they_stand_against(tmp_path: Path) -> None:
    rows = [row(tmp_path, *one) for one in (("x-a", True), ("x-b", True), ("x", False), ("y", False), ("y", True))]
    assert [one.family for one in rows_of_families(rows, ["x-a"])] == ["x-a", "x"]
    assert [(one.family, one.fake) for one in rows_of_families(rows, ["y"])] == [("y", False), ("y", True)]
    assert rows_of_families(rows, None) == tuple(rows)
    with pytest.raises(SettingsError, match="there is no 'z'; the manifest has x, x-a, x-b, y"):
        rows_of_families(rows, ["z"])


# ------------------------------------------------------------------------------------ the figures


def outcomes(tmp_path: Path) -> list[Outcome]:
    found = []
    for index, (fake, before, after) in enumerate(
        [(True, 0.9, 0.4), (True, 0.8, None), (False, 0.2, 0.5), (False, 0.1, 0.2)]
    ):
        one = row(tmp_path, "f", fake, f"{index}.mp4", str(index))
        found += [Outcome(one, name, before if name == ORIGINAL else after, before == 0.9) for name in NAMES]
    return found


def test_a_condition_is_compared_with_the_row_as_it_is(tmp_path: Path) -> None:
    lines = {(one.family, one.condition): one for one in make_lines(outcomes(tmp_path))}
    first, hard = lines["f", ORIGINAL], lines["f", "CRF 36"]
    assert (first.auc.value, first.real_shift.value, first.fake_shift.value) == (1.0, 0.0, 0.0)
    assert hard.auc.value == 0.5
    assert hard.real_shift.value == pytest.approx(0.2)
    assert hard.fake_shift.value == pytest.approx(-0.5)
    assert (hard.reals, hard.fakes, hard.of_rows, hard.alarmed_fakes, hard.alarmed_reals) == (2, 1, 4, 1, 0)
    assert set(lines) == {("f", name) for name in NAMES}
    more = [*outcomes(tmp_path), *(Outcome(row(tmp_path, "e", True, "e.mp4"), name, 0.5) for name in NAMES)]
    assert {one.family for one in make_lines(more)} == {"e", "f", "all"}


def test_the_robustness_table_and_document(tmp_path: Path) -> None:
    report = Report("m.csv", "m-1", 4.0, make_lines(outcomes(tmp_path)), tuple(outcomes(tmp_path)))
    line = next(text for text in robustness_table(report).splitlines() if text.startswith("f ") and "CRF 36" in text)
    assert "3/4" in line
    assert "-0.500" in line
    document: Any = json.loads(json.dumps(robustness_json(report), allow_nan=False))
    assert document["schema"] == "unmask.robustness/1"
    assert len(document["rows"]) == 4 * len(NAMES)


def test_a_row_that_was_never_judged_has_no_figures(tmp_path: Path) -> None:
    one = row(tmp_path, "f", True)
    lines = make_lines([Outcome(one, name, None, error="gone") for name in NAMES])
    assert all(math.isnan(line.auc.value) and math.isnan(line.fake_shift.value) for line in lines)
    assert "Not read: a.mp4: gone" in robustness_table(
        Report("m", "m-1", 4.0, lines, (Outcome(one, ORIGINAL, None, error="gone"),))
    )


# ------------------------------------------------------------------------------------ for real, with a tiny detector


@pytest.mark.usefixtures("tiny_model")
def test_a_manifest_is_judged_under_every_condition_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(robustness, "CONDITIONS", CONDITIONS[2:4])
    monkeypatch.setattr(robustness, "NAMES", (ORIGINAL, "CRF 36", "360p"))
    render_clip(tmp_path / "person.mp4", 1, 3.0)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    path = tmp_path / "manifest.csv"
    path.write_text('file,region,label,family,group\nperson.mp4,"0.1,0,0.8,1",real,f,g\nbroken.mp4,,fake,f,h\n')
    work = tmp_path / "work"
    assert run_robustness(path, Settings(), work, limit_s=2.5, as_json=True) == 0
    document: Any = json.loads(capsys.readouterr().out)
    good, broken = document["rows"][:3], document["rows"][3:]
    assert all(one["score"] is not None for one in good)
    assert all("broken.mp4" in one["error"] for one in broken)
    sizes = []
    for file in sorted(work.glob("*.mp4")):
        times, images = zip(*decoded(file), strict=True)
        assert times[-1] < 2.5
        sizes.append(images[0].shape[:2])
    assert sorted(sizes) == [(360, 512), (720, 1024)]

    def never(*_: object) -> None:
        raise AssertionError("judged twice")

    monkeypatch.setattr(RowJudge, "judge", never)
    assert run_robustness(path, Settings(), work, limit_s=2.5, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == document


@pytest.mark.usefixtures("tiny_model")
def test_the_same_pictures_under_two_rows_are_judged_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[str] = []

    def record(task: Any, *_: object) -> tuple[Outcome, ...]:
        tasks.append(task.row.name)
        return tuple(Outcome(task.row, name, 0.5) for name in task.names)

    monkeypatch.setattr(robustness, "judge_row", record)
    one = row(tmp_path, "f", True)
    twice = [one, row(tmp_path, "e", False), row(tmp_path, "f", True, "b.mp4")]
    assert load_card().id == "tiny-1"
    found = list(judge_all(twice, Settings(), Work(tmp_path / "work"), 4.0))
    assert tasks == ["a.mp4", "b.mp4"]
    assert [[two.score for two in rows] for rows in found] == [[0.5] * len(NAMES)] * 3
    assert [rows[0].row.family for rows in found] == ["f", "e", "f"]
