"""The picture of the README can be made again from what is in the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PyQt6.QtGui import QImage

REPO = Path(__file__).resolve().parent.parent.parent


def test_the_picture_of_the_readme_can_be_made_again(tmp_path: Path):
    out = tmp_path / "deep" / "overlay.png"
    command = [sys.executable, str(REPO / "scripts" / "overlay_picture.py"), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    made, kept = QImage(str(out)), QImage(str(REPO / "docs" / "images" / "overlay.png"))
    assert made.width() > 1000
    assert abs(made.width() - kept.width()) < 0.5 * kept.width()
    assert 30_000 < out.stat().st_size < 300_000
