"""Clips and pictures in, face crops for training out: through the product's own sampler, tracker and cropper.

    manifest or pictures -> open_source -> FrameSampler -> Perceiver -> <corpus>/<key>.images.npy + .meta.npz

A corpus is made once and read many times. It holds faces, so it stays on the machine that made it and never
enters the repository. `python -m monitor.corpus OUT --data DIR` makes or completes one; an entry whose files
are there already is kept. With `--manifest` it holds the rows of a labelled manifest instead, for
`engines.training.measure`: such a corpus is read for measuring only, never for training.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.assets import face_landmarker
from engines.files import replaced
from engines.training.entries import CORPUS_SCALE
from monitor.clock import MonotonicClock
from monitor.crops import Square, crop
from monitor.errors import SourceError
from monitor.faces import FaceFinder, plan_tiles
from monitor.perceive import Perceiver
from monitor.sampling import FrameSampler
from monitor.sources import open_source
from monitor.types import TrackedFace, UInt8Array

VERSION = 1
CORPUS_PX = 256
"""Side of a stored crop."""
SAMPLE_RATE_HZ = 15.0
_MIN_SAMPLES = 20
_MAX_FRAME_PX = 1920


@dataclass(frozen=True, slots=True)
class Entry:
    """One person's crops from one file. `count` samples at 15 Hz, or stills where `seconds` is 0."""

    key: str
    split: str
    """`clip`, `still`, `live-pair`, `forgery`, or `measure` for a row of a manifest."""
    label: str
    """`real` or `fake`."""
    identity: str
    """Entries of one person, or of one take of a forgery: split train and validation by it."""
    family: str
    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Job:
    """One file, or one half of it, to be turned into entries."""

    key: str
    path: Path
    region: tuple[float, float, float, float] | None
    split: str
    label: str
    identity: str
    family: str


def jobs_of(data: Path) -> Iterator[Job]:
    """All clips of `data/train`. The development set is never read here."""
    train = data / "train"
    with (train / "clips.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            path = train / row["file"]
            yield Job(f"clip-{path.stem}", path, None, "clip", "real", row["identity"], "clip")
    with (train / "live_pairs.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            path = train / row["file"]
            for label in ("real", "fake"):
                numbers = tuple(float(v) for v in row[f"{label}_region"].split(","))
                region = (numbers[0], numbers[1], numbers[2], numbers[3])
                yield Job(
                    f"pair-{path.stem}-{label}", path, region, "live-pair", label, f"pair-{row['target']}", "live-pair"
                )
    with (train / "forgeries.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            path = train / row["file"]
            yield Job(
                f"forgery-{path.stem}", path, None, "forgery", row["label"], f"forgery-{row['group']}", row["method"]
            )


def rows_of(manifest: Path) -> Iterator[Job]:
    """The rows of a labelled manifest, to measure checkpoints on."""
    with manifest.open(newline="") as handle:
        for index, row in enumerate(csv.DictReader(handle)):
            numbers = [float(v) for v in row["region"].split(",")] if row["region"] else []
            region = (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == 4 else None
            path = manifest.parent / row["file"]
            yield Job(f"row-{index:04d}", path, region, "measure", row["label"], row["group"], row["family"])


def read_clip(job: Job, asset: Path) -> dict[int, list[TrackedFace]]:
    """Every tracked face of one file, by track. Raises `SourceError` where the file cannot be read."""
    source = open_source(f"file:{job.path}", clock=MonotonicClock(), max_frame_px=_MAX_FRAME_PX, region=job.region)
    perceiver = Perceiver(asset, crop_px=CORPUS_PX, crop_scale=CORPUS_SCALE)
    sampler = FrameSampler(SAMPLE_RATE_HZ)
    tracks: dict[int, list[TrackedFace]] = {}
    try:
        for frame in source.frames():
            if sampler.take(frame.media_ns):
                for face in perceiver.step(frame).faces:
                    tracks.setdefault(face.track_id, []).append(face)
    finally:
        source.close()
        perceiver.close()
    return tracks


def to_crop_px(landmarks: npt.NDArray[np.float32], crop_to_frame: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Landmarks (478, 3) in frame pixels -> (478, 2) in crop pixels, for a crop without rotation."""
    scale = np.array([crop_to_frame[0, 0], crop_to_frame[1, 1]], np.float32)
    return np.asarray((landmarks[:, :2] - crop_to_frame[:, 2]) / scale, np.float32)


def write_entry(
    out: Path,
    key: str,
    images: UInt8Array,
    landmarks: npt.NDArray[np.float32],
    media_ns: npt.NDArray[np.int64],
    face_px: npt.NDArray[np.float32],
) -> None:
    """Write one entry's files, the pictures last and each by an atomic rename: a half-made entry is never read."""
    with replaced(out / f"{key}.meta.npz") as handle:
        np.savez(handle, landmarks=landmarks, media_ns=media_ns, face_px=face_px)
    with replaced(out / f"{key}.images.npy") as handle:
        np.save(handle, images)


def add_clip(out: Path, job: Job, asset: Path) -> list[Entry]:
    """Turn one clip into entries, one a person that is seen for at least 20 samples."""
    entries = []
    for track_id, faces in read_clip(job, asset).items():
        if len(faces) < _MIN_SAMPLES:
            continue
        key = f"{job.key}-{track_id}"
        points = [
            to_crop_px(f.observation.landmarks, f.crop_to_frame) for f in faces if f.observation.landmarks is not None
        ]
        write_entry(
            out,
            key,
            np.stack([f.crop for f in faces]),
            np.stack(points),
            np.array([f.media_ns for f in faces], np.int64),
            np.array([f.observation.face_px for f in faces], np.float32),
        )
        seconds = (faces[-1].media_ns - faces[0].media_ns) / 1e9
        entries.append(Entry(key, job.split, job.label, job.identity, job.family, len(faces), round(seconds, 2)))
    return entries


def add_stills(out: Path, archive: Path, asset: Path, limit: int | None = None) -> list[Entry]:
    """Turn a tar of pictures (one real person each) into one entry of stills."""
    import cv2

    key = "still-lfw"
    images, points, sizes = [], [], []
    with FaceFinder(asset) as finder, tarfile.open(archive) as tar:
        for member in tar:
            if not member.isfile() or not member.name.endswith(".jpg") or member.size > 1_000_000:
                continue
            handle = tar.extractfile(member)
            bgr = cv2.imdecode(np.frombuffer(handle.read() if handle else b"", np.uint8), cv2.IMREAD_COLOR)
            if bgr is None:
                continue
            image = np.ascontiguousarray(bgr[:, :, ::-1])
            height, width = image.shape[:2]
            found = finder.scan(image, plan_tiles(width, height))
            # The person of the picture stands in its middle.
            found.sort(key=lambda d: float(np.abs((d.box_px[:2] + d.box_px[2:]) / 2 - [width / 2, height / 2]).sum()))
            face = finder.read(image, found[0].box_px) if found else None
            if face is None or face.landmarks is None:
                continue
            picture, matrix = crop(image, Square.of_box(face.box_px), size_px=CORPUS_PX, scale=CORPUS_SCALE)
            images.append(picture)
            points.append(to_crop_px(face.landmarks, matrix))
            sizes.append(face.face_px)
            if limit is not None and len(images) >= limit:
                break
    write_entry(
        out, key, np.stack(images), np.stack(points), np.zeros(len(images), np.int64), np.array(sizes, np.float32)
    )
    return [Entry(key, "still", "real", "lfw", "still", len(images), 0.0)]


_UNSWAPPED_LEVELS = 9.0
_UNSWAPPED_RATIO = 1.2


def is_unswapped(
    real: UInt8Array, fake: UInt8Array, real_ns: npt.NDArray[np.int64], fake_ns: npt.NDArray[np.int64]
) -> bool:
    """Whether a track of a swapped half shows the same face as the unswapped half: a second person, or no swap.

    Crops (N, S, S, 3) with their times. The inner face must differ little (levels), and no more than its surround
    does, in the median of up to 20 common samples. False where there is no common sample.
    """
    _, a, b = np.intersect1d(real_ns, fake_ns, return_indices=True)
    inner, outer = [], []
    for i, j in list(zip(a, b, strict=True))[:: max(1, len(a) // 20)]:
        difference = np.abs(real[i].astype(np.int16) - fake[j]).mean(2)
        side = difference.shape[0]
        box = slice(round(0.36 * side), round(0.66 * side))
        centre = float(difference[box, box].mean())
        inner.append(centre)
        outer.append(
            float((difference.sum() - difference[box, box].sum()) / (side * side - (box.stop - box.start) ** 2))
        )
    if not inner:
        return False
    middle = float(np.median(inner))
    return middle < _UNSWAPPED_LEVELS and middle < _UNSWAPPED_RATIO * max(float(np.median(outer)), 0.5)


def without_unswapped(out: Path, real: list[Entry], fake: list[Entry]) -> list[Entry]:
    """The entries of a swapped half that are swapped indeed: others would teach that a real face is forged."""

    def load(entry: Entry) -> tuple[UInt8Array, npt.NDArray[np.int64]]:
        with np.load(out / f"{entry.key}.meta.npz", allow_pickle=False) as meta:
            times = np.asarray(meta["media_ns"], np.int64)
        return np.load(out / f"{entry.key}.images.npy", mmap_mode="r", allow_pickle=False), times

    kept = []
    for entry in fake:
        images, times = load(entry)
        others = [load(e) for e in real]
        if any(is_unswapped(a, images, t, times) for a, t in others):
            print(f"{entry.key}: left out, the same face as in the unswapped half", file=sys.stderr)
        else:
            kept.append(entry)
    return kept


def build(out: Path, jobs: Iterable[Job], *, stills: Path | None = None, stills_limit: int | None = None) -> None:
    """Make or complete the corpus in `out` from these files and a tar of stills, with a line for each file."""
    out.mkdir(parents=True, exist_ok=True)
    asset = face_landmarker()
    index_path = out / "index.json"
    index: dict[str, list[Entry]] = {}
    if index_path.exists():
        content = json.loads(index_path.read_text())
        if content.get("version") == VERSION:
            index = {name: [Entry(**e) for e in entries] for name, entries in content["files"].items()}

    def save() -> None:
        files = {name: [asdict(e) for e in entries] for name, entries in index.items()}
        with replaced(index_path) as handle:
            handle.write(json.dumps({"version": VERSION, "files": files}, indent=1).encode())

    for job in jobs:
        if job.key in index:
            continue
        try:
            index[job.key] = add_clip(out, job, asset)
            if job.split == "live-pair" and job.label == "fake":
                halves = index.get(job.key.removesuffix("-fake") + "-real", [])
                index[job.key] = without_unswapped(out, halves, index[job.key])
        except SourceError as error:
            print(f"{job.key}: left out, {error}", file=sys.stderr)
            index[job.key] = []
        save()
        print(f"{job.key}: {[(e.key, e.count) for e in index[job.key]]}", flush=True)
    if stills is not None and "still-lfw" not in index:
        index["still-lfw"] = add_stills(out, stills, asset, stills_limit)
        save()
        print(f"still-lfw: {index['still-lfw'][0].count} pictures", flush=True)


def main() -> int:
    """Command line of the corpus builder."""
    parser = argparse.ArgumentParser(prog="python -m monitor.corpus", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for the crops (keep it outside the repository)")
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--data", type=Path, help="folder that holds train/clips.csv and its kin")
    group.add_argument("--manifest", type=Path, help="a labelled manifest instead, to measure on")
    parser.add_argument("--stills-limit", type=int, default=None, help="at most this many pictures")
    arguments = parser.parse_args()
    if arguments.manifest:
        build(arguments.out, rows_of(arguments.manifest))
    else:
        stills = arguments.data / "train" / "lfw_one_per_person.tar"
        build(arguments.out, jobs_of(arguments.data), stills=stills, stills_limit=arguments.stills_limit)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
