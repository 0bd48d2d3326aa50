"""A program of another's on an X server: a window that plays numbered pictures, and obeys lines on standard input.

    python tests/screen_player.py TITLE HZ X Y WIDTH HEIGHT [blocks|face]

Each picture carries its own number in the colour of its left upper quarter (red and green: number // 16 and number
% 16, times 16). `blocks` moves coloured blocks, `face` plays unmask's own portrait. Lines: `move X Y`, `resize W H`,
`hide`, `show`, `title T`, `quit`, `pause`, `play`, `black`. It prints `ready` once it is shown.
"""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
from PyQt6.QtCore import QObject, Qt, QTimer, pyqtSignal
from PyQt6.QtGui import QImage, QPainter, QPaintEvent
from PyQt6.QtWidgets import QApplication, QWidget

LOOK_EVERY_MS = 4


class Orders(QObject):
    """Lines of standard input, as signals."""

    came = pyqtSignal(str)

    def read(self) -> None:
        for line in sys.stdin:
            self.came.emit(line.strip())
        self.came.emit("quit")


class Player(QWidget):
    """The window."""

    def __init__(self, title: str, hz: float, kind: str) -> None:
        super().__init__(None, Qt.WindowType.Window | Qt.WindowType.FramelessWindowHint)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setWindowTitle(title)
        self._hz, self._kind = hz, kind
        self._began = time.monotonic()
        self._number = 0
        self._playing, self._black = True, False
        self._scene = None
        if kind == "face":
            from monitor.sources.synthetic import DemoScene

            self._scene = DemoScene(1, forged=False)
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._look)
        self._timer.start(LOOK_EVERY_MS)

    def _look(self) -> None:
        number = int((time.monotonic() - self._began) * self._hz)
        if self._playing and number != self._number:
            self._number = number
            self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        picture = self._picture()
        height, width = picture.shape[:2]
        image = QImage(picture.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        painter.drawImage(self.rect(), image)
        painter.end()

    def _picture(self) -> np.ndarray:
        number = self._number % 256
        if self._black:
            return np.zeros((4, 4, 3), np.uint8)
        if self._scene is not None:
            picture = np.array(self._scene.render(self._number / self._hz)[0])
            picture[:16, :16] = (number // 16 * 16, number % 16 * 16, 77)
            return picture
        picture = np.random.default_rng(number).integers(0, 255, (18, 32, 3), np.uint8)
        picture[:9, :16] = (number // 16 * 16, number % 16 * 16, 77)
        return picture

    def obey(self, line: str) -> None:
        what, _, rest = line.partition(" ")
        if what == "move":
            self.move(*map(int, rest.split()))
        elif what == "resize":
            self.resize(*map(int, rest.split()))
        elif what == "title":
            self.setWindowTitle(rest)
        elif what in ("pause", "play"):
            self._playing = what == "play"
        elif what == "black":
            self._black = True
            self.update()
        elif what in ("hide", "show"):
            self.setVisible(what == "show")
        elif what == "quit":
            QApplication.quit()


def main() -> None:
    title, hz, x, y, width, height, *more = sys.argv[1:]
    application = QApplication(["player"])
    application.setQuitOnLastWindowClosed(False)
    player = Player(title, float(hz), more[0] if more else "blocks")
    player.setGeometry(int(x), int(y), int(width), int(height))
    player.show()
    orders = Orders()
    orders.came.connect(player.obey)
    threading.Thread(target=orders.read, daemon=True).start()
    QTimer.singleShot(100, lambda: print("ready", flush=True))
    application.exec()


if __name__ == "__main__":
    main()
