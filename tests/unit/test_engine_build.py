"""Building and keeping engines: nothing that a compiler, a disk or another process does may harm the monitor."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from engines.build import builder, cache
from engines.build.builder import ensure
from engines.build.cache import Cancelled, EngineCache, State
from engines.build.recipe import Recipe, recipe_of
from engines.errors import EngineError
from engines.runtimes.tensorrt_device import Gpu
from engines.runtimes.tensorrt_kind import RTX, TENSORRT

FAKE = """
import hashlib, json, os, sys, time
from pathlib import Path
folder = Path(sys.argv[1]).parent
recipe = json.loads(Path(sys.argv[1]).read_text())["recipe"]
def say(**what): print(json.dumps(what), flush=True)
def write(content):
    (folder / "engine").write_bytes(content)
    say(sha256=hashlib.sha256(content).hexdigest())
with open({count!r}, "a") as runs: runs.write("x")
say(progress=0.5, text="half way")
print("a library's own chatter {{", flush=True)
"""

RECIPE = Recipe("encoder.onnx", "a" * 64, "tensorrt-rtx", "1.7", "sm86")


class Workshop:
    """A cache, a graph and compilers of any behaviour."""

    def __init__(self, folder: Path) -> None:
        self.cache = EngineCache(folder / "engines")
        self.graph = folder / "encoder.onnx"
        self.graph.write_bytes(b"graph")
        self.count = folder / "runs"
        self.script = folder / "compiler.py"
        self.behave("write(b'engine of ' + recipe['capability'].encode())")

    def behave(self, code: str) -> None:
        self.script.write_text(FAKE.format(count=str(self.count)) + code)

    def build(self, recipe: Recipe = RECIPE, **options: object) -> bool:
        command = (sys.executable, "-S", str(self.script))
        return ensure(recipe, self.graph, self.cache, compiler=command, **options)  # type: ignore[arg-type]

    @property
    def runs(self) -> int:
        return len(self.count.read_text()) if self.count.exists() else 0

    def left_over(self) -> list[str]:
        """Files in the cache that are neither an engine, nor a manifest, nor a lock."""
        names = [path.name for path in self.cache.folder.iterdir()]
        return [name for name in names if not name.endswith((".engine", ".json", ".lock"))]


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_an_engine_is_built_once_and_read_back(shop: Workshop) -> None:
    said: list[tuple[float, str]] = []
    assert shop.build(progress=lambda done, text: said.append((done, text)))
    assert not shop.build()
    assert shop.cache.load(RECIPE) == b"engine of sm86"
    assert said == [(0.5, "half way"), (1.0, "built")]
    assert (shop.runs, shop.left_over()) == (1, [])
    assert shop.build(force=True)
    assert shop.runs == 2


FAILURES = {
    "crash": ("os.abort()", r"was ended by signal 6"),
    "error": ("print('no such layer', file=sys.stderr); sys.exit(1)", r"failed with status 1: no such layer"),
    "nothing": ("", r"ended without an engine"),
    "rubbish": ("write(b'x'); (folder / 'engine').write_bytes(b'y')", r"the builder left 1 bytes of something else"),
    "empty": ("write(b'')", r"the builder left 0 bytes"),
    "lost": ("write(b'x'); (folder / 'engine').unlink()", r"cannot be kept"),
    "hang": ("time.sleep(60)", r"said nothing for 0.5 s and was ended"),
    "deaf": ("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)", r"said nothing for"),
}


@pytest.mark.parametrize(("code", "sentence"), FAILURES.values(), ids=FAILURES.keys())
def test_a_compiler_that_fails_is_one_line_and_leaves_nothing(
    shop: Workshop, code: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "_GRACE_S", 0.2)
    shop.behave(code)
    with pytest.raises(EngineError, match=sentence) as caught:
        shop.build(stall_s=0.5 if "sleep" in code else 60.0)
    assert "\n" not in str(caught.value)
    assert shop.left_over() == []
    assert shop.cache.entries() == ()
    shop.behave("write(b'good')")
    assert shop.build()


def test_a_compiler_that_is_killed_is_one_line(shop: Workshop) -> None:
    shop.behave(f"os.kill(os.getpid(), {int(signal.SIGKILL)})")
    with pytest.raises(EngineError, match="was ended by signal 9"):
        shop.build()
    assert shop.left_over() == []


def test_a_build_can_be_called_off(shop: Workshop) -> None:
    shop.behave("time.sleep(60)")
    cancel = threading.Event()
    start = time.monotonic()
    with pytest.raises(Cancelled, match="called off"):
        shop.build(cancel=cancel, progress=lambda done, text: cancel.set())
    assert time.monotonic() - start < 30
    assert (shop.left_over(), shop.cache.entries()) == ([], ())


def test_two_at_once_build_one(shop: Workshop) -> None:
    shop.behave("time.sleep(0.5); write(b'engine')")
    built: list[bool] = []
    threads = [threading.Thread(target=lambda: built.append(shop.build())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(built) == [False, True]
    assert shop.runs == 1


ANOTHER_UNMASK = """
import sys
from pathlib import Path
from engines.build.builder import ensure
from engines.build.cache import EngineCache
from engines.build.recipe import Recipe
script, graph, folder = sys.argv[1:]
recipe = Recipe("encoder.onnx", "a" * 64, "tensorrt-rtx", "1.7", "sm86")
print(ensure(recipe, Path(graph), EngineCache(Path(folder)), compiler=(sys.executable, "-S", script)))
"""


def another_unmask(shop: Workshop) -> subprocess.Popen[str]:
    """A process of its own that builds the same engine."""
    command = [sys.executable, "-c", ANOTHER_UNMASK, str(shop.script), str(shop.graph), str(shop.cache.folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[2])


def until(wanted: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60.0
    while not wanted():
        assert time.monotonic() < deadline, "not seen within a minute"
        time.sleep(0.02)


def test_two_processes_at_once_build_one(shop: Workshop, tmp_path: Path) -> None:
    shop.behave(f"while not Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.01)\nwrite(b'engine')")
    with another_unmask(shop) as one, another_unmask(shop) as other:
        until(lambda: shop.cache.progress(RECIPE) == "50 %, half way")
        (tmp_path / "go").touch()
        said = sorted(process.communicate(timeout=60)[0].strip() for process in (one, other))
    assert said == ["False", "True"]
    assert (shop.runs, shop.left_over()) == (1, [])
    assert shop.cache.progress(RECIPE) is None
    assert shop.cache.load(RECIPE) == b"engine"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="killing in the middle is a matter of POSIX signals here")
def test_a_process_that_is_killed_in_the_middle_of_a_build_holds_up_nobody(shop: Workshop, tmp_path: Path) -> None:
    shop.behave(f"while not Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.01)")
    with another_unmask(shop) as one:
        until(lambda: shop.cache.progress(RECIPE) is not None and shop.runs == 1)
        one.kill()
    assert shop.cache.wants_building(RECIPE)
    shop.behave("write(b'engine')")
    assert shop.build()
    assert shop.cache.load(RECIPE) == b"engine"
    (tmp_path / "go").touch()  # the compiler that was left alone ends too
    assert shop.cache.sweep() == 1
    assert shop.left_over() == []


def test_one_that_waits_for_another_can_be_called_off(shop: Workshop) -> None:
    cancel = threading.Event()
    cancel.set()
    with shop.cache.lock(RECIPE), pytest.raises(Cancelled):
        shop.build(cancel=cancel)
    twice = pytest.raises(EngineError, match="another unmask has been building it")
    with shop.cache.lock(RECIPE), twice, shop.cache.lock(RECIPE, timeout_s=0.05):
        pytest.fail("two hold one lock")


def test_a_full_disk_is_one_line_and_spoils_nothing(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.build()

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(cache.os, "fsync", full)
        with pytest.raises(EngineError, match=r"cannot be kept: .*No space left on device; free some space"):
            shop.build(force=True)
    assert shop.left_over() == []
    assert shop.cache.load(RECIPE) == b"engine of sm86"


def test_a_folder_that_cannot_be_made_is_one_line(shop: Workshop) -> None:
    shop.cache.folder.write_text("a file in the way")
    with pytest.raises(EngineError, match="cannot be written"):
        shop.build()


def _damage_manifest(shop: Workshop, **changes: object) -> None:
    path = shop.cache.path(RECIPE).with_suffix(".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _swap_for_link(shop: Workshop) -> None:
    path = shop.cache.path(RECIPE)
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


DAMAGE = {
    "one byte": (lambda s: s.cache.path(RECIPE).write_bytes(b"Engine of sm86"), State.CORRUPT, "another sha256"),
    "cut": (lambda s: s.cache.path(RECIPE).write_bytes(b"engine"), State.CORRUPT, "has 6 bytes, built with 14"),
    "no manifest": (lambda s: s.cache.path(RECIPE).with_suffix(".json").unlink(), State.FOREIGN, "no manifest"),
    "not ours": (lambda s: _damage_manifest(s, schema="theirs/1"), State.FOREIGN, "schema 'theirs/1'"),
    "no JSON": (
        lambda s: s.cache.path(RECIPE).with_suffix(".json").write_bytes(b"\x80\x04."),
        State.FOREIGN,
        "cannot be read",
    ),
    "another's": (
        lambda s: _damage_manifest(s, recipe=asdict(replace(RECIPE, capability="sm89"))),
        State.FOREIGN,
        "that of another engine",
    ),
    "no recipe": (lambda s: _damage_manifest(s, recipe={"a": 1}), State.FOREIGN, "cannot be read"),
    "a link": (_swap_for_link, State.FOREIGN, "is no plain file"),
    "open to all": (lambda s: s.cache.path(RECIPE).chmod(0o666), State.FOREIGN, "written by another user"),
    "open folder": (lambda s: s.cache.folder.chmod(0o777), State.FOREIGN, "written by another user"),
}


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners and links are a matter of POSIX")
@pytest.mark.parametrize(("damage", "state", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
def test_what_is_not_as_it_was_built_is_never_loaded_and_built_again(
    shop: Workshop, damage: object, state: State, reason: str
) -> None:
    shop.build()
    damage(shop)  # type: ignore[operator]
    with pytest.raises(EngineError, match=f"{reason}.*unmask engines build"):
        shop.cache.load(RECIPE)
    (entry,) = shop.cache.entries()
    assert entry.state is state
    if reason != "written by another user" or shop.cache.folder.stat().st_mode & 0o077 == 0:
        assert shop.build()
        assert shop.cache.load(RECIPE) == b"engine of sm86"


def test_an_engine_that_the_library_refuses_is_built_once_more_then_stepped_over(shop: Workshop) -> None:
    shop.build()
    shop.cache.refuse(RECIPE, "wrong version")
    with pytest.raises(EngineError, match=r"did not take it \(wrong version\): will be built again"):
        shop.cache.load(RECIPE)
    assert shop.build()
    assert shop.cache.load(RECIPE)
    shop.cache.refuse(RECIPE, "wrong version")
    with pytest.raises(EngineError, match=r"was built again and is stepped over; `unmask engines build --force`"):
        shop.build()
    assert shop.runs == 2
    assert shop.build(force=True)


@pytest.mark.parametrize(
    "change",
    [
        {"driver": "580.1 cuda 13.0"},
        {"device": "another GPU"},
        {"capability": "sm89"},
        {"library_version": "1.8"},
        {"graph_sha256": "b" * 64},
        {"batches": (1, 4, 64)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_differs_makes_another_engine(shop: Workshop, change: dict[str, object]) -> None:
    shop.build()
    with pytest.raises(EngineError, match="not built yet"):
        shop.cache.load(replace(RECIPE, **change))


def test_what_killed_builds_left_is_swept_and_a_running_build_is_not(shop: Workshop) -> None:
    shop.build()
    other = replace(RECIPE, capability="sm89")
    for recipe in (RECIPE, other):
        draft = shop.cache.folder / f"{recipe.stem}.draft.abc"
        draft.mkdir()
        (draft / "engine").write_bytes(b"half")
    (shop.cache.folder / "orphan.json").write_text("{}")
    with shop.cache.lock(other):
        assert shop.cache.sweep() == 2
    assert shop.left_over() == [f"{other.stem}.draft.abc"]
    assert shop.cache.load(RECIPE)


def test_timings_are_kept_with_their_hash_and_given_to_the_next_build(shop: Workshop) -> None:
    timed = "before = (folder / 'timings').read_bytes(); (folder / 'timings').write_bytes(before + b't');"
    shop.behave(f"{timed} write(before or b'none')")
    shop.build()
    assert shop.cache.timings(RECIPE) == b"t"
    shop.build(force=True)
    assert shop.cache.load(RECIPE) == b"t"
    (path,) = shop.cache.folder.glob("*.timings")
    path.write_bytes(hashlib.sha256(b"t").hexdigest().encode() + b"other")
    assert shop.cache.timings(RECIPE) == b""


def test_a_recipe_holds_what_the_library_can_build(tmp_path: Path) -> None:
    graph = tmp_path / "head.onnx"
    graph.write_bytes(b"graph")
    gpu = Gpu("H200", "sm90", "580 cuda 13.0")
    ahead = recipe_of(graph, RTX, "sm86", gpu)
    assert (ahead.device, ahead.driver, ahead.graph_sha256) == ("", "", hashlib.sha256(b"graph").hexdigest())
    here = recipe_of(graph, TENSORRT, "sm90", gpu)
    assert (here.device, here.driver) == ("H200", "580 cuda 13.0")
    with pytest.raises(EngineError, match=r"TensorRT for RTX builds for sm75, .*, not for sm90"):
        recipe_of(graph, RTX, "sm90", gpu)
    with pytest.raises(EngineError, match="only for the GPU at hand: found sm90, asked for sm86"):
        recipe_of(graph, TENSORRT, "sm86", gpu)
    with pytest.raises(EngineError, match=r"found '../x', expected one like sm86"):
        recipe_of(graph, RTX, "../x")
