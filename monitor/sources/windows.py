"""The windows of other programs: what there are, how each stands, what it shows; one system behind one Protocol.

X11 is in `windows_x11`, Windows in `windows_win32`, macOS in `windows_macos`. Wayland tells no program of another's
windows; there the desktop's own dialog chooses (`portal`).
"""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from monitor.errors import SourceError
from monitor.sources.address import WindowAddress
from monitor.sources.desktop import Rect, Shot

MAX_WINDOWS = 1000
MAX_TITLE_CHARS = 256
SHOWN_TITLES = 12
SHOWN_TITLE_CHARS = 60


@dataclass(frozen=True, slots=True)
class Window:
    """One window of another program. `handle` is the system's own number for it."""

    handle: int
    title: str
    rect: Rect
    minimised: bool = False


class WindowState(enum.Enum):
    """How a window stands."""

    SHOWN = "shown"
    MINIMISED = "minimised"
    PROTECTED = "protected"
    """Its program does not let it be captured."""
    GONE = "gone"


class WindowSystem(Protocol):
    """What the system tells of windows. Used by one thread only. Every method raises SourceError."""

    overlapped: bool
    """True where windows that lie over the watched one are in its picture."""

    def windows(self) -> Sequence[Window]:
        """The windows of other programs that have a title, in the system's order."""
        ...

    def state(self, handle: int) -> WindowState: ...

    def grab(self, handle: int) -> Shot | None:
        """What the window shows now; None where it shows nothing just now."""
        ...

    def own_rects(self) -> Sequence[Rect]:
        """Where this program's own windows lie on the desktop and would be in a picture of it."""
        ...

    def locked(self) -> bool:
        """Whether the screen is locked, as far as the system tells."""
        ...

    def close(self) -> None: ...


def open_window_system(platform: str = sys.platform, environment: Mapping[str, str] = os.environ) -> WindowSystem:
    """Connect to the system's windows. Raises SourceError where it tells nothing of them."""
    if platform == "win32":
        from monitor.sources.windows_win32 import Win32Windows

        return Win32Windows()
    if platform == "darwin":
        from monitor.sources.windows_macos import MacWindows

        return MacWindows()
    if platform == "linux" and environment.get("DISPLAY"):
        from monitor.sources.windows_x11 import X11Windows

        return X11Windows()
    if platform == "linux" and environment.get("WAYLAND_DISPLAY"):
        raise SourceError("window: Wayland tells no program of another's windows; use portal: and choose there")
    raise SourceError("window: there is no display (DISPLAY is not set); start unmask inside a desktop session")


def find_window(address: WindowAddress, windows: Sequence[Window]) -> Window:
    """The window that is meant: by number, by its whole title, or by a part of a title that only one has.

    Raises SourceError, retryable, naming the windows that are there.
    """
    if address.handle is not None:
        matches = [window for window in windows if window.handle == address.handle]
    else:
        wanted = (address.title or "").casefold()
        matches = [window for window in windows if window.title.casefold() == wanted]
        matches = matches or [window for window in windows if wanted in window.title.casefold()]
    if not matches:
        raise SourceError(f"{address}: there is no such window; the windows are: {_titles(windows)}", retryable=True)
    if len(matches) > 1:
        same = len({window.title for window in matches}) == 1
        what = "write window:?id= and its number from 'unmask sources'" if same else "give the whole title"
        raise SourceError(f"{address}: {len(matches)} windows match: {_titles(matches)}; {what}", retryable=True)
    return matches[0]


def _titles(windows: Sequence[Window]) -> str:
    titles = [repr(window.title[:SHOWN_TITLE_CHARS]) for window in windows[:SHOWN_TITLES]]
    if len(windows) > SHOWN_TITLES:
        titles.append(f"and {len(windows) - SHOWN_TITLES} more")
    return ", ".join(titles) or "none"


def clean_title(title: str) -> str:
    """A title on one line and of bounded length: it comes from another program."""
    printable = "".join(c if c.isprintable() else " " for c in title[: 4 * MAX_TITLE_CHARS])
    return " ".join(printable.split())[:MAX_TITLE_CHARS]
