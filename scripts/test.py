"""Sets unmask up for development, then checks and tests it: python3 scripts/test.py [options] [pytest arguments]

Runs ruff (lint and format), mypy --strict and pytest on an invisible screen, all of them even where one fails.
`python3 scripts/test.py -k tracks` hands `-k tracks` to pytest.

Exit codes: 0 all passed, 1 a check or a test failed, else that of pytest; 2 wrong arguments, 4 the face model cannot
be had, 10 Python is too old, 11 .venv cannot be made, 12 the packages cannot be installed, 13 system libraries are
missing, 130 interrupted.
"""

import argparse
import os
import subprocess
import sys

import bootstrap


def known_extras() -> list:
    import tomllib

    project = tomllib.loads((bootstrap.REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return sorted(project.get("optional-dependencies", {}))


def parse(arguments: list) -> tuple:
    """(options, arguments for pytest)."""
    parser = argparse.ArgumentParser(
        prog="test.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage="python3 scripts/test.py [--extra NAME] [--tests-only] [pytest arguments]",
    )
    parser.add_argument(
        "--extra", action="append", default=[], choices=known_extras(), help="also install this extra; may be repeated"
    )
    parser.add_argument("--tests-only", action="store_true", help="leave out ruff and mypy")
    return parser.parse_known_args(arguments)


def steps(python: str, tests_only: bool, for_pytest: list) -> list:
    """(title, command) of everything to run, in order."""
    checks = [
        ("ruff check", [python, "-m", "ruff", "check", "."]),
        ("ruff format --check", [python, "-m", "ruff", "format", "--check", "."]),
        ("mypy --strict", [python, "-m", "mypy", "--strict"]),
    ]
    return [*([] if tests_only else checks), ("pytest", [python, "-m", "pytest", *for_pytest])]


def main() -> int:
    options, for_pytest = parse(sys.argv[1:])
    environment = bootstrap.prepare(extras={"dev", *options.extra}, groups=("core", "qt"))
    variables = {**os.environ}
    variables.setdefault("QT_QPA_PLATFORM", "offscreen")
    failed = {}
    for title, command in steps(str(environment.python), options.tests_only, for_pytest):
        print(f"== {title}", flush=True)
        code = subprocess.call(command, cwd=bootstrap.REPO, env=variables)
        if code != 0:
            failed[title] = code
    if failed:
        print(f"FAILED: {', '.join(failed)}", file=sys.stderr)
    return failed.get("pytest", 1) if failed else 0


if __name__ == "__main__":
    bootstrap.run_main(main)
