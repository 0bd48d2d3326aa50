"""The model card: written and read back equal, every fault one line, and the golden output that proves a runtime."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_graphs
import pytest
from scripted_runtime import ScriptedRuntime, write_scripted_detector

from engines import card as card_module
from engines.calibration import LEVELS, QualityError, QualityRange, ReferenceBin, References
from engines.card import Calibration, ErrorRow, Golden, ModelCard, QualityBin, default_card_path, load_card, write_card
from engines.detector_engine import open_engine
from engines.errors import AssetError, EngineError
from engines.golden import check_golden, compute_golden, golden_inputs
from engines.runtimes import Runtime
from engines.runtimes.onnx import OnnxRuntime
from engines.runtimes.openvino import OpenVinoRuntime
from engines.toml_text import to_toml


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A good card beside its two graphs."""
    path = tmp_path / "model.toml"
    write_card(path, write_scripted_detector(tmp_path))
    return path


def _fault(path: Path) -> str:
    with pytest.raises(AssetError) as caught:
        load_card(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


# ------------------------------------------------------------------------------------------ round trip


def test_a_card_is_read_back_as_it_was_written(written: Path) -> None:
    expected = onnx_graphs.make_card(written.parent)
    assert load_card(written) == expected


def test_a_card_without_optional_parts_is_read_back(tmp_path: Path) -> None:
    full = write_scripted_detector(tmp_path)
    bare = replace(full, errors=(), known_blind_spots=(), calibration=Calibration(scale=1.0, bias=0.0))
    write_card(tmp_path / "model.toml", bare)
    assert load_card(tmp_path / "model.toml") == bare
    assert bare.reference is None
    assert bare.quality_range is None


def test_what_was_measured_is_read_back_too(tmp_path: Path) -> None:
    full = write_scripted_detector(tmp_path)
    steps = tuple(float(i) for i in range(LEVELS))
    one = ReferenceBin(face_px=90.0, logits=steps, people=30, windows=900)
    error = QualityError(source="recordings", by="blur", low=0.7, high=1.3, auc=0.8, error=0.25, n_real=40, n_fake=20)
    measured = replace(
        full,
        encoder=replace(full.encoder, state="0123456789abcdef"),
        reference=References(bins=(one,), person=steps, people=30, windows=900, hours=0.25),
        quality_range=QualityRange(
            min_face_px=40.0, max_face_px=500.0, min_blur=0.5, max_blur=3.2, min_luma=20.0, max_luma=220.0, windows=9
        ),
        quality_errors=(error, replace(error, auc=None, error=None)),
    )
    write_card(tmp_path / "model.toml", measured)
    assert load_card(tmp_path / "model.toml") == measured


def test_awkward_text_survives(tmp_path: Path) -> None:
    text = 'quotes " and \\ and """, tab\t, new\nline, cr\r, nul-ish \x01\x7f, [table], # no comment, é 漢 🙂 \u2028'
    awkward = replace(write_scripted_detector(tmp_path), trained_on=text, known_blind_spots=(text, "= 'x'"))
    write_card(tmp_path / "model.toml", awkward)
    assert load_card(tmp_path / "model.toml") == awkward


def test_numbers_from_numpy_are_kept_as_plain_numbers(tmp_path: Path) -> None:
    row = ErrorRow(
        family="x",
        auc=np.float32(0.5),
        low=np.float64(0.25),
        high=np.float32(0.75),
        n_real=np.int64(3),
        n_fake=np.int32(4),
    )
    card = replace(write_scripted_detector(tmp_path), errors=(row,))
    write_card(tmp_path / "model.toml", card)
    assert load_card(tmp_path / "model.toml").errors == (row,)


def test_an_old_card_is_replaced_in_one_step(written: Path) -> None:
    card = replace(load_card(written), id="second")
    write_card(written, card)
    assert load_card(written).id == "second"
    assert [p.name for p in written.parent.glob("*.part")] == []


def test_the_shipped_card_stands_in_the_package() -> None:
    assert default_card_path() == Path(card_module.__file__).parent / "weights" / "model.toml"


def test_without_a_path_the_shipped_card_is_read(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_module, "default_card_path", lambda: written)
    assert load_card().id == "tiny-1"


# ------------------------------------------------------------------------------------------ files


def test_a_missing_card_says_what_to_do(tmp_path: Path) -> None:
    sentence = _fault(tmp_path / "model.toml")
    assert "model.toml: found no such file" in sentence
    assert "reinstall unmask" in sentence


@pytest.mark.parametrize("name", ["encoder.onnx", "head.onnx"])
def test_a_missing_graph_is_named(written: Path, name: str) -> None:
    (written.parent / name).unlink()
    assert f"{name}: found no such file, expected sha256 " in _fault(written)


@pytest.mark.parametrize("name", ["encoder.onnx", "head.onnx"])
def test_a_graph_that_was_changed_is_refused_with_both_hashes(written: Path, name: str) -> None:
    graph = written.parent / name
    before = hashlib.sha256(graph.read_bytes()).hexdigest()
    graph.write_bytes(graph.read_bytes() + b" ")
    after = hashlib.sha256(graph.read_bytes()).hexdigest()
    assert f"{name}: found sha256 {after}, expected {before}; reinstall" in _fault(written)


def test_a_folder_in_the_place_of_the_card_or_a_graph_is_one_line(written: Path) -> None:
    assert "cannot be read" in _fault(written.parent)
    (written.parent / "head.onnx").unlink()
    (written.parent / "head.onnx").mkdir()
    assert "head.onnx: cannot be read" in _fault(written)


@pytest.mark.parametrize(
    "content", [b"id = ", b"[a]\n[a]\n", b"\xff\xfe", b'x = "\x00"', b"{}", b"x = " + b"[" * 100_000]
)
def test_a_card_that_is_not_toml_is_one_line(written: Path, content: bytes) -> None:
    written.write_bytes(content)
    assert "expected TOML in UTF-8, found: " in _fault(written)


def test_a_card_of_a_megabyte_is_not_even_read(written: Path) -> None:
    written.write_bytes(b"#" * ((1 << 20) + 1))
    assert "found 1048577 bytes, expected at most 1048576" in _fault(written)


# ------------------------------------------------------------------------------------------ fields

FAULTS = {
    "unknown key": ('id = "tiny-1"', 'id = "tiny-1"\ncolour = 1', "colour: found an unknown key"),
    "unknown key in a table": ("steps = 32", "steps = 32\nsize = 2", "head.size: found an unknown key"),
    "the folder is not a key": ('id = "tiny-1"', 'id = "tiny-1"\nfolder = "x"', "unknown key 'folder'"),
    "another schema": ("unmask.model/1", "unmask.model/2", "schema: found 'unmask.model/2', expected"),
    "missing value": ("steps = 32\n", "", "head.steps: found nothing, expected a value"),
    "missing table": ("[thresholds]\nlow = 0.3\nhigh = 0.7\n", "", "thresholds: found nothing"),
    "text for a number": ("steps = 32", 'steps = "32"', "head.steps: found '32', expected a valid integer"),
    "a truth for a number": ("steps = 32", "steps = true", "head.steps: found True"),
    "a fraction for a count": ("steps = 32", "steps = 32.5", "head.steps: found 32.5"),
    "zero steps": ("steps = 32", "steps = 0", "head.steps: found 0, expected greater than or equal to 2"),
    "huge crop": (
        "crop_px = 40",
        "crop_px = 100000",
        "encoder.crop_px: found 100000, expected less than or equal to 512",
    ),
    "not a number": ("tolerance = 0.02", "tolerance = nan", "golden.tolerance: found nan"),
    "an infinity": ("head_logit = ", "head_logit = inf #", "golden.head_logit: found inf"),
    "no tolerance at all": ("tolerance = 0.02", "tolerance = 0.0", "golden.tolerance: found 0.0"),
    "generous tolerance": ("tolerance = 0.02", "tolerance = 100.0", "golden.tolerance: found 100.0"),
    "negative seed": ("seed = 7", "seed = -7", "golden.seed: found -7"),
    "short list": ("where_means = [", "where_means = [] #", "golden.where_means: found []"),
    "a path for a file": ('"encoder.onnx"', '"../encoder.onnx"', "encoder.file: found '../encoder.onnx'"),
    "not a hash": ('sha256 = "', 'sha256 = "z', "encoder.sha256: found 'z"),
    "a date that is none": ('"2026-11-23"', '"yesterday"', "created: found 'yesterday'"),
    "a bad id": ('"tiny-1"', '"tiny 1"', "id: found 'tiny 1'"),
    "negative scale": ("scale = 2.0", "scale = -2.0", "calibration.scale: found -2.0, expected greater than 0"),
    "thresholds swapped": ("low = 0.3", "low = 0.8", "expected low < high, found low = 0.8, high = 0.7"),
    "threshold of one": ("high = 0.7", "high = 1.0", "thresholds.high: found 1.0"),
    "auc above its interval": ("auc = 0.9", "auc = 0.99", "expected low <= auc <= high, found 0.8, 0.99, 0.95"),
    "auc above one": ("high = 0.95", "high = 1.95", "errors.0.high: found 1.95"),
    "no alarm threshold": ("cusum_h = 8.0", "cusum_h = 0.0", "operating_points.medium.cusum_h: found 0.0"),
    "sensitivity missing": ("[operating_points.high]", "[operating_points.highest]", "operating_points.high"),
}


@pytest.mark.parametrize(("old", "new", "sentence"), FAULTS.values(), ids=FAULTS.keys())
def test_a_faulty_field_is_named_with_what_was_found(written: Path, old: str, new: str, sentence: str) -> None:
    text = written.read_text(encoding="utf-8")
    assert old in text
    written.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert sentence in _fault(written)


def test_many_faults_name_the_first_and_count_the_rest(written: Path) -> None:
    text = written.read_text(encoding="utf-8").replace("steps = 32", "steps = 0").replace("seed = 7", "seed = -1")
    written.write_text(text, encoding="utf-8")
    assert "(and 1 more)" in _fault(written)


def test_a_bare_toml_date_will_do(written: Path) -> None:
    written.write_text(written.read_text(encoding="utf-8").replace('"2026-11-23"', "2026-11-23"), encoding="utf-8")
    assert load_card(written).created == "2026-11-23"


def test_a_card_is_checked_when_it_is_made_too(tmp_path: Path) -> None:
    card = write_scripted_detector(tmp_path)
    with pytest.raises(ValueError, match="tolerance"):
        replace(card.golden, tolerance=9.0)
    low, high = QualityBin(face_px=80, scale=1, bias=0), QualityBin(face_px=120, scale=1, bias=0)
    with pytest.raises(ValueError, match="rising face_px"):
        Calibration(scale=1, bias=0, bins=(high, low))


def test_operating_points_are_found_by_name(tmp_path: Path) -> None:
    points = write_scripted_detector(tmp_path).operating_points
    assert [points[name].cusum_h for name in ("low", "medium", "high")] == [12.0, 8.0, 4.0]
    with pytest.raises(KeyError, match="expected one of low, medium, high"):
        points["extreme"]


# ------------------------------------------------------------------------------------------ TOML text


def test_toml_text_is_what_tomllib_reads() -> None:
    table = {
        "a b": 1,
        "yes": True,
        "tiny": 1e-300,
        "minus": -0.1,
        "empty": [],
        "nested": [[1.0, 2.0], [3.0]],
        "t": {"x": 1, "inner": {"y": "z", "rows": [{"k": 1}, {"k": 2, "deep": {"m": "n"}}]}},
        "bare": {},
    }
    assert tomllib.loads(to_toml(table)) == table


@pytest.mark.parametrize("value", [None, float("inf"), float("nan"), "\ud800", object(), b"x"])
def test_what_toml_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        to_toml({"x": value})


# ------------------------------------------------------------------------------------------ golden output


def test_golden_inputs_are_the_same_bytes_everywhere() -> None:
    """The pinned hash is what every shipped card relies on: other bytes would fail every runtime."""
    crops, window = golden_inputs(20261123, 160, 32, 261)
    assert (crops.shape, crops.dtype) == ((4, 160, 160, 3), np.uint8)
    assert (window.shape, window.dtype) == ((1, 32, 261), np.float32)
    assert -1.0 <= window.min() < -0.9
    assert 0.9 < window.max() <= 1.0
    digest = hashlib.sha256(crops.tobytes() + window.astype("<f4").tobytes()).hexdigest()
    assert digest == "0a82558a258542dea30c4437cad86bb374d596bdb7fca609716f03c4a467a5fc"


def test_golden_inputs_depend_on_the_seed_and_differ_from_crop_to_crop() -> None:
    crops, window = golden_inputs(1, 40, 4, 5)
    others, other_window = golden_inputs(2, 40, 4, 5)
    assert not np.array_equal(crops, others)
    assert not np.array_equal(window, other_window)
    assert len({crop.tobytes() for crop in crops}) == 4


@pytest.mark.parametrize("runtime", [OpenVinoRuntime(), OnnxRuntime()], ids=lambda runtime: runtime.name)
def test_a_real_runtime_reproduces_what_numpy_computed(runtime: Runtime, tmp_path: Path) -> None:
    if (reason := runtime.available()) is not None:
        pytest.skip(reason)
    card = onnx_graphs.write_detector(tmp_path)
    with open_engine(runtime, card, threads=1) as engine:
        assert check_golden(engine, card.golden) is None
        again = compute_golden(engine, seed=onnx_graphs.GOLDEN_SEED)
    assert again.encoder_logits == pytest.approx(card.golden.encoder_logits, abs=1e-5)
    assert again.head_logit == pytest.approx(card.golden.head_logit, abs=1e-5)


@pytest.mark.parametrize("runtime", [OpenVinoRuntime(), OnnxRuntime()], ids=lambda runtime: runtime.name)
def test_a_graph_with_other_weights_is_found_out(runtime: Runtime, tmp_path: Path) -> None:
    if (reason := runtime.available()) is not None:
        pytest.skip(reason)
    card = onnx_graphs.write_detector(tmp_path)
    onnx_graphs.write_encoder(tmp_path / "encoder.onnx", weight_scale=1.5)
    with open_engine(runtime, card, threads=1) as engine:
        fault = check_golden(engine, card.golden)
    assert fault is not None
    assert fault.startswith("does not reproduce the golden output: ")


def _golden_of(card: ModelCard) -> Golden:
    with open_engine(ScriptedRuntime("x"), card) as engine:
        return compute_golden(engine, seed=card.golden.seed, tolerance=card.golden.tolerance)


def test_computing_and_checking_agree(tmp_path: Path) -> None:
    card = write_scripted_detector(tmp_path)
    assert _golden_of(card) == card.golden


def test_the_tolerance_is_far_below_what_the_crops_differ_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tolerance(scale: float) -> float:
        weights = onnx_graphs.encoder_weights() * np.float32(scale)
        with monkeypatch.context() as patch:
            patch.setattr(onnx_graphs, "encoder_weights", lambda: weights)
            with open_engine(ScriptedRuntime("x"), card) as engine:
                golden = compute_golden(engine, seed=card.golden.seed)
        spread = max(golden.encoder_logits) - min(golden.encoder_logits)
        assert golden.tolerance == pytest.approx(min(max(spread / 20, 1e-4), 0.02))
        return golden.tolerance

    card = write_scripted_detector(tmp_path)
    assert tolerance(1000.0) == 0.02
    assert tolerance(1e-6) == 1e-4
    assert 1e-4 < tolerance(1.0) < 0.02


GOLDEN_PARTS = {
    "logit of crop 2": lambda g: replace(g, encoder_logits=(*g.encoder_logits[:2], 50.0, g.encoder_logits[3])),
    "mean where-map of crop 0": lambda g: replace(g, where_means=(0.9, *g.where_means[1:])),
    "feature 7 of crop 3": lambda g: replace(g, features=(*g.features[:3], (*g.features[3][:7], 9.0))),
    "head logit": lambda g: replace(g, head_logit=g.head_logit + 0.021),
    "mean frame logit": lambda g: replace(g, frame_logit_mean=g.frame_logit_mean - 0.021),
}


@pytest.mark.parametrize(("name", "change"), GOLDEN_PARTS.items(), ids=GOLDEN_PARTS.keys())
def test_every_part_of_the_golden_output_counts(tmp_path: Path, name: str, change: object) -> None:
    card = write_scripted_detector(tmp_path)
    with open_engine(ScriptedRuntime("x"), card) as engine:
        fault = check_golden(engine, change(card.golden))  # type: ignore[operator]
    assert fault is not None
    assert f"golden output: {name} is " in fault
    assert "within 0.02" in fault


def test_a_difference_within_the_tolerance_passes(tmp_path: Path) -> None:
    card = write_scripted_detector(tmp_path)
    with open_engine(ScriptedRuntime("x"), card) as engine:
        assert check_golden(engine, replace(card.golden, head_logit=card.golden.head_logit + 0.019)) is None


def test_values_that_are_not_finite_never_pass(tmp_path: Path) -> None:
    card = write_scripted_detector(tmp_path)
    with (
        open_engine(ScriptedRuntime("x", shift=float("nan")), card) as engine,
        pytest.raises(EngineError, match="output feature: found values that are not finite"),
    ):
        check_golden(engine, card.golden)
