#!/usr/bin/env python3
"""Does a call that comes in by WebRTC get the score that its recording gets? Publishes recordings and compares.

    .venv/bin/python scripts/webrtc_parity.py MANIFEST.csv [--rows 6] [--seconds 20] [--bit-rate 1500000]

Each row of a labelled manifest (see docs/measuring.md) is judged as a file, then published in a ring, as VP8, to
`unmask serve` in this process, by a publisher in a process of its own. Printed are the median score of the judged
windows of the file, the median of the scores shown live, and their distance; at the end the median distance. The exit
status is 0 where that is at most 0.1.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

from monitor.bench.manifest import Row, read_manifest  # noqa: E402
from monitor.errors import UnmaskError  # noqa: E402
from monitor.settings import Settings, load_settings  # noqa: E402
from monitor.types import UInt8Array  # noqa: E402
from scripts.soak_webrtc import TOKEN_VARIABLE, encoded, run_publishers  # noqa: E402

LARGEST_DISTANCE = 0.1
MAX_S = 20.0
"""Of a recording."""
MAX_SIDE_PX = 1280
COME_S = 60.0


def pictures_of(row: Row) -> tuple[list[UInt8Array], float]:
    """The recording's own pictures, uint8 (H, W, 3) of even sides, and their rate."""
    import cv2

    from monitor.clock import MonotonicClock
    from monitor.sources import open_source

    source = open_source(f"file:{row.path}", clock=MonotonicClock(), region=row.region, max_frame_px=MAX_SIDE_PX)
    pictures, times_ns = [], []
    try:
        for frame in source.frames():
            if frame.media_ns > MAX_S * 1e9:
                break
            height, width = (side // 2 * 2 for side in frame.image.shape[:2])
            pictures.append(cv2.resize(frame.image, (width, height)))
            times_ns.append(frame.media_ns)
    finally:
        source.close()
    fps = (len(times_ns) - 1) / max(1e-9, (times_ns[-1] - times_ns[0]) / 1e9)
    return pictures, fps


def of_file(row: Row, settings: Settings) -> float | None:
    """Median score of the judged windows of the person who leads."""
    from monitor.analysis import analyze_file

    analysis = analyze_file(row.path, settings, row.region)
    scores = [
        one.score
        for track in analysis.tracks
        if track.track_id == analysis.summary.worst_track
        for one in track.windows
    ]
    return statistics.median(scores) if scores else None


def live(number: int, manifest: Path, settings: Settings, arguments: argparse.Namespace) -> tuple[float | None, int]:
    """Median of the scores shown of whoever was shown most often, and how many there were."""
    from monitor.hub import Hub
    from monitor.webrtc.serve import Service
    from monitor.webrtc.server import ServerSettings

    service = Service(ServerSettings(port=0), Hub(settings))
    service.start()
    command = [sys.executable, __file__, str(manifest), "--publish", service.server.url, "--row", str(number)]
    command += ["--bit-rate", str(arguments.bit_rate)]
    environment = {**os.environ, TOKEN_VARIABLE: service.server.token}
    publisher = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment)
    shown: dict[int, dict[int, float]] = {}
    try:
        began_s, first_s = time.monotonic(), None
        while (now_s := time.monotonic()) < (began_s + COME_S if first_s is None else first_s + arguments.seconds):
            time.sleep(0.1)
            for source in service.states().sources:
                for one in source.snapshot.verdicts:
                    if one.suspicion is not None and source.shed is None:
                        first_s = first_s if first_s is not None else now_s
                        shown.setdefault(one.track_id, {})[one.as_of_ns] = one.suspicion
    finally:
        publisher.communicate(timeout=30)
        service.stop()
    if not shown:
        return None, 0
    most = max(shown.values(), key=len)
    return statistics.median(most.values()), len(most)


def compare(arguments: argparse.Namespace) -> int:
    """Print a line a row. The exit status."""
    settings = load_settings()
    distances = []
    for number, row in chosen(read_manifest(arguments.manifest), arguments.rows):
        expected = of_file(row, settings)
        found, count = live(number, arguments.manifest, settings, arguments)
        shown = "-" if expected is None else f"{expected:.2f}"
        if expected is None or found is None:
            print(f"{row.name:44} file {shown}, live {'-' if found is None else f'{found:.2f}'}", flush=True)
            continue
        distances.append(abs(found - expected))
        print(f"{row.name:44} file {shown}, live {found:.2f} ({count} verdicts), apart {distances[-1]:.2f}", flush=True)
    if not distances:
        print("nobody was judged both ways")
        return 1
    middle = statistics.median(distances)
    machine = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"median distance {middle:.3f} over {len(distances)} recordings; {machine}")
    return 0 if middle <= LARGEST_DISTANCE else 1


def chosen(rows: tuple[Row, ...], count: int) -> list[tuple[int, Row]]:
    """Rows spread over the manifest, with their numbers from 0."""
    step = max(1, len(rows) // max(1, count))
    return list(enumerate(rows))[::step][:count]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=20.0, help="of verdicts, a recording")
    parser.add_argument("--bit-rate", type=int, default=1_500_000)
    parser.add_argument("--publish", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--row", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        if arguments.publish is None:
            return compare(arguments)
        pictures, fps = pictures_of(read_manifest(arguments.manifest)[arguments.row])
        return run_publishers(arguments.publish, 1, encoded(pictures, fps, arguments.bit_rate), fps)
    except UnmaskError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
