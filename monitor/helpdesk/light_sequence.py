"""The colours of the light probe: drawn from a seed, slow and soft, alike in luminance, and safe by a check in code.

    seed -> steps of 0.8 to 1.3 s -> soft fades -> linear RGB at any time; what would flash cannot be made

All colours have nearly the same relative luminance, so that hue changes and brightness hardly does. WCAG 2.2 allows
three general or red flashes in any one second; a sequence here has none of either, and fewer than 3 changes a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from monitor.helpdesk.motion import turns
from monitor.helpdesk.seeded import Seeded

Floats = npt.NDArray[np.float64]

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Relative luminance of linear sRGB (WCAG 2.2; IEC 61966-2-1)."""
PALETTE = np.array(
    [
        (0.78, 0.24, 0.24), (0.16, 0.43, 0.16), (0.20, 0.32, 1.00),
        (0.52, 0.35, 0.05), (0.06, 0.40, 0.70), (0.70, 0.20, 0.85),
    ]
)  # fmt: skip
"""Linear RGB 0..1, relative luminance 0.34 to 0.36: red, green, blue, yellow, cyan, magenta, none of them pure."""
SHORTEST_MS, LONGEST_MS = 800.0, 1300.0
FADE_MS = 400.0
DURATION_MS = 20_000.0
MIN_DURATION_MS, MAX_DURATION_MS = 8_000.0, 60_000.0

FLASH_STEP = 0.10
"""A change of relative luminance by so much, and back, is a general flash where the darker side is below the next."""
FLASH_DARKER_BELOW = 0.80
SATURATED_RED = 0.80
"""R / (R + G + B) of a saturated red."""
MAX_FLASHES_PER_S = 3.0
MAX_CHANGES_PER_S = 3.0


@dataclass(frozen=True, slots=True)
class FlashCheck:
    """The most flashes and changes in any one second, and the largest change of relative luminance."""

    general_per_s: float
    red_per_s: float
    changes_per_s: float
    luminance_range: float

    @property
    def within_wcag(self) -> bool:
        """Success criterion 2.3.1 of WCAG 2.2, without its exception for small areas."""
        return max(self.general_per_s, self.red_per_s) <= MAX_FLASHES_PER_S

    @property
    def safe(self) -> bool:
        """Stricter: no flash at all, changes below 3 a second."""
        return self.general_per_s == 0 and self.red_per_s == 0 and self.changes_per_s < MAX_CHANGES_PER_S


@dataclass(frozen=True, slots=True, eq=False)
class LightSequence:
    """What the screen shows. Raises ValueError for anything that is not safe."""

    seed: str
    starts_ms: Floats
    """(S,) when each colour begins to fade in; the first is 0."""
    colours: Floats
    """(S, 3) linear RGB 0..1."""
    duration_ms: float
    fade_ms: float = FADE_MS

    def __post_init__(self) -> None:
        if self.colours.shape != (len(self.starts_ms), 3) or not len(self.starts_ms) or self.starts_ms[0] != 0:
            raise ValueError(f"LightSequence: expected a colour a start, from 0 on, got {self.colours.shape}")
        if self.colours.min() < 0 or self.colours.max() > 1 or not np.all(np.diff(self.starts_ms) > 0):
            raise ValueError("LightSequence: expected colours of 0..1 and rising starts")
        found = flash_check(self)
        if not found.safe:
            raise ValueError(f"LightSequence: not safe to show: {found}")

    def linear_at(self, at_ms: Floats) -> Floats:
        """(N, 3) linear RGB at these times; the first colour before 0 and the last one after the end."""
        index = np.clip(np.searchsorted(self.starts_ms, at_ms, side="right") - 1, 0, None)
        share = np.clip((at_ms - self.starts_ms[index]) / self.fade_ms, 0.0, 1.0)
        soft = ((1.0 - np.cos(np.pi * share)) / 2.0)[:, None]
        before = self.colours[np.maximum(index - 1, 0)]
        return before + (self.colours[index] - before) * soft

    def css(self) -> tuple[tuple[float, str], ...]:
        """(start in ms, '#rrggbb') for the page; it fades over `fade_ms`."""
        codes = np.round(255.0 * encoded(self.colours)).astype(int)
        return tuple(
            (float(at), f"#{r:02x}{g:02x}{b:02x}") for at, (r, g, b) in zip(self.starts_ms, codes, strict=True)
        )


def make_sequence(seed: str, duration_ms: float = DURATION_MS) -> LightSequence:
    """The sequence of a seed. No colour follows itself. Raises ValueError for a length outside 8 to 60 s."""
    if not MIN_DURATION_MS <= duration_ms <= MAX_DURATION_MS:
        raise ValueError(f"make_sequence: expected {MIN_DURATION_MS:g} to {MAX_DURATION_MS:g} ms, got {duration_ms}")
    chance = Seeded(seed, "light")
    starts, colours = [0.0], [chance.below(len(PALETTE))]
    while starts[-1] + LONGEST_MS < duration_ms:
        starts.append(starts[-1] + chance.between(SHORTEST_MS, LONGEST_MS))
        others = [one for one in range(len(PALETTE)) if one != colours[-1]]
        colours.append(chance.one_of(others))
    return LightSequence(seed, np.array(starts), PALETTE[colours], duration_ms)


def encoded(linear: Floats) -> Floats:
    """Linear light 0..1 as sRGB 0..1 (IEC 61966-2-1)."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.power(linear, 1 / 2.4) - 0.055)


def linearised(code: npt.NDArray[np.floating]) -> Floats:
    """sRGB 0..1 as linear light 0..1 (IEC 61966-2-1)."""
    value = np.asarray(code, np.float64)
    return np.where(value <= 0.04045, value / 12.92, np.power((value + 0.055) / 1.055, 2.4))


def flash_check(sequence: LightSequence) -> FlashCheck:
    """Counts WCAG's flashes in what the screen shows, sampled at 50 Hz."""
    at_ms = np.arange(0.0, sequence.duration_ms, 20.0)
    light = sequence.linear_at(at_ms)
    luminance = light @ LUMINANCE
    points = turns(luminance, FLASH_STEP)
    dark = [(a, b) for a, b in pairwise(points) if min(luminance[a], luminance[b]) < FLASH_DARKER_BELOW]
    red = light[:, 0] / np.maximum(light.sum(axis=1), 1e-9) >= SATURATED_RED
    into_red = np.flatnonzero(np.diff(red.astype(np.int8)) != 0)
    return FlashCheck(
        general_per_s=_most_in_a_second(at_ms[[b for _, b in dark]]) / 2,
        red_per_s=_most_in_a_second(at_ms[into_red]) / 2,
        changes_per_s=_most_in_a_second(sequence.starts_ms[1:]),
        luminance_range=float(np.ptp(luminance)),
    )


def _most_in_a_second(times_ms: Floats) -> float:
    if not len(times_ms):
        return 0.0
    return float(max(int(((times_ms >= at) & (times_ms < at + 1000.0)).sum()) for at in times_ms))
