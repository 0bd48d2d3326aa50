"""What a publisher says of its own camera: a name, a size, a rate, and how evenly the pictures come.

All of it is the publisher's word and easily faked, and many virtual cameras are harmless. So it becomes a remark that
stands beside a verdict; no score, no state and no alert depends on it.
"""

from __future__ import annotations

import enum
import json
import math
import re
from dataclasses import dataclass

SCHEMA = "unmask.device/1"
MAX_REPORT_BYTES = 4096
MAX_LABEL_CHARS = 200
MAX_SIDE_PX = 16384
MAX_RATE_HZ = 1000.0
MAX_TIMING_CV = 100.0

_PROGRAMS = (
    ("OBS Virtual Camera", r"\bobs\b|obs[- ]?(virtual|camera|cam\b)|\bobs-"),
    ("DeepFaceLive", r"deep ?face ?live"),
    ("Deep-Live-Cam", r"deep[- ]?live[- ]?cam"),
    ("Swapface", r"swap ?face|face ?swap"),
    ("Avatarify", r"avatarify"),
    ("v4l2loopback", r"v4l2[- ]?loopback|dummy video device|\bloopback\b"),
    ("AkVirtualCamera", r"\bakv(irtual)?cam|webcamoid"),
    ("ManyCam", r"many ?cam"),
    ("XSplit VCam", r"xsplit"),
    ("Streamlabs", r"streamlabs|\bslobs\b"),
    ("SplitCam", r"split ?cam"),
    ("Snap Camera", r"snap ?camera|lens studio"),
    ("NVIDIA Broadcast", r"nvidia broadcast"),
    ("mmhmm", r"mmhmm"),
    ("CyberLink YouCam", r"youcam|perfectcam"),
    ("WebcamMax", r"webcammax"),
    ("FineCam", r"fine ?cam|fineshare"),
    ("AlterCam", r"altercam"),
    ("e2eSoft VCam", r"e2esoft|\bvcam\b"),
    ("Unity Capture", r"unity ?(video )?capture"),
    ("FaceRig or Animaze", r"facerig|animaze"),
    ("VTube Studio", r"vtube ?studio"),
    ("VSeeFace", r"vseeface"),
    ("Wirecast", r"wirecast"),
    ("vMix", r"\bvmix\b"),
    ("NDI", r"\bndi\b|newtek"),
    ("PRISM Live", r"prism ?live"),
    ("Camo", r"\bcamo\b|reincubate"),
    ("EpocCam", r"epoccam"),
    ("DroidCam", r"droid ?cam"),
    ("iVCam", r"\bivcam\b"),
    ("Iriun", r"iriun"),
    ("Chromium's fake camera", r"\bfake_device_\d|\bfake device\b"),
    (
        "a virtual camera",
        r"\bvirtual[ _-]?(web)?cam|(web)?cam(era)?[ _-]virtual\b|virtuelle kamera|cam[eé]ra virtuelle",
    ),
)
_FINDERS = tuple((program, re.compile(pattern, re.IGNORECASE)) for program, pattern in _PROGRAMS)


def virtual_camera(label: str) -> str | None:
    """The program whose virtual camera carries `label`, 'a virtual camera' where only that is said, or None.

    None proves nothing: a virtual camera may be called anything.
    """
    label = label[:MAX_LABEL_CHARS]
    return next((program for program, finder in _FINDERS if finder.search(label)), None)


def virtual_camera_remark(label: str) -> str | None:
    """What to say beside a verdict about a camera called `label`, with its innocent explanation, or None."""
    program = virtual_camera(label)
    if program is None:
        return None
    named = "is a virtual camera" if program == "a virtual camera" else f"belongs to {program}"
    return (
        f"By its name this camera {named}: a program may change or make its picture. Many people use such programs "
        "for backgrounds, filters or a phone as a camera; this is a weak hint and no verdict."
    )


class DeviceKind(enum.Enum):
    """What is captured."""

    CAMERA = "camera"
    SCREEN = "screen"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """One report of a publisher; None where it does not say. Weak evidence only."""

    label: str
    kind: DeviceKind
    width_px: int | None
    height_px: int | None
    frame_rate_hz: float | None
    timing_cv: float | None
    """Standard deviation over mean of the time between two pictures."""

    @property
    def remark(self) -> str | None:
        """What to say beside the verdicts of this publisher, or None."""
        return virtual_camera_remark(self.label) if self.kind is DeviceKind.CAMERA else None


def parse_report(message: str) -> DeviceReport:
    """Read one message of the data channel. Raises ValueError, in one line, where it is no report."""
    if len(message.encode(errors="replace")) > MAX_REPORT_BYTES:
        raise ValueError(f"device report: more than {MAX_REPORT_BYTES} bytes")
    try:
        document = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise ValueError("device report: not JSON") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f"device report: expected schema {SCHEMA}")
    label, kind = document.get("label"), document.get("kind")
    if not isinstance(label, str):
        raise ValueError("device report: label: expected text")
    if kind not in [one.value for one in DeviceKind]:
        raise ValueError("device report: kind: expected camera, screen or remote")
    width, height = (_number(document, name, MAX_SIDE_PX) for name in ("width", "height"))
    return DeviceReport(
        label="".join(character for character in label if character.isprintable())[:MAX_LABEL_CHARS].strip(),
        kind=DeviceKind(kind),
        width_px=None if width is None else int(width),
        height_px=None if height is None else int(height),
        frame_rate_hz=_number(document, "frame_rate", MAX_RATE_HZ),
        timing_cv=_number(document, "timing_cv", MAX_TIMING_CV),
    )


def _number(document: dict[str, object], name: str, most: float) -> float | None:
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"device report: {name}: expected a number")
    if not 0 <= value <= most:
        raise ValueError(f"device report: {name}: expected 0 to {most:g}")
    return float(value)
