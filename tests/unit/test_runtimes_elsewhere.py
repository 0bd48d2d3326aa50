"""Runtimes that need another system or processor than this one: left with the reason, and it is a clear one."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx_graphs
import pytest

from engines.errors import EngineError, Unfit
from engines.runtimes import Runtime
from engines.runtimes.onnx import CoreMlRuntime, DirectMlRuntime, OnnxRuntime
from engines.runtimes.openvino import OpenVinoBf16Runtime, OpenVinoRuntime, import_openvino


@pytest.mark.skipif(sys.platform != "linux", reason="on other systems they may be there")
@pytest.mark.parametrize("one", [CoreMlRuntime(), DirectMlRuntime()], ids=lambda one: one.name)
def test_what_other_systems_have_is_left_here_with_the_reason(one: Runtime, tmp_path: Path) -> None:
    assert "never run by us" in one.title
    assert one.available() in ("CoreML is part of macOS", "DirectML is part of Windows")
    if OnnxRuntime().available() is None:
        onnx_graphs.write_detector(tmp_path)
        with pytest.raises(EngineError, match=r"was built without (CoreML|Dml)ExecutionProvider"):
            one.open(tmp_path / "encoder.onnx", 1)


def test_a_processor_without_bfloat16_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if OpenVinoRuntime().available() is not None:
        pytest.skip("openvino is not installed")

    class OldCore:
        def get_property(self, device: str, name: str) -> list[str]:
            return ["FP32", "INT8"]

    monkeypatch.setattr(import_openvino(), "Core", OldCore)
    with pytest.raises(Unfit, match="no instructions for bfloat16"):
        OpenVinoBf16Runtime().open(tmp_path / "encoder.onnx", 1)
