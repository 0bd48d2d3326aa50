"""The picture that is judged, with the judgement drawn in: boxes, states, suspicion in words, and a where-map.

    Frame.image, Verdict... -> uint8 (H, W, 3) RGB

Numbers and arrays only, no window. Colours mean what they mean in the overlay (`gui/style.py`, dark): red is SUSPECT
and nothing else. No meaning rests on colour alone: judged faces have whole boxes, others only corners, SUSPECT a
double line, and each says its state in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engines.window_input import CROP_SCALE
from monitor.types import State, UInt8Array, Verdict, WhereMap
from monitor.wording import REASON_TEXT, STATE_TEXT, percent

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of the drawn picture."""

MAX_SIDE_PX = 960
PANEL: Colour = (0x15, 0x18, 0x1D)
TEXT: Colour = (0xEE, 0xF1, 0xF5)
MUTED: Colour = (0xA7, 0xB0, 0xBC)
STATE_COLOUR: dict[State, Colour] = {
    State.WARMING_UP: MUTED,
    State.CANNOT_TELL: MUTED,
    State.NO_SIGN: (0x56, 0xA8, 0xE8),
    State.UNCERTAIN: (0xF2, 0xC1, 0x4E),
    State.SUSPECT: (0xFF, 0x5A, 0x4F),
}
PANEL_ALPHA = 0.82
JUDGED = (State.NO_SIGN, State.UNCERTAIN, State.SUSPECT)
SIGNS = (State.UNCERTAIN, State.SUSPECT)
"""Only here is a where-map drawn: strong colour on a face without signs means nothing."""
CORNER_SHARE = 0.22
"""How much of a side a corner takes where nobody is judged."""
MAX_TEXT_CHARS = 120
MAX_PEOPLE = 32
NO_PICTURE = "no picture yet"
WEAK, STRONG, COVER = 0.15, 0.75, 0.55
"""The map is drawn from `WEAK` on, fully from `STRONG`, and covers at most `COVER` of the face (`gui/heat.py`)."""
RAMP = np.array([(38, 70, 140), (96, 110, 140), (190, 170, 100), (255, 234, 70)], np.float32)
LINE_SHARE, LINE_MIN = 0.5, 0.3


@dataclass(frozen=True, slots=True)
class DrawOptions:
    """How to draw. `where` also draws where a face with signs looks replaced."""

    max_side_px: int = MAX_SIDE_PX
    where: bool = False


def draw(
    image: UInt8Array | None, verdicts: Sequence[Verdict], caption: Sequence[str], options: DrawOptions | None = None
) -> UInt8Array:
    """A new picture with even sides, at most `max_side_px` long. `caption` is the lines along its lower edge.

    `image` is uint8 (H, W, 3) RGB, the frame that `verdicts` speak of; None draws an empty one that says so.
    """
    options = options or DrawOptions()
    if image is None:
        canvas = np.full((360, 640, 3), PANEL, np.uint8)
        _write(canvas, NO_PICTURE, 18, (24, 24), MUTED)
        scale = 1.0
    else:
        canvas, scale = _scaled(image, options.max_side_px)
    text_px = max(11, min(18, round(max(canvas.shape[:2]) / 64)))
    people = [one for one in verdicts if one.box_px is not None][:MAX_PEOPLE]
    if options.where:
        for verdict in people:
            if verdict.where is not None and verdict.state in SIGNS:
                _draw_where(canvas, verdict.where, _square(_box(verdict, scale)))
    for verdict in reversed(people):  # the most suspicious last, on top
        _draw_box(canvas, _box(verdict, scale), verdict.state)
        _draw_label(canvas, verdict, _box(verdict, scale), text_px)
    _draw_caption(canvas, caption, text_px)
    return canvas


def words(verdict: Verdict) -> tuple[str, str]:
    """Two lines for one person: who and which state, and how suspicious or why not."""
    who = f"Person {verdict.track_id} · {STATE_TEXT[verdict.state]}"
    if verdict.state is State.CANNOT_TELL:
        return who, REASON_TEXT[verdict.reasons[0]] if verdict.reasons else "no fresh reading"
    if verdict.suspicion is None:
        return who, "no score yet"
    return who, f"suspicion {percent(verdict.suspicion)}"


# ---------------------------------------------------------------------------------------- parts


def _scaled(image: UInt8Array, max_side_px: int) -> tuple[UInt8Array, float]:
    """A copy with even sides, no longer than allowed, and the scale of it."""
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, max_side_px / max(height, width))
    size = max(2, round(width * scale) // 2 * 2), max(2, round(height * scale) // 2 * 2)
    if size == (width, height):
        return image.copy(), 1.0
    return np.ascontiguousarray(
        cv2.resize(image, size, interpolation=cv2.INTER_LINEAR if scale > 0.5 else cv2.INTER_AREA), np.uint8
    ), scale


def _box(verdict: Verdict, scale: float) -> Box:
    assert verdict.box_px is not None
    x0, y0, x1, y1 = (int(round(min(max(value * scale, -1e5), 1e5))) for value in verdict.box_px)
    return x0, y0, max(x1, x0 + 2), max(y1, y0 + 2)


def _square(box: Box) -> Box:
    """The head crop that a where-map covers, about the face."""
    x0, y0, x1, y1 = box
    side = round(CROP_SCALE * max(x1 - x0, y1 - y0))
    left, top = (x0 + x1 - side) // 2, (y0 + y1 - side) // 2
    return left, top, left + side, top + side


def _fill(canvas: UInt8Array, box: Box, colour: Colour) -> None:
    x0, y0, x1, y1 = box
    canvas[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = colour


def _draw_box(canvas: UInt8Array, box: Box, state: State) -> None:
    x0, y0, x1, y1 = box
    thick = max(2, max(canvas.shape[:2]) // 320)
    share = 1.0 if state in JUDGED else CORNER_SHARE
    wide, high = max(thick, round((x1 - x0) * share)), max(thick, round((y1 - y0) * share))
    for dark in (True, False):
        grow, colour = (1, PANEL) if dark else (0, STATE_COLOUR[state])
        for left, right in ((x0, x0 + wide), (x1 - wide, x1)):
            for y in (y0, y1 - thick):
                _fill(canvas, (left - grow, y - grow, right + grow, y + thick + grow), colour)
        for top, bottom in ((y0, y0 + high), (y1 - high, y1)):
            for x in (x0, x1 - thick):
                _fill(canvas, (x - grow, top - grow, x + thick + grow, bottom + grow), colour)
    if state is State.SUSPECT:
        gap = 3 * thick
        inner = (x0 + gap, y0 + gap, x1 - gap, y1 - gap)
        if inner[2] - inner[0] > 2 * gap and inner[3] - inner[1] > 2 * gap:
            _outline(canvas, inner, thick // 2 or 1)


def _outline(canvas: UInt8Array, box: Box, thick: int) -> None:
    x0, y0, x1, y1 = box
    for part in (
        (x0, y0, x1, y0 + thick),
        (x0, y1 - thick, x1, y1),
        (x0, y0, x0 + thick, y1),
        (x1 - thick, y0, x1, y1),
    ):
        _fill(canvas, part, STATE_COLOUR[State.SUSPECT])


def _draw_label(canvas: UInt8Array, verdict: Verdict, box: Box, text_px: int) -> None:
    """Who and what: above the box or, where there is no room, below it or along its lower edge."""
    lines = words(verdict)
    line_px, pad = round(text_px * 1.35), text_px // 3
    wide = max(_mask(line, text_px).shape[1] for line in lines) + 2 * pad + text_px
    high = line_px * len(lines) + 2 * pad
    height, width = canvas.shape[:2]
    left = max(0, min(box[0], width - wide))
    above, below = box[1] - high - 3, box[3] + 3
    top = above if above >= 0 else max(0, min(below, height - high))
    _shade(canvas, (left, top, left + wide, top + high))
    mark = (left + pad, top + pad + line_px // 4, left + pad + text_px // 2, top + pad + line_px // 4 + text_px // 2)
    _fill(canvas, mark, STATE_COLOUR[verdict.state])
    for number, line in enumerate(lines):
        at = (left + pad + text_px, top + pad + number * line_px)
        _write(canvas, line, text_px, at, TEXT if number == 0 else MUTED)


def _draw_caption(canvas: UInt8Array, caption: Sequence[str], text_px: int) -> None:
    lines = [line for line in caption if line][:3]
    if not lines:
        return
    line_px, pad = round(text_px * 1.35), text_px // 3
    height, width = canvas.shape[:2]
    top = max(0, height - line_px * len(lines) - 2 * pad)
    _shade(canvas, (0, top, width, height))
    for number, line in enumerate(lines):
        _write(canvas, line, text_px, (2 * pad, top + pad + number * line_px), TEXT if number == 0 else MUTED)


def _shade(canvas: UInt8Array, box: Box) -> None:
    import cv2

    part = canvas[max(0, box[1]) : max(0, box[3]), max(0, box[0]) : max(0, box[2])]
    if part.size:
        part[:] = cv2.addWeighted(part, 1 - PANEL_ALPHA, np.full_like(part, PANEL), PANEL_ALPHA, 0)


def _draw_where(canvas: UInt8Array, where: WhereMap, square: Box) -> None:
    """Grey under the map, colour with its strength, a line round the strongest part."""
    import cv2

    height, width = canvas.shape[:2]
    x0, y0, x1, y1 = square
    left, top, right, bottom = max(0, x0), max(0, y0), min(width, x1), min(height, y1)
    if right - left < 2 or bottom - top < 2 or x1 - x0 > 4 * max(width, height):
        return
    fine = cv2.resize(np.round(where.grid * 255).astype(np.uint8), (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    level = fine[top - y0 : bottom - y0, left - x0 : right - x0]
    part = canvas[top:bottom, left:right]
    kept, added = _ramp()
    grey = cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_RGB2GRAY)[..., None]
    part[:] = np.where(level[..., None] > round(255 * WEAK), grey * kept[level] + added[level], part)
    peak = float(where.grid.max())
    if peak >= LINE_MIN:
        inside = (level >= LINE_SHARE * peak * 255).astype(np.uint8)
        edge = inside - cv2.erode(inside, np.ones((3, 3), np.uint8))
        part[cv2.dilate(edge, np.ones((3, 3), np.uint8)) > 0] = PANEL
        part[edge > 0] = 255


@lru_cache(maxsize=1)
def _ramp() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """For each level 0..255 of the map: float32 (256, 1) the share of grey that stays, (256, 3) the colour added."""
    shade = np.clip((np.arange(256) / 255 - WEAK) / (STRONG - WEAK), 0.0, 1.0)
    alpha = (COVER * np.sqrt(shade))[:, None]
    steps = np.linspace(0.0, 1.0, len(RAMP))
    colour = np.stack([np.interp(shade, steps, RAMP[:, channel]) for channel in range(3)], -1)
    return (1 - alpha).astype(np.float32), (colour * alpha).astype(np.float32)


def _write(canvas: UInt8Array, text: str, text_px: int, at: tuple[int, int], colour: Colour) -> None:
    """Write one line with its upper left corner at x, y; what does not fit is cut off."""
    x, y = at
    mask = _mask(text, text_px)
    part = canvas[y : y + mask.shape[0], x : x + mask.shape[1]]
    alpha = mask[: part.shape[0], : part.shape[1], None]
    part[:] = part * (1 - alpha) + np.array(colour, np.float32) * alpha


@lru_cache(maxsize=256)
def _mask(text: str, text_px: int) -> npt.NDArray[np.float32]:
    """float32 (h, w) 0..1: how much of each pixel one line of text covers."""
    from PIL import Image, ImageDraw

    text = "".join(one if one.isprintable() else " " for one in text)[:MAX_TEXT_CHARS]
    font = _font(text_px)
    wide = max(1, round(font.getlength(text)) + 2)
    picture = Image.new("L", (wide, round(text_px * 1.4)))
    ImageDraw.Draw(picture).text((0, 0), text, fill=255, font=font)
    mask = np.asarray(picture, np.float32) / np.float32(255)
    mask.setflags(write=False)
    return mask


@lru_cache(maxsize=8)
def _font(text_px: int) -> FreeTypeFont | ImageFont:
    """DejaVu Sans, which matplotlib (and so mediapipe) brings and which has most alphabets, or Pillow's own."""
    from PIL import ImageFont

    spec = find_spec("matplotlib")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), text_px)
    return ImageFont.load_default(text_px)
