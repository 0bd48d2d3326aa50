"""The folder of built engines: what is in it, whether it is still what was built, and who may write it.

    recipe -> load (hashed against its manifest) or EngineError -> build -> store (lock, one step)

Two files an engine: NAME.engine and NAME.json, its manifest with the recipe, the size and the sha256. An engine
without a manifest that fits is not ours and never reaches a library. Manifests are JSON; nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import json
import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

import platformdirs

from engines.build.recipe import Recipe
from engines.errors import EngineError
from engines.files import replaced
from engines.runtimes import one_line

SCHEMA = "unmask.engine/1"
MAX_BYTES = 1 << 30
"""Largest engine that is read: a file that claims more is not one of ours."""
LOCK_TIMEOUT_S = 900.0
_LOCK_POLL_S = 0.2
PROGRESS_FILE = "progress"
"""In the folder of a build that is under way: how far it is."""
REBUILDS = 1
"""An engine that its library refused is built so many times again, then stepped over."""


class Cancelled(EngineError):
    """A build was called off."""


class State(enum.Enum):
    """What an engine file is worth."""

    GOOD = "good"
    CORRUPT = "corrupt"
    FOREIGN = "foreign"
    STALE = "stale"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Entry:
    """One engine of the folder. `recipe` is None where its manifest is not one of ours."""

    path: Path
    state: State
    reason: str
    recipe: Recipe | None
    size_bytes: int
    built_s: float = 0.0
    """How long the building took."""
    rebuilds: int = 0


class EngineCache:
    """The engines of one user on one machine."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = default_folder() if folder is None else folder

    def path(self, recipe: Recipe) -> Path:
        """Where the engine of a recipe lies, there or not."""
        return self.folder / f"{recipe.stem}.engine"

    def load(self, recipe: Recipe) -> bytes:
        """The engine, hashed. Raises EngineError where it is not there, not what was built, or was refused before."""
        path = self.path(recipe)
        if not path.exists():
            under_way = self.progress(recipe)
            if under_way is not None:
                raise EngineError(f"{path.name}: is being built by another unmask ({under_way})")
            raise EngineError(
                f"{path.name}: not built yet; run `unmask engines build`, or watch something: it is built meanwhile"
            )
        entry, content = self._read(path)
        if entry.state is not State.GOOD:
            raise EngineError(f"{path.name}: {entry.reason}; run `unmask engines build`")
        if entry.recipe != recipe:
            raise EngineError(f"{path.name}: built for something else; run `unmask engines build`")
        return content

    def state(self, recipe: Recipe) -> Entry | None:
        """The entry of a recipe, or None where nothing is built for it."""
        path = self.path(recipe)
        return self._read(path)[0] if path.exists() or path.is_symlink() else None

    def wants_building(self, recipe: Recipe) -> bool:
        """Whether a build would give an engine that is not there: not where one is good, nor where it was given up."""
        entry = self.state(recipe)
        return entry is None or not (
            entry.state is State.GOOD or (entry.state is State.REFUSED and entry.rebuilds >= REBUILDS)
        )

    def progress(self, recipe: Recipe) -> str | None:
        """How far a build of this engine is that is under way in any process, such as '40 %, compiling'; else None."""
        from filelock import FileLock, Timeout

        lock = self.folder / f".{recipe.stem}.lock"
        if not lock.exists():
            return None
        try:
            with FileLock(lock, timeout=0):
                return None
        except Timeout:
            pass
        except OSError:
            return None
        for said in self.folder.glob(f"{recipe.stem}.draft.*/{PROGRESS_FILE}"):
            with contextlib.suppress(OSError):
                return said.read_text(encoding="utf-8", errors="replace")[:200]
        return "0 %"

    def entries(self) -> tuple[Entry, ...]:
        """Everything in the folder that has the name of an engine, by name."""
        if not self.folder.is_dir():
            return ()
        return tuple(self._read(path)[0] for path in sorted(self.folder.glob("*.engine")))

    def store(self, recipe: Recipe, draft: Path, sha256: str, built_s: float, precision: Path | None = None) -> None:
        """Take over a finished draft and, where it has one, the report on its precision.

        Raises EngineError where the draft is not what its builder said, or cannot be kept.

        The caller holds `lock`. The manifest is written last: a process that dies between leaves a corrupt entry.
        """
        before = self.state(recipe)
        try:
            content = draft.read_bytes()
            if not content or hashlib.sha256(content).hexdigest() != sha256:
                raise EngineError(f"{self.path(recipe).name}: the builder left {len(content)} bytes of something else")
            manifest = {
                "schema": SCHEMA,
                "recipe": asdict(recipe),
                "sha256": sha256,
                "size_bytes": len(content),
                "built_s": round(built_s, 2),
                "rebuilds": 0 if before is None or before.state is State.GOOD else before.rebuilds + 1,
                "refused": "",
                "precision": precision.read_text(encoding="utf-8").split("\n") if _is_file(precision) else [],
            }
            with replaced(self.path(recipe)) as file:
                _only_ours(file)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            self._write_manifest(self.path(recipe), manifest)
        except OSError as error:
            raise EngineError(f"{self.path(recipe)}: cannot be kept: {one_line(error)}; free some space") from error

    def refuse(self, recipe: Recipe, reason: str) -> None:
        """Note that the library did not take this engine: it is built once more, then stepped over."""
        path = self.path(recipe)
        try:
            manifest = json.loads(_manifest_path(path).read_text(encoding="utf-8"))
            self._write_manifest(path, manifest | {"refused": reason[:200]})
        except (OSError, ValueError, TypeError):
            pass  # Without a manifest it is foreign, which is refused just the same.

    def remove(self, entry: Entry) -> None:
        """Delete an engine and its manifest. Raises EngineError."""
        try:
            entry.path.unlink(missing_ok=True)
            _manifest_path(entry.path).unlink(missing_ok=True)
        except OSError as error:
            raise EngineError(f"{entry.path}: cannot be deleted: {one_line(error)}") from error

    def sweep(self) -> int:
        """Delete what builds that were killed left behind. Returns how many files. A build under way is not touched."""
        from filelock import FileLock, Timeout

        swept = 0
        for draft in [*self.folder.glob("*.draft.*"), *self.folder.glob("*.partial")]:
            stem = draft.name.partition(".")[0]
            with contextlib.suppress(OSError, Timeout), FileLock(self.folder / f".{stem}.lock", timeout=0):
                if draft.is_dir():
                    shutil.rmtree(draft)
                else:
                    draft.unlink()
                swept += 1
        for manifest in self.folder.glob("*.json"):
            if not manifest.with_suffix(".engine").exists():
                manifest.unlink(missing_ok=True)
                swept += 1
        return swept

    def timings(self, recipe: Recipe) -> bytes:
        """What earlier builds for this GPU measured, empty where nothing is known or the file is not what was kept."""
        path = self._timings_path(recipe)
        try:
            if not _ours(self.folder, path.lstat()):
                return b""
            content = path.read_bytes()
        except OSError:
            return b""
        return content[64:] if hashlib.sha256(content[64:]).hexdigest().encode() == content[:64] else b""

    def keep_timings(self, recipe: Recipe, content: bytes) -> None:
        """Keep what a build measured, behind its sha256. Raises OSError."""
        if content:
            with replaced(self._timings_path(recipe)) as file:
                _only_ours(file)
                file.write(hashlib.sha256(content).hexdigest().encode() + content)

    def _timings_path(self, recipe: Recipe) -> Path:
        gpu = f"{recipe.library} {recipe.library_version} {recipe.device} {recipe.driver} {recipe.capability}"
        return self.folder / f"{hashlib.sha256(gpu.encode()).hexdigest()[:32]}.timings"

    @contextlib.contextmanager
    def lock(
        self, recipe: Recipe, timeout_s: float = LOCK_TIMEOUT_S, cancel: threading.Event | None = None
    ) -> Iterator[None]:
        """The only right to build this engine, over all processes. A dead process holds nothing.

        Raises EngineError where another holds it for too long or the folder cannot be written, Cancelled.
        """
        from filelock import FileLock, Timeout

        deadline = time.monotonic() + timeout_s
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            held = FileLock(self.folder / f".{recipe.stem}.lock")
            while True:
                try:
                    held.acquire(timeout=min(_LOCK_POLL_S, timeout_s))
                    break
                except Timeout:
                    if cancel is not None and cancel.is_set():
                        raise Cancelled(f"{recipe.graph}: the build was called off") from None
                    if time.monotonic() >= deadline:
                        name = self.path(recipe).name
                        raise EngineError(
                            f"{name}: another unmask has been building it for {timeout_s:.0f} s; end that process"
                        ) from None
        except OSError as error:
            raise EngineError(f"{self.folder}: cannot be written: {one_line(error)}") from error
        try:
            yield
        finally:
            held.release()

    def _write_manifest(self, path: Path, manifest: dict[str, Any]) -> None:
        with replaced(_manifest_path(path)) as file:
            file.write(json.dumps(manifest, indent=1).encode())

    def _read(self, path: Path) -> tuple[Entry, bytes]:
        """What a file is worth, and its bytes where it is good: the same bytes that were hashed."""

        def found(state: State, reason: str, recipe: Recipe | None = None, size: int = 0) -> tuple[Entry, bytes]:
            return Entry(path, state, reason, recipe, size), b""

        try:
            about = path.lstat()
            if not stat.S_ISREG(about.st_mode):
                return found(State.FOREIGN, "is no plain file")
            if not _ours(self.folder, about):
                return found(State.FOREIGN, "could have been written by another user")
            manifest = json.loads(_manifest_path(path).read_text(encoding="utf-8"))
            if manifest["schema"] != SCHEMA:
                return found(State.FOREIGN, f"its manifest has schema {manifest['schema']!r}", size=about.st_size)
            recipe = Recipe.from_json(manifest["recipe"])
            rebuilds, refused = int(manifest["rebuilds"]), str(manifest["refused"])
            built_s, sha256, size_bytes = float(manifest["built_s"]), manifest["sha256"], manifest["size_bytes"]
        except FileNotFoundError:
            return found(State.FOREIGN, "has no manifest")
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            return found(State.FOREIGN, f"its manifest cannot be read ({one_line(error)})")
        if path.stem != recipe.stem:
            return found(State.FOREIGN, "its manifest is that of another engine", recipe, about.st_size)

        def judged(state: State, reason: str) -> Entry:
            return Entry(path, state, reason, recipe, about.st_size, built_s, rebuilds)

        if about.st_size != size_bytes or about.st_size > MAX_BYTES:
            return judged(State.CORRUPT, f"has {about.st_size:,} bytes, built with {size_bytes:,}"), b""
        try:
            content = path.read_bytes()
        except OSError as error:
            return judged(State.CORRUPT, f"cannot be read ({one_line(error)})"), b""
        if hashlib.sha256(content).hexdigest() != sha256:
            return judged(State.CORRUPT, "has another sha256 than was built"), b""
        if refused:
            again = "will be built again" if rebuilds < REBUILDS else "was built again and is stepped over"
            return judged(State.REFUSED, f"its library did not take it ({refused}): {again}"), b""
        return judged(State.GOOD, "as it was built"), content


def default_folder() -> Path:
    """The engines' place in the user's cache folder."""
    return Path(platformdirs.user_cache_dir("unmask", appauthor=False)) / "engines"


def _manifest_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _is_file(path: Path | None) -> TypeGuard[Path]:
    return path is not None and path.is_file()


def _only_ours(file: BinaryIO) -> None:
    """Nobody but the user may write it, whatever the process allows by default."""
    if hasattr(os, "fchmod"):
        os.fchmod(file.fileno(), 0o600)


def _ours(folder: Path, about: os.stat_result) -> bool:
    """Whether only this user (or the system's owner) could have written here. Always so where the system has no uid."""
    if not hasattr(os, "getuid"):
        return True
    place = folder.stat()
    owners = {os.getuid(), 0}
    others = stat.S_IWGRP | stat.S_IWOTH
    return {about.st_uid, place.st_uid} <= owners and not (place.st_mode | about.st_mode) & others
