"""What every step of the setup needs: exit codes, errors, lines of progress, a logged command, advice about pip."""

from __future__ import annotations

import enum
import os
import shutil
import subprocess
import sys
from pathlib import Path

LOG_LINES = 15

PROXY_ADVICE = (
    "The package index did not give what is needed. Behind a proxy, set HTTPS_PROXY=http://host:port and run this "
    "again; with a mirror of your own, set PIP_INDEX_URL. Without a network: on a machine that has one, with the same "
    'system and Python, run `python3 -m pip wheel --wheel-dir wheels "{wanted}" setuptools` in this folder, bring '
    "the folder `wheels` here, and run this again with PIP_NO_INDEX=1 PIP_FIND_LINKS=/path/to/wheels. The face model "
    "is a file of its own: put face_landmarker.task into a folder and name that folder in UNMASK_ASSETS. If the "
    "network is fine, there may be no build of that package for Python {version}: use Python 3.11 or 3.12."
)
PIP_NETWORK_SIGNS = (
    "after connection broken by",
    "No matching distribution found",
    "Could not find a version",
    "Could not install packages due to an OSError: HTTPSConnectionPool",
    "ReadTimeoutError",
    "SSLError",
    "ProxyError",
)


class Exit(enum.IntEnum):
    """Exit codes of the two scripts, beside those of unmask and of pytest themselves."""

    USAGE = 2
    FACE_MODEL = 4
    OLD_PYTHON = 10
    NO_ENVIRONMENT = 11
    NO_PACKAGES = 12
    NO_LIBRARIES = 13
    INTERRUPTED = 130
    TERMINATED = 143


class SetupError(Exception):
    """The setup cannot go on: what happened and what to do, with the exit code of the script."""

    def __init__(self, exit_code: Exit, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def say(sentence: str) -> None:
    """One line of progress."""
    print(f"unmask setup: {sentence}", file=sys.stderr, flush=True)


def run_logged(command: list[str], cwd: Path, log: Path) -> int:
    """Run `command`, its output into `log`; on a terminal the newest line of it is shown in passing."""
    shown = sys.stderr.isatty()
    width = shutil.get_terminal_size().columns - 1
    with log.open("w", encoding="utf-8") as file:
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, "PIP_USER": "0", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            for line in child.stdout:
                file.write(line)
                if shown:
                    print("\r" + ("  " + line.strip())[:width].ljust(width), end="", file=sys.stderr, flush=True)
            return child.wait()
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
            child.stdout.close()
            if shown:
                print("\r" + " " * width + "\r", end="", file=sys.stderr, flush=True)


def pip_advice(said: str, target: str) -> str:
    """What to do about a failed pip, from what it said."""
    if "No space left on device" in said or "[Errno 28]" in said:
        return "The disk is full: 3 GB are needed. Make room and run this again."
    if "Permission denied" in said or "[Errno 13]" in said:
        return "A folder cannot be written to: check who owns this folder and pip's cache (`pip cache dir`)."
    if any(sign in said for sign in PIP_NETWORK_SIGNS):
        return PROXY_ADVICE.format(wanted=target, version=f"{sys.version_info.major}.{sys.version_info.minor}")
    return "Mend what pip names, or remove the folder .venv, and run this again."


def last_lines(said: str) -> str:
    """The end of a program's output, indented."""
    return "\n".join("  | " + line for line in said.strip().splitlines()[-LOG_LINES:])
