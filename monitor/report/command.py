"""`unmask report SESSION|ANALYSIS.json --html OUT --pdf OUT`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from monitor.errors import SettingsError
from monitor.history.database import HistoryError, history_path
from monitor.history.store import open_history
from monitor.report.analysis import read_analysis
from monitor.report.document import Report
from monitor.report.page import write_html
from monitor.report.session import report_of_session

PrintPdf = Callable[[Report, Path], None]
"""Writes a PDF; Qt does it, which this layer does not know. Raises UnmaskError."""


def run_report(what: str, html: Path | None, pdf: Path | None, print_pdf: PrintPdf) -> int:
    """Write the report of a session (its number) or of an analysis (a file). Raises UnmaskError."""
    if html is None and pdf is None:
        raise SettingsError("say where the report goes: --html FILE, --pdf FILE, or both")
    report = make_report(what)
    if html is not None:
        write_html(report, html)
        print(f"{html}: written")
    if pdf is not None:
        print_pdf(report, pdf)
        print(f"{pdf}: written")
    return 0


def make_report(what: str) -> Report:
    """The report of a session by its number, else of the analysis in a file."""
    if not (what.isascii() and what.isdigit() and len(what) <= 9):
        return read_analysis(Path(what))
    history = open_history()
    if history is None:
        raise HistoryError(f"{history_path()}: no sessions are kept; 'unmask watch --history' keeps what is said")
    with history:
        return report_of_session(history.session(int(what)))
