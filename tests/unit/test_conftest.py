"""The guards around every test: each is shown a test that it must fail, in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


def run_tests(folder: Path, body: str, **environment: str) -> str:
    """What pytest says of a file of tests under a copy of our conftest."""
    guards = (REPO / "tests" / "conftest.py").read_text()
    assert "THREAD_GRACE_S = 10.0" in guards
    (folder / "conftest.py").write_text(guards.replace("THREAD_GRACE_S = 10.0", "THREAD_GRACE_S = 0.5"))
    (folder / "test_guarded.py").write_text("import logging, os, threading, pytest\n" + textwrap.dedent(body))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-c",
            str(REPO / "pyproject.toml"),
            "--rootdir",
            str(folder),
            str(folder),
        ],
        cwd=REPO,
        env={**os.environ, **environment, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(("name", "daemon"), [("helper", False), ("unmask-capture", True)])
def test_a_thread_left_running_fails_the_test(tmp_path: Path, name: str, daemon: bool) -> None:
    said = run_tests(
        tmp_path,
        f"""
        gate = threading.Event()

        @pytest.fixture(scope="module", autouse=True)
        def _open_at_the_end():
            yield
            gate.set()

        def test_leaves_one():
            threading.Thread(target=gate.wait, name={name!r}, daemon={daemon}).start()
        """,
    )
    assert f"threads left running: {name}" in said
    assert "1 passed, 1 error" in said


def test_a_thread_that_ends_is_no_leak(tmp_path: Path) -> None:
    said = run_tests(
        tmp_path,
        """
        def test_one():
            threading.Timer(0.2, lambda: None).start()
        """,
    )
    assert "1 passed" in said
    assert "error" not in said


def test_a_logged_error_fails_the_test_unless_it_is_announced(tmp_path: Path) -> None:
    said = run_tests(
        tmp_path,
        """
        def test_unexpected():
            logging.getLogger("unmask.capture").error("the camera is gone")

        def test_warning():
            logging.getLogger("unmask.capture").warning("slow")

        @pytest.mark.logs_errors
        def test_announced():
            logging.getLogger("unmask.capture").error("the camera is gone")
        """,
    )
    assert "errors logged: unmask.capture: the camera is gone" in said
    assert "3 passed, 1 error" in said


def test_each_test_has_a_home_of_its_own(tmp_path: Path) -> None:
    said = run_tests(
        tmp_path,
        """
        seen = []

        @pytest.mark.parametrize("turn", [1, 2])
        def test_home(turn):
            home = os.environ["XDG_CONFIG_HOME"]
            assert home not in seen and not home.startswith("/users")
            assert not os.path.exists(home)
            os.makedirs(home)
            seen.append(home)
            assert "UNMASK_SENSITIVITY" not in os.environ
            assert os.environ["UNMASK_ASSETS"] == "/users/assets"
            assert os.environ["QT_QPA_PLATFORM"] == "offscreen"
        """,
        XDG_CONFIG_HOME="/users/config",
        UNMASK_SENSITIVITY="high",
        UNMASK_ASSETS="/users/assets",
    )
    assert "2 passed" in said


def test_what_is_not_on_this_machine_is_skipped_with_its_reason(tmp_path: Path) -> None:
    said = run_tests(
        tmp_path,
        """
        def test_model(face_landmarker_asset): ...
        def test_faces(shared_data): ...
        """,
        UNMASK_ASSETS=str(tmp_path / "none"),
        UNMASK_SHARED=str(tmp_path / "none"),
    )
    assert "2 skipped" in said
    assert "the face model is missing" in said
    assert "no face data here" in said
