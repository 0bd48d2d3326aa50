"""Train the temporal head on windows that the finished encoder has read.

    python -m engines.training.head RUN

Reads RUN/encoder_best.pt and RUN/windows-*; writes RUN/head_best.pt. Encoding is done once and cached as
RUN/features-*.npz under the encoder's hash; training the head itself takes minutes on a CPU.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from engines.files import replaced
from engines.metrics import auc
from engines.network import Encoder, ExportEncoder, Head
from engines.runtimes.openvino import OpenVinoRuntime
from engines.training.data import window_labels
from engines.training.export import write_graph


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """windows float32 (N, 32, 261), frame labels (N, 32), origin (N,)."""

    windows: npt.NDArray[np.float32]
    frame_labels: npt.NDArray[np.float32]
    origin: npt.NDArray[np.str_]

    @property
    def labels(self) -> npt.NDArray[np.float32]:
        return window_labels(self.frame_labels)

    def part(self, chosen: npt.NDArray[np.bool_]) -> Features:
        """Some of the windows."""
        return Features(self.windows[chosen], self.frame_labels[chosen], self.origin[chosen])


def _reader(
    encoder: Encoder, run: Path, device: torch.device, size_px: int
) -> Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]:
    """Crops uint8 (N, S, S, 3) -> rows (N, 257): on a GPU with torch, on a CPU with the product's runtime."""
    model = ExportEncoder(encoder.eval())
    if device.type == "cuda":
        model = model.to(device=device, memory_format=torch.channels_last)
        return lambda crops: np.asarray(model(torch.from_numpy(crops).to(device))[0].float().cpu().numpy())
    with TemporaryDirectory(dir=run) as folder:
        path = Path(folder) / "encoder.onnx"
        example = torch.zeros(2, size_px, size_px, 3, dtype=torch.uint8)
        write_graph(model, example, path, "crops", ["feature", "logit", "where"])
        graph = OpenVinoRuntime().open(path, torch.get_num_threads())
    return lambda crops: np.asarray(graph.infer({"crops": crops})["feature"], np.float32)


@torch.inference_mode()
def encode(run: Path, name: str, device: torch.device) -> Features:
    """Features of all windows of RUN/windows-NAME, from the cache where the encoder is the same."""
    state = (run / "encoder_best.pt").read_bytes()
    digest = hashlib.sha256(state).hexdigest()[:16]
    shards = sorted((run / f"windows-{name}").glob("*.npz"))
    made = hashlib.sha256(repr([(s.name, s.stat().st_size, s.stat().st_mtime_ns) for s in shards]).encode())
    cached = run / f"features-{name}-{digest}-{made.hexdigest()[:8]}.npz"
    if cached.exists():
        with np.load(cached, allow_pickle=False) as stored:
            return Features(stored["windows"], stored["frame_labels"], stored["origin"])
    encoder = Encoder()
    stored_state = torch.load(run / "encoder_best.pt", map_location="cpu", weights_only=True)
    encoder.load_state_dict(stored_state["encoder"])
    with np.load(shards[0]) as first:
        size_px = first["crops"].shape[2]
    read = _reader(encoder, run, device, size_px)
    parts: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.str_]]] = []
    for index, shard in enumerate(shards):
        with np.load(shard, allow_pickle=False) as stored:
            crops, labels, aux, origin = (stored[k] for k in ("crops", "frame_labels", "aux", "origin"))
        rows = [read(window) for window in crops]
        parts.append((np.concatenate([np.stack(rows), aux], 2).astype(np.float32), labels, origin))
        if index % 10 == 9:
            print(f"{name}: {index + 1} of {len(shards)} shards encoded", flush=True)
    features = Features(*(np.concatenate([p[i] for p in parts]) for i in range(3)))
    with replaced(cached) as handle:
        np.savez(
            handle,
            windows=features.windows,
            frame_labels=features.frame_labels,
            origin=features.origin,
            encoder=np.array(digest),
        )
    return features


def by_origin(scores: npt.NDArray[np.float32], features: Features) -> dict[str, float]:
    """AUC of window scores, each forged origin against all real windows."""
    labels = features.labels
    real = labels < 0.5
    table = {}
    for origin in sorted(set(features.origin[~real].tolist())):
        chosen = real | ((features.origin == origin) & ~real)
        table[origin] = auc(scores[chosen], labels[chosen])
    return table


def train(run: Path, arguments: argparse.Namespace) -> None:
    """Train, keep the epoch that is best on one half of validation, and report the other half with its controls."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(arguments.seed)
    training, held_out = encode(run, "train", device), encode(run, "validation", device)
    # Pairs lie beside each other: every second one chooses the epoch, the others are reported.
    second = np.arange(len(held_out.labels)) // 2 % 2 == 1
    choosing, validation = held_out.part(second), held_out.part(~second)
    counts = [len(part.labels) for part in (training, choosing, validation)]
    print("windows: {} to train, {} to choose, {} to report".format(*counts), flush=True)
    windows, frame_labels = torch.from_numpy(training.windows), torch.from_numpy(training.frame_labels)
    labels = torch.from_numpy(training.labels)
    weight = torch.where(labels > 0.5, (labels < 0.5).sum() / (labels > 0.5).sum().clamp_min(1), 1.0)
    held, choose = torch.from_numpy(validation.windows), torch.from_numpy(choosing.windows)
    head = Head().to(device)
    optimiser = torch.optim.AdamW(head.parameters(), lr=arguments.rate, weight_decay=0.05)
    steps = arguments.epochs * max(1, len(labels) // arguments.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, arguments.rate, total_steps=steps)
    plain = by_origin(held[:, :, 256].mean(1).numpy(), validation)
    best = -1.0
    generator = torch.Generator().manual_seed(arguments.seed)
    for epoch in range(arguments.epochs):
        head.train()
        order = torch.randperm(len(labels), generator=generator)
        for start in range(0, len(order) - arguments.batch + 1, arguments.batch):
            index = order[start : start + arguments.batch]
            batch = windows[index].to(device)
            batch[..., :256] *= 1 + 0.05 * torch.randn(len(index), 1, 256, device=device)
            logit, frames = head(batch)
            window_loss = nn.functional.binary_cross_entropy_with_logits(
                logit, labels[index].to(device) * 0.95 + 0.025, weight=weight[index].to(device)
            )
            frame_loss = nn.functional.binary_cross_entropy_with_logits(frames, frame_labels[index].to(device))
            optimiser.zero_grad(set_to_none=True)
            (window_loss + 0.5 * frame_loss).backward()
            optimiser.step()
            schedule.step()
        head.eval()
        with torch.inference_mode():
            scores = torch.cat([head(part.to(device))[0].cpu() for part in choose.split(256)]).numpy()
        table = by_origin(scores, choosing)
        mean = float(np.mean(list(table.values())))
        if mean > best:
            best = mean
            torch.save({"head": head.state_dict(), "auc": table, "epoch": epoch}, run / "head_best.pt")
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: validation mean {mean:.4f} (best {best:.4f})", flush=True)
    head.load_state_dict(torch.load(run / "head_best.pt", map_location=device, weights_only=True)["head"])
    head.eval()
    mixed = held[:, torch.randperm(held.shape[1], generator=generator)]
    with torch.inference_mode():
        temporal = by_origin(head(held.to(device))[0].cpu().numpy(), validation)
        shuffled = by_origin(head(mixed.to(device))[0].cpu().numpy(), validation)
    report = {"per_frame_mean": plain, "temporal": temporal, "temporal_shuffled": shuffled}
    (run / "head_report.json").write_text(json.dumps(report, indent=1))
    print(f"{'origin':24} per-frame  temporal  shuffled")
    for origin in temporal:
        print(f"{origin:24} {plain[origin]:9.3f} {temporal[origin]:9.3f} {shuffled[origin]:9.3f}")


def main() -> int:
    """Command line of the head's training."""
    parser = argparse.ArgumentParser(prog="python -m engines.training.head", description="Train the temporal head.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    train(arguments.run, arguments)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
