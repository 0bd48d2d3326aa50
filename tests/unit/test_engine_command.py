"""`unmask engines`: lists, builds, checks and deletes, in a table and in JSON, with one line for what is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from engines.build import builder
from engines.build.cache import EngineCache
from engines.runtimes.tensorrt_kind import Kind
from monitor.cli import main

COMPILER = """
import hashlib, json, sys
from pathlib import Path
folder = Path(sys.argv[1]).parent
recipe = json.loads(Path(sys.argv[1]).read_text())["recipe"]
if recipe["capability"] == "sm75": sys.exit("no such chip")
content = (recipe["graph"] + recipe["capability"]).encode()
(folder / "engine").write_bytes(content)
print(json.dumps({"sha256": hashlib.sha256(content).hexdigest()}), flush=True)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT for RTX seems installed, with a compiler that takes no time, on a machine without a GPU."""
    script = tmp_path / "compiler.py"
    script.write_text(COMPILER)
    monkeypatch.setattr(Kind, "missing", lambda kind: None if kind.ahead_of_time else "tensorrt is not installed")
    monkeypatch.setattr(Kind, "version", lambda kind: "1.7")
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    real = builder.ensure

    def ensure(*arguments: Any, **options: Any) -> bool:
        return real(*arguments, **options, compiler=(sys.executable, "-S", str(script)))

    monkeypatch.setattr(builder, "ensure", ensure)


def run(capsys: pytest.CaptureFixture[str], *command: str) -> tuple[int, str, str]:
    status = main(["engines", *command])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.mark.usefixtures("installed")
def test_engines_are_built_listed_checked_and_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "build", "--for", "sm86,SM120")
    assert status == 0
    assert [line.split()[:4] for line in out.splitlines()[1:]] == [
        ["encoder.onnx", "tensorrt-rtx", "1.7", "sm86"],
        ["head.onnx", "tensorrt-rtx", "1.7", "sm86"],
        ["encoder.onnx", "tensorrt-rtx", "1.7", "sm120"],
        ["head.onnx", "tensorrt-rtx", "1.7", "sm120"],
    ]
    assert "unmask: head.onnx for sm120: 100 % built" in err
    again = json.loads(run(capsys, "build", "--for", "sm86", "--json")[1])
    assert [row["built_now"] for row in again["engines"]] == [False, False]
    assert run(capsys, "verify")[0] == 0
    cache = EngineCache()
    spoilt = cache.entries()[0].path
    spoilt.write_bytes(b"x" * spoilt.stat().st_size)
    status, out, _ = run(capsys, "verify", "--json")
    assert status == 5
    states = {row["file"]: row["state"] for row in json.loads(out)["engines"]}
    assert states.pop(spoilt.name) == "corrupt"
    assert set(states.values()) == {"good"}
    assert "corrupt: has another sha256 than was built" in run(capsys, "list")[1]
    assert json.loads(run(capsys, "clean", "--json")[1])["removed"][0]["file"] == spoilt.name
    assert len(cache.entries()) == 3
    assert run(capsys, "clean", "--all")[1].startswith("3 engines (")
    assert run(capsys, "verify") == (0, f"no engines in {cache.folder}\n", "")


@pytest.mark.usefixtures("installed")
def test_what_today_would_not_be_opened_is_stale(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, "build", "--for", "sm86")
    monkeypatch.setattr(Kind, "version", lambda kind: "1.8")
    status, out, _ = run(capsys, "verify")
    assert status == 5
    assert "stale: built with tensorrt-rtx 1.7, here is 1.8" in out
    assert run(capsys, "clean")[1].startswith("2 engines")


WRONG = {
    "a chip it does not know": (["build", "--for", "sm90"], 5, "not for sm90; tensorrt or cuda may run there"),
    "no chip": (["build", "--for", "turing"], 2, "expected compute capabilities like sm86,sm120, found 'turing'"),
    "no GPU": (["build"], 5, "no NVIDIA driver is installed here; name what to build for with --for"),
    "not installed": (["build", "--runtime", "tensorrt"], 5, "tensorrt is not installed"),
    "a compiler that fails": (["build", "--for", "sm75"], 5, "failed with status 1: no such chip"),
    "nothing to do": ([], 2, "WHAT"),
}


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("command", "status", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_one_line(
    capsys: pytest.CaptureFixture[str], command: list[str], status: int, sentence: str
) -> None:
    found, out, err = run(capsys, *command)
    assert (found, out) == (status, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_with_nothing_installed_the_list_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Kind, "missing", lambda kind: f"the package {kind.name} is not installed")
    status, out, _ = run(capsys, "list", "--json")
    assert status == 0
    document = json.loads(out)
    assert document["schema"] == "unmask.engines/1"
    assert [one["cannot_run_here"] for one in document["libraries"]] == [
        "the package tensorrt is not installed",
        "the package tensorrt-rtx is not installed",
    ]
    assert document["engines"] == []
