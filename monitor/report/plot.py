"""One person's suspicion over time, drawn as SVG: the score, alerts, and below them what could be judged and what not.

Plain attributes only, no style sheet and no pattern, so that every browser and Qt draw it alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from monitor.report.document import PlotPoint, ReportAlert, ReportPerson
from monitor.report.elements import Element, add, make
from monitor.wording import percent

WIDTH, HEIGHT = 760.0, 196.0
LEFT, RIGHT, TOP, PLOT = 46.0, 10.0, 20.0, 112.0
BAND_TOP, BAND = TOP + PLOT + 8.0, 10.0
MAX_POINTS = 1500
INK, MUTED, LINE = "#1f2733", "#5b6675", "#d5dae1"
SCORE, SPREAD, ALERT, ALERT_GROUND = "#0a5f94", "#a9cfe6", "#b3122c", "#f7d7dc"
JUDGED, BLANK = "#3f6f5b", "#eceef1"
FONT = "system-ui, 'DejaVu Sans', Arial, sans-serif"
Scale = Callable[[float], float]
"""Seconds to units of the drawing."""
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


def plot(person: ReportPerson, alerts: Sequence[ReportAlert], duration_s: float, low: float | None) -> Element:
    """The drawing, `WIDTH` x `HEIGHT` units. `low`: suspicion from which a person is 'uncertain'."""
    end_s = max(duration_s, person.end_s, 1.0)
    scale = (WIDTH - LEFT - RIGHT) / end_s

    def x(at_s: float) -> float:
        return LEFT + min(max(at_s, 0.0), end_s) * scale

    about = describe(person, alerts)
    svg = make(
        "svg",
        make("title", about),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        width=WIDTH,
        height=HEIGHT,
        role="img",
        aria_label=about,
        font_family=FONT,
        font_size=11,
    )
    for alert in alerts:
        left, right = x(alert.start_s), x(end_s if alert.end_s is None else alert.end_s)
        add(svg, _box(left, TOP, max(right, left + 2), TOP + PLOT, ALERT_GROUND))
        add(svg, _line(left, TOP, left, TOP + PLOT, ALERT, 1.5))
        at = min(left + 3, WIDTH - RIGHT - 28)
        add(svg, _text(at, TOP - 6, alert.level.lower(), "start", ALERT, weight="bold"))
    for stretch in person.not_judged:
        add(svg, _box(x(stretch.start_s), TOP, x(stretch.end_s), TOP + PLOT, BLANK))
    _grid(svg, x, end_s, low)
    for run in _runs(_thinned(person.points), max(person.step_s * 2.5, end_s / 300)):
        _curve(svg, run, x)
    _band(svg, person, x)
    return svg


def describe(person: ReportPerson, alerts: Sequence[ReportAlert]) -> str:
    """The drawing in a sentence, for those who cannot see it."""
    said = "could not be judged" if person.score is None else f"suspicion up to {percent(person.score)}"
    count = f"{len(alerts) or 'no'} alert{'s'[: len(alerts) != 1]}"
    return (
        f"Person {person.track_id} from {clock(person.start_s)} to {clock(person.end_s)}: {said}, {count}, "
        f"{percent(person.coverage)} of the time judged."
    )


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any: '4:05', '1:00:30'."""
    minutes, rest = divmod(math.floor(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _y(share: float) -> float:
    return TOP + PLOT * (1.0 - share)


def _grid(svg: Element, x: Scale, end_s: float, low: float | None) -> None:
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        add(svg, _line(LEFT, _y(share), WIDTH - RIGHT, _y(share), LINE, 0.8))
        add(svg, _text(LEFT - 6, _y(share) + 4, f"{100 * share:.0f} %", "end", MUTED))
    if low is not None:
        dashed = _line(LEFT, _y(low), WIDTH - RIGHT, _y(low), MUTED, 1)
        dashed.set("stroke-dasharray", "4 4")
        add(svg, dashed)
        add(svg, _text(WIDTH - RIGHT - 2, _y(low) - 4, f"uncertain from {percent(low)}", "end", MUTED))
    step_s = next((one for one in STEPS_S if end_s / one <= 10), STEPS_S[-1])
    for tick in range(math.floor(end_s / step_s) + 1):
        at_s = float(tick * step_s)
        add(svg, _line(x(at_s), BAND_TOP + BAND, x(at_s), BAND_TOP + BAND + 4, MUTED, 1))
        add(svg, _text(x(at_s), BAND_TOP + BAND + 16, clock(at_s), "middle" if x(at_s) < WIDTH - 24 else "end", MUTED))


def _curve(svg: Element, run: Sequence[PlotPoint], x: Scale) -> None:
    if len(run) == 1:
        add(svg, make("circle", cx=x(run[0].at_s), cy=_y(run[0].score), r=2.2, fill=SCORE))
        return
    mean = " ".join(f"{x(p.at_s):.1f},{_y(p.score):.1f}" for p in run)
    if any(p.peak > p.score + 0.005 for p in run):
        peaks = " ".join(f"{x(p.at_s):.1f},{_y(p.peak):.1f}" for p in reversed(run))
        add(svg, make("polygon", points=f"{mean} {peaks}", fill=SPREAD))
    add(svg, make("polyline", points=mean, fill="none", stroke=SCORE, stroke_width=1.8, stroke_linejoin="round"))


def _band(svg: Element, person: ReportPerson, x: Scale) -> None:
    """When the person was there: dark where judged, light with an edge where not."""
    add(svg, _box(x(person.start_s), BAND_TOP, x(person.end_s), BAND_TOP + BAND, JUDGED))
    for stretch in person.not_judged:
        box = _box(x(stretch.start_s), BAND_TOP, x(stretch.end_s), BAND_TOP + BAND, "#ffffff")
        box.set("stroke", MUTED)
        box.set("stroke-width", "0.8")
        add(svg, box)
    y = HEIGHT - 8
    add(svg, make("line", x1=LEFT, y1=y - 4, x2=LEFT + 16, y2=y - 4, stroke=SCORE, stroke_width=1.8))
    add(svg, _text(LEFT + 21, y, "suspicion", "start", MUTED))
    add(svg, _box(LEFT + 92, y - 9, LEFT + 108, y, JUDGED), _text(LEFT + 113, y, "could be judged", "start", MUTED))
    empty = _box(LEFT + 218, y - 9, LEFT + 234, y, "#ffffff")
    empty.set("stroke", MUTED)
    add(svg, empty, _text(LEFT + 239, y, "could not be judged", "start", MUTED))
    add(svg, _box(LEFT + 366, y - 9, LEFT + 382, y, ALERT_GROUND), _text(LEFT + 387, y, "alert", "start", MUTED))


def _thinned(points: Sequence[PlotPoint]) -> list[PlotPoint]:
    """At most MAX_POINTS: the mean of neighbours, and the highest of their peaks."""
    size = math.ceil(len(points) / MAX_POINTS) or 1
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [PlotPoint(g[-1].at_s, sum(p.score for p in g) / len(g), max(p.peak for p in g)) for g in groups]


def _runs(points: Sequence[PlotPoint], gap_s: float) -> list[list[PlotPoint]]:
    """Points without a gap between them."""
    runs: list[list[PlotPoint]] = []
    for point in points:
        if runs and point.at_s - runs[-1][-1].at_s <= gap_s:
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs


def _box(x0: float, y0: float, x1: float, y1: float, fill: str) -> Element:
    return make("rect", x=x0, y=y0, width=max(x1 - x0, 0.5), height=y1 - y0, fill=fill)


def _line(x0: float, y0: float, x1: float, y1: float, stroke: str, width: float) -> Element:
    return make("line", x1=x0, y1=y0, x2=x1, y2=y1, stroke=stroke, stroke_width=width)


def _text(x: float, y: float, said: str, anchor: str, fill: str, weight: str = "normal") -> Element:
    return make("text", said, x=x, y=y, text_anchor=anchor, fill=fill, font_weight=weight)
