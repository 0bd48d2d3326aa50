"""The command line of `unmask`: its commands and flags, and one line for everything that is wrong with one.

argv -> parse -> Namespace with `command`; `monitor.cli` runs it
"""

from __future__ import annotations

import argparse
import difflib
import math
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from monitor.errors import SettingsError
from monitor.settings import SECRET_SETTINGS, Settings

EPILOG = """\
exit status:
  0  done (for analyze: whatever the verdict, unless --fail-on is given)
  1  a fault in unmask itself (UNMASK_DEBUG=1 shows the traceback)
  2  wrong command line or setting
  3  a source cannot be opened, or was lost
  4  a model file is missing or is not the right one
  5  no inference runtime can run the detector
  6  no window can be shown
  7  the history of sessions cannot be read or written
 10  analyze --fail-on: the named state was found
 11  verify: the record was changed; 12: it is signed with another key; 13: it is not closed
130  interrupted (Ctrl-C); 141: nobody reads the output; 143: terminated

source addresses:
  file:PATH (or the path), webcam:0, window:TITLE, portal:, screen:, screen:?region=x,y,w,h,
  webrtc:, whep:https://HOST/PATH, demo:

Every setting can also stand in the environment (UNMASK_MIN_FACE_PX=64) or in settings.toml of the
user's configuration folder; a flag beats the environment, which beats the file.
"""

MAX_ROW_S = 120.0
"""Longest part of a row that a bench re-encodes or keeps as crops."""


class Parser(argparse.ArgumentParser):
    """A parser whose every complaint is one line."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}; see '{self.prog} --help'")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line as a namespace with `command`. Raises SettingsError."""
    parser = build_parser()
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        flag = unknown[0].split("=", 1)[0]
        if not flag.startswith("-"):
            raise SettingsError(f"unexpected argument {flag!r}; see 'unmask --help'")
        near = difflib.get_close_matches(flag, list(arguments.parser._option_string_actions), n=1, cutoff=0.0)
        raise SettingsError(f"unknown flag {flag}; the nearest known one is {near[0]}")
    return arguments


def build_parser() -> Parser:
    """The whole command line."""
    parser = Parser(
        prog="unmask",
        description="Shows how strongly each face of a video call looks manipulated, why, and when it cannot tell.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"unmask {version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)

    watch = _command(commands, "watch", "watch a call, a camera, the screen or a file live")
    watch.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="source addresses (default: the first webcam, else demo:)",
    )
    watch.add_argument("--headless", action="store_true", help="no window: print a line for every change")
    watch.add_argument("--json", action="store_true", help="with --headless: JSON lines instead of text")
    watch.add_argument("--duration", type=_seconds, metavar="S", help="with --headless: stop after S seconds")
    _add_notice_given(watch)
    _add_settings(watch)

    _add_serve(commands)

    analyze = _command(commands, "analyze", "judge recorded files")
    analyze.add_argument("files", nargs="+", metavar="FILE", help="a video file")
    analyze.add_argument("--region", type=region, metavar="X,Y,W,H", help="only this part, as fractions of the picture")
    analyze.add_argument(
        "--json", action="store_true", help="one JSON document; with several files one a line (JSON Lines)"
    )
    analyze.add_argument("--output", type=Path, metavar="FILE", help="write the JSON to FILE, the lines to the screen")
    analyze.add_argument("--html", type=Path, metavar="FILE", help="write a report with plots, one file to open")
    analyze.add_argument("--fail-on", choices=["suspect"], help="exit with status 10 where a file has this state")
    _add_settings(analyze)

    sources = _command(commands, "sources", "list what can be watched")
    sources.add_argument("--json", action="store_true", help="print JSON")

    doctor = _command(commands, "doctor", "check everything that the main job needs")
    doctor.add_argument("--fetch", action="store_true", help="fetch the face model where it is missing")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    _add_settings(doctor)

    verify = _command(commands, "verify", "check the record of a helpdesk case, offline")
    verify.add_argument("record", type=Path, metavar="RECORD", help="the record (JSON lines)")
    verify.add_argument("--key", type=Path, metavar="PUB", help="public key (PEM) that must have signed it")
    verify.add_argument("--json", action="store_true", help="print JSON")

    _add_sessions(commands)
    _add_engines(commands)
    _add_bench(commands)
    return parser


def _add_serve(commands: argparse._SubParsersAction[Parser]) -> None:
    serve = _command(commands, "serve", "take in calls that others publish to this machine by WebRTC (WHIP)")
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; beyond this machine with TLS and token"
    )
    serve.add_argument(
        "--port", type=_port, default=8765, metavar="N", help="port to listen on, 0 for any (default 8765)"
    )
    serve.add_argument("--token", metavar="T", help="token that publishers must give (default: one is made up)")
    serve.add_argument("--tls-cert", type=Path, metavar="PEM", help="certificate chain")
    serve.add_argument("--tls-key", type=Path, metavar="PEM", help="its private key")
    serve.add_argument(
        "--allow-origin", action="append", default=[], metavar="ORIGIN", help="also take requests of this web page"
    )
    serve.add_argument("--json", action="store_true", help="print JSON lines instead of text")
    serve.add_argument("--duration", type=_seconds, metavar="S", help="stop after S seconds")
    _add_notice_given(serve)
    _add_settings(serve)


def _add_notice_given(parser: Parser) -> None:
    parser.add_argument("--notice-given", action="store_true", help="the others were told, see 'unmask notice'")


def _add_sessions(commands: argparse._SubParsersAction[Parser]) -> None:
    """What was kept of calls, what to show of it, and what to tell those who are watched."""
    sessions = _command(commands, "sessions", "the local history: what was kept with 'watch --history'")
    kinds = sessions.add_subparsers(title="what to do", metavar="WHAT", required=True, parser_class=Parser)
    listed = _command(kinds, "list", "all sessions, the newest first", "sessions list")
    listed.add_argument("--json", action="store_true", help="print JSON")
    _add_settings(listed)
    show = _command(kinds, "show", "what was said in one session, and when", "sessions show")
    show.add_argument("session", type=_count, metavar="SESSION", help="its number in the list")
    show.add_argument("--json", action="store_true", help="print JSON")
    export = _command(kinds, "export", "one session as a file for other programs", "sessions export")
    export.add_argument("session", type=_count, metavar="SESSION", help="its number in the list")
    export.add_argument("--format", choices=["json", "csv"], default="json", help="default json")
    export.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
    delete = _command(kinds, "delete", "delete sessions; their bytes are overwritten", "sessions delete")
    delete.add_argument("sessions", nargs="*", type=_count, metavar="SESSION", help="numbers in the list")
    delete.add_argument("--all", action="store_true", help="the whole history, and the key of its faces")

    report = _command(commands, "report", "a report with plots of a session or of an analysis")
    report.add_argument("what", metavar="SESSION|ANALYSIS.json", help="a session's number, or what analyze printed")
    report.add_argument("--html", type=Path, metavar="FILE", help="one file that asks nothing of any network")
    report.add_argument("--pdf", type=Path, metavar="FILE", help="the same for printing")

    notice = _command(commands, "notice", "a sentence that tells others that they are watched, ready to paste")
    notice.add_argument("source", nargs="?", help="source address that is watched")
    notice.add_argument("--long", action="store_true", help="with what is kept, for how long, and what it cannot do")
    _add_settings(notice)


def _add_engines(commands: argparse._SubParsersAction[Parser]) -> None:
    engines = _command(commands, "engines", "what GPUs run: build it ahead, check it, delete it")
    kinds = engines.add_subparsers(title="what to do", metavar="WHAT", required=True, parser_class=Parser)

    listed = _command(kinds, "list", "list libraries and built engines", "engines list")
    build = _command(kinds, "build", "build the engines of both graphs in a process of their own", "engines build")
    build.add_argument(
        "--for", dest="capabilities", type=_capabilities, default=(), metavar="SM,SM", help="as sm86,sm120: other GPUs"
    )
    build.add_argument("--runtime", choices=["tensorrt", "tensorrt-rtx"], help="default: the one that is installed")
    build.add_argument("--force", action="store_true", help="build again what is there or was given up")
    verify = _command(kinds, "verify", "hash every engine; status 5 where one is of no use", "engines verify")
    clean = _command(kinds, "clean", "delete engines that are of no use", "engines clean")
    clean.add_argument("--all", action="store_true", help="delete all of them")
    for parser in (listed, build, verify, clean):
        parser.add_argument("--json", action="store_true", help="print JSON")


def _add_bench(commands: argparse._SubParsersAction[Parser]) -> None:
    bench = _command(commands, "bench", "measure the detector or the machine")
    kinds = bench.add_subparsers(title="what to measure", metavar="WHAT", required=True, parser_class=Parser)

    accuracy = _command(kinds, "accuracy", "AUC and alarms on labelled files", "bench accuracy")
    accuracy.add_argument("manifest", type=Path, metavar="MANIFEST", help="CSV: file,region,label,family,group")
    accuracy.add_argument("--json", action="store_true", help="print JSON")
    accuracy.add_argument("--limit", type=_count, metavar="N", help="only the first N rows of every family and label")
    accuracy.add_argument("--jobs", type=_count, metavar="N", default=1, help="processes side by side (default 1)")
    _add_settings(accuracy)

    robustness = _command(kinds, "robustness", "AUC and scores after re-encoding", "bench robustness")
    _add_long_bench(robustness)
    robustness.add_argument("--jobs", type=_count, metavar="N", default=1, help="processes side by side (default 1)")
    _add_settings(robustness)

    shortcuts = _command(kinds, "shortcuts", "what else than a forgery moves the score", "bench shortcuts")
    _add_long_bench(shortcuts)
    _add_settings(shortcuts)

    speed = _command(kinds, "speed", "speed, delay and memory on this machine", "bench speed")
    speed.add_argument("--json", action="store_true", help="print JSON")
    speed.add_argument("--seconds", type=_seconds, default=20.0, metavar="S", help="length of each run (default 20)")
    speed.add_argument("--soak", type=_seconds, metavar="MINUTES", help="also watch the memory for so long")
    speed.add_argument("--engines", action="store_true", help="time every inference runtime and nothing else")
    speed.add_argument("--source", metavar="ADDRESS", help="delay from capture to verdict of this source, nothing else")
    _add_settings(speed)


def _add_long_bench(parser: Parser) -> None:
    """What the benches over altered pictures have in common."""
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="CSV: file,region,label,family,group")
    parser.add_argument(
        "--work", type=Path, required=True, metavar="DIR", help="folder that keeps pictures of faces and results"
    )
    parser.add_argument(
        "--limit-seconds", type=_row_seconds, default=8.0, metavar="S", help="only the first S of each row (default 8)"
    )
    parser.add_argument("--families", type=_names, metavar="A,B", help="only these, and the reals they stand against")
    parser.add_argument("--limit", type=_count, metavar="N", help="only the first N rows of every family and label")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _command(commands: argparse._SubParsersAction[Parser], name: str, what: str, command: str | None = None) -> Parser:
    parser = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".", allow_abbrev=False)
    parser.set_defaults(command=command if command is not None else name, parser=parser)
    return parser


def _add_settings(parser: Parser) -> None:
    """A flag for every setting but the secret ones, from the one list of them."""
    group = parser.add_argument_group("settings")
    group.add_argument("--config", type=Path, metavar="FILE", help="settings file to read in place of your own")
    for name, field in Settings.model_fields.items():
        if name == "source" or name in SECRET_SETTINGS:
            continue
        flag = "--" + name.replace("_", "-")
        default = getattr(field.default, "value", field.default)
        said = f"{field.description} (default {default})"
        if field.annotation is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=said)
        else:
            group.add_argument(flag, default=None, metavar="V", help=said.replace("%", "%%"))


def region(text: str) -> tuple[float, float, float, float]:
    """`x,y,w,h` as fractions of the picture. Raises ArgumentTypeError."""
    wanted = f"expected x,y,w,h as fractions of the picture with x+w and y+h at most 1, found {text!r}"
    try:
        x, y, w, h = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(wanted) from None
    inside = all(math.isfinite(value) and value >= 0.0 for value in (x, y, w, h))
    if not inside or w == 0.0 or h == 0.0 or x + w > 1.0 + 1e-9 or y + h > 1.0 + 1e-9:
        raise argparse.ArgumentTypeError(wanted)
    return x, y, w, h


def version() -> str:
    """The version of the installed package, or of the checkout that runs."""
    try:
        return metadata.version("unmask")
    except metadata.PackageNotFoundError:
        pyproject = Path(__file__).resolve().parent.parent / "pyproject.toml"
        return str(tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["version"])


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value <= 1e7:
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text!r}")
    return value


def _row_seconds(text: str) -> float:
    value = _seconds(text)
    if value > MAX_ROW_S:
        raise argparse.ArgumentTypeError(f"expected at most {MAX_ROW_S:g} s, found {text!r}")
    return value


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise argparse.ArgumentTypeError(f"expected names with commas between them, found {text!r}")
    return names


def _capabilities(text: str) -> tuple[str, ...]:
    names = _names(text.lower())
    for name in names:
        digits = name.removeprefix("sm")
        if not (name.startswith("sm") and digits.isascii() and digits.isdigit() and 2 <= len(digits) <= 3):
            raise argparse.ArgumentTypeError(f"expected compute capabilities like sm86,sm120, found {text!r}")
    return names


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= 65535):
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, found {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 1_000_000):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, found {text!r}")
    return int(text)
