"""Average the weights of two encoders of one line of training: often better on what neither was trained on.

    python -m engines.training.soup BEFORE/encoder_best.pt AFTER/encoder_best.pt RUN/encoder_best.pt --before 0.4

Wortsman et al., "Robust fine-tuning of zero-shot models" (CVPR 2022). The second must have been started from the
first (`--start`): weights of separate trainings do not average.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from engines.files import replaced
from engines.network import Encoder


def averaged(before: dict[str, Tensor], after: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """`share` of the first and the rest of the second; counters are the second's."""
    return {
        name: share * before[name] + (1 - share) * value if value.dtype.is_floating_point else value
        for name, value in after.items()
    }


def main() -> int:
    """Command line of the average."""
    parser = argparse.ArgumentParser(prog="python -m engines.training.soup", description="Average two encoders.")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--before", dest="share", type=float, default=0.4, help="share of the first, 0..1")
    arguments = parser.parse_args()
    if not 0 <= arguments.share <= 1:
        parser.error(f"--before: expected 0..1, got {arguments.share}")
    before, after = (
        torch.load(path, map_location="cpu", weights_only=True) for path in (arguments.before, arguments.after)
    )
    state = averaged(before["encoder"], after["encoder"], arguments.share)
    Encoder().load_state_dict(state)
    with replaced(arguments.out) as handle:
        torch.save({"encoder": state, "step": after["step"], "auc": {}}, handle)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
