"""What runs and how fast: one line, and a table of the pipeline's stages that can be opened below it."""

from __future__ import annotations

from collections.abc import Sequence

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QGridLayout, QLabel, QWidget

from gui import texts
from gui.controls import describe
from monitor.types import StageHealth


class StageTable(QWidget):
    """A row a stage: pictures a second, median and 95th percentile of the time each takes, pictures lost."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(0, 1)
        self._cells: list[list[QLabel]] = []
        self._header = [self._cell(0, column, text) for column, text in enumerate(texts.STAGE_COLUMNS)]
        for cell in self._header:
            describe(cell, cell.text(), "Heading of a column of the stages table.")
        describe(self, "Stages", "What each stage of the monitor does and how fast.")

    def restyle(self, em: float) -> None:
        self._grid.setHorizontalSpacing(round(em * 0.9))
        self._grid.setVerticalSpacing(round(em * 0.15))

    def show_stages(self, stages: Sequence[StageHealth]) -> bool:
        """Returns True where the number of rows changed."""
        before = len(self._cells)
        while len(self._cells) > len(stages):
            for cell in self._cells.pop():
                self._grid.removeWidget(cell)
                cell.hide()
                cell.deleteLater()
        while len(self._cells) < len(stages):
            line = len(self._cells) + 1
            self._cells.append([self._cell(line, column, "") for column in range(len(texts.STAGE_COLUMNS))])
        for cells, stage in zip(self._cells, stages, strict=True):
            values = texts.stage_values(stage)
            for cell, column, value in zip(cells, texts.STAGE_COLUMNS, values, strict=True):
                if cell.text() != value:
                    cell.setText(value)
                describe(cell, f"{texts.stage_name(stage)}, {column}: {value}", texts.stage_trouble(stage) or "Works.")
        return len(self._cells) != before

    def _cell(self, line: int, column: int, text: str) -> QLabel:
        cell = QLabel(text, self)
        cell.setObjectName("muted")
        cell.setTextFormat(Qt.TextFormat.PlainText)
        side = Qt.AlignmentFlag.AlignLeft if column == 0 else Qt.AlignmentFlag.AlignRight
        self._grid.addWidget(cell, line, column, side)
        return cell
