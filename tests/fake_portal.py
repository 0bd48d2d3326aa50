"""A desktop portal that shares a screen, on a private D-Bus: it answers as a user would who chooses at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from jeepney import (
    DBusAddress,
    HeaderFields,
    Message,
    MessageType,
    message_bus,
    new_error,
    new_method_return,
    new_signal,
)
from jeepney.io.blocking import open_dbus_connection

DESKTOP = "/org/freedesktop/portal/desktop"


@dataclass(slots=True)
class Script:
    """What the user and the desktop do, and what they were asked."""

    answer: int = 0
    """The code of Start's Response: 0 chosen, 1 declined."""
    answers: bool = True
    """False leaves the dialog open."""
    version: int = 4
    token: str | None = "remember-me-1"
    node: int = 42
    remote: Callable[[], int] = lambda: os.open(os.devnull, os.O_RDONLY)
    selected: dict[str, Any] = field(default_factory=dict)
    started: threading.Event = field(default_factory=threading.Event)
    end: threading.Event = field(default_factory=threading.Event)
    """Set to end the session from the desktop's side."""


@contextmanager
def private_bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A D-Bus of its own; DBUS_SESSION_BUS_ADDRESS names it."""
    binary = shutil.which("dbus-daemon")
    if binary is None:
        pytest.skip("dbus-daemon is not installed")
    daemon = subprocess.Popen(
        [binary, "--session", "--nofork", "--print-address=1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert daemon.stdout is not None
    try:
        address = daemon.stdout.readline().decode().strip()
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        yield address
    finally:
        daemon.terminate()
        daemon.wait(10)
        daemon.stdout.close()


@contextmanager
def logind(locked: Callable[[], bool]) -> Iterator[None]:
    """systemd-logind on the bus that DBUS_SYSTEM_BUS_ADDRESS names; it says whether the session is locked."""
    connection = open_dbus_connection("SYSTEM")
    connection.send_and_get_reply(message_bus.RequestName("org.freedesktop.login1"))
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                message = connection.receive(timeout=0.05)
            except TimeoutError:
                continue
            if message.header.message_type is MessageType.method_call:
                assert message.body[1] == "LockedHint"
                connection.send(new_method_return(message, "v", (("b", locked()),)))

    thread = threading.Thread(target=serve, name="fake-logind", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        connection.close()


@contextmanager
def portal(script: Script) -> Iterator[None]:
    """The portal on the bus that DBUS_SESSION_BUS_ADDRESS names."""
    connection = open_dbus_connection("SESSION", enable_fds=True)
    connection.send_and_get_reply(message_bus.RequestName("org.freedesktop.portal.Desktop"))
    stop = threading.Event()
    thread = threading.Thread(target=_serve, args=(connection, script, stop), name="fake-portal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        connection.close()


def _serve(connection: Any, script: Script, stop: threading.Event) -> None:
    session = ""
    while not stop.is_set():
        if script.end.is_set() and session:
            script.end.clear()
            emitter = DBusAddress(session, interface="org.freedesktop.portal.Session")
            connection.send(new_signal(emitter, "Closed"))
        try:
            message = connection.receive(timeout=0.05)
        except TimeoutError:
            continue
        if message.header.message_type is not MessageType.method_call:
            continue
        session = _answer(connection, script, message, session)


def _answer(connection: Any, script: Script, message: Message, session: str) -> str:
    member = message.header.fields[HeaderFields.member]
    if member == "Get":
        connection.send(new_method_return(message, "v", (("u", script.version),)))
        return session
    if member == "OpenPipeWireRemote":
        handle = script.remote()
        connection.send(new_method_return(message, "h", (handle,)))
        os.close(handle)
        return session
    if member not in ("CreateSession", "SelectSources", "Start"):
        connection.send(new_error(message, "org.freedesktop.DBus.Error.UnknownMethod", "s", ("no such method",)))
        return session
    options = message.body[-1]
    sender = message.header.fields[HeaderFields.sender].removeprefix(":").replace(".", "_")
    request = f"{DESKTOP}/request/{sender}/{options['handle_token'][1]}"
    connection.send(new_method_return(message, "o", (request,)))
    results: dict[str, Any] = {}
    code = 0
    if member == "CreateSession":
        session = f"{DESKTOP}/session/{sender}/{options['session_handle_token'][1]}"
        results["session_handle"] = ("s", session)
    elif member == "SelectSources":
        script.selected = {key: value for key, (_, value) in options.items()}
    else:
        code = script.answer
        results["streams"] = ("a(ua{sv})", [(script.node, {"size": ("(ii)", (320, 240))})])
        if script.token is not None:
            results["restore_token"] = ("s", script.token)
        script.started.set()
        if not script.answers:
            return session
    emitter = DBusAddress(request, interface="org.freedesktop.portal.Request")
    connection.send(new_signal(emitter, "Response", "ua{sv}", (code, results if code == 0 else {})))
    return session
