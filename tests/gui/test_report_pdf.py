"""The report as a PDF: real pages with the plots on them, complete or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PyQt6.QtCore import QByteArray, QSizeF
from PyQt6.QtGui import QTextBlock, QTextDocument

from gui.report_pdf import _keep_headings, _page, _picture, write_pdf
from monitor.errors import SettingsError
from monitor.report.elements import to_xml
from monitor.report.plot import ALERT_GROUND, HEIGHT, WIDTH, plot
from monitor.report.session import report_of_session
from tests.unit.test_report import session


@pytest.mark.usefixtures("qapp")
def test_a_report_is_printed(tmp_path: Path) -> None:
    out = tmp_path / "report.pdf"
    write_pdf(report_of_session(session()), out)
    content = out.read_bytes()
    assert content.startswith(b"%PDF-1.")
    assert content.rstrip().endswith(b"%%EOF")
    assert 2 <= content.count(b"/Type /Page\n") <= 6
    assert content.count(b"/Subtype /Image") >= 1
    assert list(tmp_path.iterdir()) == [out]
    if os.name == "posix":
        assert stat.S_IMODE(out.stat().st_mode) == 0o600


@pytest.mark.usefixtures("qapp")
def test_qt_draws_the_plot_with_its_alert() -> None:
    report = report_of_session(session())
    with_alert, without = (
        _picture(to_xml(plot(report.people[0], alerts, report.duration_s, 0.6))) for alerts in (report.alerts, ())
    )
    assert (with_alert.width(), with_alert.height()) == (3 * WIDTH, 3 * HEIGHT)
    ground = tuple(int(ALERT_GROUND[i : i + 2], 16) for i in (1, 3, 5))
    counts = []
    for image in (with_alert, without):
        bits = image.constBits()
        assert bits is not None
        pixels = np.frombuffer(bits.asarray(image.sizeInBytes()), np.uint8).reshape(image.height(), -1, 4)
        counts.append(int((pixels[:, : image.width(), 2::-1] == ground).all(axis=2).sum()))
    assert counts[0] > counts[1] + 50_000
    assert counts[1] < 5_000


@pytest.mark.usefixtures("qapp")
def test_a_text_from_outside_is_text_in_the_pdf_too(tmp_path: Path) -> None:
    summary = replace(session().summary, source='<img src="file:///etc/passwd"><b>x', title="</td></table>")
    write_pdf(report_of_session(session(summary=summary)), tmp_path / "a.pdf")
    assert QByteArray((tmp_path / "a.pdf").read_bytes()).count(b"/Subtype /Image") == QByteArray(
        _plain(tmp_path)
    ).count(b"/Subtype /Image")


def _plain(folder: Path) -> bytes:
    write_pdf(report_of_session(session()), folder / "b.pdf")
    return (folder / "b.pdf").read_bytes()


@pytest.mark.usefixtures("qapp")
def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--pdf .*cannot be written"):
        write_pdf(report_of_session(session()), tmp_path / "no" / "where.pdf")


@pytest.mark.usefixtures("qapp")
def test_no_heading_stands_alone_at_the_end_of_a_page() -> None:
    alone = 0
    for lines in range(1, 40):
        document = QTextDocument()
        document.setHtml("<p>line</p>" * lines + "<h2>Heading</h2><p>" + "<br>".join("text" * 3) + "</p>")
        document.setPageSize(QSizeF(400, 300))
        heading = next(block for block in blocks(document) if block.blockFormat().headingLevel())
        alone += _page(heading, 300) < _page(heading.next(), 300)
        _keep_headings(document)
        assert _page(heading, 300) == _page(heading.next(), 300)
    assert alone >= 1


def blocks(document: QTextDocument) -> Iterator[QTextBlock]:
    block = document.begin()
    while block.isValid():
        yield block
        block = block.next()
