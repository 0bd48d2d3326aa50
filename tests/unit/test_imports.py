"""The import rules: gui -> monitor -> engines, Qt in gui only, heavy packages only where they are used, torch never.

The rules are read off the source, so that a rule holds for every line and not only for those that a test runs; what
the packages really import is then seen in a fresh process.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
FILES = sorted(path for name in ("engines", "monitor", "gui") for path in (REPO / name).rglob("*.py"))
HEAVY = {"mediapipe", "torch", "openvino", "onnxruntime", "cv2", "mss", "skimage", "tensorrt", "tensorrt_rtx"}
"""Slow to import, or missing on some machine: never imported with a module, only by what uses them."""
TRAINING = ("engines/training/", "engines/network.py", "engines/corpus/", "engines/corpus.py")
FORGERY = ("engines/forge/",)
ON_THE_GPU = ("engines/runtimes/torch_cuda.py", "engines/gpu_peaks.py")
"""May import torch where it is used: the runtime that is torch, and the measure of what a GPU can do at most."""


@dataclass(frozen=True)
class Import:
    """One imported module. `lazy`: inside a function; `typing`: for the type checker alone."""

    module: str
    line: int
    lazy: bool
    typing: bool

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]


def imports(node: ast.AST, package: str, lazy: bool = False, typing: bool = False) -> Iterator[Import]:
    """All imports below `node`, with relative ones resolved against `package`, and those by a call with a constant."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, lazy, typing)
        elif isinstance(child, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - child.level + 1] if child.level else []
            module = ".".join([*parents, *([child.module] if child.module else [])])
            yield Import(module, child.lineno, lazy, typing)
        elif isinstance(child, ast.Call) and ast.unparse(child.func) in ("importlib.import_module", "__import__"):
            if child.args and isinstance(child.args[0], ast.Constant):
                yield Import(str(child.args[0].value), child.lineno, lazy, typing)
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for inner in child.body:
                yield from imports(ast.Module([inner], []), package, lazy, True)
            yield from imports(ast.Module(child.orelse, []), package, lazy, typing)
            continue
        inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from imports(child, package, inside, typing)


def faults(path: str, source: str) -> list[str]:
    """What in the file `path` (relative to the repository, with /) breaks a rule."""
    layer = path.partition("/")[0]
    package = path.removesuffix(".py").replace("/", ".").rpartition(".")[0]
    found: list[str] = []

    def fault(entry: Import, rule: str) -> None:
        found.append(f"{path}:{entry.line} imports {entry.module}: {rule}")

    allowed = {"cv2", "torch"} if path.startswith(TRAINING) else {"cv2"} if path.startswith(FORGERY) else set()
    for entry in imports(ast.parse(source), package):
        if layer == "engines" and entry.package in ("monitor", "gui"):
            fault(entry, "engines knows neither monitor nor gui")
        if layer == "monitor" and entry.package == "gui" and not (path == "monitor/cli.py" and entry.lazy):
            fault(entry, "monitor does not know gui, but for a function of monitor/cli.py")
        if entry.package == "PyQt6" and layer != "gui":
            fault(entry, "Qt lives in gui only")
        if entry.package in HEAVY - allowed and not entry.lazy and not entry.typing:
            fault(entry, "import it where it is used, in a function")
        if entry.package == "torch" and not path.startswith(TRAINING) and path not in ON_THE_GPU and not entry.typing:
            fault(entry, "only training and what runs on a GPU use torch")
    return found


def test_the_code_keeps_the_import_rules() -> None:
    assert len(FILES) > 5
    found = [fault for path in FILES for fault in faults(path.relative_to(REPO).as_posix(), path.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("engines/choose.py", "import monitor.types"),
        ("engines/choose.py", "def f():\n    from monitor import types"),
        ("engines/runtimes/onnx.py", "from gui.app import run_watch"),
        ("engines/runtimes/torch_cuda.py", "import torch"),
        ("engines/runtimes/onnx.py", "def f():\n    import torch"),
        ("monitor/pipeline.py", "def f():\n    import gui.app"),
        ("monitor/cli.py", "from gui.app import run_watch"),
        ("monitor/cli.py", "if True:\n    import gui"),
        ("monitor/faces.py", "def f():\n    from PyQt6.QtGui import QImage"),
        ("monitor/faces.py", "import mediapipe as mp"),
        ("monitor/faces.py", "try:\n    import cv2\nexcept ImportError:\n    cv2 = None"),
        ("monitor/faces.py", "class A:\n    import mss"),
        ("monitor/faces.py", "from skimage import data"),
        ("monitor/faces.py", "import importlib\nx = importlib.import_module('onnxruntime')"),
        (
            "monitor/faces.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import cv2\nelse:\n    import cv2",
        ),
        ("monitor/detector.py", "def f():\n    import torch"),
        ("engines/forge/blend.py", "import torch"),
        ("engines/forge/blend.py", "def f():\n    import torch.nn"),
        ("engines/training/run.py", "import mediapipe"),
        ("engines/training/run.py", "from monitor.windows import aux_row"),
        ("gui/gauge.py", "import cv2"),
        ("monitor/sources/media.py", "from ...gui import app"),
    ],
)
def test_each_rule_finds_what_breaks_it(path: str, source: str) -> None:
    assert len(faults(path, source)) >= 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("engines/choose.py", "import numpy\nfrom engines.card import ModelCard"),
        ("engines/runtimes/onnx.py", "def f():\n    import onnxruntime"),
        ("engines/training/run.py", "import torch\nimport cv2"),
        ("engines/network.py", "import torch"),
        ("engines/forge/blend.py", "import cv2"),
        ("monitor/cli.py", "def watch():\n    from gui.app import run_watch"),
        ("monitor/faces.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import mediapipe"),
        ("monitor/sources/media.py", "from ..types import Frame\nfrom . import media"),
        ("gui/gauge.py", "from PyQt6.QtGui import QPainter\nfrom monitor.types import Snapshot"),
    ],
)
def test_what_the_rules_allow_passes(path: str, source: str) -> None:
    assert faults(path, source) == []


def loaded_by(*modules: str) -> set[str]:
    """The top-level packages that a fresh process has loaded after importing `modules`."""
    script = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}:\n    importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_the_command_line_starts_light() -> None:
    assert loaded_by("monitor.cli") & (HEAVY | {"PyQt6"}) == set()


def product_modules() -> list[str]:
    names = []
    for path in FILES:
        relative = path.relative_to(REPO).as_posix()
        if relative.startswith(("engines/", "monitor/")) and not relative.startswith((*TRAINING, *FORGERY)):
            names.append(relative.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    return [name for name in names if not name.endswith("__main__")]


def test_no_module_of_the_product_brings_a_heavy_package_or_qt() -> None:
    assert loaded_by(*product_modules()) & (HEAVY | {"PyQt6"}) == set()


def test_the_forgery_code_brings_no_torch() -> None:
    assert "torch" not in loaded_by("engines.forge")
