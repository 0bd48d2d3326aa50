"""Colours and sizes of the overlay, for dark and for light desktops. No Qt: the colours can be checked as numbers.

Colours follow one rule: red means SUSPECT and nothing else, and no meaning rests on colour alone. The hues
(blue, amber, red) stay apart for the common kinds of colour blindness, after M. Okabe and K. Ito, "Color
Universal Design" (2008), with lightness chosen for contrast on either background (WCAG 2.2: 4.5 for text, 3 for
marks). Sizes are in em, the pixel size of the desktop's font, so that a larger font enlarges everything.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Mood(enum.Enum):
    """What is shown of a person or of the whole: the five states of a verdict, and the life around them."""

    STARTING = "starting"
    WARMING_UP = "warming-up"
    CANNOT_TELL = "cannot-tell"
    NO_SIGN = "no-sign"
    UNCERTAIN = "uncertain"
    SUSPECT = "suspect"
    PAUSED = "paused"
    RECONNECTING = "reconnecting"
    ENDED = "ended"
    FAILED = "failed"

    @property
    def judged(self) -> bool:
        """True where there is a fresh reading behind it."""
        return self in (Mood.NO_SIGN, Mood.UNCERTAIN, Mood.SUSPECT)


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours as '#rrggbb'."""

    panel: str
    raised: str
    line: str
    text: str
    muted: str
    accent: str
    """Focus rings."""
    no_sign: str
    uncertain: str
    suspect: str
    alarm_panel: str
    """Behind the headline and the cards of an open alert."""
    on_mark: str
    """Symbols inside filled marks."""

    def mark(self, mood: Mood) -> str:
        """The colour of a state's mark and of its stretch of the timeline."""
        return {Mood.NO_SIGN: self.no_sign, Mood.UNCERTAIN: self.uncertain, Mood.SUSPECT: self.suspect}.get(
            mood, self.muted
        )


DARK = Palette(
    panel="#15181d",
    raised="#1f242b",
    line="#2f363f",
    text="#eef1f5",
    muted="#a7b0bc",
    accent="#8ab8ff",
    no_sign="#56a8e8",
    uncertain="#f2c14e",
    suspect="#ff5a4f",
    alarm_panel="#38191b",
    on_mark="#101317",
)

LIGHT = Palette(
    panel="#fcfcfd",
    raised="#f1f3f6",
    line="#dbe0e6",
    text="#171b20",
    muted="#55606c",
    accent="#1a5fd0",
    no_sign="#1f78c1",
    uncertain="#b87800",
    suspect="#b3101a",
    alarm_panel="#fdeceb",
    on_mark="#ffffff",
)

WIDTH_EM = 29.0
RADIUS_EM = 0.9
PAD_EM = 1.0
GAP_EM = 0.6
INSET_EM = 0.5
"""How far the people's rows, which can have a focus ring, reach out to either side of the rest."""


def sheet(palette: Palette, em: float) -> str:
    """The Qt style sheet of the window for a font of `em` pixels."""

    def px(size_em: float) -> str:
        return f"{max(1, round(size_em * em))}px"

    return f"""
    QLabel {{ color: {palette.text}; background: transparent; }}
    QLabel#brand {{ font-size: {px(0.92)}; font-weight: 600; }}
    QLabel#source, QLabel#muted {{ color: {palette.muted}; font-size: {px(0.88)}; }}
    QLabel#headline {{ font-size: {px(1.38)}; font-weight: 600; }}
    QLabel#sub {{ color: {palette.muted}; font-size: {px(0.95)}; }}
    QLabel#score {{ font-size: {px(2.05)}; font-weight: 400; }}
    QLabel#caption {{ color: {palette.muted}; font-size: {px(0.8)}; }}
    QLabel#notice {{
        color: {palette.text}; background: {palette.raised}; font-size: {px(0.88)};
        border: 1px solid {palette.line}; border-radius: {px(0.5)}; padding: {px(0.35)} {px(0.6)};
    }}
    QLabel#section {{ color: {palette.muted}; font-size: {px(0.82)}; font-weight: 600; }}
    QLabel#name {{ font-size: {px(1.0)}; font-weight: 600; }}
    QLabel#state {{ font-size: {px(0.92)}; }}
    QLabel#detail {{ color: {palette.muted}; font-size: {px(0.88)}; }}
    QLabel#rowscore {{ font-size: {px(1.08)}; }}
    QScrollArea, QScrollArea > QWidget > QWidget#content {{ background: transparent; border: none; }}
    QScrollBar:vertical {{ background: transparent; width: {px(0.55)}; margin: 0; }}
    QScrollBar::handle:vertical {{
        background: {palette.muted}; border-radius: {px(0.25)}; min-height: {px(1.6)};
    }}
    QScrollBar::add-line, QScrollBar::sub-line, QScrollBar::add-page, QScrollBar::sub-page {{
        background: transparent; height: 0;
    }}
    QToolTip {{
        color: {palette.text}; background: {palette.raised}; border: 1px solid {palette.line};
        padding: {px(0.25)};
    }}
    """
