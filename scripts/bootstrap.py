"""Makes what unmask runs in: `.venv` in the repository, the packages in it, and the checked face model.

`prepare` does only what is missing, so that a second run takes a second; what it does goes to standard error, one
line a step, because standard output belongs to unmask. Standard library only, and written so that Python 3.6 can
still read the file and say that it is too old.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - older ones are who this line is for
    sys.stderr.write(
        "unmask setup: Python 3.11 or newer is needed, this is %d.%d (%s). Install one from python.org or your "  # noqa: UP031
        "system's packages, and start this script with it: python3.12 %s\n"
        % (sys.version_info[0], sys.version_info[1], sys.executable, sys.argv[0])
    )
    sys.exit(10)

import contextlib
import hashlib
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from environment import Environment
from setup_steps import Exit, SetupError, say

REPO = Path(__file__).resolve().parent.parent


def prepare(extras: Iterable[str] = (), groups: Iterable[str] = ("core",), lenient: bool = False) -> Environment:
    """Make the environment ready and return it. Raises `SetupError`.

    `groups` are the system libraries that will be needed. `lenient` goes on without libraries and face model: then
    unmask itself says what it lacks.
    """
    environment = Environment(REPO)
    with one_at_a_time():
        environment.make()
        environment.install(extras)
        for step in (lambda: environment.check_libraries(groups), environment.fetch_face_model):
            try:
                step()
            except SetupError as error:
                if not lenient:
                    raise
                say(str(error))
    return environment


def run_main(main: Callable[[], int]) -> None:
    """Run a script's `main` and exit: a SetupError is one message and its code, Ctrl-C and SIGTERM leave no child."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(Exit.TERMINATED))
    try:
        sys.exit(main())
    except SetupError as error:
        say(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(Exit.INTERRUPTED)


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other process sets up this repository. The lock dies with its process."""
    take, release = _lock()
    try:
        if not take():
            say("another setup of this folder is running; waiting for it")
            while not take():
                time.sleep(0.3)
        yield
    finally:
        release()


def _lock() -> tuple[Callable[[], bool], Callable[[], None]]:
    """(take, release): `take` says whether this process now holds the lock."""
    if os.name == "nt":
        import msvcrt

        name = "unmask-setup-" + hashlib.sha256(str(REPO).encode()).hexdigest()[:16] + ".lock"
        descriptor = os.open(Path(tempfile.gettempdir()) / name, os.O_RDWR | os.O_CREAT)
        held_elsewhere = PermissionError

        def attempt() -> None:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        descriptor = os.open(REPO, os.O_RDONLY)
        held_elsewhere = BlockingIOError

        def attempt() -> None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def take() -> bool:
        try:
            attempt()
        except held_elsewhere:
            return False
        except OSError:
            pass  # a file system without locks: better two at once than none
        return True

    return take, lambda: os.close(descriptor)
