"""The details say of every inference runtime whether it runs the detector, and why or why not."""

from __future__ import annotations

from collections.abc import Callable

from stories import Story, verdict

from gui.overlay import Overlay
from monitor.types import State


def test_every_runtime_stands_in_the_details_with_its_reason(make_overlay: Callable[..., Overlay]):
    overlay, story = make_overlay(), Story()
    overlay.show()
    overlay.show_model(story.show(verdict(1, State.NO_SIGN, 0.1, at_ns=0)))
    assert not overlay.runtimes.isVisible()
    overlay.details_button.click()
    assert overlay.runtimes.isVisible()
    assert overlay.runtimes.accessibleName().splitlines() == [
        "• openvino runs: the fastest, when last measured (6.1 ms a face)",
        "• onnx: slower than openvino, when last measured (17.4 ms a face)",
        "• directml: DirectML is part of Windows",
    ]
