"""A report as one HTML file: no script, no request to anywhere (a Content-Security-Policy says so), everything escaped.

The same body, with the drawings as pictures and a simpler style, is what `gui.report_pdf` prints.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from engines.card import ErrorRow
from monitor.errors import SettingsError
from monitor.report.document import MAX_PLOTS, MAX_ROWS, Report, ReportAlert, ReportPerson
from monitor.report.elements import Child, Element, add, make, to_html
from monitor.report.plot import HEIGHT, WIDTH, clock, plot
from monitor.report.words import (
    CAUTION,
    ERRORS_GROUND,
    LIMITS,
    NO_CARD,
    NO_ERRORS,
    PRODUCT,
    alarm_lines,
    headline,
    missed_counts,
)
from monitor.types import State
from monitor.wording import REASON_ADVICE, REASON_TEXT, STATE_MEANING, STATE_TEXT, percent

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", Arial, sans-serif; color: #1f2733; background: #ffffff;
  margin: 0 auto; max-width: 800px; padding: 28px 20px 48px; }
h1 { font-size: 25px; line-height: 1.25; margin: 2px 0 6px; }
h2 { font-size: 18px; margin: 34px 0 8px; padding-top: 12px; border-top: 1px solid #d5dae1; }
h3 { font-size: 15px; margin: 22px 0 2px; }
p { margin: 6px 0; }
.quiet { color: #5b6675; font-size: 13px; overflow-wrap: anywhere; }
.caution { background: #f3f5f8; border-left: 4px solid #5b6675; padding: 10px 14px; margin: 16px 0; }
.note { background: #fff5dd; border-left: 4px solid #9a6b00; padding: 10px 14px; margin: 16px 0; }
table { border-collapse: collapse; width: 100%; font-size: 13px; margin: 8px 0; }
th { text-align: left; font-weight: 600; color: #5b6675; border-bottom: 1px solid #aab3bf; padding: 4px 16px 4px 0; }
td { vertical-align: top; border-bottom: 1px solid #e4e8ed; padding: 5px 16px 5px 0; overflow-wrap: anywhere; }
.number { text-align: right; white-space: nowrap; }
.suspect { color: #b3122c; font-weight: 700; }
svg { max-width: 100%; height: auto; display: block; margin: 6px 0; }
figure { margin: 8px 0; break-inside: avoid; }
tr { break-inside: avoid; }
li { margin: 3px 0; }
@page { margin: 18mm 16mm; }
"""
PRINT_STYLE = """
body { color: #1f2733; }
h1 { font-size: 17pt; }
h2 { font-size: 12.5pt; margin-top: 16px; }
h3 { font-size: 10.5pt; margin-top: 10px; margin-bottom: 0px; }
th { text-align: left; color: #5b6675; }
.quiet { color: #5b6675; font-size: 8.5pt; }
.suspect { color: #b3122c; font-weight: bold; }
.caution { background-color: #f0f2f5; }
.note { background-color: #fff2d0; }
table { font-size: 8.5pt; }
"""

PRINT_WIDTH = 660.0
"""Of a drawing on an A4 page, in pixels of 1/96 inch."""

Drawing = Callable[[Element, str], Element]
"""A plot and its number -> what stands in the page for it."""


def page(report: Report) -> str:
    """The whole HTML file."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    style = Element("style")
    style.text = STYLE
    head = make(
        "head",
        make("meta", charset="utf-8"),
        _meta("Content-Security-Policy", policy),
        make("meta", name="referrer", content="no-referrer"),
        make("meta", name="viewport", content="width=device-width, initial-scale=1"),
        make("title", f"{PRODUCT}: {headline(report)}"),
        style,
    )
    content = make("body", make("main", *body(report, lambda svg, _name: make("figure", svg))))
    return "<!DOCTYPE html>\n" + to_html(make("html", head, content, lang="en")) + "\n"


def printable(report: Report) -> tuple[str, dict[str, Element]]:
    """The body for a printer that knows no SVG in text, and its drawings by the name of their picture."""
    drawings: dict[str, Element] = {}

    def picture(svg: Element, name: str) -> Element:
        drawings[name] = svg
        return make("p", make("img", src=name, width=PRINT_WIDTH, height=PRINT_WIDTH * HEIGHT / WIDTH))

    style = Element("style")
    style.text = PRINT_STYLE
    tree = make("html", make("head", style), make("body", *body(report, picture)))
    for table in tree.iter("table"):
        table.set("width", "100%")
        table.set("cellpadding", "4")
    return to_html(tree), drawings


def write_html(report: Report, path: Path) -> None:
    """Write the file, readable by its owner only, complete or not at all. Raises SettingsError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(page(report))
        os.replace(draft, path)
    except OSError as error:
        raise SettingsError(f"--html {path}: cannot be written ({error.strerror}); choose another place") from error
    finally:
        draft.unlink(missing_ok=True)


def body(report: Report, draw: Drawing) -> list[Element]:
    """All parts of the report, in order."""
    return [
        *_top(report),
        *_people(report, draw),
        *_alerts(report),
        *_cues(report),
        *_limits(report),
        *_errors(report),
        make("h2", "Privacy"),
        *(make("p", sentence) for sentence in report.privacy),
        make("h2", "How it was made"),
        _table(("", ""), [(name, value) for name, value in _details(report)]),
    ]


def _top(report: Report) -> list[Element]:
    when = f"{report.when}, " if report.when else ""
    return [
        make("p", f"{PRODUCT} · {report.kind}", class_="quiet"),
        make("h1", headline(report)),
        make("p", make("bdi", report.subject), f" · {when}{clock(report.duration_s)} long", class_="quiet"),
        make("p", STATE_MEANING[report.state]),
        *(_box(note, "note") for note in report.notes),
        _box(CAUTION, "caution"),
    ]


def _people(report: Report, draw: Drawing) -> list[Element]:
    if not report.people:
        return [make("h2", "People"), make("p", "No face was seen.")]
    rows = [
        (
            str(one.track_id),
            _state(one.state),
            "–" if one.score is None else percent(one.score),
            percent(one.coverage) if one.score is not None else "–",
            f"{clock(one.start_s)} to {clock(one.end_s)}",
            "; ".join(REASON_TEXT[reason] for reason in one.reasons[:3]) or "–",
        )
        for one in report.people
    ]
    header = ("Person", "State", "Score", "Judged", "Seen", "What could not be judged, and why")
    found: list[Element] = [
        make("h2", "People"),
        _table(header, rows, numbers=(2, 3)),
        make("p", f"Score: {report.score_meaning}. People are numbers: nobody is recognised.", class_="quiet"),
    ]
    for index, one in enumerate(report.people[:MAX_PLOTS]):
        found += _person(report, one, draw, f"plot-{index}")
    left = len(report.people) - MAX_PLOTS
    return found if left <= 0 else [*found, make("p", f"{left} more people have no plot here.", class_="quiet")]


def _person(report: Report, one: ReportPerson, draw: Drawing, name: str) -> list[Element]:
    alerts = [alert for alert in report.alerts if alert.track_id == one.track_id]
    found = [make("h3", f"Person {one.track_id}: ", _state(one.state))]
    if one.points or alerts:
        found.append(draw(plot(one, alerts, report.duration_s, report.low), name))
    if one.reasons:
        part = "Not judged in part" if one.points else "Never judged"
        why = f"{part}: {'; '.join(REASON_TEXT[reason] for reason in one.reasons[:3])}."
        found.append(make("p", f"{why} {REASON_ADVICE[one.reasons[0]]}", class_="quiet"))
    return found


def _alerts(report: Report) -> list[Element]:
    if not report.alerts:
        return [make("h2", "Alerts"), make("p", "There was no alert.")]
    rows = [(str(a.track_id), a.level, _span(a), a.text) for a in report.alerts[:MAX_ROWS]]
    return [
        make("h2", "Alerts"),
        _table(("Person", "Level", "When", "What was seen"), rows),
        *_left_out(len(report.alerts)),
    ]


def _span(alert: ReportAlert) -> str:
    return f"{clock(alert.start_s)} to {'the end' if alert.end_s is None else clock(alert.end_s)}"


def _cues(report: Report) -> list[Element]:
    if not report.cues:
        return [make("h2", "Cues"), make("p", "Nothing measurable in the faces was unusual for these people.")]
    rows = [
        (str(c.track_id), f"{clock(c.start_s)} to {clock(c.end_s)}", c.text, c.strength, c.innocent)
        for c in report.cues[:MAX_ROWS]
    ]
    return [
        make("h2", "Cues"),
        make("p", "Cues explain; they never trigger an alert, and each has an innocent explanation.", class_="quiet"),
        _table(("Person", "When", "What was measured", "How unusual", "What else it can be"), rows),
        *_left_out(len(report.cues)),
    ]


def _left_out(count: int) -> list[Element]:
    return [] if count <= MAX_ROWS else [make("p", f"{count - MAX_ROWS} more are left out here.", class_="quiet")]


def _limits(report: Report) -> list[Element]:
    card = report.detector.card
    spots = () if card is None else card.known_blind_spots
    return [make("h2", "What it cannot tell"), make("ul", *(make("li", one) for one in (*LIMITS, *spots)))]


def _errors(report: Report) -> list[Element]:
    found = [make("h2", "How often it is wrong")]
    if report.detector.card is None:
        return [*found, make("p", NO_CARD)]
    found += [make("p", line) for line in alarm_lines(report.detector)]
    if not report.detector.errors:
        return [*found, make("p", NO_ERRORS)]
    missed = missed_counts(report.detector)
    header = ("Kind of forgery", "Genuine", "Forged", "AUC [95 %]", *(("No alarm on",) if missed else ()))
    rows = [(*_error_row(row), *((missed.get(row.family, "–"),) if missed else ())) for row in report.detector.errors]
    return [*found, make("p", ERRORS_GROUND, class_="quiet"), _table(header, rows, numbers=(1, 2, 3, 4))]


def _error_row(row: ErrorRow) -> tuple[str, ...]:
    return (row.family, str(row.n_real), str(row.n_fake), f"{row.auc:.2f} [{row.low:.2f}, {row.high:.2f}]")


def _details(report: Report) -> list[tuple[str, str]]:
    one = report.detector
    return [
        ("Model", f"{one.model_id} on {one.runtime}"),
        ("Encoder, sha256", one.sha256 or "not known"),
        ("Head, sha256", one.head_sha256 or "not known"),
        *report.details,
    ]


def _state(state: State) -> Element:
    return make("span", STATE_TEXT[state], **({"class_": "suspect"} if state is State.SUSPECT else {}))


def _box(text: str, kind: str) -> Element:
    return make("p", text, class_=kind)


def _meta(name: str, content: str) -> Element:
    element = make("meta", content=content)
    element.set("http-equiv", name)
    return element


def _table(header: Sequence[str], rows: Sequence[Sequence[Child]], numbers: Sequence[int] = ()) -> Element:
    def row(cells: Sequence[Child], name: str) -> Element:
        made = make("tr")
        for index, cell in enumerate(cells):
            add(made, make(name, cell, **({"class_": "number", "align": "right"} if index in numbers else {})))
        return made

    table = make("table")
    if any(header):
        add(table, make("thead", row(header, "th")))
    return add(table, make("tbody", *(row(cells, "td") for cells in rows)))
