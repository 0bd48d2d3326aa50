"""The command `unmask`: runs one command, turns every error into one line on standard error and an exit status.

Nothing heavy is imported before the command that needs it is known.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from monitor.arguments import parse
from monitor.errors import SettingsError, UnmaskError

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.report.document import Report
    from monitor.settings import Settings

EXIT_INTERNAL = 1
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
EXIT_TERMINATED = 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status; prints at most one line on standard error for an error.

    Without `argv` it is the whole process: libraries are hushed, and a thread that hangs cannot hold up the end.
    """
    _prepare_process()
    try:
        arguments = parse(sys.argv[1:] if argv is None else list(argv))
        if argv is None and not _shows_a_window(arguments) and not _debugging():
            _hush_libraries()
        status = COMMANDS[arguments.command](arguments)
        sys.stdout.flush()
    except UnmaskError as error:
        status = _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    except _Terminated:
        status = EXIT_TERMINATED
    except BrokenPipeError:
        # Python would complain once more when it flushes standard output at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_BROKEN_PIPE
    except Exception as error:
        if _debugging():
            raise
        what = f"a fault in unmask itself ({type(error).__name__}: {error})"
        status = _complain(f"{what}; set UNMASK_DEBUG=1 to see where", EXIT_INTERNAL)
    if argv is None:
        _leave_hanging_threads(status)
    return status


class _Terminated(BaseException):
    """The process was asked to end (SIGTERM)."""


def _leave_hanging_threads(status: int) -> None:
    """End the process here and now where one of our threads is still inside a library: Python would abort instead."""
    if any(thread.daemon and thread.name.startswith("unmask") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _prepare_process() -> None:
    """What holds for the whole process: the log's form, quiet libraries, an orderly end when terminated."""
    logging.basicConfig(format="unmask: %(levelname)s: %(name)s: %(message)s", level=logging.WARNING)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)


def _shows_a_window(arguments: argparse.Namespace) -> bool:
    return arguments.command == "watch" and not arguments.headless


def _hush_libraries() -> None:
    """Keep the notes that C++ libraries write to file descriptor 2 (mediapipe: a dozen lines a start) off the terminal.

    Python's own standard error goes on to where it went. Not done where a window is shown: Qt says there why it aborts.
    """
    try:
        if sys.stderr.fileno() != 2:
            return
        sys.stderr.flush()
        spared = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="replace")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        return  # no standard error at all, as under pythonw
    sys.stderr = spared
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(spared)


def _terminated(_number: int, _frame: object) -> NoReturn:
    raise _Terminated


def _complain(message: str, status: int) -> int:
    print(f"unmask: {' '.join(message.split())}", file=sys.stderr)
    return status


def _debugging() -> bool:
    return os.environ.get("UNMASK_DEBUG", "0") not in ("", "0")


def _settings(arguments: argparse.Namespace) -> Settings:
    from monitor.settings import Settings, load_settings

    overrides = {name: getattr(arguments, name, None) for name in Settings.model_fields if name != "source"}
    settings = load_settings(overrides, arguments.config)
    logging.getLogger("monitor").setLevel("DEBUG" if _debugging() else settings.log_level.value.upper())
    return settings


# -------------------------------------------------------------------------------------- the commands


def _watch(arguments: argparse.Namespace) -> int:
    if not arguments.headless and (arguments.json or arguments.duration is not None):
        raise SettingsError("--json and --duration go with --headless; add it")
    settings = _settings(arguments)
    from monitor.notice import check_notice
    from monitor.sources import default_source_uri, parse_address

    uris = arguments.sources or [settings.source or default_source_uri()]
    for uri in uris:
        parse_address(uri)
    check_notice(uris, settings, given=arguments.notice_given)
    if not arguments.headless:
        from gui.app import run_watch

        return run_watch(uris[0] if len(uris) == 1 else uris, settings)
    from monitor.headless import run_headless, run_headless_many
    from monitor.history.recorded import recorded, recorded_gathering
    from monitor.pipeline import Monitor
    from monitor.sinks.jsonl import JsonLinesSink
    from monitor.sinks.text import TextSink
    from monitor.stages import check_files

    check_files()
    sink = JsonLinesSink(sys.stdout) if arguments.json else TextSink(sys.stdout)
    if len(uris) == 1:
        run_headless(recorded(Monitor(uris[0], settings), uris[0], settings), sink.write, duration_s=arguments.duration)
        return 0
    from monitor.gathering import Gathering, wanted_of
    from monitor.hub import Hub

    gathering = recorded_gathering(Gathering(Hub(settings), wanted_of(uris, settings)), uris, settings)
    run_headless_many(gathering, sink.write, duration_s=arguments.duration)
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from monitor.webrtc.server import ServerSettings

    server = ServerSettings(
        host=arguments.host,
        port=arguments.port,
        token=arguments.token or settings.serve_token.get_secret_value() or None,
        tls_cert=arguments.tls_cert,
        tls_key=arguments.tls_key,
        allow_origins=tuple(arguments.allow_origin),
    )
    from monitor.notice import check_notice

    check_notice(["webrtc:"], settings, given=arguments.notice_given)
    from monitor.headless import run_headless_many
    from monitor.history.recorded import recorded_service
    from monitor.hub import Hub
    from monitor.sinks.jsonl import JsonLinesSink
    from monitor.sinks.text import TextSink
    from monitor.stages import check_files
    from monitor.webrtc.serve import Service

    check_files()
    sink = JsonLinesSink(sys.stdout) if arguments.json else TextSink(sys.stdout)
    service = Service(server, Hub(settings), greet=lambda text: print(text, file=sys.stderr, flush=True))
    run_headless_many(recorded_service(service, "webrtc:", settings), sink.write, duration_s=arguments.duration)
    return 0


def _sessions_list(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from monitor.history.command import run_list

    return run_list(settings, as_json=arguments.json)


def _sessions_show(arguments: argparse.Namespace) -> int:
    from monitor.history.command import run_show

    return run_show(arguments.session, as_json=arguments.json)


def _sessions_export(arguments: argparse.Namespace) -> int:
    from monitor.history.command import run_export

    return run_export(arguments.session, arguments.format, arguments.output)


def _sessions_delete(arguments: argparse.Namespace) -> int:
    from monitor.history.command import run_delete

    return run_delete(arguments.sessions, everything=arguments.all)


def _report(arguments: argparse.Namespace) -> int:
    from monitor.report.command import run_report

    def print_pdf(report: Report, path: Path) -> None:
        from gui.report_pdf import write_pdf

        write_pdf(report, path)

    return run_report(arguments.what, arguments.html, arguments.pdf, print_pdf)


def _notice(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from monitor.notice import run_notice

    return run_notice(arguments.source or settings.source, settings, long=arguments.long)


def _analyze(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from monitor.analysis import Analyser
    from monitor.batch import BatchOptions, run_batch
    from monitor.types import State

    fail_on = State.SUSPECT if arguments.fail_on == "suspect" else None
    if arguments.html is not None and len(arguments.files) > 1:
        raise SettingsError("--html goes with one file; analyse the files one after another")
    options = BatchOptions(arguments.json, arguments.output, fail_on, arguments.html)
    with Analyser(settings) as analyser:
        return run_batch(
            arguments.files,
            lambda file, progress: analyser.analyse(file, arguments.region, progress),
            options,
            sys.stdout,
            sys.stderr,
        )


def _sources(arguments: argparse.Namespace) -> int:
    from monitor.sources import list_sources

    listings = list_sources()
    if arguments.json:
        rows = [
            {
                "uri": one.uri,
                "title": one.title,
                "kind": one.kind.value,
                "available": one.available,
                "detail": one.detail,
            }
            for one in listings
        ]
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return 0
    width = max(len(one.uri) for one in listings)
    for one in listings:
        mark = "" if one.available else "not available: "
        print(f"{one.uri:<{width}}  {one.title}: {mark}{one.detail.removeprefix(one.uri).strip()}")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from gui.display import screen_problem
    from monitor.doctor import run_doctor

    return run_doctor(settings, fetch=arguments.fetch, as_json=arguments.json, screen_problem=screen_problem)


def _verify(arguments: argparse.Namespace) -> int:
    from monitor.helpdesk.record_command import run_verify

    return run_verify(arguments.record, arguments.key, as_json=arguments.json, out=sys.stdout)


def _engines_list(arguments: argparse.Namespace) -> int:
    from monitor.engine_command import run_list

    return run_list(arguments.json)


def _engines_build(arguments: argparse.Namespace) -> int:
    from monitor.engine_command import Order, run_build

    return run_build(Order(arguments.capabilities, arguments.runtime, arguments.force), arguments.json)


def _engines_verify(arguments: argparse.Namespace) -> int:
    from monitor.engine_command import run_verify

    return run_verify(arguments.json)


def _engines_clean(arguments: argparse.Namespace) -> int:
    from monitor.engine_command import run_clean

    return run_clean(arguments.all, arguments.json)


def _bench_accuracy(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from monitor.bench.accuracy import run_accuracy

    return run_accuracy(
        arguments.manifest, settings, as_json=arguments.json, limit=arguments.limit, jobs=arguments.jobs
    )


def _bench_robustness(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from monitor.bench.robustness import run_robustness

    return run_robustness(
        arguments.manifest,
        settings,
        arguments.work,
        limit_s=arguments.limit_seconds,
        families=arguments.families,
        limit=arguments.limit,
        jobs=arguments.jobs,
        as_json=arguments.json,
    )


def _bench_shortcuts(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    from monitor.bench.shortcuts import run_shortcuts

    return run_shortcuts(
        arguments.manifest,
        settings,
        arguments.work,
        limit_s=arguments.limit_seconds,
        families=arguments.families,
        limit=arguments.limit,
        as_json=arguments.json,
    )


def _bench_speed(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if arguments.engines:
        other = "--soak" if arguments.soak is not None else "--source" if arguments.source is not None else None
        if other is not None:
            raise SettingsError(f"{other} does not go with --engines; leave one of them out")
        from monitor.bench.engines import run_engines

        return run_engines(settings, as_json=arguments.json, seconds=arguments.seconds)
    if arguments.source is not None:
        if arguments.soak is not None:
            raise SettingsError("--soak does not go with --source; leave one of them out")
        from monitor.bench.speed import run_source

        return run_source(arguments.source, settings, as_json=arguments.json, seconds=arguments.seconds)
    from monitor.bench.speed import run_speed

    soak_s = None if arguments.soak is None else 60.0 * arguments.soak
    return run_speed(settings, as_json=arguments.json, seconds=arguments.seconds, soak_s=soak_s)


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "watch": _watch,
    "serve": _serve,
    "analyze": _analyze,
    "sessions list": _sessions_list,
    "sessions show": _sessions_show,
    "sessions export": _sessions_export,
    "sessions delete": _sessions_delete,
    "report": _report,
    "notice": _notice,
    "sources": _sources,
    "doctor": _doctor,
    "verify": _verify,
    "engines list": _engines_list,
    "engines build": _engines_build,
    "engines verify": _engines_verify,
    "engines clean": _engines_clean,
    "bench accuracy": _bench_accuracy,
    "bench robustness": _bench_robustness,
    "bench shortcuts": _bench_shortcuts,
    "bench speed": _bench_speed,
}


if __name__ == "__main__":
    raise SystemExit(main())
