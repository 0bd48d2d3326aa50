"""Make tests/golden/astronaut_landmarks.npy again: MediaPipe's landmarks of scikit-image's public-domain astronaut.

Run it only when MediaPipe or the face model is changed on purpose, and look at the difference before committing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from skimage import data

from engines.assets import face_landmarker
from monitor.faces import FaceFinder, plan_tiles

OUT = Path(__file__).resolve().parent.parent / "tests" / "golden" / "astronaut_landmarks.npy"


def main() -> None:
    image = data.astronaut()
    with FaceFinder(face_landmarker()) as finder:
        found = finder.scan(image, plan_tiles(image.shape[1], image.shape[0]))
        face = finder.read(image, found[0].box_px)
    if face is None or face.landmarks is None:
        raise SystemExit("no face found on the astronaut: the model or MediaPipe is broken")
    np.save(OUT, face.landmarks.astype(np.float32))
    print(f"{OUT}: box {face.box_px.round(1).tolist()}, yaw {face.yaw_deg:.1f} degrees")


if __name__ == "__main__":
    main()
