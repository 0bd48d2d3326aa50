#!/usr/bin/env python3
"""Draw `docs/images/overlay.png`, the picture of the overlay in the README, without a screen or a camera.

    .venv/bin/python scripts/overlay_picture.py [--out FILE]

The window is the real one; the story that it tells is written here, so its figures are an example, not a
measurement. The faces are those of `unmask watch demo:?people=4`: scikit-image's public-domain portrait of Eileen
Collins (NASA), animated, one of them forged by unmask's own code.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

if TYPE_CHECKING:
    from PyQt6.QtGui import QImage

    from gui.controller import OverlayModel
    from monitor.types import Alert, Snapshot, UInt8Array, Verdict, WhereMap

DEFAULT_OUT = REPO / "docs" / "images" / "overlay.png"
SCALE = 2
MARGIN_PX = 24
S = 1_000_000_000
FORGED = 3
"""The person whose face is forged, counted from 1."""
FORGED_FROM_S, END_S = 38.0, 62.0
FACE_SHARE = 1.5
"""Side of a thumbnail over the longer side of the face, as in the detector's crops."""
WHERE_PX = 18


def thumbnails(time_s: float, *, forged: bool) -> dict[int, UInt8Array]:
    """The four faces of the demonstration at `time_s`: person -> uint8 (64, 64, 3) RGB."""
    import cv2
    import numpy as np

    from monitor.sources.synthetic import DemoScene

    image, outlines = DemoScene(4, forged=forged).render(time_s)
    pictures = {}
    for number, outline in enumerate(outlines, 1):
        half = FACE_SHARE * float(np.ptp(outline, axis=0).max()) / 2
        x, y = (outline.min(axis=0) + outline.max(axis=0)) / 2
        square = image[max(0, round(y - half)) : round(y + half), max(0, round(x - half)) : round(x + half)]
        pictures[number] = cv2.resize(square, (64, 64), interpolation=cv2.INTER_AREA)
    return pictures


def example_map(now_ns: int) -> WhereMap:
    """A map as the detector gives one of a face that was replaced from the brows to the chin."""
    import numpy as np

    from monitor.types import FaceRegion, WhereMap

    y, x = np.mgrid[0:WHERE_PX, 0:WHERE_PX].astype(np.float32) / WHERE_PX - 0.5
    inside = np.hypot(x / 0.24, (y - 0.04) / 0.29)
    grid = 0.8 / (1.0 + np.exp(9.0 * (inside - 1.0))) * (0.9 + 0.1 * np.sin(9 * x + 4 * y))
    return WhereMap(FORGED, now_ns, grid.astype(np.float32), (FaceRegion.WHOLE_FACE,))


def verdicts(time_s: float, now_ns: int) -> list[Verdict]:
    """What is said of the four people after `time_s` seconds of the story."""
    from monitor.types import Reason, State, Verdict

    def say(person: int, state: State, suspicion: float | None, *reasons: Reason) -> Verdict:
        return Verdict(person, state, suspicion, reasons, (), 0.93, now_ns, now_ns, now_ns)

    if time_s < 3.0:
        return [say(person, State.WARMING_UP, None) for person in range(1, 5)]
    calm = [0.05 + 0.03 * math.sin(0.5 * time_s * person + person) for person in range(1, 5)]
    people = [say(person, State.NO_SIGN, calm[person - 1]) for person in range(1, 5)]
    if 20.0 <= time_s < 25.0:
        people[1] = say(2, State.CANNOT_TELL, None, Reason.FACE_TURNED_AWAY)
    if time_s > 28.0:
        people[3] = say(4, State.CANNOT_TELL, None, Reason.FROZEN)
    if time_s > FORGED_FROM_S:
        rising = 1.0 - math.exp(-(time_s - FORGED_FROM_S) / 4.0)
        suspicion = calm[2] + (0.88 - calm[2]) * rising + 0.02 * math.sin(2.1 * time_s)
        state = State.SUSPECT if suspicion > 0.7 else State.UNCERTAIN if suspicion > 0.3 else State.NO_SIGN
        people[2] = replace(say(FORGED, state, suspicion), where=example_map(now_ns))
    return people


def snapshot(time_s: float, pictures: dict[int, UInt8Array], alert: Alert | None) -> Snapshot:
    from monitor.sources import synthetic
    from monitor.types import RunState, Snapshot, SourceInfo, SourceKind, StageHealth

    now_ns = int(time_s * S)
    stages = ("capture", "perceive", "encode", "head", "infer")
    return Snapshot(
        run_state=RunState.RUNNING,
        taken_ns=now_ns,
        media_ns=now_ns,
        source=SourceInfo("demo:", SourceKind.DEMO, "Demonstration", 1280, 720, 30.0, notice=synthetic.NOTICE),
        verdicts=tuple(verdicts(time_s, now_ns)),
        open_alerts=(alert,) if alert is not None else (),
        closed_alerts=(),
        health=tuple(StageHealth(name, 15.0, 15.0, 0, 8.0, 12.0, True) for name in stages),
        runtime="OpenVINO CPU (2 threads)",
        model_id="example",
        latency_p50_ms=92.0,
        latency_p95_ms=131.0,
        caption=synthetic.FORGED if time_s > FORGED_FROM_S else synthetic.GENUINE,
        thumbnails=MappingProxyType(pictures),
    )


def tell(until_s: float) -> OverlayModel:
    """The story from its begin to `until_s`, as the window would have it then."""
    from gui.controller import Controller
    from gui.session import Phase, SessionView
    from monitor.types import Alert, AlertKind, AlertLevel, State
    from monitor.wording import alert_evidence

    controller, pictures = Controller("demo:"), thumbnails(4.0, forged=until_s > FORGED_FROM_S)
    alert, model = None, None
    for tenth in range(int(until_s * 10) + 1):
        time_s = tenth / 10
        forged = verdicts(time_s, 0)[FORGED - 1]
        if forged.state is State.SUSPECT and forged.suspicion is not None:
            opened_ns = alert.opened_ns if alert is not None else int(time_s * S)
            regions = forged.where.regions if forged.where is not None else ()
            text = alert_evidence(time_s - FORGED_FROM_S, forged.suspicion, regions)
            kind, level = AlertKind.MANIPULATION, AlertLevel.ALARM
            alert = Alert(1, FORGED, kind, level, opened_ns, None, text, forged.suspicion)
        view = SessionView(Phase.RUNNING, snapshot(time_s, pictures, alert), None, 1)
        model = controller.update(view, int(time_s * S))
    assert model is not None
    return model


def draw(model: OverlayModel, *, dark: bool, process_events: Callable[[], None]) -> QImage:
    from PyQt6.QtCore import Qt
    from PyQt6.QtGui import QImage
    from PyQt6.QtWidgets import QWidget

    from gui.overlay import Overlay
    from gui.panel import OverlayOptions

    overlay = Overlay(OverlayOptions(opacity=1.0, dark=dark))
    overlay.show_model(model)
    overlay.show()
    overlay.setFocus()
    process_events()
    picture = QImage(overlay.size() * SCALE, QImage.Format.Format_ARGB32_Premultiplied)
    picture.setDevicePixelRatio(SCALE)
    picture.fill(Qt.GlobalColor.transparent)
    overlay.render(picture, flags=QWidget.RenderFlag.DrawChildren)
    overlay.close()
    picture.setDevicePixelRatio(1.0)
    return picture


def save_small(picture: QImage, out: Path) -> None:
    """Write a PNG of 256 colours: a third of the size, and nobody sees the difference. Raises OSError."""
    from PIL import Image
    from PyQt6.QtGui import QImage

    rgba = picture.convertToFormat(QImage.Format.Format_RGBA8888)
    data = rgba.constBits()
    assert data is not None
    whole = Image.frombytes("RGBA", (rgba.width(), rgba.height()), data.asstring(rgba.sizeInBytes()))
    out.parent.mkdir(parents=True, exist_ok=True)
    whole.quantize(256, method=Image.Quantize.FASTOCTREE).save(out, optimize=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="where to write the PNG")
    out: Path = parser.parse_args().out
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from PyQt6.QtCore import Qt
    from PyQt6.QtGui import QImage, QPainter
    from PyQt6.QtWidgets import QApplication

    application = QApplication(["overlay_picture"])
    looks = [
        draw(tell(FORGED_FROM_S - 1.0), dark=False, process_events=application.processEvents),
        draw(tell(END_S), dark=True, process_events=application.processEvents),
    ]
    margin = MARGIN_PX * SCALE // 2
    width = sum(look.width() for look in looks) + margin
    sheet = QImage(width, max(look.height() for look in looks), QImage.Format.Format_ARGB32)
    sheet.fill(Qt.GlobalColor.transparent)
    painter, x = QPainter(sheet), 0
    for look in looks:
        painter.drawImage(x, 0, look)
        x += look.width() + margin
    painter.end()
    try:
        save_small(sheet, out)
    except OSError as error:
        print(f"{out}: cannot be written ({error}); name another place with --out", file=sys.stderr)
        return 1
    print(f"{out}: {sheet.width()} x {sheet.height()} pixels, {out.stat().st_size / 1024:.0f} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
