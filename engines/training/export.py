"""Export a finished run as the two ONNX graphs of the product, with a model card.

    python -m engines.training.export RUN OUT --id NAME --trained-on "..." --command "..."

Writes OUT/encoder.onnx, OUT/head.onnx and OUT/model.toml. Calibration and operating points are neutral until
`python -m monitor.calibrate` has measured them.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from engines.card import (
    Calibration,
    EncoderSpec,
    Golden,
    HeadSpec,
    ModelCard,
    OperatingPoint,
    OperatingPoints,
    Thresholds,
    file_sha256,
    write_card,
)
from engines.detector_engine import open_graphs
from engines.forge.pairs import WHERE_STRIDE
from engines.golden import compute_golden
from engines.network import ENCODER_DIM, STEPS, Encoder, ExportEncoder, Head
from engines.runtimes.onnx import OnnxRuntime
from engines.window_input import AUX_DIM

OPSET = 17


def write_graph(module: nn.Module, example: torch.Tensor, path: Path, inputs: str, outputs: list[str]) -> None:
    """One graph, with a dynamic batch, replaced in one step."""
    draft = path.with_suffix(".partial")
    names = {name: {0: "batch"} for name in (inputs, *outputs)}
    with warnings.catch_warnings():
        # The tracing exporter is deprecated, but needs no further package and gives these graphs a dynamic batch.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (example,),
            draft,
            input_names=[inputs],
            output_names=outputs,
            dynamic_axes=names,
            opset_version=OPSET,
            dynamo=False,
        )
    os.replace(draft, path)


def tempered(head: Head, share: float) -> Head:
    """The same head with its window logit drawn to the mean of the frame logits: `share` of the one, the rest of the
    other. A head that is trained on few windows corrects more than it knows."""
    with torch.no_grad():
        head.gain.mul_(share).add_(1 - share)
        head.window.weight.mul_(share)
        head.window.bias.mul_(share)
    return head


def export(
    run: Path, out: Path, *, model_id: str, trained_on: str, command: str, size_px: int, head_share: float = 1.0
) -> ModelCard:
    """Write both graphs and a neutral card. Raises OSError, or EngineError where the graphs do not run."""
    out.mkdir(parents=True, exist_ok=True)
    encoder, head = Encoder(), Head()
    checkpoint = (run / "encoder_best.pt").read_bytes()
    encoder.load_state_dict(torch.load(run / "encoder_best.pt", map_location="cpu", weights_only=True)["encoder"])
    head.load_state_dict(torch.load(run / "head_best.pt", map_location="cpu", weights_only=True)["head"])
    head = tempered(head, head_share)
    crops = torch.zeros(2, size_px, size_px, 3, dtype=torch.uint8)
    write_graph(ExportEncoder(encoder).eval(), crops, out / "encoder.onnx", "crops", ["feature", "logit", "where"])
    window = torch.zeros(2, STEPS, ENCODER_DIM + AUX_DIM)
    write_graph(head.eval(), window, out / "head.onnx", "window", ["logit", "frame_logits"])
    neutral = Golden(
        seed=1,
        encoder_logits=(0.0,) * 4,
        features=((0.0,) * 8,) * 4,
        where_means=(0.0,) * 4,
        head_logit=0.0,
        frame_logit_mean=0.0,
    )
    card = ModelCard(
        id=model_id,
        created=datetime.date.today().isoformat(),
        trained_on=trained_on,
        command=command,
        known_blind_spots=(),
        encoder=EncoderSpec(
            file="encoder.onnx",
            sha256=file_sha256(out / "encoder.onnx"),
            crop_px=size_px,
            feature_dim=ENCODER_DIM,
            where_px=size_px // WHERE_STRIDE,
            state=hashlib.sha256(checkpoint).hexdigest()[:16],
        ),
        head=HeadSpec(file="head.onnx", sha256=file_sha256(out / "head.onnx"), steps=STEPS, aux_dim=AUX_DIM),
        calibration=Calibration(scale=1.0, bias=0.0),
        thresholds=Thresholds(low=0.5, high=0.8),
        operating_points=OperatingPoints(
            low=OperatingPoint(false_alarms_per_hour=0.1, cusum_h=60.0, cusum_drift=0.5),
            medium=OperatingPoint(false_alarms_per_hour=1.0, cusum_h=40.0, cusum_drift=0.5),
            high=OperatingPoint(false_alarms_per_hour=6.0, cusum_h=25.0, cusum_drift=0.5),
        ),
        golden=neutral,
        folder=out,
    )
    with open_graphs(OnnxRuntime(), out, card.encoder, card.head, threads=1) as engine:
        card = replace(card, golden=compute_golden(engine))
    write_card(out / "model.toml", card)
    return card


def main() -> int:
    """Command line of the export."""
    parser = argparse.ArgumentParser(prog="python -m engines.training.export", description="Export a run to ONNX.")
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--id", required=True)
    parser.add_argument("--trained-on", required=True)
    parser.add_argument("--command", required=True)
    parser.add_argument("--size", type=int, default=144)
    parser.add_argument("--head-share", type=float, default=1.0, help="of the window's logit; the rest is the frames'")
    arguments = parser.parse_args()
    card = export(
        arguments.run,
        arguments.out,
        model_id=arguments.id,
        trained_on=arguments.trained_on,
        command=arguments.command,
        size_px=arguments.size,
        head_share=arguments.head_share,
    )
    for spec in (card.encoder, card.head):
        print(f"{spec.file} {(arguments.out / spec.file).stat().st_size / 1e6:.1f} MB {spec.sha256}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
