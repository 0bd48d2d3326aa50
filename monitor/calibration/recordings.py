"""Which recordings calibration reads: a labelled manifest, and the training data's people that no weight has seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engines.training.split import VALIDATION_SHARE, held_out
from monitor.bench.manifest import read_manifest
from monitor.calibration.perceived import Recording
from monitor.corpus import jobs_of


def of_manifest(manifest: Path) -> list[Recording]:
    """All rows. Raises SettingsError for a manifest that cannot be read."""
    return [
        Recording(row.path, row.region, row.fake, row.family, row.group, training=False)
        for row in read_manifest(manifest)
    ]


def held_out_of(data: Path) -> Iterator[Recording]:
    """Real clips of `data/train` whose identities were held out from the weights, as `Entry.held_out` of
    `engines.training.entries` has it: recorded forgeries never are."""
    for job in jobs_of(data):
        if job.split == "clip" and held_out(job.identity, VALIDATION_SHARE):
            yield Recording(job.path, job.region, job.label == "fake", job.family, job.identity, training=True)
