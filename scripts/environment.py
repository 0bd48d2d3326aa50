"""The virtual environment of the repository: made where it is missing or broken, filled where pyproject.toml changed.

Each method of `Environment` is one step, does nothing where nothing is to be done, and raises `SetupError` with what
to do next. Standard library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import libraries
from setup_steps import Exit, SetupError, last_lines, pip_advice, run_logged, say

VENV_PARTS = {"bin", "include", "lib", "lib64", "share", "Scripts", "Include", "Lib"}
"""What `python -m venv` makes before it writes pyvenv.cfg: a folder with nothing else in it is a half-made one."""


@dataclass(frozen=True)
class Stamp:
    """What `.venv` was made for. It lies in `.venv` and is written last, so a half-made one has none."""

    repo: str = ""
    pyproject_sha256: str = ""
    extras: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    """Groups of system libraries that were seen to load, see `libraries.problems`."""


class Environment:
    """The virtual environment in `repo`/.venv, and the steps that make it."""

    def __init__(self, repo: Path) -> None:
        self.repo = repo
        self.folder = repo / ".venv"
        self.programs = self.folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.programs / ("python.exe" if os.name == "nt" else "python")
        self.unmask = self.programs / ("unmask.exe" if os.name == "nt" else "unmask")
        self.log = self.folder / "unmask-setup.log"
        self.stamp_file = self.folder / "unmask-setup.json"

    def stamp(self) -> Stamp:
        """What this environment was made for, an empty stamp where that is not known."""
        try:
            kept = json.loads(self.stamp_file.read_text(encoding="utf-8"))
            return Stamp(kept["repo"], kept["pyproject_sha256"], tuple(kept["extras"]), tuple(kept["libraries"]))
        except (OSError, ValueError, KeyError, TypeError):
            return Stamp()

    def write_stamp(self, stamp: Stamp) -> None:
        part = self.stamp_file.with_suffix(".part")
        part.write_text(json.dumps(asdict(stamp)), encoding="utf-8")
        os.replace(part, self.stamp_file)

    def works(self) -> bool:
        """True where the environment's Python starts, is new enough, and has pip."""
        check = "import sys, importlib.util as u; sys.exit(not (sys.version_info >= (3, 11) and u.find_spec('pip')))"
        try:
            return subprocess.run([str(self.python), "-c", check], capture_output=True, timeout=60).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False

    def make(self) -> None:
        """Make the environment anew where it is missing, broken, half-made, or was moved here from another folder."""
        made_for = self.stamp().repo
        if self.works() and made_for in ("", str(self.repo)):
            return
        if importlib.util.find_spec("ensurepip") is None:
            raise SetupError(
                Exit.NO_ENVIRONMENT,
                f"{sys.executable} has no ensurepip, so it cannot make a virtual environment. On Debian or Ubuntu run: "
                "apt install python3-venv; elsewhere install a complete Python 3.11 or newer.",
            )
        self._remove()
        say("making .venv")
        done = subprocess.run(
            [sys.executable, "-m", "venv", str(self.folder)], capture_output=True, text=True, errors="replace"
        )
        if done.returncode != 0 or not self.works():
            said = last_lines(done.stdout + done.stderr) or "its Python does not start"
            raise SetupError(
                Exit.NO_ENVIRONMENT,
                f"{self.folder} cannot be made:\n{said}\n"
                "Check that the folder can be written to and that the disk has room (3 GB); on Debian or Ubuntu also "
                "run: apt install python3-venv",
            )

    def _remove(self) -> None:
        if not os.path.lexists(self.folder):
            return
        if self.folder.is_symlink() or not self.folder.is_dir():
            raise SetupError(
                Exit.NO_ENVIRONMENT,
                f"{self.folder} does not work and is no folder of ours. Remove it and run this again.",
            )
        inside = {entry.name for entry in self.folder.iterdir()}
        if "pyvenv.cfg" not in inside and not inside <= VENV_PARTS:
            raise SetupError(
                Exit.NO_ENVIRONMENT,
                f"{self.folder} is not a virtual environment, so it is left alone. Move it away and run this again.",
            )
        if Path(sys.prefix).resolve() == self.folder.resolve():
            raise SetupError(
                Exit.NO_ENVIRONMENT,
                f"{self.folder} must be made anew, but this script runs inside it. Run `deactivate`, then this again.",
            )
        say("removing .venv, which does not work or was made for another folder")
        try:
            shutil.rmtree(self.folder)
        except OSError as error:
            raise SetupError(
                Exit.NO_ENVIRONMENT,
                f"{self.folder} cannot be removed ({error}). End every unmask that still runs, remove it by hand, and "
                "run this again.",
            ) from error

    def install(self, extras: Iterable[str]) -> None:
        """Install the project (editable) with `extras`, unless it was done for this pyproject.toml and these."""
        stamp = self.stamp()
        digest = hashlib.sha256((self.repo / "pyproject.toml").read_bytes()).hexdigest()
        wanted = tuple(sorted({*extras, *stamp.extras}))
        if stamp == Stamp(str(self.repo), digest, wanted, stamp.libraries) and self.unmask.exists():
            return
        with contextlib.suppress(FileNotFoundError):
            self.stamp_file.unlink()
        target = f".[{','.join(wanted)}]" if wanted else "."
        say(f"installing the packages of {target} into .venv (a minute or more the first time; log: {self.log})")
        began = time.monotonic()
        command = [str(self.python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        code = run_logged([*command, "--progress-bar", "off", "--editable", target], self.repo, self.log)
        if code != 0:
            said = self.log.read_text(encoding="utf-8", errors="replace")
            raise SetupError(
                Exit.NO_PACKAGES, f"pip failed with status {code}:\n{last_lines(said)}\n{pip_advice(said, target)}"
            )
        say(f"packages installed in {time.monotonic() - began:.0f} s")
        self.write_stamp(Stamp(str(self.repo), digest, wanted))

    def check_libraries(self, groups: Iterable[str]) -> None:
        """See that the system has the libraries of these groups; what was once seen is not checked again."""
        stamp = self.stamp()
        unseen = set(groups) - set(stamp.libraries)
        if not unseen:
            return
        done = subprocess.run([str(self.python), libraries.__file__], capture_output=True, text=True, errors="replace")
        try:
            found = json.loads(done.stdout.strip().splitlines()[-1])
        except (ValueError, IndexError):
            raise SetupError(
                Exit.NO_LIBRARIES,
                f"a package in .venv fails when it is loaded (status {done.returncode}):\n{last_lines(done.stderr)}\n"
                f"If that names nothing to mend, remove {self.folder} and run this again.",
            ) from None
        missing = [sentence for group in sorted(unseen) for sentence in found[group]]
        if missing:
            raise SetupError(
                Exit.NO_LIBRARIES,
                f"the system lacks libraries: {libraries.summary(missing)}. {libraries.advice()}",
            )
        seen = tuple(group for group in found if not found[group])
        self.write_stamp(Stamp(stamp.repo, stamp.pyproject_sha256, stamp.extras, seen))

    def fetch_face_model(self) -> None:
        """Fetch the face model where it is missing, and check it, with the product's own code."""
        done = subprocess.run([str(self.python), "-m", "engines.assets"], cwd=self.repo, stdout=subprocess.DEVNULL)
        if done.returncode == Exit.FACE_MODEL:
            raise SetupError(Exit.FACE_MODEL, "the face model is not there, see the line above.")
        if done.returncode != 0:
            raise SetupError(
                Exit.NO_PACKAGES,
                f"the face model cannot be checked (status {done.returncode}), see above. If a module is missing, "
                f"remove {self.folder} and run this again.",
            )
