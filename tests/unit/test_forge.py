"""The forgeries change what they say they change, nothing else, and the same way for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage import data

from engines.forge.families import SHARES, Clip, Family, make_layer, piecewise_warp
from engines.forge.live import DemoForger
from engines.forge.masks import OVAL, MaskStyle, Region, draw_mask
from engines.forge.nuisances import Codec, Nuisance, encode_decode, through
from engines.forge.pairs import draw_family, live_faults, make_pair

GOLDEN = Path(__file__).parents[1] / "golden" / "astronaut_landmarks.npy"


def _clip(frames: int = 1, shift: int = 0) -> Clip:
    image = data.astronaut()
    points = np.load(GOLDEN)[:, :2]
    centre = (points.min(0) + points.max(0)) / 2
    left, top = (int(v) for v in centre - 96)
    cuts, marks = [], []
    for i in range(frames):
        dx = (i + shift) % 3
        cuts.append(image[max(top, 0) : max(top, 0) + 192, left + dx : left + dx + 192])
        marks.append(points - [left + dx, max(top, 0)])
    return Clip(np.ascontiguousarray(np.stack(cuts)), np.stack(marks).astype(np.float32))


@pytest.mark.parametrize("family", list(Family))
def test_the_same_seed_makes_the_same_pair(family: Family) -> None:
    clip, other = _clip(6), _clip(6, 1)
    one = make_pair(clip, np.random.default_rng(3), size_px=144, other=other, family=family)
    two = make_pair(clip, np.random.default_rng(3), size_px=144, other=other, family=family)
    assert (one.fake == two.fake).all()
    assert (one.real == two.real).all()
    assert one.fake.shape == (6, 144, 144, 3)
    assert one.where.shape == (6, 18, 18)
    assert one.frame_labels.max() == 1


@pytest.mark.parametrize("family", list(Family))
def test_a_layer_changes_the_face_under_its_mask(family: Family) -> None:
    clip, other = _clip(6), _clip(6, 1)
    layer = make_layer(family, clip, np.random.default_rng(5), other)
    assert layer.images.shape == clip.images.shape
    assert 0 <= layer.masks.min() <= layer.masks.max() <= 1
    inside = layer.masks > 0.2
    assert inside.any()
    change = np.abs(layer.images.astype(int) - clip.images.astype(int)).mean(-1)
    assert change[inside].mean() > 0.2


def test_pixels_outside_the_mask_are_the_same_in_both_halves_without_a_codec() -> None:
    clip = _clip()
    rng = np.random.default_rng(1)
    layer = make_layer(Family.BOTTLENECK, clip, rng)
    from engines.forge.families import blend

    fake = blend(clip.images, layer.images, layer.masks)
    outside = layer.masks[0] == 0
    assert outside.mean() > 0.2
    assert (fake[0][outside] == clip.images[0][outside]).all()


@pytest.mark.parametrize("region", list(Region))
def test_a_mask_lies_on_its_region(region: Region) -> None:
    clip = _clip()
    style = MaskStyle(region, 0.0, 0.05, 1.0, np.zeros((2, 6, 6), np.float32), 0.0)
    mask = draw_mask((192, 192), clip.landmarks[0], style)
    assert mask.max() > 0.8
    ys, xs = np.nonzero(mask > 0.5)
    low, high = clip.landmarks[0][list(OVAL)].min(0), clip.landmarks[0][list(OVAL)].max(0)
    assert xs.min() >= low[0] - 12
    assert xs.max() <= high[0] + 12
    if region is Region.MOUTH:
        assert ys.mean() > clip.landmarks[0][1, 1]
    if region is Region.EYES:
        assert ys.mean() < clip.landmarks[0][1, 1]


@pytest.mark.parametrize("codec", list(Codec))
def test_every_codec_gives_back_as_many_pictures_much_like_the_first(codec: Codec) -> None:
    frames = list(_clip(5).images)
    decoded = encode_decode(frames, codec, 80 if codec is Codec.JPEG else 28)
    assert len(decoded) == 5
    error = np.abs(np.stack(decoded).astype(int) - np.stack(frames).astype(int)).mean()
    assert error < 12
    assert (error == 0) == (codec is Codec.NONE)


def test_both_halves_go_through_the_same_call() -> None:
    clip = _clip()
    nuisance = Nuisance.draw(np.random.default_rng(8), 1)
    one = through(nuisance, clip.images, clip.landmarks, 144)
    two = through(nuisance, clip.images, clip.landmarks, 144)
    assert (one == two).all()


def test_live_faults_never_forge_more_than_the_layer_did() -> None:
    clip = _clip(16)
    changed = 0
    for seed in range(20):
        layer = make_layer(Family.SELF_BLEND, clip, np.random.default_rng(seed))
        faulty = live_faults(layer, np.random.default_rng(seed))
        assert faulty.masks.max() <= layer.masks.max() + 1e-6
        changed += faulty is not layer
    assert 5 <= changed <= 15


def test_families_come_in_their_shares_and_stills_have_no_other_time() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_family(rng, stills=False) for _ in range(2000)]
    assert drawn.count(Family.SELF_BLEND) / 2000 == pytest.approx(SHARES[Family.SELF_BLEND], abs=0.05)
    assert Family.OTHER_TIME not in {draw_family(rng, stills=True) for _ in range(300)}


def test_another_person_is_needed_for_a_swap() -> None:
    with pytest.raises(ValueError, match="another person"):
        make_layer(Family.OTHER_PERSON, _clip(), np.random.default_rng(0))


def test_the_demo_forger_changes_the_face_and_leaves_the_rest() -> None:
    image = data.astronaut()
    outline = np.load(GOLDEN)[list(OVAL), :2].astype(np.float32)
    forged = DemoForger(7).apply(image, outline, 0.0)
    change = np.abs(forged.astype(int) - image.astype(int)).sum(-1)
    low, high = outline.min(0).astype(int), outline.max(0).astype(int)
    assert change[low[1] : high[1], low[0] : high[0]].mean() > 2
    change[low[1] - 40 : high[1] + 40, low[0] - 40 : high[0] + 40] = 0
    assert change.max() == 0


def test_a_warp_onto_the_same_landmarks_changes_nothing() -> None:
    clip = _clip()
    image, points = clip.images[0], clip.landmarks[0]
    warped = piecewise_warp(image, points, points, image.shape[:2])
    # Not even at the edge, and not by half a pixel: either would tell every forged picture from its real one.
    assert np.abs(warped.astype(int) - image.astype(int)).max() <= 1


def test_a_picture_of_another_size_can_be_animated() -> None:
    clip = _clip(4)
    smaller = Clip(np.ascontiguousarray(clip.images[:1, 6:186, 6:186]), clip.landmarks[:1] - np.float32(6))
    for seed in range(6):
        layer = make_layer(Family.ANIMATED, clip, np.random.default_rng(seed), smaller)
        assert layer.images.shape == clip.images.shape
