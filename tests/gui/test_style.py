"""Colours are checked as numbers: contrast after WCAG 2.2, and told apart by people who are colour-blind."""

from __future__ import annotations

from dataclasses import fields
from itertools import combinations

import numpy as np
import pytest

from gui.style import DARK, LIGHT, Mood, Palette, sheet

PALETTES = pytest.mark.parametrize("palette", [DARK, LIGHT], ids=["dark", "light"])

# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency" (2009),
# severity 1.0, on linear RGB.
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "none": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
}


def linear(colour: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of linear RGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089]
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@PALETTES
def test_text_is_readable_on_every_ground(palette: Palette):
    for ground in (palette.panel, palette.raised, palette.alarm_panel):
        for text in (palette.text, palette.muted):
            assert contrast(text, ground) >= 4.5, (text, ground)
    assert contrast(palette.suspect, palette.alarm_panel) >= 4.5


@PALETTES
def test_marks_and_focus_rings_stand_out(palette: Palette):
    for mood in Mood:
        assert contrast(palette.mark(mood), palette.panel) >= 3.0, mood
        assert contrast(palette.mark(mood), palette.raised) >= 3.0, mood
    for filled in (palette.no_sign, palette.uncertain, palette.suspect):
        assert contrast(palette.on_mark, filled) >= 3.0, filled
    assert contrast(palette.accent, palette.panel) >= 3.0


@PALETTES
@pytest.mark.parametrize("blindness", BLINDNESS)
def test_the_states_have_colours_that_everybody_can_tell_apart(palette: Palette, blindness: str):
    seen = {
        mood: lab(np.array(BLINDNESS[blindness]) @ linear(palette.mark(mood)))
        for mood in (Mood.NO_SIGN, Mood.UNCERTAIN, Mood.SUSPECT, Mood.CANNOT_TELL)
    }
    for one, other in combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) >= 15.0, (one, other)


@PALETTES
def test_red_means_suspect_and_nothing_else(palette: Palette):
    def reddish(colour: str) -> bool:
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        return red > 90 and red > 1.6 * green and red > 1.6 * blue

    red = {field.name for field in fields(Palette) if reddish(getattr(palette, field.name))}
    assert red == {"suspect"}
    assert [mood for mood in Mood if palette.mark(mood) == palette.suspect] == [Mood.SUSPECT]


def test_sizes_follow_the_font():
    assert "font-size: 18px" in sheet(DARK, 13.0)
    assert "font-size: 36px" in sheet(DARK, 26.0)
