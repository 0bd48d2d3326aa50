"""Colour changes of a forged layer: hue, saturation, gain and gamma; and matching one picture to another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engines.forge.masks import Image, Rng


@dataclass(frozen=True, slots=True)
class Colour:
    """One change of colour: hue in degrees, the rest as factors; `shift` is added per RGB channel."""

    hue_deg: float
    saturation: float
    gain: float
    gamma: float
    shift: tuple[float, float, float]


def draw_colour(rng: Rng, size: float = 1.0) -> Colour:
    """A small random change; `size` 1 is up to 5 degrees of hue, 10 % of saturation and 8 % of gain."""
    red, green, blue = (float(v) for v in rng.uniform(-8, 8, 3) * size)
    return Colour(
        hue_deg=float(rng.uniform(-5, 5) * size),
        saturation=1 + float(rng.uniform(-0.1, 0.1) * size),
        gain=1 + float(rng.uniform(-0.08, 0.08) * size),
        gamma=1 + float(rng.uniform(-0.1, 0.1) * size),
        shift=(red, green, blue),
    )


def change_colour(image: Image, colour: Colour) -> Image:
    """Apply `colour` to uint8 RGB (H, W, 3). Hue and saturation as one 3x3 matrix about the grey axis."""
    import cv2

    angle = np.deg2rad(colour.hue_deg)
    cos, sin, third = float(np.cos(angle)), float(np.sin(angle)), 1 / 3
    root = float(np.sqrt(third))
    turn = cos * np.eye(3) + (1 - cos) * third * np.ones((3, 3))
    turn += sin * root * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    grey = np.tile(np.array([0.299, 0.587, 0.114]), (3, 1))
    mix = (colour.saturation * np.eye(3) + (1 - colour.saturation) * grey) @ turn * colour.gain
    affine = np.concatenate([mix, np.array(colour.shift)[:, None]], axis=1)
    changed = cv2.transform(image, affine)
    table = np.clip(255 * (np.arange(256) / 255.0) ** colour.gamma + 0.5, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(changed, table), np.uint8)


def match_colour(image: Image, target: Image) -> Image:
    """Move mean and spread of the middle of `image` to those of `target`, in LAB (Reinhard et al. 2001)."""
    import cv2

    a = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    b = cv2.cvtColor(target, cv2.COLOR_RGB2LAB).astype(np.float32)
    height, width = image.shape[:2]
    middle = (slice(height // 4, 3 * height // 4), slice(width // 4, 3 * width // 4))
    mean_a, std_a = a[middle].mean((0, 1)), a[middle].std((0, 1)) + 1e-3
    mean_b, std_b = b[middle].mean((0, 1)), b[middle].std((0, 1)) + 1e-3
    moved = (a - mean_a) * np.clip(std_b / std_a, 0.5, 2.0) + mean_b
    return np.asarray(cv2.cvtColor(np.clip(moved, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB), np.uint8)
