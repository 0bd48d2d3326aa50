"""Where no window can be shown, one line says why and what to do, and nothing of Qt is loaded to find out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gui.display import APT_PACKAGES, APT_PACKAGES_X11, prepare_environment, screen_problem

ALL = {**APT_PACKAGES, **APT_PACKAGES_X11}


def problem(environ: dict[str, str], *missing: str, x11: bool = True, platform: str = "linux") -> str | None:
    found = screen_problem(environ, platform, can_load=lambda name: name not in missing, x11_answers=lambda: x11)
    assert found is None or "\n" not in found
    return found


def test_a_desktop_is_fine():
    assert problem({"DISPLAY": ":0"}) is None


def test_no_screen_at_all():
    said = problem({})
    assert said is not None
    assert "DISPLAY" in said
    assert "--headless" in said


def test_a_display_that_does_not_answer():
    said = problem({"DISPLAY": ":77"}, x11=False)
    assert said is not None
    assert ":77 does not answer" in said


@pytest.mark.parametrize("soname", sorted(ALL))
def test_each_missing_library_is_named_by_its_package(soname: str):
    said = problem({"DISPLAY": ":0"}, soname)
    assert said is not None
    assert f"sudo apt install {ALL[soname]}," in said


def test_all_missing_packages_come_in_one_line():
    said = problem({"DISPLAY": ":0"}, "libxcb-cursor.so.0", "libxcb-icccm.so.4")
    assert said is not None
    assert "sudo apt install libxcb-cursor0 libxcb-icccm4," in said


@pytest.mark.parametrize("name", ["offscreen", "minimal", "vnc:size=640x480"])
def test_a_platform_without_a_screen_needs_no_display_but_its_libraries(name: str):
    assert problem({"QT_QPA_PLATFORM": name}) is None
    assert problem({"QT_QPA_PLATFORM": name}, "libxcb-cursor.so.0") is None
    assert "libegl1" in (problem({"QT_QPA_PLATFORM": name}, "libEGL.so.1") or "")


def test_wayland_needs_no_x11(tmp_path: Path):
    environ = {"WAYLAND_DISPLAY": "wayland-7", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert problem(environ) is not None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(tmp_path / "wayland-7"))
        server.listen()
        assert problem(environ, *APT_PACKAGES_X11, x11=False) is None


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_other_systems_are_left_to_qt(platform: str):
    assert problem({}, *ALL, x11=False, platform=platform) is None


def test_opencv_s_plug_ins_are_not_used_by_the_window():
    environ = {"QT_QPA_PLATFORM_PLUGIN_PATH": "/x/site-packages/cv2/qt/plugins", "QT_QPA_PLATFORM": "offscreen"}
    prepare_environment(environ)
    assert environ == {"QT_QPA_PLATFORM": "offscreen"}


def test_a_plug_in_path_of_the_user_s_own_stays():
    environ = {"QT_QPA_PLATFORM_PLUGIN_PATH": "/opt/qt/plugins"}
    prepare_environment(environ)
    assert environ["QT_QPA_PLATFORM_PLUGIN_PATH"] == "/opt/qt/plugins"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can be without a screen")
@pytest.mark.parametrize("display", [None, ":4077"], ids=["no display", "a display that is not there"])
def test_the_real_command_says_so_and_exits_6(display: str | None, tmp_path: Path):
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("QT_", "WAYLAND", "DISPLAY"))}
    if display is not None:
        environ["DISPLAY"] = display
    program = (
        "import sys\n"
        "from gui.app import run_watch\n"
        "from monitor.settings import Settings\n"
        "code = run_watch('demo:', Settings())\n"
        "assert not any(name.startswith('PyQt6') for name in sys.modules), 'Qt was loaded'\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 6, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("unmask: no screen")
    assert done.stderr.count("\n") == 1
