"""Train the encoder on single pictures: forged pairs made on the fly, with the few real forgeries as seasoning.

    python -m engines.training.encoder CORPUS RUN --minutes 80

Writes RUN/encoder.pt (newest state, to resume from) and RUN/encoder_best.pt (averaged weights: the best on
validation so far, and the last ones when the minutes are used), each by an
atomic rename. Running the same command again goes on where the last one stopped, until the minutes are used.
The same code trains on a CPU and on a CUDA GPU.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from engines.files import replaced
from engines.forge.families import Family
from engines.metrics import auc
from engines.network import Encoder
from engines.training.data import Batch, Mix, Sampler, boundary
from engines.training.entries import Corpus
from engines.training.fast_cpu import has_bf16, prepare
from engines.window_input import CROP_SCALE

_EMA = 0.998
_RANKING = 0.5
_SMOOTHING = 0.01
"""Small: a score that stops at a log-odds of 4 cannot pass a threshold for one false alarm an hour."""
_SAVE_EVERY_S = 120.0


class Stream(IterableDataset[Batch]):
    """Endless batches; each worker draws its own from (seed, worker, start), each batch in one of the sizes."""

    def __init__(self, sampler: Sampler, seed: int, sizes_px: tuple[int, ...]) -> None:
        self.sampler, self.seed, self.sizes_px = sampler, seed, sizes_px

    def __iter__(self) -> Iterator[Batch]:
        import cv2

        cv2.setNumThreads(0)
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            self.sampler.size_px = int(rng.choice(self.sizes_px))
            yield self.sampler.batch(rng)


class Average:
    """Exponential moving average of a module's state, warmed up over the first steps."""

    def __init__(self, module: nn.Module) -> None:
        self.steps = 0
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    def update(self, module: nn.Module) -> None:
        self.steps += 1
        keep = min(_EMA, self.steps / (self.steps + 20))
        with torch.no_grad():
            for name, value in module.state_dict().items():
                if value.dtype.is_floating_point:
                    self.state[name].mul_(keep).add_(value, alpha=1 - keep)
                else:
                    self.state[name].copy_(value)


def loss_of(
    encoder: Encoder, batch: Batch, device: torch.device, half: bool = False
) -> tuple[Tensor, dict[str, float]]:
    """Frame cross-entropy (smoothing .01), where-maps of region and boundary, and the order within pairs; and the
    parts for the log. In bfloat16 where `half`."""
    crops = torch.from_numpy(batch.crops).to(device)
    labels = torch.from_numpy(batch.labels).to(device)
    known = torch.from_numpy(batch.has_where).to(device)
    target = torch.from_numpy(np.stack([batch.where, boundary(batch.where)], 1)).to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        _, logit, where = encoder(crops)
    logit = logit.float()
    frame = nn.functional.binary_cross_entropy_with_logits(logit, labels * (1 - _SMOOTHING) + _SMOOTHING / 2)
    halves = logit[: 2 * batch.pairs].view(-1, 2)
    split = labels[: 2 * batch.pairs].view(-1, 2)
    # Of the two halves of a pair the forged one must rank higher, whatever the call did to both.
    differ = split[:, 1] - split[:, 0]
    order = (nn.functional.softplus(halves[:, 0] - halves[:, 1]) * differ).sum() / differ.sum().clamp_min(1)
    cells = nn.functional.binary_cross_entropy_with_logits(where.float(), target, reduction="none").mean((1, 2, 3))
    place = (cells * known).sum() / known.sum().clamp_min(1)
    sure = labels != 0.5
    right = ((logit > 0).float() == labels)[sure].float().mean()
    loss = frame + 1.0 * place + _RANKING * order
    return loss, {"bce": frame.item(), "where": place.item(), "order": order.item(), "accuracy": right.item()}


@torch.inference_mode()
def scores(
    encoder: Encoder, crops: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], device: torch.device
) -> list[float]:
    """Frame logits of crops uint8 (N, S, S, 3), 32 at a time."""
    out: list[float] = []
    for start in range(0, len(crops), 32):
        _, logit, _ = encoder(torch.from_numpy(crops[start : start + 32]).to(device))
        out += logit.float().cpu().tolist()
    return out


class Validation:
    """A fixed set of pairs of every forgery family, from held-out identities."""

    def __init__(
        self, corpus: Corpus, size_px: int, seed: int = 11, per_family: int = 24, scale: float = CROP_SCALE
    ) -> None:
        rng = np.random.default_rng(seed)
        sampler = Sampler(corpus, size_px=size_px, mix=Mix(), validation=True, scale=scale)
        self.sets: dict[
            str, tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], np.ndarray[tuple[int], np.dtype[np.float32]]]
        ] = {}
        for family in Family:
            crops, labels = [], []
            for _ in range(per_family):
                pair = sampler.pair(rng, family=family)
                index = int(np.argmax(pair.frame_labels))
                crops += [pair.real[index], pair.fake[index]]
                labels += [0.0, 1.0]
            self.sets[family.value] = (np.stack(crops), np.array(labels, np.float32))

    def run(self, encoder: Encoder, device: torch.device) -> dict[str, float]:
        """AUC by family, and their mean."""
        encoder.eval()
        table = {n: auc(np.array(scores(encoder, c, device)), y) for n, (c, y) in self.sets.items()}
        encoder.train()
        table["mean"] = float(np.mean(list(table.values())))
        return table


def _save(path: Path, state: dict[str, object]) -> None:
    with replaced(path) as handle:
        torch.save(state, handle)


def train(corpus_path: Path, run: Path, arguments: argparse.Namespace) -> None:
    """Train until `arguments.minutes` of training are used, all earlier runs in `run` counted in."""
    run.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() and not arguments.cpu else "cpu")
    torch.manual_seed(arguments.seed)
    if device.type == "cpu":
        torch.set_num_threads(arguments.threads)
    corpus = Corpus.load(corpus_path)
    mix = Mix(
        pairs=arguments.pairs,
        live_pairs=0 if arguments.own_only else arguments.live_pairs,
        forgeries=0 if arguments.own_only else arguments.forgeries,
    )
    left_out = frozenset(filter(None, arguments.leave_out.split(",")))
    if arguments.own_only:
        # A recorded live swap also counts as a generator: no batch may reach one by that way either.
        left_out |= {"live-pair"}
    sampler = Sampler(corpus, size_px=arguments.size, mix=mix, left_out=left_out, scale=arguments.scale)
    encoder = Encoder()
    if not arguments.scratch:
        encoder.backbone.load_imagenet()
    if arguments.start:
        encoder.load_state_dict(torch.load(arguments.start, map_location="cpu", weights_only=True)["encoder"])
    half = device.type == "cuda" or has_bf16()
    if device.type == "cpu" and half:
        prepare(encoder)
    encoder = encoder.to(device=device, memory_format=torch.channels_last)
    fresh = [p for n, p in encoder.named_parameters() if not n.startswith("backbone.")]
    optimiser = torch.optim.AdamW(
        [{"params": encoder.backbone.parameters(), "scale": 1.0}, {"params": fresh, "scale": 3.0}],
        lr=arguments.rate,
        weight_decay=0.02,
    )
    average = Average(encoder)
    step, used_s, best = 0, 0.0, 0.0
    newest = run / "encoder.pt"
    if newest.exists():
        stored = torch.load(newest, map_location=device, weights_only=True)
        encoder.load_state_dict(stored["encoder"])
        optimiser.load_state_dict(stored["optimiser"])
        average.state, average.steps = stored["average"], stored["step"]
        step, used_s, best = stored["step"], stored["used_s"], stored["best"]
        print(f"resumed at step {step}, {used_s / 60:.1f} minutes used", flush=True)
    loader = DataLoader(
        Stream(sampler, arguments.seed * 1_000_003 + step, (arguments.size, *arguments.more_sizes)),
        batch_size=None,
        num_workers=arguments.workers,
        prefetch_factor=3 if arguments.workers else None,
        persistent_workers=arguments.workers > 0,
    )
    validation = Validation(corpus, arguments.size, per_family=arguments.validation_pairs, scale=arguments.scale)
    probe = Encoder().to(device=device, memory_format=torch.channels_last)
    total_s = arguments.minutes * 60
    began = last_save = time.monotonic()
    earlier_s = used_s
    seen: dict[str, float] = {}
    pictures = 0
    encoder.train()
    for batch in loader:
        now = time.monotonic()
        used_s = earlier_s + now - began
        progress = min(1.0, used_s / total_s)
        warm = min(1.0, (step + 1) / 60)
        rate = arguments.rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        loss, parts = loss_of(encoder, batch, device, half)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(encoder.parameters(), 5.0)
        optimiser.step()
        average.update(encoder)
        step += 1
        pictures += len(batch.labels)
        seen = {k: 0.97 * seen.get(k, v) + 0.03 * v for k, v in parts.items()}
        if step % 20 == 0:
            spent = time.monotonic() - began
            print(
                f"step {step} {used_s / 60:.1f} min {pictures / spent:.1f} img/s "
                + " ".join(f"{k} {v:.3f}" for k, v in seen.items()),
                flush=True,
            )
        done = progress >= 1.0
        if step % arguments.validate_every == 0 or done:
            probe.load_state_dict(average.state)
            table = validation.run(probe, device)
            print("validation " + " ".join(f"{k} {v:.3f}" for k, v in table.items()), flush=True)
            with (run / "validation.jsonl").open("a") as log:
                log.write(json.dumps({"step": step, "minutes": used_s / 60, **table}) + "\n")
            # The averaged weights at the end of the cosine ship; before that, the best so far.
            if table["mean"] >= best or done:
                best = max(best, table["mean"])
                _save(run / "encoder_best.pt", {"encoder": average.state, "step": step, "auc": table})
        if time.monotonic() - last_save > _SAVE_EVERY_S or done:
            last_save = time.monotonic()
            _save(
                newest,
                {
                    "encoder": encoder.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "average": average.state,
                    "step": step,
                    "used_s": used_s,
                    "best": best,
                    "size_px": arguments.size,
                    "mix": asdict(mix),
                },
            )
        if done:
            break


def main() -> int:
    """Command line of the encoder's training."""
    parser = argparse.ArgumentParser(prog="python -m engines.training.encoder", description="Train the encoder.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=float, default=80.0)
    parser.add_argument("--size", type=int, default=144, help="side of the crop in pixels")
    parser.add_argument("--more-sizes", type=int, nargs="*", default=[], help="further sides, drawn a batch")
    parser.add_argument("--scale", type=float, default=CROP_SCALE, help="side of the crop in face sizes")
    parser.add_argument("--start", type=Path, help="checkpoint of an earlier run to start from, instead of ImageNet")
    parser.add_argument("--scratch", action="store_true", help="from random weights instead of ImageNet")
    parser.add_argument("--pairs", type=int, default=12, help="forged pairs a batch")
    parser.add_argument("--live-pairs", type=int, default=3, help="live pairs a batch")
    parser.add_argument("--forgeries", type=int, default=10, help="pictures of other real forgeries and reals a batch")
    parser.add_argument("--rate", type=float, default=4e-4, help="peak learning rate of the backbone")
    parser.add_argument("--own-only", action="store_true", help="only forgeries made here, no real ones")
    parser.add_argument("--leave-out", default="", help="comma-separated families, or remade:GENERATOR")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--validate-every", type=int, default=300)
    parser.add_argument("--validation-pairs", type=int, default=24, help="forged pairs a family in validation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cpu", action="store_true", help="stay on the CPU where there is a GPU too")
    arguments = parser.parse_args()
    if not (arguments.corpus / "index.json").exists():
        print(f"{arguments.corpus}: no corpus there; make one with python -m monitor.corpus", file=sys.stderr)
        return 2
    train(arguments.corpus, arguments.run, arguments)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
