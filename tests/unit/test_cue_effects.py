"""The command behind the table of `docs/evidence.md`: pairs are paired, short entries left out, softness is seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from monitor.crops import CROP_SCALE
from monitor.cues.regions import inner_and_ring

REPO = Path(__file__).resolve().parents[2]
SIDE, MARGIN = 256, 32


def entry(folder: Path, key: str, *, seed: int, soft: bool = False, count: int = 64) -> None:
    """A textured picture that drifts, wide as a corpus keeps it; `soft` blurs the inner face."""
    wide = np.random.default_rng(seed).integers(60, 200, (SIDE + 64, SIDE + 64, 3), np.uint8)
    inner, _ = inner_and_ring(SIDE - 2 * MARGIN)
    assert CROP_SCALE == 1.5
    mask = np.pad(inner, MARGIN)[..., None]
    images = []
    for step in range(count):
        shift = round(8 + 8 * np.sin(step / 5))
        image = cv2.GaussianBlur(wide[shift : shift + SIDE, :SIDE], (0, 0), 1.2)
        images.append(np.where(mask, cv2.GaussianBlur(image, (0, 0), 4), image) if soft else image)
    np.save(folder / f"{key}.images.npy", np.stack(images))
    np.savez(folder / f"{key}.meta.npz", media_ns=np.arange(count))


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPO / "scripts" / "cue_effects.py"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_a_softer_half_of_a_pair_shows_in_its_row(tmp_path: Path) -> None:
    entry(tmp_path, "pair-take_0-real-1", seed=1)
    entry(tmp_path, "pair-take_0-fake-1", seed=1, soft=True)
    entry(tmp_path, "pair-take_1-fake-1", seed=2, soft=True, count=30)
    entry(tmp_path, "clip-somebody-1", seed=3)
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 live pairs, 1 genuine clips")
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("| sharpness")]
    _, real, fake, difference, higher, *_ = (cell.strip() for cell in row.strip("|").split("|"))
    assert float(fake) < float(real) - 0.8
    assert float(difference) < -0.8
    assert higher == "0 %"


def test_a_folder_without_pairs_is_refused_in_one_line(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "expected some of both" in done.stderr
