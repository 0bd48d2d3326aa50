"""Builds engines in a child process: with progress, with cancel, and with nothing lost when the compiler dies.

recipe -> lock -> already there? -> child process -> draft -> checked -> cache
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from engines.build.cache import PROGRESS_FILE, REBUILDS, Cancelled, EngineCache, State
from engines.build.recipe import Recipe
from engines.errors import EngineError
from engines.runtimes import Progress, one_line

COMPILER = (sys.executable, "-m", "engines.build.compile")
STALL_S = 600.0
"""A compiler that says nothing for so long hangs."""
_POLL_S = 0.1
_GRACE_S = 2.0
_EXIT_S = 30.0


def ensure(
    recipe: Recipe,
    graph: Path,
    cache: EngineCache,
    *,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    force: bool = False,
    compiler: Sequence[str] = COMPILER,
    stall_s: float = STALL_S,
    background: bool = False,
) -> bool:
    """Build the engine of a recipe where the cache has none that is good. Returns whether one was built.

    In the `background` the compiler leaves the processor to whoever else wants it.

    Raises EngineError where the compiler fails, crashes, hangs or writes something else, where the disk is full, and
    where the library refused this engine twice; Cancelled where `cancel` is set.
    """
    cancel = threading.Event() if cancel is None else cancel
    progress = _silent if progress is None else progress
    with cache.lock(recipe, cancel=cancel):
        entry = cache.state(recipe)
        if entry is not None and not force:
            if entry.state is State.GOOD:
                return False
            if entry.state is State.REFUSED and entry.rebuilds >= REBUILDS:
                raise EngineError(f"{entry.path.name}: {entry.reason}; `unmask engines build --force` tries once more")
        start = time.monotonic()
        with _workplace(cache, recipe) as folder:
            timings = folder / "timings"
            with contextlib.suppress(OSError):
                timings.write_bytes(cache.timings(recipe))
            order = {"recipe": asdict(recipe), "graph": str(graph.resolve()), "background": background}
            said = _noted(folder / PROGRESS_FILE, progress)
            sha256 = _compile(order, recipe.library, graph, folder, said, cancel, compiler, stall_s)
            cache.store(recipe, folder / "engine", sha256, time.monotonic() - start, folder / "precision.txt")
            with contextlib.suppress(OSError):
                cache.keep_timings(recipe, timings.read_bytes())
        progress(1.0, "built")
        return True


def _silent(_done: float, _text: str) -> None:
    """Progress that nobody asked for."""


def _noted(file: Path, progress: Progress) -> Progress:
    """Progress that other processes can read too."""

    def said(done: float, text: str) -> None:
        with contextlib.suppress(OSError):
            file.write_text(f"{100 * done:.0f} %, {text}", encoding="utf-8")
        progress(done, text)

    return said


@contextlib.contextmanager
def _workplace(cache: EngineCache, recipe: Recipe) -> Iterator[Path]:
    """A folder on the cache's own disk, gone at the end."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{recipe.stem}.draft.", dir=cache.folder))
    except OSError as error:
        raise EngineError(f"{cache.folder}: cannot be written: {one_line(error)}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _compile(
    order: dict[str, Any],
    library: str,
    graph: Path,
    folder: Path,
    progress: Progress,
    cancel: threading.Event,
    compiler: Sequence[str],
    stall_s: float,
) -> str:
    """Run the child to its end. Returns the sha256 of the engine it wrote."""
    request = folder / "request.json"
    errors = folder / "stderr"
    try:
        request.write_text(json.dumps(order), encoding="utf-8")
        with errors.open("wb") as handle:
            child = subprocess.Popen(
                [*compiler, str(request)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=handle,
                cwd=Path(__file__).resolve().parents[2],
                env=os.environ | {"PYTHONUTF8": "1"},
            )
    except OSError as error:
        raise EngineError(f"{graph.name}: the compiler cannot be started: {one_line(error)}") from error
    assert child.stdout is not None
    lines: queue.Queue[bytes | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(child.stdout, lines), name="unmask-engine-build", daemon=True)
    reader.start()
    try:
        sha256 = _follow(lines, graph.name, progress, cancel, stall_s)
        status = child.wait(_EXIT_S)
    except subprocess.TimeoutExpired:
        raise EngineError(f"{graph.name}: the compiler of {library} did not end and was ended") from None
    finally:
        _end(child)
        reader.join(_GRACE_S)
        child.stdout.close()
    if status != 0:
        what = f"was ended by signal {-status}" if status < 0 else f"failed with status {status}"
        raise EngineError(f"{graph.name}: the compiler of {library} {what}{_last_line(errors)}")
    if sha256 is None:
        raise EngineError(f"{graph.name}: the compiler of {library} ended without an engine")
    return sha256


def _follow(
    lines: queue.Queue[bytes | None], name: str, progress: Progress, cancel: threading.Event, stall_s: float
) -> str | None:
    """Read what the child says until it closes its output. Returns the sha256 that it named."""
    sha256: str | None = None
    heard = time.monotonic()
    while True:
        if cancel.is_set():
            raise Cancelled(f"{name}: the build was called off")
        if time.monotonic() - heard > stall_s:
            raise EngineError(f"{name}: the compiler said nothing for {stall_s:g} s and was ended")
        try:
            line = lines.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        if line is None:
            return sha256
        said = _parsed(line)
        if said:
            heard = time.monotonic()
        if isinstance(said.get("sha256"), str):
            sha256 = said["sha256"]
        elif isinstance(said.get("progress"), int | float):
            progress(min(max(float(said["progress"]), 0.0), 1.0), str(said.get("text", "")))


def _read(stream: IO[bytes], lines: queue.Queue[bytes | None]) -> None:
    with contextlib.suppress(OSError, ValueError):
        while line := stream.readline(65536):
            lines.put(line)
    lines.put(None)


def _parsed(line: bytes) -> dict[str, Any]:
    """A line of ours; libraries write what they like in between."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _end(child: subprocess.Popen[bytes]) -> None:
    """No child outlives its build."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _last_line(errors: Path) -> str:
    """What the child said last on standard error, ready to stand after a sentence."""
    with contextlib.suppress(OSError):
        lines = errors.read_bytes()[-4000:].decode(errors="replace").split("\n")
        said = [" ".join(line.split()) for line in lines if line.strip()]
        return f": {said[-1][:200]}" if said else ""
    return ""
