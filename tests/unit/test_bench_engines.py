"""The engine bench: what it counts, simulates and prints, on runtimes that take the time they are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx_graphs
import pytest
from scripted_runtime import ScriptedRuntime, Stopwatch, write_scripted_detector

from engines import peaks as peaks_module
from engines.errors import EngineError
from engines.gpu_peaks import gpu_peaks
from engines.graph_cost import GraphCost, count
from engines.peaks import Peaks, cpu_peaks
from engines.runtimes import Precision
from engines.runtimes.openvino import OpenVinoRuntime
from monitor.bench import engines as bench
from monitor.bench.capacity import calls_a_device, p95_ms
from monitor.bench.energy import joules_between, read_uj
from monitor.bench.engines import EngineReport, measure_engines
from monitor.bench.engines_output import engines_json, engines_table
from monitor.cli import main
from monitor.settings import Settings

BATCHES = (1, 4)


# ------------------------------------------------------------------------------------------ calls a device


def test_one_call_waits_for_its_crop_and_every_fifth_time_for_its_window() -> None:
    assert p95_ms(1, {1: [6.0]}, {1: [0.9]}) == pytest.approx(6.9)
    assert p95_ms(1, {1: [6.0]}, {1: [0.0]}) == pytest.approx(6.0)


def test_a_device_that_is_slower_than_the_limit_serves_nobody() -> None:
    assert calls_a_device({1: [51.0]}, {1: [0.0]}) == 0


def test_the_number_of_calls_is_that_of_the_arithmetic_where_batches_gain_nothing() -> None:
    """A crop of 4 ms leaves room for 1000 / 15 / 4 = 16 calls at most."""
    assert 14 <= calls_a_device({1: [4.0], 8: [32.0]}, {1: [0.0], 8: [0.0]}) <= 16


def test_batches_that_gain_make_room_and_windows_take_it() -> None:
    flat = calls_a_device({1: [4.0], 64: [4.0]}, {1: [0.0], 64: [0.0]})
    with_windows = calls_a_device({1: [4.0], 64: [4.0]}, {1: [8.0], 64: [80.0]})
    assert flat > 200
    assert with_windows < flat


def test_a_device_that_is_slow_now_and_then_serves_fewer() -> None:
    steady = calls_a_device({1: [4.0], 8: [16.0]}, {1: [0.0], 8: [0.0]})
    unsteady = calls_a_device({1: [4.0, 4.0, 20.0], 8: [16.0, 16.0, 80.0]}, {1: [0.0], 8: [0.0]})
    assert 0 < unsteady < steady


# ------------------------------------------------------------------------------------------ energy


def _rapl(root: Path, **packages: str) -> Path:
    for name, value in packages.items():
        folder = root / name.replace("_", ":").replace("rapl", "intel-rapl", 1)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "energy_uj").write_text(value)
    return root


def test_energy_is_that_of_all_packages_and_not_of_their_parts(tmp_path: Path) -> None:
    before = read_uj(_rapl(tmp_path, rapl_0="1000000", rapl_1="5000000", rapl_0_0="7"))
    after = read_uj(_rapl(tmp_path, rapl_0="3000000", rapl_1="5500000", rapl_0_0="9"))
    assert joules_between(before, after) == pytest.approx(2.5)


def test_energy_that_cannot_be_told_is_none(tmp_path: Path) -> None:
    assert read_uj(tmp_path / "no such folder") is None
    assert read_uj(_rapl(tmp_path, rapl_0="not a number")) is None
    assert joules_between(None, {"a": 1}) is None
    assert joules_between({"a": 5}, {"a": 1}) is None


# ------------------------------------------------------------------------------------------ cost and peaks


def test_a_graph_is_counted_layer_by_layer(tmp_path: Path) -> None:
    if OpenVinoRuntime().available() is not None:
        pytest.skip("openvino is not installed")
    onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    weights = {"full": (8, 3, 3, 3), "depth": (8, 1, 3, 3), "dense": (8, 5)}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "full"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
            helper.make_node("Conv", ["a", "depth"], ["b"], group=8, pads=[1, 1, 1, 1]),
            helper.make_node("GlobalAveragePool", ["b"], ["c"]),
            helper.make_node("Flatten", ["c"], ["d"]),
            helper.make_node("MatMul", ["d", "dense"], ["y"]),
        ],
        "counted",
        [helper.make_tensor_value_info("x", floats, ["N", 3, 16, 16])],
        [helper.make_tensor_value_info("y", floats, ["N", 5])],
        [onnx.numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()],
    )
    path = tmp_path / "counted.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    cost = count(path)
    picture, map_ = 3 * 16 * 16, 8 * 8 * 8
    assert cost.flops == 2 * (map_ * 3 * 9 + map_ * 9 + 5 * 8)
    assert cost.activation_bytes == 4 * (picture + map_ + map_ + map_ + 8 + 5)
    assert cost.weight_bytes == 4 * (8 * 27 + 8 * 9 + 40)
    assert cost.input_bytes == 4 * picture


def test_a_file_that_is_no_graph_cannot_be_counted(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no graph")
    with pytest.raises(EngineError, match=r"x\.onnx: cannot be counted"):
        count(tmp_path / "x.onnx")


def test_the_limit_is_set_by_what_binds_and_half_precision_moves_half() -> None:
    cost = GraphCost(flops=1e9, activation_bytes=1e6, weight_bytes=9e6, input_bytes=1)
    assert cost.limit_ms(1, Peaks(flops=1e12, bytes_per_s=1e9)) == (pytest.approx(10.0), "bytes")
    assert cost.limit_ms(1, Peaks(flops=1e12, bytes_per_s=1e9), 2) == (pytest.approx(5.0), "bytes")
    assert cost.limit_ms(64, Peaks(flops=1e12, bytes_per_s=1e12)) == (pytest.approx(64.0), "FLOPs")


def test_peaks_are_measured_and_a_gpu_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_SIDE", 64), ("_COPY_BYTES", 1 << 20), ("_BUDGET_S", 0.0)):
        monkeypatch.setattr(peaks_module, name, value)
    found = cpu_peaks(1)
    assert 1e6 < found.flops < 1e14
    assert 1e6 < found.bytes_per_s < 1e13
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(EngineError, match="the peaks of the GPU cannot be measured"):
        gpu_peaks()


# ------------------------------------------------------------------------------------------ the report


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineReport:
    return _measure(tmp_path, monkeypatch)


def _measure(folder: Path, monkeypatch: pytest.MonkeyPatch, runtime: str = "auto") -> EngineReport:
    monkeypatch.setattr(bench, "cpu_peaks", lambda threads, precision: Peaks(1e9, 1e9))
    monkeypatch.setattr(bench, "count", lambda path: GraphCost(1e6, 1e5, 1e5, 1))
    watch = Stopwatch()
    runtimes = (
        ScriptedRuntime("onnx", 10.0, 2.0, stopwatch=watch),
        ScriptedRuntime("fast", 4.0, 1.0, stopwatch=watch),
        ScriptedRuntime("wrong", 1.0, shift=1.0, stopwatch=watch),
        ScriptedRuntime("half", 2.0, picture_shift=0.1, precision=Precision.BF16, stopwatch=watch),
        ScriptedRuntime("absent", missing="the package absent is not installed"),
    )
    measured = measure_engines(
        write_scripted_detector(folder),
        Settings(runtime=runtime),
        seconds=0.1,
        runtimes=runtimes,
        batches=BATCHES,
        timer=watch,
        energy_root=folder / "nothing",
    )
    assert all(one.open_graphs == 0 for one in runtimes)
    return measured


def test_every_runtime_is_timed_beside_onnx_and_its_limit(report: EngineReport) -> None:
    onnx, fast, wrong, half, absent = report.engines
    assert [(row.batch, row.p50_ms, row.p95_ms) for row in fast.encoder] == [
        (1, pytest.approx(4.0), pytest.approx(4.0)),
        (4, pytest.approx(16.0), pytest.approx(16.0)),
    ]
    assert [row.times_base for row in fast.encoder] == pytest.approx([2.5, 2.5])
    assert [row.times_base for row in onnx.encoder] == pytest.approx([1.0, 1.0])
    assert fast.head[0].p50_ms == pytest.approx(1.0)
    assert fast.encoder[0].limit_ms == pytest.approx(1.0)  # 1 MFLOP at 1 GFLOP/s
    assert fast.encoder[0].share_of_limit == pytest.approx(0.25)
    assert fast.crops_per_s == pytest.approx(250.0)
    assert 14 <= (fast.calls or 0) <= 16
    assert fast.bytes_a_crop == onnx_graphs.CROP_PX**2 * 3
    assert fast.joules_a_crop is None
    assert fast.encoder[0].runs >= 5
    assert absent.encoder == ()
    assert wrong.encoder != ()
    assert half.encoder != ()


def test_what_the_product_would_not_take_says_why(report: EngineReport) -> None:
    proofs = {one.name: one.proof for one in report.engines}
    assert proofs["onnx"] is None
    assert proofs["fast"] is None
    assert (proofs["wrong"] or "").startswith("does not reproduce the golden output")
    assert (proofs["half"] or "").startswith("does not say of a face")
    assert proofs["absent"] == "the package absent is not installed"


def test_the_table_names_the_machine_and_every_runtime(report: EngineReport) -> None:
    text = engines_table(report)
    assert report.machine.cpu in text
    assert "peak fp32, measured now: 1.0 GFLOP/s (matrix product), 1.0 GB/s (copy)" in text
    assert "not readable" in text
    for line in ("fast: proved", "absent: the package absent is not installed"):
        assert line in text.splitlines()
    assert any(line.split()[:5] == ["fast", "encoder", "4", "16.00", "16.00"] for line in text.splitlines())


def test_the_json_says_the_same(report: EngineReport) -> None:
    document = json.loads(json.dumps(engines_json(report), allow_nan=False))
    assert document["schema"] == "unmask.engines/1"
    fast, absent = document["engines"][1], document["engines"][4]
    assert fast["proved"] is True
    assert fast["encoder"][1]["times_onnx"] == pytest.approx(2.5)
    assert fast["encoder"][0]["bound_by"] == "FLOPs"
    assert (absent["proved"], absent["encoder"]) == (False, [])
    assert document["energy"] == "not readable"


def test_one_runtime_asked_for_is_measured_beside_onnx_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.name for one in _measure(tmp_path, monkeypatch, "fast").engines] == ["onnx", "fast"]
    with pytest.raises(EngineError, match="runtime absent: the package absent is not installed"):
        _measure(tmp_path, monkeypatch, "absent")
    with pytest.raises(EngineError, match="found 'gpu', expected one of auto, onnx"):
        _measure(tmp_path, monkeypatch, "gpu")


def test_the_command_measures_the_engines_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[Settings, bool, float]] = []

    def run(settings: Settings, *, as_json: bool, seconds: float) -> int:
        seen.append((settings, as_json, seconds))
        return 0

    monkeypatch.setattr(bench, "run_engines", run)
    assert main(["bench", "speed", "--engines", "--json", "--seconds", "3", "--threads", "1"]) == 0
    ((settings, as_json, seconds),) = seen
    assert (settings.threads, as_json, seconds) == (1, True, 3.0)
    assert main(["bench", "speed", "--engines", "--soak", "1"]) == 2
    assert "--soak does not go with --engines" in capsys.readouterr().err
