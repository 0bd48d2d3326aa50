"""The `analyze` command: files in, one document or a few lines each out, a bar on a terminal meanwhile.

One file gives one indented JSON document; several give one compact document a line (JSON Lines), each written as
soon as its file is done. A file that cannot be read does not stop the others.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from monitor.analysis import Progress
from monitor.errors import SettingsError, SourceError, UnmaskError
from monitor.results import Analysis, Json
from monitor.sinks.document import analysis_to_json, analysis_to_text, error_to_json
from monitor.types import State

EXIT_SUSPECT = 10
BAR_CELLS = 24

Analyse = Callable[[str, Progress | None], Analysis]
"""Judges one file and reports its progress. Raises UnmaskError."""


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """What the user asked for. `fail_on` None: the exit status does not depend on the verdicts."""

    as_json: bool = False
    output: Path | None = None
    fail_on: State | None = None
    html: Path | None = None
    """Where the report of the one file goes."""


def run_batch(files: Sequence[str], analyse: Analyse, options: BatchOptions, out: TextIO, err: TextIO) -> int:
    """Judge every file. Returns the exit status: that of the first error, else 10 where `fail_on` was met, else 0.

    Raises the error itself where there is one file only. Documents go to `options.output` where it is given, else
    to `out` with `as_json`; the lines for people go to `out` otherwise.
    """
    several = len(files) > 1
    status, met = 0, False
    with _document_file(options.output) as written:
        for file in files:
            try:
                analysis = _with_bar(file, analyse, err)
                document, text = analysis_to_json(analysis), analysis_to_text(analysis)
                if options.html is not None:
                    from monitor.report.analysis import report_of_analysis
                    from monitor.report.page import write_html

                    write_html(report_of_analysis(document), options.html)
                met = met or analysis.summary.state is options.fail_on
            except UnmaskError as error:
                if not several or not isinstance(error, SourceError):
                    raise
                print(f"unmask: {' '.join(str(error).split())}", file=err, flush=True)
                document, text = error_to_json(file, str(error)), None
                status = status or error.exit_code
            if written is not None:
                _write(document, written, several)
            if options.as_json:
                if written is None:
                    _write(document, out, several)
            elif text is not None:
                print(text, file=out, flush=True)
    return status or (EXIT_SUSPECT if met else 0)


def _write(document: dict[str, Json], out: TextIO, compact: bool) -> None:
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=None if compact else 2)
    print(text, file=out, flush=True)


@contextmanager
def _document_file(path: Path | None) -> Iterator[TextIO | None]:
    """A file that takes its name only when it is complete. Raises SettingsError where it cannot be written."""
    if path is None:
        yield None
        return
    draft = path.with_name(f".{path.name}.part")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        os.replace(draft, path)
    except OSError as error:
        raise SettingsError(f"--output {path}: cannot be written ({error.strerror}); choose another place") from error
    finally:
        draft.unlink(missing_ok=True)


def _with_bar(file: str, analyse: Analyse, err: TextIO) -> Analysis:
    if not err.isatty():
        return analyse(file, None)
    bar = ProgressBar(Path(file).name, err)
    try:
        return analyse(file, bar.show)
    finally:
        bar.clear()


class ProgressBar:
    """One line on a terminal that is drawn over itself, ten times a second at most."""

    def __init__(self, title: str, out: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._title = title
        self._out = out
        self._now = now
        self._began_s = now()
        self._drawn_s = self._began_s - 1.0

    def show(self, done_s: float, of_s: float | None) -> None:
        """Draw the bar for `done_s` of `of_s` seconds of the recording."""
        now_s = self._now()
        if now_s - self._drawn_s < 0.1:
            return
        self._drawn_s = now_s
        speed = done_s / max(now_s - self._began_s, 1e-3)
        line = f"{self._title[:40]}  {bar_text(done_s, of_s)}  {speed:.1f} x real time"
        print(f"\r{line[:110]:<110}", end="", file=self._out, flush=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._drawn_s >= self._began_s:
            print(f"\r{'':<110}\r", end="", file=self._out, flush=True)


def bar_text(done_s: float, of_s: float | None) -> str:
    """`[######......] 50 %`, or the seconds done where the length is not known."""
    if not of_s:
        return f"{done_s:.0f} s"
    share = min(max(done_s / of_s, 0.0), 1.0)
    full = round(share * BAR_CELLS)
    return f"[{'#' * full}{'.' * (BAR_CELLS - full)}] {100 * share:3.0f} %"
