"""Train a detector from the training data to two graphs with a model card: one command, on a CPU or a CUDA GPU.

    python scripts/train.py DATA WORK --id NAME [--restorer FOLDER] [--corpus FOLDER]

DATA holds `train/clips.csv` and its kin; WORK keeps corpus, generators and run, outside the repository. On two
CPU cores the whole takes about four hours, on a GPU with 16 cores under 25 minutes (`--minutes` of each stage are
chosen for what is found). Every stage goes on where it was stopped. The result lies in WORK/weights, not
calibrated: `python -m monitor.calibrate WORK/weights/model.toml --help` says how to go on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Budget:
    """Minutes and sizes of the stages."""

    generator: float
    encoder: float
    batches: int
    """Multiple of the batch that two cores train with."""
    workers: int
    window_pairs: int


CPU = Budget(generator=8.0, encoder=150.0, batches=1, workers=1, window_pairs=1200)
GPU = Budget(generator=1.0, encoder=15.0, batches=6, workers=max(1, (os.cpu_count() or 2) - 1), window_pairs=1200)


def commands(
    data: Path, work: Path, corpus: Path, restorer: Path | None, model_id: str, budget: Budget
) -> list[list[str]]:
    """The stages in order, as arguments of `python -m`."""
    run = work / "run"
    many = budget.batches
    encoder = [
        "engines.training.encoder", str(corpus), str(run), "--minutes", f"{budget.encoder:g}",
        "--pairs", str(12 * many), "--live-pairs", str(3 * many), "--forgeries", str(10 * many),
        "--workers", str(budget.workers),
    ]  # fmt: skip
    stages = [] if corpus != work / "corpus" else [["monitor.corpus", str(corpus), "--data", str(data)]]
    if restorer is not None:
        stages.append(["engines.training.restore", str(corpus), "--model", str(restorer)])
    for kind in ("aligned", "conv8", "conv16"):
        minutes = f"{budget.generator:g}"
        stages.append(
            ["engines.training.generator", str(corpus), str(work / "generators"), "--kind", kind, "--minutes", minutes]
        )
    return [
        *stages,
        encoder,
        ["engines.training.windows", str(corpus), str(run), "--pairs", str(budget.window_pairs)],
        ["engines.training.head", str(run)],
        [
            "engines.training.export", str(run), str(work / "weights"), "--id", model_id,
            "--trained-on", "the training data and the recorded forgeries of docs/detector.md",
            "--command", f"python scripts/train.py DATA WORK --id {model_id}",
        ],
    ]  # fmt: skip


def has_gpu() -> bool:
    """Whether torch finds a CUDA GPU here; raises SystemExit without torch."""
    try:
        import torch
    except ImportError:
        raise SystemExit("torch is not installed: pip install -e '.[train]'") from None
    return bool(torch.cuda.is_available())


def main() -> int:
    """Run the stages one after the other; the exit status of the first that fails."""
    parser = argparse.ArgumentParser(prog="scripts/train.py", description="Train a detector.")
    parser.add_argument("data", type=Path, help="folder that holds train/clips.csv and its kin")
    parser.add_argument("work", type=Path, help="folder for everything that is made; keep it outside the repository")
    parser.add_argument("--id", required=True, help="name of the model, as unmask-2")
    parser.add_argument("--corpus", type=Path, help="a corpus made earlier")
    parser.add_argument(
        "--restorer", type=Path, help="folder with the restorer's ncnn files (engines.training.restore)"
    )
    parser.add_argument("--minutes", type=float, help="training time of the encoder")
    parser.add_argument("--dry-run", action="store_true", help="print the commands only")
    arguments = parser.parse_args()
    budget = CPU if arguments.dry_run or not has_gpu() else GPU
    if arguments.minutes is not None:
        budget = Budget(budget.generator, arguments.minutes, budget.batches, budget.workers, budget.window_pairs)
    corpus = arguments.corpus or arguments.work / "corpus"
    if not arguments.corpus and not (arguments.data / "train" / "clips.csv").exists():
        print(f"{arguments.data}: no train/clips.csv there", file=sys.stderr)
        return 2
    for stage in commands(arguments.data, arguments.work, corpus, arguments.restorer, arguments.id, budget):
        print(f"python -m {' '.join(stage)}", flush=True)
        if arguments.dry_run:
            continue
        began = time.monotonic()
        status = subprocess.run([sys.executable, "-m", *stage], cwd=ROOT).returncode
        print(f"{stage[0]}: {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
        if status:
            return status
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
