"""Is the session locked? As systemd-logind is told by the desktop (LockedHint; GNOME, KDE and others set it)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

ANSWER_S = 0.5
_SOCKET = Path("/run/dbus/system_bus_socket")


class LoginSession:
    """The login session of this process. Where there is no logind it is never locked. For one thread."""

    def __init__(self) -> None:
        self._bus: Any = None
        if "DBUS_SYSTEM_BUS_ADDRESS" not in os.environ and not _SOCKET.exists():
            return
        from jeepney.io.blocking import open_dbus_connection

        try:
            self._bus = open_dbus_connection("SYSTEM")
        except (OSError, KeyError, ValueError):
            self._bus = None

    def locked(self) -> bool:
        """Whether the desktop says that it is locked; waits half a second at most."""
        if self._bus is None:
            return False
        from jeepney import DBusAddress, MessageType, Properties

        session = DBusAddress(
            "/org/freedesktop/login1/session/auto", "org.freedesktop.login1", "org.freedesktop.login1.Session"
        )
        try:
            reply = self._bus.send_and_get_reply(Properties(session).get("LockedHint"), timeout=ANSWER_S)
        except (OSError, EOFError, TimeoutError):
            self.close()
            return False
        if reply.header.message_type is MessageType.error:
            self.close()
            return False
        return bool(reply.body[0][1])

    def close(self) -> None:
        """Disconnect; may be called again."""
        if self._bus is not None:
            self._bus.close()
            self._bus = None
