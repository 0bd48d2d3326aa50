"""Is unmask's own window inside the picture that it watches? A patch of random colours is shown, and looked for.

The patch is a grid of cells in the eight corners of the colour cube. It is found at any place and at any size between
a third of and three times the size at which it is shown: a screen may be scaled, mirrored in a viewer, or filmed.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import numpy as np

from monitor.types import UInt8Array

CELLS = 6
SCALES = tuple(0.3 * 1.1**step for step in range(26))
"""Of the picture against the shown patch: 0.3 to 3.2."""
SEARCH_CELL_PX = 4
LIKENESS = 0.55
"""Least correlation of the grey patch at a place that is looked at closely."""
CANDIDATES = 3
"""Places of one scale that are looked at closely."""
MEASURED_PX = 96
"""Size at which the patch is measured, at most."""
MATCHING_CELLS = 30
"""Of 36, whose centre has the shown colour."""
COLOUR_TOLERANCE = 100
"""In each channel, of the 255 between two colours: a filmed or compressed patch is not exact."""


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A random pattern: `colours` is uint8 (CELLS, CELLS, 3) RGB, shown `cell_px` a cell."""

    colours: UInt8Array
    cell_px: int

    @classmethod
    def random(cls, cell_px: int = 16) -> Patch:
        """A pattern that nobody can have foreseen."""
        bits = np.frombuffer(secrets.token_bytes(CELLS * CELLS * 3), np.uint8) % 2
        return cls((bits * 255).astype(np.uint8).reshape(CELLS, CELLS, 3), cell_px)

    @property
    def side_px(self) -> int:
        return self.cell_px * CELLS

    def image(self) -> UInt8Array:
        """uint8 (side, side, 3) as it is shown."""
        return np.asarray(self.colours.repeat(self.cell_px, 0).repeat(self.cell_px, 1), np.uint8)


@dataclass(frozen=True, slots=True)
class Found:
    """Where the patch lies in a picture: its left upper corner and its side, in pixels of the picture."""

    x: float
    y: float
    side: float


def find_patch(image: UInt8Array, patch: Patch) -> Found | None:
    """Look for the patch in uint8 (H, W, 3) RGB. Takes some tenths of a second for a picture of 1080p."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.cvtColor(patch.colours, cv2.COLOR_RGB2GRAY)
    template = np.asarray(small).repeat(SEARCH_CELL_PX, 0).repeat(SEARCH_CELL_PX, 1)
    if np.ptp(template) == 0:
        return None
    best_likeness, best_found = 0.0, None
    for scale in SCALES:
        shrink = SEARCH_CELL_PX / (patch.cell_px * scale)
        width, height = round(image.shape[1] * shrink), round(image.shape[0] * shrink)
        if min(width, height) < template.shape[0] or shrink > 2.0:
            continue
        resized = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA if shrink < 1 else cv2.INTER_LINEAR)
        likeness = cv2.matchTemplate(resized, template, cv2.TM_CCOEFF_NORMED)
        for _ in range(CANDIDATES):
            _, best, _, (x, y) = cv2.minMaxLoc(likeness)
            if best < max(LIKENESS, best_likeness):
                break
            found = _look_closely(image, patch, x / shrink, y / shrink, patch.side_px * scale)
            if found is not None:
                best_likeness, best_found = best, found
                break
            likeness[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5] = -1.0
    return None if best_found is None else _measure(image, patch, best_found)


def _measure(image: UInt8Array, patch: Patch, found: Found) -> Found:
    """The place and size to about a hundredth: the patch is fitted at many sizes into what lies round `found`."""
    import cv2

    x0, y0 = max(0, int(found.x - 0.25 * found.side)), max(0, int(found.y - 0.25 * found.side))
    x1, y1 = int(found.x + 1.25 * found.side) + 1, int(found.y + 1.25 * found.side) + 1
    around = image[y0:y1, x0:x1]
    shrink = min(1.0, MEASURED_PX / found.side)
    small = cv2.resize(around, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    whole, best, measured = patch.image(), -1.0, found
    for factor in np.linspace(0.88, 1.12, 33):
        side = round(found.side * shrink * factor)
        if not CELLS <= side <= min(small.shape[:2]):
            continue
        likeness = cv2.matchTemplate(small, cv2.resize(whole, (side, side)), cv2.TM_CCOEFF_NORMED)
        _, value, _, (x, y) = cv2.minMaxLoc(likeness)
        if value > best:
            best, measured = value, Found(x0 + x / shrink, y0 + y / shrink, side / shrink)
    return measured


def _look_closely(image: UInt8Array, patch: Patch, x: float, y: float, side: float) -> Found | None:
    """The place near (x, y) where most cells have their colours, None where too few have."""
    height, width = image.shape[:2]
    cell = side / CELLS
    centres = np.arange(CELLS) + 0.5
    best, place = 0, None
    for factor in (1.0, 0.95, 1.05):
        for shift_x in (0.0, -0.4, 0.4):
            for shift_y in (0.0, -0.4, 0.4):
                x0, y0 = x + shift_x * cell, y + shift_y * cell
                columns = (x0 + centres * cell * factor).astype(int)
                rows = (y0 + centres * cell * factor).astype(int)
                if min(columns[0], rows[0]) < 0 or columns[-1] >= width or rows[-1] >= height:
                    continue
                seen = image[np.ix_(rows, columns)].astype(np.int16)
                fits = int((np.abs(seen - patch.colours).max(axis=2) <= COLOUR_TOLERANCE).sum())
                if fits > best:
                    best, place = fits, Found(x0, y0, side * factor)
    return place if best >= MATCHING_CELLS else None
