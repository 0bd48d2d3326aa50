"""The system libraries that the installed packages want but do not bring: what cannot be loaded, and the apt line.

Run by the Python of `.venv` it prints a JSON object: group -> sentences about what cannot be loaded. With `--missing`
it prints the Debian packages that are not installed, for `.ci/run`. Standard library only.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

APT_PACKAGES = (
    "libgl1",
    "libegl1",
    "libgles2",
    "libglib2.0-0",
    "libfontconfig1",
    "libdbus-1-3",
    "libxkbcommon-x11-0",
    "libxcb-cursor0",
    "libxcb-icccm4",
    "libxcb-keysyms1",
    "libxcb-shape0",
)
"""What mediapipe, OpenCV and PyQt6 want on a bare Debian 12; later Debians and Ubuntus know the same names."""

MODULES = {"core": ("cv2", "av", "onnxruntime"), "qt": ("PyQt6.QtWidgets",)}
FILES = {
    "core": (("mediapipe", "tasks/c/libmediapipe.so"),),
    "xcb": (("PyQt6", "Qt6/plugins/platforms/libqxcb.so"),),
}
"""Group -> (package, file in it): loaded by the package later than at its import, so an import proves nothing."""


def problems() -> dict[str, list[str]]:
    """What cannot be loaded for want of a system library: core (every command), qt (the window), xcb (X11)."""
    found: dict[str, list[str]] = {"core": [], "qt": [], "xcb": []}
    for group, names in MODULES.items():
        for name in names:
            try:
                importlib.import_module(name)
            except ModuleNotFoundError:
                pass  # not installed on this platform: no matter of system libraries
            except (ImportError, OSError) as error:
                found[group].append(f"{name}: {error}")
    if sys.platform.startswith("linux"):
        for group, files in FILES.items():
            for package, inside in files:
                fault = _load(package, inside)
                if fault is not None:
                    found[group].append(f"{package}: {fault}")
    return found


def _load(package: str, inside: str) -> str | None:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / inside
        if path.is_file():
            try:
                ctypes.CDLL(str(path))
            except OSError as error:
                return str(error)
    return None


def summary(sentences: list[str]) -> str:
    """The same sentences with each missing file named once: `libGL.so.1 (cv2, PyQt6)`."""
    wanted_by: dict[str, list[str]] = {}
    others: list[str] = []
    for sentence in sentences:
        match = re.fullmatch(r"([^:]+): ([^:\s]+\.so[^:\s]*): cannot open shared object file.*", sentence)
        if match is None:
            others.append(sentence)
        elif match[1] not in wanted_by.setdefault(match[2], []):
            wanted_by[match[2]].append(match[1])
    return "; ".join([*(f"{name} ({', '.join(users)})" for name, users in wanted_by.items()), *others])


def missing_packages() -> list[str]:
    """The members of `APT_PACKAGES` that dpkg does not know as installed; none where there is no dpkg."""
    if shutil.which("dpkg-query") is None:
        return []
    return [name for name in APT_PACKAGES if not _installed(name)]


def _installed(package: str) -> bool:
    done = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode == 0 and b"not-installed" not in done.stdout and b"installed" in done.stdout


def advice() -> str:
    """What to do about a missing library on this system, in one sentence."""
    if shutil.which("apt-get") is None:
        return (
            "Install the packages of your system that provide these files, and the like of Debian's "
            f"{' '.join(APT_PACKAGES)}."
        )
    sudo = "" if getattr(os, "geteuid", lambda: 1)() == 0 else "sudo "
    return f"Run: {sudo}apt install {' '.join(missing_packages() or APT_PACKAGES)}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--missing"]:
        print(" ".join(missing_packages()))
    else:
        print(json.dumps(problems()))
