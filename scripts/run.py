"""Sets unmask up where that is needed, then runs it: python3 scripts/run.py [unmask arguments]

Without arguments it runs `unmask watch`. The first run makes .venv, installs the packages and fetches the face model;
later ones start at once. `python3 scripts/run.py watch --help` shows the options of unmask.

Exit codes: those of unmask (see `unmask --help`); 4 the face model cannot be had, 10 Python is too old, 11 .venv cannot
be made, 12 the packages cannot be installed, 13 system libraries are missing, 130 interrupted.
"""

import os
import subprocess
import sys

import bootstrap

STRICT = ("watch", "analyze", "bench")
"""Commands that are of no use without face model and libraries; the others tell by themselves what is missing."""


def library_groups(arguments: list[str]) -> set[str]:
    """The groups of system libraries that unmask will need for these arguments, see `libraries.problems`."""
    groups = {"core"}
    if arguments[0] == "watch" and "--headless" not in arguments:
        groups.add("qt")
        if os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
            groups.add("xcb")
    return groups


def main() -> int:
    arguments = sys.argv[1:] or ["watch"]
    if arguments in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    environment = bootstrap.prepare(groups=library_groups(arguments), lenient=arguments[0] not in STRICT)
    command = [str(environment.unmask), *arguments]
    if os.name == "nt":
        return subprocess.call(command)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)
    return 0


if __name__ == "__main__":
    bootstrap.run_main(main)
