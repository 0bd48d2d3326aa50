"""Windows on X11: python-xlib asks about them, XComposite keeps the picture of one whole, libxcb reads it.

A window that XComposite redirects has a pixmap of its own: what lies over it on the screen is not inside, and parts
beyond the screen's edge are. Where the server has no XComposite, the window's part of the screen is read instead.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from monitor.errors import SourceError
from monitor.sources.desktop import Rect, Shot
from monitor.sources.locked import LoginSession
from monitor.sources.windows import MAX_WINDOWS, Window, WindowState, clean_title
from monitor.sources.xcb_image import XcbImages

_ICONIC = 3
"""IconicState of ICCCM 4.1.3.1."""
_SAVER_ON = 1
"""The state `On` of MIT-SCREEN-SAVER."""
_PROPERTY_WORDS = 1024
ASK_EVERY_NS = 100_000_000
"""How often is looked for new windows of this program, and asked whether the watched one is minimised."""
ASK_AGAIN_NS = 1_000_000_000
T = TypeVar("T")


class X11Windows:
    """A connection to the X server that DISPLAY names."""

    def __init__(self) -> None:
        """Connect. Raises SourceError."""
        from Xlib import X, display, error

        self._x = X
        self._lost: tuple[type[BaseException], ...] = (
            error.ConnectionClosedError,
            error.DisplayError,
            error.XNoAuthError,
            OSError,
        )
        self._refused: type[Exception] = error.XError
        self._catch: Callable[..., Any] = error.CatchError
        self._images = XcbImages()  # first: python-xlib leaves sockets open where no server answers
        try:
            with self._alive():
                self._display: Any = display.Display()
        except BaseException:
            self._images.close()
            raise
        self._display.set_error_handler(lambda *_: None)
        self._login = LoginSession()
        self._redirected: set[int] = set()
        self._pids: dict[int, int | None] = {}
        self._hidden: dict[int, tuple[bool, int]] = {}
        """What the window manager said last of the watched window, and when it was asked."""
        self._own: list[Any] = []
        self._own_ns = self._ask_again_ns = 0
        with self._alive():
            self._root: Any = self._display.screen().root
            self.overlapped = not self._has_composite()
            self._has_saver = bool(self._display.has_extension("MIT-SCREEN-SAVER"))

    def windows(self) -> Sequence[Window]:
        with self._alive():
            return [window for one in self._clients() if (window := self._describe(one)) is not None][:MAX_WINDOWS]

    def state(self, handle: int) -> WindowState:
        with self._alive():
            window = self._display.create_resource_object("window", handle)
            attributes = self._ask(window.get_attributes)
            if attributes is None:
                return WindowState.GONE
            if attributes.map_state != self._x.IsViewable:
                return WindowState.MINIMISED
            now_ns = time.monotonic_ns()
            before, asked_ns = self._hidden.get(handle, (False, 0))
            if now_ns - asked_ns >= ASK_EVERY_NS:
                before = self._minimised(window)
                self._hidden = {handle: (before, now_ns)}
            return WindowState.MINIMISED if before else WindowState.SHOWN

    def grab(self, handle: int) -> Shot | None:
        with self._alive():
            window = self._display.create_resource_object("window", handle)
            if self.overlapped:
                return self._grab_from_screen(window)
            return self._grab_pixmap(window, handle)

    def own_rects(self) -> Sequence[Rect]:
        with self._alive():
            now_ns = time.monotonic_ns()
            if now_ns - self._own_ns >= ASK_EVERY_NS:
                self._own_ns = now_ns
                self._look_for_own(now_ns)
            places = (self._place(top) for top in self._own)
            return [place for place in places if place is not None]

    def locked(self) -> bool:
        if self._login.locked():
            return True
        if not self._has_saver:
            return False
        with self._alive():
            info = self._ask(self._root.screensaver_query_info)
            return info is not None and info.state == _SAVER_ON

    def close(self) -> None:
        self._login.close()
        self._images.close()
        try:
            self._display.close()
        except self._lost:
            pass

    # ------------------------------------------------------------------------------------------

    @contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except self._lost as error:
            raise SourceError(
                f"window: the X server does not answer ({' '.join(str(error).split())[:120]}); start unmask inside a "
                "desktop session",
                retryable=True,
            ) from error

    def _ask(self, question: Callable[..., T], *arguments: Any) -> T | None:
        """The answer, or None where the window is gone or will not have it."""
        try:
            return question(*arguments)
        except self._refused:
            return None

    def _has_composite(self) -> bool:
        if not self._display.has_extension("Composite"):
            return False
        version = self._ask(self._display.composite_query_version)
        return version is not None and (version.major_version, version.minor_version) >= (0, 2)

    def _clients(self) -> Iterator[Any]:
        """The windows that the window manager lists; without one, the children of the root that are shown."""
        listed = self._property(self._root, "_NET_CLIENT_LIST")
        if listed is not None:
            for number in listed[:MAX_WINDOWS]:
                yield self._display.create_resource_object("window", int(number))
            return
        tree = self._ask(self._root.query_tree)
        yield from (tree.children if tree is not None else ())

    def _describe(self, window: Any) -> Window | None:
        """The window of another program, None where it is none that could be watched."""
        title = self._title(window)
        attributes = self._ask(window.get_attributes)
        if not title or attributes is None or self._pid(window) == os.getpid():
            return None
        managed = self._property(window, "WM_STATE") is not None
        shown = attributes.map_state == self._x.IsViewable
        place = self._place(window, shown_only=False)
        if place is None or (not shown and not managed):
            return None
        return Window(int(window.id), title, place, minimised=not shown or self._minimised(window))

    def _title(self, window: Any) -> str:
        for name in ("_NET_WM_NAME", "WM_NAME"):
            value = self._property(window, name)
            if isinstance(value, bytes):
                value = value.decode("utf-8" if name == "_NET_WM_NAME" else "latin-1", errors="replace")
            if isinstance(value, str) and (title := clean_title(value)):
                return title
        return ""

    def _minimised(self, window: Any) -> bool:
        state = self._property(window, "WM_STATE")
        if state is not None and len(state) and int(state[0]) == _ICONIC:
            return True
        hidden = self._display.get_atom("_NET_WM_STATE_HIDDEN")
        return hidden in list(self._property(window, "_NET_WM_STATE") or ())

    def _look_for_own(self, now_ns: int) -> None:
        """Find this program's windows among the children of the root; each child is asked once, and again a second
        later where it does not say whose it is."""
        tree = self._ask(self._root.query_tree)
        tops = [] if tree is None else tree.children
        asked = {number: pid for number, pid in self._pids.items() if pid is not None or now_ns < self._ask_again_ns}
        if now_ns >= self._ask_again_ns:
            self._ask_again_ns = now_ns + ASK_AGAIN_NS
        self._pids = {top.id: asked[top.id] if top.id in asked else self._pid_within(top) for top in tops}
        self._own = [top for top in tops if self._pids[top.id] == os.getpid()]

    def _pid(self, window: Any) -> int | None:
        value = self._property(window, "_NET_WM_PID")
        return int(value[0]) if value is not None and len(value) else None

    def _pid_within(self, top: Any) -> int | None:
        """The program of a window of the root: its own, or that of the window which a manager has put a frame round."""
        pid = self._pid(top)
        if pid is not None:
            return pid
        tree = self._ask(top.query_tree)
        inner = (self._pid(child) for child in (tree.children[:8] if tree is not None else ()))
        return next((pid for pid in inner if pid is not None), None)

    def _property(self, window: Any, name: str) -> Any:
        atom = self._display.get_atom(name)
        answer = self._ask(window.get_property, atom, self._x.AnyPropertyType, 0, _PROPERTY_WORDS)
        return None if answer is None else answer.value

    def _place(self, window: Any, *, shown_only: bool = True) -> Rect | None:
        """Where the window lies on the desktop, None where it is gone or, if asked, not shown."""
        if shown_only:
            attributes = self._ask(window.get_attributes)
            if attributes is None or attributes.map_state != self._x.IsViewable:
                return None
        size = self._ask(window.get_geometry)
        corner = self._ask(self._root.translate_coords, window, 0, 0)
        if size is None or corner is None:
            return None
        return Rect(corner.x, corner.y, size.width, size.height)

    def _grab_pixmap(self, window: Any, handle: int) -> Shot | None:
        """The window's own pixmap, named anew each time: it is another one after each change of size."""
        if handle not in self._redirected:
            from Xlib.ext import composite

            caught = self._catch()
            window.composite_redirect_window(composite.RedirectAutomatic, onerror=caught)
            self._display.sync()
            self._redirected.add(handle)
        caught = self._catch()
        pixmap = window.composite_name_window_pixmap(onerror=caught)
        size = self._ask(pixmap.get_geometry)
        if size is None:
            return None
        try:
            return self._images.grab(pixmap.id, 0, 0, size.width, size.height)
        finally:
            pixmap.free()
            self._display.flush()

    def _grab_from_screen(self, window: Any) -> Shot | None:
        place = self._place(window)
        screen = self._ask(self._root.get_geometry)
        if place is None or screen is None:
            return None
        seen = place.overlap(Rect(0, 0, screen.width, screen.height))
        if seen is None:
            return None
        return self._images.grab(self._root.id, seen.left, seen.top, seen.width, seen.height)
