"""Small autoencoders that make faces again: the generators behind the forgery families of re-synthesis.

    python -m engines.training.generator CORPUS OUT --kind aligned --minutes 6

Three kinds, each with artefacts of its own:
- `aligned`: an aligned face of 96 px through a code of 6 x 6 x 24, grown by pixel shuffle, as the classic swappers'
  autoencoders do; the face is pasted back by the same alignment.
- `conv8`: the whole crop of 192 px through a map of 1/8 its side with 6 channels, grown by nearest neighbour, with
  a patch discriminator: like the decoders of latent diffusion.
- `conv16`: the same at 1/16 with 16 channels, grown by pixel shuffle, without a discriminator: smooth.
Then every block of the corpus goes through and is kept under `<corpus>/remade/<kind>` (see `remade`). Trained on
real faces alone; never shipped. Minutes already used are remembered in OUT/<kind>.pt: the same command goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from engines.files import replaced
from engines.forge.families import align
from engines.forge.masks import Image, Points, Rng
from engines.training.entries import STILL_VALIDATION, Corpus, Entry
from engines.training.fast_cpu import has_bf16
from engines.training.remade import ALIGNED, REMADE_PX, Block, blocks, write_block

KINDS = (ALIGNED, "conv8", "conv16")
_ALIGNED_PX = 96
_CODE_CHANNELS = 24
_PATCH_PX = 96
_SAVE_EVERY_S = 60.0


def _down(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 5, 2, 2), nn.LeakyReLU(0.1))


class _Shuffle(nn.Module):
    """Twice the size by pixel shuffle, then a residual block."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.grow = nn.Conv2d(inputs, 4 * outputs, 3, padding=1)
        self.refine = nn.Sequential(
            nn.Conv2d(outputs, outputs, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(outputs, outputs, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.leaky_relu(nn.functional.pixel_shuffle(self.grow(x), 2), 0.1)
        return nn.functional.leaky_relu(x + self.refine(x), 0.2)


class _Nearest(nn.Module):
    """Twice the size by nearest neighbour, then convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="nearest"),
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.SiLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class Autoencoder(nn.Module):
    """float (N, 3, S, S) in -1..1 -> the same, made again. S is 96 for `aligned`, a multiple of 16 otherwise."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        if kind == ALIGNED:
            self.layers = nn.Sequential(
                _down(3, 32),
                _down(32, 64),
                _down(64, 128),
                _down(128, 192),
                nn.Conv2d(192, _CODE_CHANNELS, 1),
                nn.Conv2d(_CODE_CHANNELS, 192, 3, padding=1),
                _Shuffle(192, 128),
                _Shuffle(128, 96),
                _Shuffle(96, 48),
                _Shuffle(48, 24),
                nn.Conv2d(24, 3, 3, padding=1),
                nn.Tanh(),
            )
        elif kind == "conv8":
            self.layers = nn.Sequential(
                _down(3, 24),
                _down(24, 48),
                _down(48, 96),
                nn.Conv2d(96, 6, 1),
                nn.Conv2d(6, 96, 3, padding=1),
                _Nearest(96, 64),
                _Nearest(64, 32),
                _Nearest(32, 16),
                nn.Conv2d(16, 3, 3, padding=1),
                nn.Tanh(),
            )
        else:
            self.layers = nn.Sequential(
                _down(3, 24),
                _down(24, 48),
                _down(48, 96),
                _down(96, 128),
                nn.Conv2d(128, 16, 1),
                nn.Conv2d(16, 128, 3, padding=1),
                _Shuffle(128, 96),
                _Shuffle(96, 48),
                _Shuffle(48, 24),
                _Shuffle(24, 16),
                nn.Conv2d(16, 3, 3, padding=1),
                nn.Tanh(),
            )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class _Critic(nn.Module):
    """A patch discriminator: float (N, 3, S, S) -> a map of logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 24, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.utils.parametrizations.spectral_norm(nn.Conv2d(24, 48, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            nn.utils.parametrizations.spectral_norm(nn.Conv2d(48, 64, 3, 1, 1)),
            nn.LeakyReLU(0.2),
            nn.Conv2d(64, 1, 3, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


def structure(a: Tensor, b: Tensor) -> Tensor:
    """1 - SSIM over 7x7 windows (Wang et al. 2004), of pictures in -1..1."""

    def mean(x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, 7, 1)

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    cov = mean(a * b) - mean_a * mean_b
    c1, c2 = (2 * 0.01) ** 2, (2 * 0.03) ** 2
    ssim = (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return 1 - ssim.mean()


def _to_tensor(pictures: Image, device: torch.device) -> Tensor:
    x = torch.from_numpy(np.ascontiguousarray(pictures)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    return x.contiguous(memory_format=torch.channels_last)


def _to_pictures(x: Tensor) -> Image:
    scaled = ((x.float() + 1) * 127.5 + 0.5).clamp(0, 255).permute(0, 2, 3, 1)
    return np.asarray(scaled.to(torch.uint8).cpu().numpy(), np.uint8)


def _picture(entries: list[Entry], rng: Rng) -> tuple[Image, Points]:
    entry = entries[int(rng.integers(len(entries)))]
    count = entry.count if entry.split == "clip" else max(entry.count - STILL_VALIDATION, 1)
    index = int(rng.integers(count))
    return np.asarray(entry.images[index]), np.asarray(entry.meta("landmarks")[index], np.float32)


def _training_batch(corpus: Corpus, kind: str, count: int, rng: Rng) -> Image:
    """Real faces of training's people only: half stills, half frames of clips, mirrored half the time."""
    import cv2

    clips, stills = [e for e in corpus.clips if not e.held_out], list(corpus.stills)
    out = []
    for _ in range(count):
        use_still = bool(stills) and rng.random() < 0.5
        image, points = _picture(stills if use_still else clips, rng)
        if kind == ALIGNED:
            noise = rng.normal(0, 0.02, 2).astype(np.float32)
            matrix = align(points, _ALIGNED_PX, noise)
            size = (_ALIGNED_PX, _ALIGNED_PX)
            picture = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT_101)
        else:
            whole = cv2.resize(image, (REMADE_PX, REMADE_PX), interpolation=cv2.INTER_AREA)
            top, left = (int(v) for v in rng.integers(24, REMADE_PX - 24 - _PATCH_PX + 1, 2))
            picture = whole[top : top + _PATCH_PX, left : left + _PATCH_PX]
        out.append(picture[:, ::-1] if rng.random() < 0.5 else picture)
    return np.stack(out)


def train(corpus: Corpus, path: Path, kind: str, minutes: float, threads: int, seed: int) -> Autoencoder:
    """Train or go on training one kind until `minutes` are used; the state lies in `path`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    model = Autoencoder(kind).to(device=device, memory_format=torch.channels_last)
    critic = _Critic().to(device=device, memory_format=torch.channels_last) if kind == "conv8" else None
    optimiser = torch.optim.Adam(model.parameters(), 1e-3 if kind != ALIGNED else 5e-4, betas=(0.7, 0.99))
    against = torch.optim.Adam(critic.parameters(), 4e-4, betas=(0.5, 0.99)) if critic else None
    used_s, step = 0.0, 0
    if path.exists():
        stored = torch.load(path, map_location=device, weights_only=True)
        model.load_state_dict(stored["model"])
        optimiser.load_state_dict(stored["optimiser"])
        used_s, step = stored["used_s"], stored["step"]
        if critic and against:
            critic.load_state_dict(stored["critic"])
            against.load_state_dict(stored["against"])
    began = saved = time.monotonic()
    earlier = used_s
    half = torch.bfloat16 if device.type == "cuda" or has_bf16() else torch.float32
    rng = np.random.default_rng([seed, step])
    while used_s < minutes * 60:
        x = _to_tensor(_training_batch(corpus, kind, 16, rng), device)
        with torch.autocast(device.type, dtype=half, enabled=half is torch.bfloat16):
            y = model(x)
        y = y.float()
        loss = (y - x).abs().mean() + 0.5 * structure(y, x)
        fooled = used_s > minutes * 60 * 0.4
        if critic and against and fooled:
            with torch.autocast(device.type, dtype=half, enabled=half is torch.bfloat16):
                judged = critic(y).float()
            loss = loss + 0.02 * nn.functional.softplus(-judged).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if critic and against and fooled:
            with torch.autocast(device.type, dtype=half, enabled=half is torch.bfloat16):
                real, made = critic(x).float(), critic(y.detach()).float()
            doubt = nn.functional.softplus(-real).mean() + nn.functional.softplus(made).mean()
            against.zero_grad(set_to_none=True)
            doubt.backward()
            against.step()
        step += 1
        used_s = earlier + time.monotonic() - began
        if step % 100 == 0:
            rate = 16 * 100 / max(time.monotonic() - began, 1e-3) if step == 100 else 16 * step / max(used_s, 1e-3)
            print(f"{kind} step {step} {used_s / 60:.1f} min {rate:.0f} img/s loss {loss.item():.4f}", flush=True)
        if time.monotonic() - saved > _SAVE_EVERY_S or used_s >= minutes * 60:
            saved = time.monotonic()
            state: dict[str, object] = {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "used_s": used_s,
                "step": step,
            }
            if critic and against:
                state |= {"critic": critic.state_dict(), "against": against.state_dict()}
            with replaced(path) as handle:
                torch.save(state, handle)
    return model.eval()


def _made(model: Autoencoder, pictures: Image) -> Image:
    device = next(model.parameters()).device
    parts = (pictures[i : i + 16] for i in range(0, len(pictures), 16))
    return np.concatenate([_to_pictures(model(_to_tensor(p, device))) for p in parts])


@torch.inference_mode()
def remake(model: Autoencoder, kind: str, block: Block) -> Image:
    """The block's pictures made again, uint8 (n, 192, 192, 3)."""
    import cv2

    pictures = block.pictures()
    if kind != ALIGNED:
        return _made(model, pictures)
    points = np.asarray(block.entry.meta("landmarks")[block.start : block.start + block.count], np.float32)
    points = points * np.float32(REMADE_PX / block.entry.images.shape[1])
    zero = np.zeros(2, np.float32)
    matrices = [align(p, _ALIGNED_PX, zero) for p in points]
    size = (_ALIGNED_PX, _ALIGNED_PX)
    faces = np.stack(
        [
            cv2.warpAffine(p, m, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
            for p, m in zip(pictures, matrices, strict=True)
        ]
    )
    made = _made(model, faces)
    out = []
    for picture, face, matrix in zip(pictures, made, matrices, strict=True):
        pasted = picture.copy()
        whole = (picture.shape[1], picture.shape[0])
        cv2.warpAffine(
            face,
            matrix,
            whole,
            dst=pasted,
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_TRANSPARENT,
        )
        out.append(pasted)
    return np.stack(out)


def _wanted(corpus: Corpus) -> Iterator[Block]:
    return blocks(corpus, every_still=2, clip_frames=32, stretches=2)


def main() -> int:
    """Command line of the generators."""
    parser = argparse.ArgumentParser(prog="python -m engines.training.generator", description="Train a generator.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if not (arguments.corpus / "index.json").exists():
        print(f"{arguments.corpus}: no corpus there; make one with python -m monitor.corpus", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    corpus = Corpus.load(arguments.corpus)
    path = arguments.out / f"{arguments.kind}.pt"
    model = train(corpus, path, arguments.kind, arguments.minutes, arguments.threads, arguments.seed)
    made = 0
    for block in _wanted(corpus):
        target = block.path(arguments.corpus, arguments.kind)
        if not target.exists():
            write_block(target, remake(model, arguments.kind, block))
            made += block.count
    print(f"{arguments.kind}: {made} pictures made again", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
