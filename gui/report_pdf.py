"""A report as a PDF, by Qt's rich text: the printable page with its plots as pictures at the printer's resolution."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.errors import SettingsError
from monitor.report.document import Report
from monitor.report.elements import to_xml
from monitor.report.page import printable
from monitor.report.words import PRODUCT, headline

if TYPE_CHECKING:
    from PyQt6.QtGui import QGuiApplication, QImage, QTextBlock, QTextDocument

DPI = 300
MARGIN_MM = 16.0
PICTURE_SCALE = 3
"""Pixels of a plot's picture for each of its units: 300 and more to the inch."""


def write_pdf(report: Report, path: Path) -> None:
    """Write the file, readable by its owner only, complete or not at all. Raises SettingsError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        _print(report, draft)
        os.replace(draft, path)
    except OSError as error:
        raise SettingsError(f"--pdf {path}: cannot be written ({error.strerror}); choose another place") from error
    except ImportError as error:
        raise SettingsError(f"--pdf: PyQt6 does not load ({error}); install what it names, or use --html") from error
    finally:
        draft.unlink(missing_ok=True)


def _print(report: Report, path: Path) -> None:
    from PyQt6.QtCore import QMarginsF, QSizeF, QUrl
    from PyQt6.QtGui import QFont, QPageLayout, QPageSize, QPdfWriter, QTextDocument

    _ready()
    html, drawings = printable(report)
    writer = QPdfWriter(str(path))
    writer.setResolution(DPI)
    writer.setTitle(f"{PRODUCT}: {headline(report)}")
    writer.setCreator(PRODUCT)
    margins = QMarginsF(MARGIN_MM, MARGIN_MM, MARGIN_MM, MARGIN_MM)
    paper, upright = QPageSize(QPageSize.PageSizeId.A4), QPageLayout.Orientation.Portrait
    writer.setPageLayout(QPageLayout(paper, upright, margins, QPageLayout.Unit.Millimeter))
    document = QTextDocument()
    document.setDocumentMargin(0)
    document.setDefaultFont(QFont("DejaVu Sans", 9))
    layout = document.documentLayout()
    if layout is not None:
        layout.setPaintDevice(writer)
    for name, svg in drawings.items():
        document.addResource(QTextDocument.ResourceType.ImageResource, QUrl(name), _picture(to_xml(svg)))
    document.setHtml(html)
    area = writer.pageLayout().paintRectPixels(DPI)
    document.setPageSize(QSizeF(area.width(), area.height()))
    _keep_headings(document)
    document.print(writer)


def _keep_headings(document: QTextDocument) -> None:
    """Begin a new page before every heading that would stand alone at the end of one."""
    from PyQt6.QtGui import QTextCursor, QTextFormat

    height = document.pageSize().height()
    block = document.begin()
    while block.isValid():
        following = block.next()
        if (
            block.blockFormat().headingLevel()
            and following.isValid()
            and _page(block, height) < _page(following, height)
        ):
            before = block.blockFormat()
            before.setPageBreakPolicy(QTextFormat.PageBreakFlag.PageBreak_AlwaysBefore)
            QTextCursor(block).setBlockFormat(before)
        block = following


def _page(block: QTextBlock, height: float) -> int:
    """The page on which the first line of the block ends."""
    document, layout = block.document(), block.layout()
    if document is not None:
        document.pageCount()  # Qt lays text out only when it is asked for something that depends on it.
    if layout is None or layout.lineCount() == 0:
        return -1
    return math.floor((layout.position().y() + layout.lineAt(0).rect().bottom() - 1.0) / height)


def _picture(svg: str) -> QImage:
    """A drawing as a picture, white where it draws nothing."""
    from PyQt6.QtCore import QByteArray, Qt
    from PyQt6.QtGui import QImage, QPainter
    from PyQt6.QtSvg import QSvgRenderer

    renderer = QSvgRenderer(QByteArray(svg.encode()))
    size = renderer.defaultSize() * PICTURE_SCALE
    image = QImage(size, QImage.Format.Format_RGB32)
    image.fill(Qt.GlobalColor.white)
    painter = QPainter(image)
    renderer.render(painter)
    painter.end()
    return image


def _ready() -> None:
    """Qt draws text only once there is an application; where there is none, one without a screen is made and kept."""
    from PyQt6.QtGui import QGuiApplication

    if QGuiApplication.instance() is None:
        _kept.append(QGuiApplication([PRODUCT, "-platform", "offscreen"]))


_kept: list[QGuiApplication] = []
