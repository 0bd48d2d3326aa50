"""What every test has in common: an invisible screen, a home of its own, and nothing left behind.

A test fails when it leaves a thread running or when the product logs an error that the test did not announce with
`@pytest.mark.logs_errors`. Settings, data and caches of the user are neither read nor written; the face model is
the one file of the user that tests read, and never fetch.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import assets
from engines.errors import AssetError

REPO = Path(__file__).resolve().parent.parent
OWN_THREADS = "unmask"
"""Threads of the product have names that begin so, and must end with the test even where they are daemons."""
THREAD_GRACE_S = 10.0
HOME_VARIABLES = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
KEPT_VARIABLES = ("UNMASK_ASSETS", "UNMASK_SHARED")


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment before the first product module or Qt is imported."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    # matplotlib comes along with mediapipe and would build its font list anew in every fresh cache folder.
    os.environ.setdefault("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib"))
    os.environ.setdefault("UNMASK_ASSETS", str(assets.assets_folder()))
    for name in [name for name in os.environ if name.startswith("UNMASK_") and name not in KEPT_VARIABLES]:
        del os.environ[name]


@pytest.fixture(autouse=True, scope="session")
def _session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home for fixtures that live longer than one test."""
    with pytest.MonkeyPatch.context() as patch:
        _move_home(patch, tmp_path_factory.mktemp("home"))
        yield


@pytest.fixture(autouse=True)
def _own_home(_session_home: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty home for each test, so that no test finds the settings of another."""
    with pytest.MonkeyPatch.context() as patch:
        _move_home(patch, tmp_path_factory.mktemp("home"))
        yield


def _move_home(patch: pytest.MonkeyPatch, home: Path) -> None:
    for name in HOME_VARIABLES:
        patch.setenv(name, str(home / name.lower()))


@pytest.fixture(autouse=True)
def _no_threads_left(_own_home: None) -> Iterator[None]:
    """Fail a test that leaves a thread running: one that would keep the process alive, or one of the product's own."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + THREAD_GRACE_S
    while (left := _left_over(before)) and time.monotonic() < deadline:
        time.sleep(0.01)
    if left:
        pytest.fail(f"threads left running: {', '.join(sorted(thread.name for thread in left))}", pytrace=False)


def _left_over(before: set[threading.Thread]) -> list[threading.Thread]:
    new = [thread for thread in threading.enumerate() if thread not in before]
    return [thread for thread in new if not thread.daemon or thread.name.startswith(OWN_THREADS)]


class _Keeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__(level=logging.ERROR)
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.sentences.append(f"{record.name}: {record.getMessage()}")


@pytest.fixture(autouse=True)
def _no_errors_logged(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which something is logged at level ERROR or above, unless it is marked `logs_errors`."""
    keeper = _Keeper()
    root = logging.getLogger()
    root.addHandler(keeper)
    try:
        yield
    finally:
        root.removeHandler(keeper)
    if keeper.sentences and request.node.get_closest_marker("logs_errors") is None:
        pytest.fail("errors logged: " + "; ".join(keeper.sentences), pytrace=False)


@pytest.fixture(scope="session")
def face_landmarker_asset() -> Path:
    """The checked face model of this machine; skips where it is not there (`python3 scripts/test.py` fetches it)."""
    try:
        return assets.face_landmarker()
    except AssetError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of face data, UNMASK_SHARED or `../shared/data`; skips where it is not there."""
    folder = Path(os.environ.get("UNMASK_SHARED") or REPO.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"{folder}: no face data here (UNMASK_SHARED names the folder)")
    return folder


@pytest.fixture
def tiny_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face_landmarker_asset: Path) -> None:
    """A detector of a few kilobytes in place of the shipped one."""
    import engines.card
    from tests.onnx_graphs import write_detector

    folder = tmp_path / "weights"
    folder.mkdir()
    engines.card.write_card(folder / "model.toml", write_detector(folder))
    monkeypatch.setattr(engines.card, "default_card_path", lambda: folder / "model.toml")
