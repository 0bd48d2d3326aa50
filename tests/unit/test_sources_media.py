"""Recorded files: lossless and in order, whatever their codec and timing; broken ones say what is wrong."""

from __future__ import annotations

import os
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from monitor.clock import FakeClock, MonotonicClock
from monitor.errors import SourceError
from monitor.sources import Region, open_source
from monitor.sources.geometry import FrameFit
from monitor.sources.media import FileSource
from monitor.types import Frame, SourceKind
from tests.media import (
    Video,
    cut,
    damage,
    number_of,
    numbered,
    write_sound,
    write_video,
    write_with_times,
)


def read(path: Path, *, max_frame_px: int = 1920, region: Region | None = None) -> tuple[FileSource, list[Frame]]:
    source = FileSource(path, clock=FakeClock(), fit=FrameFit(max_frame_px, region))
    return source, list(source.frames())


def numbers(frames: list[Frame]) -> list[int]:
    return [number_of(frame.image) for frame in frames]


def times_ms(frames: list[Frame]) -> list[int]:
    return [round(frame.media_ns / 1e6) for frame in frames]


@pytest.mark.parametrize(
    ("name", "video"),
    [
        ("h264.mp4", Video()),
        ("h264.mkv", Video(sound=True)),
        ("h264.ts", Video()),
        ("vp9.webm", Video(codec="libvpx-vp9", frames=40)),
        ("mjpeg.avi", Video(codec="mjpeg", pixels="yuvj420p")),
        ("ten-bit.mp4", Video(pixels="yuv420p10le")),
        ("full-chroma.mkv", Video(codec="ffv1", pixels="yuv444p")),
        ("fragments.mp4", Video(muxer_options={"movflags": "frag_keyframe+empty_moov"})),
    ],
)
def test_every_picture_in_order(tmp_path: Path, name: str, video: Video) -> None:
    source, frames = read(write_video(tmp_path / name, video))
    assert numbers(frames) == list(range(video.frames))
    assert [frame.seq for frame in frames] == list(range(video.frames))
    assert times_ms(frames) == [round(i * 1000 / video.fps) for i in range(video.frames)]
    assert source.incomplete is None
    assert source.damaged_frames == 0
    assert source.info.kind is SourceKind.FILE
    assert (source.info.width_px, source.info.height_px) == (video.width, video.height)
    assert source.info.fps == pytest.approx(video.fps)
    assert source.info.duration_s is None or source.info.duration_s == pytest.approx(video.frames / video.fps, abs=0.1)
    assert not frames[0].image.flags.writeable
    assert frames[0].image.flags.c_contiguous


def test_colours_are_those_that_went_in(tmp_path: Path) -> None:
    _, frames = read(write_video(tmp_path / "a.mkv", Video(codec="ffv1", pixels="bgr0", frames=3)))
    for index, frame in enumerate(frames):
        assert np.array_equal(frame.image, numbered(index))


def test_twice_the_same(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", Video(frames=40))
    first, second = read(path)[1], read(path)[1]
    assert [(f.seq, f.media_ns) for f in first] == [(f.seq, f.media_ns) for f in second]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))


def test_a_damaged_file_is_twice_the_same_too(tmp_path: Path) -> None:
    path = damage(write_video(tmp_path / "a.mkv"), 0.5, 400)
    first, second = read(path)[1], read(path)[1]
    assert [(f.seq, f.media_ns) for f in first] == [(f.seq, f.media_ns) for f in second]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))


def test_a_slow_reader_loses_nothing(tmp_path: Path) -> None:
    source = FileSource(write_video(tmp_path / "a.mp4", Video(frames=8)), clock=MonotonicClock())
    seen = []
    for frame in source.frames():
        time.sleep(0.05)
        seen.append(frame.seq)
    assert seen == list(range(8))


# ------------------------------------------------------------------------------------------- timing


def test_a_variable_rate_is_kept(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.15, 0.4, 0.41, 1.0]
    _, frames = read(write_video(tmp_path / "a.mp4", Video(frames=6, times_s=times)))
    assert times_ms(frames) == [0, 100, 150, 400, 410, 1000]


def test_times_start_at_zero(tmp_path: Path) -> None:
    times = [5 + i / 30 for i in range(10)]
    source, frames = read(write_video(tmp_path / "a.mp4", Video(frames=10, times_s=times)))
    assert times_ms(frames) == [round(i * 1000 / 30) for i in range(10)]
    assert source.incomplete is None


def test_one_time_that_goes_back_is_repaired(tmp_path: Path) -> None:
    source, frames = read(write_with_times(tmp_path / "a.mkv", [0.1, 0.2, 0.3, 0.15, 0.5, 0.6]))
    assert numbers(frames) == list(range(6))
    assert times_ms(frames) == [0, 100, 200, 233, 400, 500]
    assert source.incomplete is None


def test_times_that_start_again_go_on(tmp_path: Path) -> None:
    part = write_video(tmp_path / "part.ts", Video(frames=9, b_frames=False))
    whole = tmp_path / "whole.ts"
    whole.write_bytes(part.read_bytes() * 3)
    _, frames = read(whole)
    assert numbers(frames) == list(range(9)) * 3
    steps = np.diff(times_ms(frames))
    assert steps.min() > 0
    assert steps.max() < 100


def test_repeated_and_absurd_times_are_repaired(tmp_path: Path) -> None:
    _, frames = read(write_with_times(tmp_path / "a.mkv", [0.1, 0.1, 99_999.0, 0.3, 0.4]))
    assert times_ms(frames) == [0, 33, 67, 200, 300]


def test_a_stream_without_times_follows_its_rate(tmp_path: Path) -> None:
    source, frames = read(write_video(tmp_path / "a.h264", Video(frames=10, b_frames=False)))
    assert source.info.fps is not None
    assert times_ms(frames) == [round(i * 1000 / source.info.fps) for i in range(10)]


# ------------------------------------------------------------------------------------------- size and shape


@pytest.mark.parametrize("size", [(1, 1), (1, 64), (3, 2), (321, 241)])
def test_odd_and_tiny_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    video = Video(codec="png", pixels="rgb24", width=width, height=height, frames=5)
    source, frames = read(
        write_video(tmp_path / "a.mov", video, (np.full((height, width, 3), 9 * i, np.uint8) for i in range(5)))
    )
    assert [frame.image.shape for frame in frames] == [(height, width, 3)] * 5
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 9, 18, 27, 36]
    assert source.incomplete is None


def test_8k_is_scaled_down(tmp_path: Path) -> None:
    video = Video(codec="mjpeg", pixels="yuvj420p", width=7680, height=4320, frames=2)
    pictures = (numbered(index, 1920, 1080).repeat(4, axis=0).repeat(4, axis=1) for index in range(2))
    source, frames = read(write_video(tmp_path / "a.mkv", video, pictures))
    assert [frame.image.shape for frame in frames] == [(1080, 1920, 3)] * 2
    assert numbers(frames) == [0, 1]
    assert (source.info.width_px, source.info.height_px) == (1920, 1080)


def test_a_region_is_cut_before_scaling(tmp_path: Path) -> None:
    left, right = np.zeros((480, 640, 3), np.uint8), np.full((480, 640, 3), 200, np.uint8)
    picture = np.concatenate([left, right], axis=1)
    path = write_video(tmp_path / "a.mkv", Video(codec="ffv1", pixels="bgr0", width=1280, height=480), [picture] * 3)
    source, frames = read(path, max_frame_px=320, region=(0.5, 0.0, 0.5, 1.0))
    assert frames[0].image.shape == (240, 320, 3)
    assert (frames[0].image[:, 2:] == 200).all()
    assert (source.info.width_px, source.info.height_px) == (320, 240)


def test_a_region_without_scaling_is_exact(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", Video(codec="ffv1", pixels="bgr0", frames=2))
    _, frames = read(path, region=(0.25, 0.5, 0.5, 0.25))
    assert np.array_equal(frames[1].image, numbered(1)[120:180, 80:240])


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_rotation_that_a_phone_writes_is_undone(tmp_path: Path, degrees: int, mirrored: bool) -> None:
    stored = np.zeros((96, 128, 3), np.uint8)
    stored[:48, :64], stored[:48, 64:], stored[48:, :64] = (220, 30, 30), (30, 220, 30), (30, 30, 220)
    shown = np.rot90(stored, degrees // 90)
    shown = shown[:, ::-1] if mirrored else shown
    video = Video(width=128, height=96, rotation_deg=degrees, mirrored=mirrored)
    source, frames = read(write_video(tmp_path / "a.mp4", video, [stored] * 3))
    assert frames[0].image.shape == shown.shape
    assert (source.info.height_px, source.info.width_px) == shown.shape[:2]
    assert np.abs(frames[0].image.astype(int) - shown).mean() < 12


def test_pixels_that_are_not_square_are_made_so(tmp_path: Path) -> None:
    source, _ = read(write_video(tmp_path / "a.mp4", Video(pixel_aspect=Fraction(4, 3), frames=3)))
    assert (source.info.width_px, source.info.height_px) == (427, 240)


# ------------------------------------------------------------------------------------------- nothing to read


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        FileSource(tmp_path / "a.mp4", clock=FakeClock())


def test_missing_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(SourceError, match="no such file"):
        FileSource(tmp_path / "a" / "b.mp4", clock=FakeClock())


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is a folder"):
        FileSource(tmp_path, clock=FakeClock())


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero here")
def test_device() -> None:
    with pytest.raises(SourceError, match="not a file"):
        FileSource(Path("/dev/zero"), clock=FakeClock())


def test_zero_length(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(SourceError, match="0 bytes"):
        FileSource(tmp_path / "a.mp4", clock=FakeClock())


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="permissions do not bind this user")
def test_not_permitted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", Video(frames=3))
    path.chmod(0)
    with pytest.raises(SourceError, match="permissions"):
        FileSource(path, clock=FakeClock())


@pytest.mark.parametrize("name", ["a.mp4", "a.txt", "a.ans", "a.m3u8", "a.ffconcat"])
@pytest.mark.parametrize(
    "text", ["hello world\n" * 500, "#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "ffconcat version 1.0\n"]
)
def test_text_is_not_a_video(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SourceError, match="not a"):
        FileSource(path, clock=FakeClock())


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    write_video(tmp_path / "other.mp4", Video(frames=3))
    playlist = tmp_path / "list.ffconcat"
    playlist.write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(SourceError, match="playlist"):
        FileSource(playlist, clock=FakeClock())


def test_a_still_picture_is_not_a_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.png", Video(codec="png", pixels="rgb24", frames=1, container="image2"))
    with pytest.raises(SourceError, match="still picture"):
        FileSource(path, clock=FakeClock())


def test_noise_is_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(np.random.default_rng(1).bytes(100_000))
    with pytest.raises(SourceError):
        FileSource(path, clock=FakeClock())


def test_sound_only(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="only sound"):
        FileSource(write_sound(tmp_path / "a.mp4"), clock=FakeClock())


def test_an_encrypted_recording(tmp_path: Path) -> None:
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
        "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
    }
    path = write_video(tmp_path / "a.mp4", Video(muxer_options=options))
    with pytest.raises(SourceError, match="encrypted or damaged"):
        FileSource(path, clock=FakeClock())


def test_pictures_that_are_all_noise(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", Video(muxer_options={"movflags": "faststart"}))
    data = path.read_bytes()
    start = data.index(b"mdat") + 4
    path.write_bytes(data[:start] + np.random.default_rng(3).bytes(len(data) - start))
    with pytest.raises(SourceError, match="encrypted or damaged"):
        FileSource(path, clock=FakeClock())


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_name_that_is_not_text_can_be_read_and_shown(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    with pytest.raises(SourceError, match="no such file") as caught:
        FileSource(path, clock=FakeClock())
    str(caught.value).encode()
    write_video(tmp_path / "a.mp4", Video(frames=3)).rename(path)
    source, frames = read(path)
    assert len(frames) == 3
    source.info.title.encode()
    source.info.source_id.encode()


def test_too_large_a_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", Video(codec="ffv1", pixels="gray", width=16_400, height=16, frames=1))
    with pytest.raises(SourceError, match="16400 x 16"):
        FileSource(path, clock=FakeClock())


def test_every_error_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("text\n" * 100)
    for path in (tmp_path, tmp_path / "none.mp4", tmp_path / "a.mp4"):
        with pytest.raises(SourceError) as caught:
            FileSource(path, clock=FakeClock())
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


# ------------------------------------------------------------------------------------------- a part can be read


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("share", [0.35, 0.7, 0.9])
def test_a_truncated_file_gives_its_part_and_says_so(tmp_path: Path, name: str, share: float) -> None:
    whole = write_video(
        tmp_path / name, Video(frames=90, muxer_options={"movflags": "faststart"} if name == "a.mp4" else {})
    )
    source, frames = read(cut(whole, share))
    assert 5 < len(frames) < 90
    assert numbers(frames) == list(range(len(frames)))
    assert source.incomplete is not None
    assert "cut" in source.incomplete
    assert "\n" not in source.incomplete


def test_an_mp4_without_its_index_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="index of this MP4"):
        FileSource(cut(write_video(tmp_path / "a.mp4"), 0.6), clock=FakeClock())


def test_a_damaged_middle_is_left_out_and_counted(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mp4", Video(frames=90, muxer_options={"movflags": "faststart"}))
    source, frames = read(damage(whole, 0.5, 600))
    seen = numbers(frames)
    assert 60 <= len(seen) < 90
    assert seen[:20] == list(range(20))
    assert seen[-10:] == list(range(80, 90))
    assert source.damaged_frames >= 1
    assert source.incomplete is not None
    assert "damaged" in source.incomplete
    seqs = [frame.seq for frame in frames]
    assert seqs == sorted(set(seqs))
    media = [frame.media_ns for frame in frames]
    assert media == sorted(set(media))


def test_a_whole_file_whose_sound_is_longer_is_complete(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", Video(frames=30, sound=True))
    source, frames = read(path)
    assert len(frames) == 30
    assert source.incomplete is None


def test_a_reader_that_stops_early_gets_no_complaint(tmp_path: Path) -> None:
    source = FileSource(write_video(tmp_path / "a.mp4"), clock=FakeClock())
    frames = source.frames()
    next(frames)
    source.close()
    assert list(frames) == []
    assert source.incomplete is None


# ------------------------------------------------------------------------------------------- closing


def test_close_from_another_thread_ends_the_frames(tmp_path: Path) -> None:
    source = FileSource(write_video(tmp_path / "a.mp4", Video(frames=300, width=64, height=48)), clock=MonotonicClock())
    started, ended = threading.Event(), threading.Event()

    def reader() -> None:
        for _ in source.frames():
            started.set()
            time.sleep(0.02)
        ended.set()

    thread = threading.Thread(target=reader)
    thread.start()
    assert started.wait(5)
    source.close()
    assert ended.wait(1)
    thread.join()


def test_close_twice_and_before_reading(tmp_path: Path) -> None:
    source = FileSource(write_video(tmp_path / "a.mp4", Video(frames=3)), clock=FakeClock())
    source.close()
    source.close()
    assert list(source.frames()) == []


def test_frames_only_once(tmp_path: Path) -> None:
    source, _ = read(write_video(tmp_path / "a.mp4", Video(frames=3)))
    with pytest.raises(RuntimeError, match="twice"):
        next(source.frames())


def test_open_source_takes_file_addresses(tmp_path: Path) -> None:
    path = write_video(tmp_path / "my call.mp4", Video(frames=3))
    for uri in (str(path), f"file:{path}", path.as_uri(), f"file:{str(path).replace(' ', '%20')}"):
        frames = list(open_source(uri, clock=FakeClock(), max_frame_px=160).frames())
        assert [frame.image.shape for frame in frames] == [(120, 160, 3)] * 3
