"""What a publisher says of its camera: names of virtual cameras are told from real ones, and nothing else follows."""

from __future__ import annotations

import json

import pytest

from monitor.webrtc.devices import DeviceKind, parse_report, virtual_camera

VIRTUAL = {
    "OBS Virtual Camera": "OBS Virtual Camera",
    "OBS-Camera": "OBS Virtual Camera",
    "OBS Cam": "OBS Virtual Camera",
    "DeepFaceLive": "DeepFaceLive",
    "Dummy video device (0x0000)": "v4l2loopback",
    "v4l2loopback": "v4l2loopback",
    "ManyCam Virtual Webcam": "ManyCam",
    "XSplit VCam": "XSplit VCam",
    "Snap Camera": "Snap Camera",
    "Camera (NVIDIA Broadcast)": "NVIDIA Broadcast",
    "Streamlabs Desktop Virtual Webcam": "Streamlabs",
    "NDI Webcam Video 1": "NDI",
    "DroidCam Source 3": "DroidCam",
    "Unity Video Capture": "Unity Capture",
    "fake_device_0": "Chromium's fake camera",
    "Some Virtual Camera": "a virtual camera",
    "VirtualCam": "a virtual camera",
}
REAL = (
    "Integrated Camera (04f2:b6d9)",
    "HD Pro Webcam C920 (046d:0892)",
    "FaceTime HD Camera",
    "Logitech BRIO",
    "USB2.0 HD UVC WebCam: USB2.0 HD",
    "Candid Studio Cam",
    "Obsidian Webcam",
    "Elgato Facecam",
    "Razer Kiyo Pro",
    "Microsoft® LifeCam HD-3000",
    "MX Brio",
    "Canon EOS Webcam Utility",
    "",
)


@pytest.mark.parametrize(("label", "program"), VIRTUAL.items())
def test_a_virtual_camera_is_named(label: str, program: str) -> None:
    assert virtual_camera(label) == program
    assert virtual_camera(label.upper()) == program


@pytest.mark.parametrize("label", REAL)
def test_a_real_camera_is_left_alone(label: str) -> None:
    assert virtual_camera(label) is None


def report(**changes: object) -> str:
    document = {"schema": "unmask.device/1", "label": "OBS Virtual Camera", "kind": "camera"}
    return json.dumps({**document, "width": 1280, "height": 720, "frame_rate": 29.97, "timing_cv": 0.08, **changes})


def test_a_report_is_read() -> None:
    read = parse_report(report())
    assert (read.label, read.kind, read.width_px, read.height_px) == (
        "OBS Virtual Camera",
        DeviceKind.CAMERA,
        1280,
        720,
    )
    assert (read.frame_rate_hz, read.timing_cv) == (29.97, 0.08)
    assert read.remark is not None
    assert "OBS Virtual Camera" in read.remark
    assert "no verdict" in read.remark


def test_a_report_may_leave_figures_out() -> None:
    read = parse_report(report(width=None, timing_cv=None))
    assert read.width_px is None
    assert read.timing_cv is None


def test_only_a_camera_is_remarked_on() -> None:
    assert parse_report(report(kind="screen")).remark is None
    assert parse_report(report(label="Logitech BRIO")).remark is None


def test_a_label_is_cut_and_loses_what_cannot_be_printed() -> None:
    assert parse_report(report(label="a\x00\n\u202e" + "b" * 1000)).label == "a" + "b" * 199


@pytest.mark.parametrize(
    "message",
    [
        "",
        "[]",
        "null",
        "{",
        "[" * 4000,
        report(schema="unmask.device/2"),
        report(label=3),
        report(kind="face"),
        report(kind=["camera"]),
        report(width="wide"),
        report(width=True),
        report(height=-1),
        report(width=1e9),
        report(frame_rate=float("nan")),
        report(timing_cv=float("inf")),
        report(label="x" * 5000),
        report(label="\ud800" * 1500),
    ],
)
def test_a_wrong_report_is_refused_in_one_line(message: str) -> None:
    with pytest.raises(ValueError, match=r"^device report: .+$") as told:
        parse_report(message)
    assert "\n" not in str(told.value)
