"""Windows for the tests: closed afterwards, and any warning of Qt fails the test."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PyQt6.QtCore import QSettings

from gui.overlay import Overlay
from gui.panel import OverlayOptions


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/gui/" in item.path.as_posix():
            item.add_marker(pytest.mark.qt_log_level_fail("WARNING"))
            item.add_marker(pytest.mark.qt_log_ignore("This plugin does not support", extend=True))


@pytest.fixture
def make_overlay(qtbot) -> Callable[..., Overlay]:
    def make(store: QSettings | None = None, **options: object) -> Overlay:
        overlay = Overlay(OverlayOptions(**options), store)  # type: ignore[arg-type]
        qtbot.addWidget(overlay)
        return overlay

    return make
