"""`unmask doctor`: everything that the main job needs, one check a line, and what to do about what is missing.

    checks -> Finding (good, a warning, or a fault) -> lines or JSON -> exit status

A fault means that the main job, a face in a file scored on this machine, cannot run: the status is then that of the
first fault. A camera, a screen or a window that is missing is a warning.
"""

from __future__ import annotations

import enum
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from monitor.arguments import version
from monitor.errors import AssetError, EngineError, UnmaskError
from monitor.settings import Settings, config_path
from monitor.wording import alarm_basis

if TYPE_CHECKING:
    from engines.card import ModelCard

SCHEMA = "unmask.doctor/1"
CHILD_TIMEOUT_S = 60.0
OLDEST_PYTHON = (3, 11)


class Level(enum.Enum):
    """What a finding means for the main job."""

    GOOD = "good"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `exit_code` counts where it is a fault."""

    topic: str
    level: Level
    text: str
    exit_code: int = 1


@dataclass(frozen=True, slots=True)
class Dependency:
    """A package that the product uses. `module` is what is imported to see whether it really loads."""

    package: str
    module: str
    why: str
    needed: bool = True


DEPENDENCIES = (
    Dependency("numpy", "numpy", "arrays"),
    Dependency("av", "av", "files and cameras"),
    Dependency("mediapipe", "mediapipe.tasks.python.vision", "faces"),
    Dependency("opencv-contrib-python", "cv2", "pictures"),
    Dependency("scipy", "scipy.optimize", "who is who"),
    Dependency("scikit-image", "skimage", "the picture of the demonstration"),
    Dependency("pydantic-settings", "pydantic_settings", "settings"),
    Dependency("platformdirs", "platformdirs", "where files lie"),
    Dependency("filelock", "filelock", "fetching the face model"),
    Dependency("openvino", "openvino", "inference", needed=False),
    Dependency("onnxruntime", "onnxruntime", "inference", needed=False),
    Dependency("mss", "mss", "the screen as a source", needed=False),
    Dependency("PyQt6", "PyQt6.QtWidgets", "the window", needed=False),
    Dependency("aiortc", "aiortc", "calls by WebRTC", needed=False),
)

ScreenProblem = Callable[[], str | None]
Say = Callable[[str], None]


def run_doctor(
    settings: Settings, *, fetch: bool = False, as_json: bool = False, screen_problem: ScreenProblem | None = None
) -> int:
    """Look at everything, print it, return the exit status: 0 where the main job can run."""
    findings = []
    for finding in examine(settings, fetch=fetch, screen_problem=screen_problem):
        findings.append(finding)
        if not as_json:
            mark = {Level.GOOD: "ok   ", Level.WARNING: "note ", Level.FAULT: "FAULT"}[finding.level]
            print(f"{mark}  {finding.topic:<10}  {finding.text}", flush=True)
    faults = [finding for finding in findings if finding.level is Level.FAULT]
    if as_json:
        rows = [{"topic": f.topic, "level": f.level.value, "text": f.text} for f in findings]
        print(json.dumps({"schema": SCHEMA, "can_run": not faults, "findings": rows}, ensure_ascii=False, indent=2))
    else:
        print("\nThe main job cannot run here yet." if faults else "\nThe main job can run here.")
    return faults[0].exit_code if faults else 0


def examine(
    settings: Settings, *, fetch: bool = False, screen_problem: ScreenProblem | None = None
) -> Iterator[Finding]:
    """Every finding, each as soon as it is known. Never raises for what is wrong with the machine."""
    yield from _system()
    yield from _dependencies()
    face_model = _face_model(fetch)
    yield face_model
    if face_model.level is Level.GOOD:
        yield _known_face()
    card, findings = _model_card()
    yield from findings
    if card is not None:
        yield _alarms(card, settings)
    yield from _runtimes(card, settings)
    yield from _sources()
    yield _window(screen_problem)
    yield _settings_file()


# ------------------------------------------------------------------------------------------ the checks


def _system() -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    fine = sys.version_info[:2] >= OLDEST_PYTHON
    python = f"Python {found}" if fine else f"Python {found} is too old; install 3.11 or newer"
    yield Finding("system", Level.GOOD if fine else Level.FAULT, f"unmask {version()}, {python}, {_machine()}")


def _machine() -> str:
    cores = os.cpu_count() or 1
    return f"{platform.system()} {platform.release()} on {platform.machine()}, {cores} processor cores"


def _dependencies() -> Iterator[Finding]:
    """Each package: is it there, in which version, and does it load? A child process tries: a bad one may crash."""
    modules = [one.module for one in DEPENDENCIES if _version(one.package) is not None]
    troubles = import_troubles(modules)
    missing = []
    for one in DEPENDENCIES:
        number = _version(one.package)
        trouble = "is not installed" if number is None else troubles.get(one.module)
        if trouble is None:
            yield Finding("package", Level.GOOD, f"{one.package} {number} ({one.why})")
            continue
        missing.append(one.package)
        level = Level.FAULT if one.needed else Level.WARNING
        yield Finding("package", level, f"{one.package} ({one.why}): {trouble}; {_REINSTALL}")


_REINSTALL = "run python3 scripts/run.py once more, or pip install unmask"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


_CHILD = """
import importlib, json, os, sys
os.environ.pop("QT_QPA_PLATFORM_PLUGIN_PATH", None)
for name in json.loads(sys.argv[1]):
    print(json.dumps([name, None]), flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        print(json.dumps([name, f"does not load ({text})"]), flush=True)
"""


def import_troubles(modules: list[str], timeout_s: float = CHILD_TIMEOUT_S) -> dict[str, str]:
    """module -> why it does not load, for those of `modules` that do not; also where loading one ends the process."""
    troubles: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        said, ended = _try_imports(waiting, timeout_s)
        troubles.update({name: text for name, text in said if text is not None})
        begun = [name for name, text in said if text is None]
        if ended is None:
            break
        culprit = begun[-1] if begun else waiting[0]
        troubles[culprit] = f"does not load ({ended})"
        waiting = waiting[waiting.index(culprit) + 1 :]
    return troubles


def _try_imports(modules: list[str], timeout_s: float) -> tuple[list[tuple[str, str | None]], str | None]:
    """What a child process says while it imports `modules`, and how it ended where it did not end well."""
    command = [sys.executable, "-c", _CHILD, json.dumps(modules)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        output, ended = done.stdout, None if done.returncode == 0 else f"the process ended with {done.returncode}"
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode(errors="replace") if isinstance(error.stdout, bytes) else ""
        ended = f"not done after {timeout_s:.0f} s"
    except OSError as error:
        return [], str(error)
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("[")]
    return [(str(name), text) for name, text in lines], ended


def _face_model(fetch: bool) -> Finding:
    from engines.assets import FACE_LANDMARKER, face_landmarker, fetch_face_landmarker

    try:
        path = (
            fetch_face_landmarker(lambda line: print(f"       {line}", file=sys.stderr)) if fetch else face_landmarker()
        )
    except AssetError as error:
        return Finding("face model", Level.FAULT, str(error), error.exit_code)
    return Finding("face model", Level.GOOD, f"{path}, sha256 {FACE_LANDMARKER.sha256[:12]}... as pinned")


def _known_face() -> Finding:
    """Is the face of a known picture found and read? It proves mediapipe's own libraries too."""
    try:
        from skimage import data

        from engines.assets import face_landmarker
        from monitor.faces import FaceFinder, plan_tiles

        picture = data.astronaut()
        with FaceFinder(face_landmarker()) as finder:
            found = finder.scan(picture, plan_tiles(picture.shape[1], picture.shape[0]))
            read = finder.read(picture, found[0].box_px) if found else None
    except Exception as error:  # mediapipe raises types of its own, and OSError for a library that is missing
        return Finding("faces", Level.FAULT, f"the face model does not run ({_short(error)}); {_REINSTALL}")
    if read is None or read.landmarks is None:
        return Finding("faces", Level.FAULT, f"the face of the test picture was not found; {_REINSTALL}")
    return Finding("faces", Level.GOOD, "the face of the test picture was found and read")


def _model_card() -> tuple[ModelCard | None, list[Finding]]:
    from engines.card import load_card

    try:
        card = load_card()
    except UnmaskError as error:
        return None, [Finding("detector", Level.FAULT, str(error), error.exit_code)]
    graphs = f"encoder sha256 {card.encoder.sha256[:12]}..., head sha256 {card.head.sha256[:12]}... as in its card"
    return card, [Finding("detector", Level.GOOD, f"{card.id} of {card.created}: {graphs}")]


def _alarms(card: ModelCard, settings: Settings) -> Finding:
    """What is known of the false alarms at the sensitivity in use."""
    name = settings.sensitivity.value
    return Finding("alarms", Level.GOOD, f"sensitivity {name}: {alarm_basis(card.operating_points[name])}")


def _runtimes(card: ModelCard | None, settings: Settings) -> Iterator[Finding]:
    """Every candidate with the reason why it was taken or left, measured now."""
    from engines.choose import choose

    if card is None:
        yield Finding("runtime", Level.WARNING, "not tried: there is no detector to run")
        return
    try:
        choice = choose(card, settings.runtime, settings.threads, remeasure=True)
    except EngineError as error:
        yield Finding("runtime", Level.FAULT, str(error), error.exit_code)
        return
    try:
        for one in choice.candidates:
            times = "" if one.encoder_ms is None else f" (encoder {one.encoder_ms:.1f} ms, head {one.head_ms:.2f} ms)"
            what = "runs the detector" if one.taken else "left"
            yield Finding("runtime", Level.GOOD, f"{one.name}: {what}, {one.reason}{times}")
    finally:
        choice.engine.close()


def _sources() -> Iterator[Finding]:
    from monitor.sources import list_sources

    for one in list_sources():
        level = Level.GOOD if one.available else Level.WARNING
        yield Finding("source", level, f"{one.uri} ({one.title}): {one.detail.removeprefix(one.uri).strip()}")


def _window(screen_problem: ScreenProblem | None) -> Finding:
    problem = None if screen_problem is None else screen_problem()
    if problem is None:
        return Finding("window", Level.GOOD, "the overlay can be shown")
    return Finding("window", Level.WARNING, problem)


def _settings_file() -> Finding:
    path = config_path()
    said = "is read" if path.exists() else "is not there: the defaults hold"
    return Finding("settings", Level.GOOD, f"{path} {said}")


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:200]
