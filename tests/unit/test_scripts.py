"""The setup scripts, on a small project with a build backend of its own: no network, no package of others."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def load(name: str) -> ModuleType:
    """A module of scripts/, which is no package: the scripts find each other by lying in one folder."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        spec = importlib.util.spec_from_file_location(f"scripts_{name}", SCRIPTS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SCRIPTS))
    return module


bootstrap, run, test = load("bootstrap"), load("run"), load("test")
environment, libraries, setup_steps = (sys.modules[name] for name in ("environment", "libraries", "setup_steps"))
Environment, SetupError, Exit = environment.Environment, setup_steps.SetupError, setup_steps.Exit

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "unmask"
version = "0"
"""
BACKEND = '''
"""Builds an editable wheel with nothing but the standard library."""
import pathlib, zipfile

METADATA = """Metadata-Version: 2.1
Name: unmask
Version: 0
Provides-Extra: dev
Provides-Extra: far
Requires-Dist: no-such-package-of-unmask; extra == "far"
"""

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "unmask-0-py3-none-any.whl"
    files = {
        "unmask_path.pth": str(pathlib.Path.cwd()),
        "unmask-0.dist-info/METADATA": METADATA,
        "unmask-0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        "unmask-0.dist-info/entry_points.txt": "[console_scripts]\\nunmask = app:main\\n",
    }
    record = "".join(f"{path},,\\n" for path in [*files, "unmask-0.dist-info/RECORD"])
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w") as wheel:
        for path, text in {**files, "unmask-0.dist-info/RECORD": record}.items():
            wheel.writestr(path, text)
    return name

build_wheel = build_editable
'''
APP = """
import json, os, sys

def main():
    print(json.dumps({"arguments": sys.argv[1:], "folder": os.getcwd()}))
    return 7
"""
ASSETS = """
import os, sys
print("unmask: fetching the face model", file=sys.stderr)
print("/path/of/the/model")
sys.exit(int(os.environ.get("MODEL_STATUS", "0")))
"""


@pytest.fixture(autouse=True)
def _no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project with its environment made and installed."""
    repo = tmp_path_factory.mktemp("project") / "unmask"
    (repo / "engines").mkdir(parents=True)
    for name, text in {
        "pyproject.toml": PYPROJECT,
        "backend.py": BACKEND,
        "app.py": APP,
        "engines/assets.py": ASSETS,
    }.items():
        (repo / name).write_text(text)
    shutil.copytree(SCRIPTS, repo / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        made = Environment(repo)
        made.make()
        made.install([])
    return repo


@pytest.fixture
def repo(ready: Path) -> Path:
    """The same project; what a test breaks in it is rebuilt by the next `Environment.make`."""
    made = Environment(ready)
    made.make()
    made.install([])
    return ready


def run_script(repo: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(repo / "scripts" / "run.py"), *arguments],
        cwd=repo.parent,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# ------------------------------------------------------------------------------------------- before the environment


@pytest.mark.parametrize("name", ["bootstrap", "run", "test"])
def test_an_old_python_can_read_what_tells_it_so(name: str) -> None:
    ast.parse((SCRIPTS / f"{name}.py").read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("name", ["run", "test"])
def test_an_old_python_is_told_so_before_anything_else(name: str) -> None:
    path = str(SCRIPTS / f"{name}.py")
    pretend = (
        f"import sys, runpy; sys.version_info = (3, 9, 2); sys.path.insert(0, {str(SCRIPTS)!r}); sys.argv = [{path!r}];"
        f"runpy.run_path({path!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", pretend], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == Exit.OLD_PYTHON
    assert "Python 3.11 or newer is needed, this is 3.9" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_scripts_import_the_standard_library_only() -> None:
    paths = sorted(SCRIPTS.glob("*.py"))
    assert {"run.py", "test.py"} <= {path.name for path in paths}
    setup = [SCRIPTS / f"{name}.py" for name in ("bootstrap", "environment", "libraries", "run", "setup_steps", "test")]
    own = {path.stem for path in setup}
    for path in setup:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.partition(".")[0] in sys.stdlib_module_names | own, f"{path.name} imports {name}"


def test_help_needs_no_environment(tmp_path: Path) -> None:
    shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    done = run_script(tmp_path, "--help")
    assert done.returncode == 0
    assert "Exit codes" in done.stdout
    assert not (tmp_path / ".venv").exists()


# ------------------------------------------------------------------------------------------- making the environment


@pytest.mark.slow
def test_nothing_is_done_twice(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = Environment(repo)
    before = made.log.stat().st_mtime_ns
    made.make()
    made.install([])
    assert made.log.stat().st_mtime_ns == before
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_changed_pyproject_and_a_new_extra_are_installed_once(repo: Path) -> None:
    made = Environment(repo)
    path = repo / "pyproject.toml"
    path.write_text(path.read_text() + "\n# changed\n")
    for extras, expected in (([], ()), (["dev"], ("dev",)), ([], ("dev",))):
        before = made.log.stat().st_mtime_ns
        made.install(extras)
        fresh = made.log.stat().st_mtime_ns != before
        assert made.stamp().extras == expected
        assert fresh == (extras == ["dev"] or expected == ())


@pytest.mark.slow
def test_an_interrupted_install_is_taken_up_again(repo: Path) -> None:
    made = Environment(repo)
    made.stamp_file.unlink()
    made.make()
    made.install([])
    assert made.stamp().repo == str(repo)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["no-python", "no-pip", "half-made", "moved"])
def test_an_environment_that_does_not_work_is_made_anew(
    repo: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Environment(repo)
    if damage == "no-python":
        for path in made.programs.glob("python*"):
            path.unlink()
    elif damage == "no-pip":
        for path in made.folder.glob("[lL]ib/**/site-packages/pip"):
            shutil.rmtree(path)
    elif damage == "half-made":
        shutil.rmtree(made.folder)
        (made.folder / "bin").mkdir(parents=True)
    else:
        stamp = made.stamp()
        made.write_stamp(environment.Stamp("/elsewhere", stamp.pyproject_sha256, stamp.extras))
    made.make()
    assert made.works()
    said = capsys.readouterr().err
    assert "removing .venv" in said
    assert "making .venv" in said


@pytest.mark.parametrize("found", ["file", "folder", "link"])
def test_what_is_no_environment_is_left_alone(tmp_path: Path, found: str) -> None:
    made = Environment(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.png").write_bytes(b"")
    if found == "file":
        made.folder.write_text("mine")
    elif found == "link":
        made.folder.symlink_to(tmp_path / "photos")
    else:
        (tmp_path / "photos").rename(made.folder)
    with pytest.raises(SetupError, match=r"run this again") as caught:
        made.make()
    assert caught.value.exit_code == Exit.NO_ENVIRONMENT
    assert os.path.lexists(made.folder)
    assert len(list(tmp_path.rglob("one.png"))) == 1


def test_without_ensurepip_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "ensurepip" else real(name))
    with pytest.raises(SetupError, match="apt install python3-venv") as caught:
        Environment(tmp_path).make()
    assert caught.value.exit_code == Exit.NO_ENVIRONMENT


def test_a_folder_that_takes_no_environment_is_said(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be made"):
        Environment(tmp_path / "missing\0").make() if os.name == "nt" else Environment(Path("/dev/null")).make()


@pytest.mark.slow
def test_when_the_index_refuses_the_ways_out_are_said(repo: Path) -> None:
    made = Environment(repo)
    with pytest.raises(SetupError) as caught:
        made.install(["far"])
    said = str(caught.value)
    assert caught.value.exit_code == Exit.NO_PACKAGES
    for part in ("no-such-package-of-unmask", "HTTPS_PROXY", "PIP_FIND_LINKS", "UNMASK_ASSETS", '".[far]"'):
        assert part in said
    assert not made.stamp_file.exists(), "the next run must try again"


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: [Errno 13] Permission denied: '/x'", "cannot be written to"),
        ("WARNING: Retrying after connection broken by 'ProxyError'", "HTTPS_PROXY"),
        ("error: subprocess-exited-with-error", "Mend what pip names"),
    ],
)
def test_advice_fits_what_pip_said(said: str, advice: str) -> None:
    assert advice in setup_steps.pip_advice(said, ".[dev]")


def test_only_the_end_of_a_log_is_shown() -> None:
    assert setup_steps.last_lines("\n".join(map(str, range(100)))).splitlines() == [f"  | {n}" for n in range(85, 100)]


# ------------------------------------------------------------------------------------------- system libraries


@pytest.mark.slow
def test_a_missing_library_is_named_with_the_apt_line(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Environment(repo)
    made.check_libraries(["core"])
    assert "core" in made.stamp().libraries
    made.write_stamp(
        environment.Stamp(*[getattr(made.stamp(), name) for name in ("repo", "pyproject_sha256", "extras")])
    )
    broken = repo / "cv2.py"
    broken.write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    for name in ("apt-get", "dpkg-query"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        with pytest.raises(SetupError) as caught:
            made.check_libraries(["core"])
    finally:
        broken.unlink()
    assert caught.value.exit_code == Exit.NO_LIBRARIES
    assert "the system lacks libraries: libGL.so.1 (cv2)." in str(caught.value)
    assert "apt install libgl1 libegl1" in str(caught.value)


def test_a_missing_file_is_named_once_with_all_that_want_it() -> None:
    missing = "cannot open shared object file: No such file or directory"
    sentences = [f"cv2: libGL.so.1: {missing}", f"PyQt6: libGL.so.1: {missing}", "av: DLL load failed"]
    assert libraries.summary(sentences) == "libGL.so.1 (cv2, PyQt6); av: DLL load failed"


def test_packages_that_dpkg_has_are_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    query = tmp_path / "dpkg-query"
    query.write_text('#!/bin/sh\nfor last; do :; done\n[ "$last" = libgl1 ] && exit 1\nprintf installed\n')
    query.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert libraries.missing_packages() == ["libgl1"]
    assert libraries.advice().startswith("Install the packages of your system")
    monkeypatch.setenv("PATH", "")
    assert libraries.missing_packages() == []


def test_the_installed_packages_load_here() -> None:
    found = libraries.problems()
    assert set(found) == {"core", "qt", "xcb"}
    assert found["core"] == []
    assert found["qt"] == []


@pytest.mark.parametrize(
    ("arguments", "display", "groups"),
    [
        (["watch"], {"DISPLAY": ":0"}, {"core", "qt", "xcb"}),
        (["watch"], {"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0"}, {"core", "qt"}),
        (["watch", "demo:", "--headless"], {"DISPLAY": ":0"}, {"core"}),
        (["analyze", "a.mp4"], {"DISPLAY": ":0"}, {"core"}),
    ],
)
def test_only_the_libraries_of_the_command_are_wanted(
    arguments: list[str], display: dict[str, str], groups: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in display.items():
        monkeypatch.setenv(name, value)
    assert run.library_groups(arguments) == groups


# ------------------------------------------------------------------------------------------- the two commands


@pytest.mark.slow
def test_run_hands_over_arguments_folder_output_and_status(repo: Path) -> None:
    done = run_script(repo, "analyze", "a video.mp4", "--json")
    assert done.returncode == 7
    assert json.loads(done.stdout) == {"arguments": ["analyze", "a video.mp4", "--json"], "folder": str(repo.parent)}
    assert json.loads(run_script(repo).stdout)["arguments"] == ["watch"]


@pytest.mark.slow
def test_without_the_face_model_only_commands_that_need_it_are_refused(repo: Path) -> None:
    refused = run_script(repo, "analyze", "a.mp4", MODEL_STATUS="4")
    assert (refused.returncode, refused.stdout) == (Exit.FACE_MODEL, "")
    assert "fetching the face model" in refused.stderr
    assert "the face model is not there" in refused.stderr
    told = run_script(repo, "doctor", MODEL_STATUS="4")
    assert json.loads(told.stdout)["arguments"] == ["doctor"]
    assert "the face model is not there" in told.stderr


def test_a_second_setup_waits_for_the_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(bootstrap, "REPO", tmp_path)
    second = "import bootstrap\nwith bootstrap.one_at_a_time(): print('in')"
    with bootstrap.one_at_a_time():
        child = subprocess.Popen(
            [sys.executable, "-c", second],
            cwd=tmp_path / "scripts",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stderr is not None
        assert "waiting for it" in child.stderr.readline()
        time.sleep(0.1)
        assert child.poll() is None
    out, err = child.communicate(timeout=30)
    assert (out, err, child.returncode) == ("in\n", "", 0)


def test_unknown_arguments_go_to_pytest_and_known_ones_do_not() -> None:
    options, for_pytest = test.parse(["--extra", "train", "-k", "tracks", "tests/unit", "--tests-only", "-x"])
    assert (options.extra, options.tests_only) == (["train"], True)
    assert for_pytest == ["-k", "tracks", "tests/unit", "-x"]
    assert test.steps("py", True, for_pytest) == [("pytest", ["py", "-m", "pytest", *for_pytest])]
    assert [title for title, _ in test.steps("py", False, [])] == [
        "ruff check",
        "ruff format --check",
        "mypy --strict",
        "pytest",
    ]


def test_an_unknown_extra_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        test.parse(["--extra", "trian"])
    assert caught.value.code == Exit.USAGE
    assert "train" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("codes", "expected"), [((0, 0, 0, 0), 0), ((1, 0, 0, 0), 1), ((0, 0, 2, 0), 1), ((1, 0, 0, 5), 5)]
)
def test_every_check_runs_and_the_first_failure_is_not_lost(
    codes: tuple[int, ...], expected: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ready = Environment(Path("nowhere"))
    commands = [(f"step {n}", [sys.executable, "-c", f"raise SystemExit({code})"]) for n, code in enumerate(codes)]
    commands[-1] = ("pytest", commands[-1][1])
    monkeypatch.setattr(bootstrap, "prepare", lambda **_: ready)
    monkeypatch.setattr(test.bootstrap, "prepare", lambda **_: ready)
    monkeypatch.setattr(test, "steps", lambda *_: commands)
    monkeypatch.setattr(sys, "argv", ["test.py"])
    assert test.main() == expected
    said = capfd.readouterr()
    assert [line for line in said.out.splitlines() if line.startswith("==")] == [f"== {title}" for title, _ in commands]
    assert ("FAILED" in said.err) == (expected != 0)


@pytest.mark.skipif(sys.platform == "win32", reason="bash and apt")
def test_the_ci_script_is_valid_and_installs_only_what_is_missing(tmp_path: Path) -> None:
    """With an apt-get that only writes down what it is asked, and a dpkg that lacks one package."""
    repo = tmp_path / "repo"
    shutil.copytree(SCRIPTS, repo / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    (repo / ".ci").mkdir()
    shutil.copy(SCRIPTS.parent / ".ci" / "run", repo / ".ci" / "run")
    (repo / "scripts" / "test.py").write_text("import sys; print('tested', *sys.argv[1:])")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, body in {
        "apt-get": 'echo "apt-get $*"',
        "dpkg-query": 'for last; do :; done; [ "$last" = libegl1 ] && exit 1; printf installed',
        "id": "echo 0",
        "xvfb-run": ":",
        "xauth": ":",
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    done = subprocess.run(
        ["bash", str(repo / ".ci" / "run"), "-x"],
        env={**os.environ, "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.splitlines()
        == textwrap.dedent(
            """\
        == apt-get install libegl1
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends libegl1
        tested --extra train -x
        """
        ).splitlines()
    )
